//! `cargo xtask bench overhead`: which loads, which tracers, which budgets.

use std::path::{self, PathBuf};

use anyhow::{Context, Result, bail};

use super::load::Load;
use super::measure::{Measured, Plan};
use super::process::Folder;
use super::tracers::{Kind, Tracer};
use super::{loads, machine, table, tracers};
use crate::build;
use crate::kernel::packages;
use crate::run::{self, say};

/// What our kernel programs may take of a cycle, in nanoseconds, what it costs to time them included.
const CYCLE_BUDGET_NS: f64 = 700.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each tracer is measured on each load
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Only these loads: futex, pipe, redis, nginx, postgres, python
    #[arg(long, value_name = "LOAD", value_delimiter = ',', value_parser = names_of_loads())]
    only: Vec<String>,
    /// Only these tracers: none, profilerd-all, profilerd-pid, offcputime, bpftrace, perf-sched
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
    let missed = missed(&measured);
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
        let found = || run::find_in_path(program).is_some() || PathBuf::from("/usr/sbin").join(program).is_file();
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

/// The budgets that these figures miss, one line each.
fn missed(measured: &[Measured]) -> Vec<String> {
    let mut lines = Vec::new();
    for Measured { load, slowdowns, prices } in measured {
        let ours = |kind| kind == Kind::Ours;
        for (tracer, price) in prices.iter().filter(|(tracer, _)| ours(tracer.kind)) {
            if price.cycle_ns.median > CYCLE_BUDGET_NS {
                let (cost, budget) = (price.cycle_ns.median / 1e3, CYCLE_BUDGET_NS / 1e3);
                lines.push(format!("{}: {} takes {cost:.2} µs a cycle, budget {budget:.2}", load.name, tracer.title));
            }
        }
        for (tracer, slowdown) in slowdowns.iter().filter(|(tracer, _)| ours(tracer.kind)) {
            for (rival, other) in slowdowns.iter().filter(|(rival, _)| rival.kind == Kind::Rival) {
                if slowdown.ratio.median >= other.ratio.median {
                    let (ratio, theirs) = (slowdown.ratio.median, other.ratio.median);
                    lines.push(format!(
                        "{}: {} ×{ratio:.2} is no less than {} ×{theirs:.2}",
                        load.name, tracer.title, rival.title
                    ));
                }
            }
        }
    }
    lines
}
