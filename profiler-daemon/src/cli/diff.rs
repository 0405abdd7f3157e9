//! `profilerd diff`: two ranges, processes or files compared.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use super::{CliError, DiffArgs, instant, output, query};
use crate::aggregate;
use crate::sink::diff::{Comparison, Profile};
use crate::sink::report;
use crate::store::Filter;

/// Compares two sides, and draws them if a file was asked for.
///
/// # Errors
/// A side cannot be read, or the file not be written.
pub(super) fn run(args: &DiffArgs) -> Result<ExitCode, CliError> {
    let before = side(args, &args.before)?;
    let after = side(args, &args.after)?;
    let comparison = Comparison::new(&before, &after);
    if let Some(path) = &args.output {
        draw(&comparison, path)?;
    }
    super::print(|out| {
        report::write_diff(&comparison, args.top, out)?;
        match &args.output {
            Some(path) => writeln!(out, "\nwrote {}", path.display()),
            None => Ok(()),
        }
    })
}

/// A range of the store, one process of it, or a file.
fn side(args: &DiffArgs, text: &str) -> Result<Profile, CliError> {
    let path = Path::new(text);
    let Some((since, rest)) = text.split_once("..").filter(|_| !path.is_file()) else {
        return Profile::of_file(path).map_err(|error| {
            CliError::new(error).remedy("name a range as 14:00..14:05, or a .folded or .json file that profilerd wrote")
        });
    };
    let (until, process) = match rest.rsplit_once('@') {
        Some((until, process)) => (until, Some(process)),
        None => (rest, None),
    };
    let range = instant::range(since, until)?;
    let filter = match process.map(|process| (process, process.parse::<u32>())) {
        None => Filter::default(),
        Some((_, Ok(pid))) => Filter { pids: vec![pid], ..Filter::default() },
        Some((comm, Err(_))) => Filter { comms: vec![comm.to_owned()], ..Filter::default() },
    };
    let recording = query::read(&query::open(&args.store)?, range, &filter)?;
    Ok(Profile::of_window(&aggregate::window(recording), output::clock(args.clock))?)
}

fn draw(comparison: &Comparison, path: &Path) -> Result<(), CliError> {
    if comparison.stacks.is_none() {
        return Err(CliError::message("a JSON report has no stacks of on-CPU time to draw")
            .remedy("compare .folded files, or ranges of the store"));
    }
    let mut file = Vec::new();
    if path.extension().is_some_and(|ending| ending == "svg") {
        comparison.svg(&mut file)?;
    } else {
        comparison.folded(&mut file)?;
    }
    fs::write(path, file).map_err(|error| CliError::new(error).context(format!("cannot write `{}`", path.display())))
}
