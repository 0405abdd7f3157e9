//! `cargo xtask bench unwind`: how whole the stacks of real programs are.

pub(super) mod figures;
mod programs;
mod table;

use std::path::{self, Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, bail};

use self::figures::Figures;
use self::programs::Program;
use super::process::{Folder, SYSTEM_PROGRAMS, bound_to_us};
use super::{machine, table as markdown};
use crate::build;
use crate::run::{self, say};

/// Of the samples, what must be whole.
const COMPLETE: f64 = 0.98;
/// CPU samples a second; no divisor of what programs do periodically.
const RATE_HZ: &str = "199";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each program is profiled
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Only these programs
    #[arg(long, value_name = "PROGRAM", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// Measure this profilerd instead of building one
    #[arg(long, value_name = "FILE")]
    profilerd: Option<PathBuf>,
    /// Fail if fewer than 98 % of a program's samples are whole
    #[arg(long)]
    check: bool,
}

fn names() -> clap::builder::PossibleValuesParser {
    programs::ALL.iter().map(|program| program.name).collect::<Vec<_>>().into()
}

/// Measures and prints.
///
/// # Errors
/// We are not root, nothing is left to measure, a program failed, or with `--check` too few stacks were
/// whole.
pub(super) fn run(args: &Args) -> Result<()> {
    if !run::is_root() {
        bail!("profiling needs root\n  try: sudo env PATH=\"$PATH\" cargo xtask bench unwind");
    }
    let profilerd = match &args.profilerd {
        Some(file) => path::absolute(file)?,
        None => build::run()?,
    };
    let wanted = |program: &&Program| args.only.is_empty() || args.only.iter().any(|name| name == program.name);
    let mut measured = Vec::new();
    for program in programs::ALL.iter().filter(wanted).filter(|program| has(program)) {
        say(&format!("{}: {}", program.name, program.about));
        let figures = measure(program, &profilerd, args.seconds);
        measured.push((program, figures.with_context(|| format!("program `{}`", program.name))?));
    }
    if measured.is_empty() {
        bail!("nothing is left to measure");
    }
    let provenance = format!(
        "`cargo xtask bench unwind`, {}. {} at {RATE_HZ} Hz, {} s each.",
        machine::machine(),
        run::ask(&profilerd, &["--version"]).unwrap_or_default().trim(),
        args.seconds
    );
    println!("{provenance}\n\n{}", markdown::table(&table::rows(&measured)));
    let short = measured.iter().filter(|(_, figures)| figures.on_cpu_complete.is_none_or(|share| share < COMPLETE));
    let short: Vec<_> = short.map(|(program, _)| program.name).collect();
    if args.check && !short.is_empty() {
        bail!("fewer than {:.0} % of the samples are whole: {}", COMPLETE * 100.0, short.join(", "));
    }
    Ok(())
}

fn has(program: &Program) -> bool {
    let missing = program.needs.iter().find(|name| {
        let is_there = run::find_in_path(name).is_some() || Path::new(SYSTEM_PROGRAMS).join(name).is_file();
        !is_there && !Path::new(name).is_file()
    });
    if let Some(missing) = missing {
        say(&format!("{} is left out: `{missing}` is not installed", program.name));
    }
    missing.is_none()
}

/// Starts a program, profiles it with all that it starts, and ends it.
fn measure(program: &Program, profilerd: &Path, seconds: u32) -> Result<Figures> {
    let folder = Folder::new()?;
    let running = (program.start)(folder.path())?;
    thread::sleep(program.settle);
    let (report, folded) = (folder.path().join("report.json"), folder.path().join("cpu.folded"));
    let mut command = bound_to_us(profilerd);
    let pid = running.profiled().to_string();
    command.args(["--quiet", "--tree", "--compare-walks", "--rate", RATE_HZ, "--clock", "cpu", "--pid", &pid]);
    command.args(["--duration", &seconds.to_string()]);
    command.arg("-o").arg(&report).arg("-o").arg(&folded);
    run::output(&mut command)?;
    Figures::read(&report, &folded)
}
