//! What the store costs: one hour that is hard on purpose.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::table::table;
use crate::run;
use crate::workspace;

/// The example of the daemon that measures.
const EXAMPLE: &str = "store_hour";
/// Figures that may not be larger, by their names. A person waits for an answer by the clock on the wall.
const BUDGETS: [(&str, f64); 2] = [("sealed hour", 18.0), ("sealed: 5 min of all processes, wall clock", 150.0)];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if a figure is over its budget
    #[arg(long)]
    check: bool,
    /// Directory on the disk to measure; it must not hold a store
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints a table of all figures.
///
/// # Errors
/// The daemon does not build, the store fails, or with `--check` a budget was missed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let directory = args.directory.clone().unwrap_or_else(|| workspace::target().join("bench-store"));
    if args.directory.is_none() && directory.exists() {
        std::fs::remove_dir_all(&directory)?;
    }
    let mut cargo = run::cargo();
    cargo.args(["run", "--release", "--package", "profiler-daemon", "--example", EXAMPLE, "--target-dir"]);
    cargo.arg(workspace::target()).arg("--").arg(&directory);
    let figures = figures(&String::from_utf8(run::output(&mut cargo)?)?)?;
    let mut rows = vec![["figure", "value", "budget"].map(str::to_owned).to_vec()];
    for (name, value, unit) in &figures {
        let budget = budget(name).map_or(String::new(), |most| format!("{most} {unit}"));
        rows.push(vec![name.clone(), format!("{value:.2} {unit}"), budget]);
    }
    println!("{}", table(&rows));
    let over: Vec<&str> = figures
        .iter()
        .filter(|(name, value, _)| budget(name).is_some_and(|most| *value > most))
        .map(|(name, ..)| name.as_str())
        .collect();
    if args.check && !over.is_empty() {
        bail!("over budget: {}", over.join(", "));
    }
    Ok(())
}

fn budget(name: &str) -> Option<f64> {
    BUDGETS.iter().find(|(budgeted, _)| *budgeted == name).map(|(_, most)| *most)
}

/// Name, value and unit of each line.
fn figures(output: &str) -> Result<Vec<(String, f64, String)>> {
    let figure = |line: &str| {
        let mut parts = line.split('\t');
        let (name, value, unit) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        Some((name.to_owned(), value, unit.to_owned()))
    };
    output.lines().map(|line| figure(line).with_context(|| format!("no figure: {line}"))).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn lines_become_figures() {
        let found = figures("sealed hour\t17.50\tMB\nstacks seen\t3\t\n").unwrap();
        assert_eq!(found, [("sealed hour".into(), 17.5, "MB".into()), ("stacks seen".into(), 3.0, String::new())]);
        assert_eq!(budget("sealed hour"), Some(18.0));
        assert!(figures("panicked").is_err());
    }
}
