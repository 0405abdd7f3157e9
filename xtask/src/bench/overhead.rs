//! `cargo xtask bench overhead`: which loads, which tracers, which budgets.

use std::path::{self, PathBuf};

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::measure::Plan;
use super::process::{Folder, SYSTEM_PROGRAMS};
use super::tracers::Tracer;
use super::{budget, loads, machine, table, tracers};
use crate::build;
use crate::kernel::packages;
use crate::run::{self, say};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each tracer is measured on each load; five take some four minutes a load
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these loads
    #[arg(long, value_name = "LOAD", value_delimiter = ',', value_parser = names_of_loads())]
    only: Vec<String>,
    /// Only these tracers; perf-sched runs only when named
    #[arg(long, value_name = "TRACER", value_delimiter = ',', value_parser = names_of_tracers())]
    tracer: Vec<String>,
    /// Measure this program instead of building one
    #[arg(long, value_name = "FILE")]
    profilerd: Option<PathBuf>,
    /// Fail if a budget is missed
    #[arg(long)]
    check: bool,
}

fn names_of_loads() -> clap::builder::PossibleValuesParser {
    loads::ALL.iter().map(|load| load.name).collect::<Vec<_>>().into()
}

fn names_of_tracers() -> clap::builder::PossibleValuesParser {
    tracers::ALL.iter().map(|tracer| tracer.name).collect::<Vec<_>>().into()
}

/// Measures and prints.
///
/// # Errors
/// We are not root, nothing is left to measure, a load or a tracer failed, or with `--check` a budget
/// was missed.
pub(super) fn run(args: &Args) -> Result<()> {
    if !run::is_root() {
        bail!("tracing needs root\n  try: sudo env PATH=\"$PATH\" cargo xtask bench overhead");
    }
    let profilerd = match &args.profilerd {
        Some(file) => path::absolute(file)?,
        None => build::run()?,
    };
    let is_wanted = |name: &str, wanted: &[String], by_default: bool| {
        if wanted.is_empty() { by_default } else { wanted.iter().any(|wanted| wanted == name) }
    };
    let tracers = tracers::ALL.iter().filter(|tracer| is_wanted(tracer.name, &args.tracer, tracer.by_default));
    let tracers: Vec<&'static Tracer> = tracers.filter(|tracer| has(tracer.title, tracer.needs.as_slice())).collect();
    let loads = loads::ALL.iter().copied().filter(|load| is_wanted(load.name, &args.only, true));
    let loads: Vec<&'static Load> = loads.filter(|load| has(load.name, load.needs)).collect();
    if tracers.is_empty() || loads.is_empty() {
        bail!("nothing is left to measure");
    }

    let provenance = [
        format!("`cargo xtask bench overhead`, {}.", machine::machine()),
        format!("{}.", machine::versions(&profilerd, &tracers, &loads)),
    ];
    let mut measured = Vec::new();
    for load in loads {
        // Each has a folder of its own, which ends with it.
        let folder = Folder::new()?;
        let plan = Plan { tracers: tracers.clone(), rounds: args.rounds, profilerd: &profilerd, folder: folder.path() };
        measured.push(plan.measure(load).with_context(|| format!("load `{}`", load.name))?);
    }
    println!("{}", table::text(&measured, &tracers, args.rounds, &provenance));
    let missed = budget::missed(&measured);
    for line in &missed {
        say(&format!("missed: {line}"));
    }
    if args.check && !missed.is_empty() {
        bail!("{} budgets were missed", missed.len());
    }
    Ok(())
}

/// Whether these programs are there; what is not is installed if that can be done, else noted.
fn has(what: &str, needs: &[(&str, &str)]) -> bool {
    needs.iter().all(|(program, package)| {
        let found = || run::find_in_path(program).is_some() || PathBuf::from(SYSTEM_PROGRAMS).join(program).is_file();
        if found() {
            return true;
        }
        let installed = packages::install(what, &[package], &[]);
        let reason =
            installed.as_ref().map_or_else(|error| format!("{error:#}"), |()| format!("`{program}` is missing"));
        let has = installed.is_ok() && found();
        if !has {
            say(&format!("{what} is left out: {reason}"));
        }
        has
    })
}
