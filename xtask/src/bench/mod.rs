//! What profilerd costs the programs that it watches, and how much of them it sees, measured.

mod budget;
mod driver;
mod load;
mod loads;
mod machine;
mod measure;
mod meter;
mod overhead;
mod price;
mod process;
mod programs;
mod store;
mod summary;
mod table;
mod tables;
mod tracer;
mod tracers;
mod unwind;
mod walk;

use anyhow::Result;

#[derive(clap::Subcommand)]
pub(crate) enum Bench {
    /// Slowdown of real loads under profilerd and under other tracers, as a Markdown table
    ///
    /// Each traced run stands between two untraced ones. Needs root; loads and tracers that are not
    /// installed are installed by apt.
    Overhead(overhead::Args),
    /// How whole the stacks of real programs are, as a Markdown table
    ///
    /// Compilers, node, python3, postgres and chromium, each profiled at work. Needs root; programs that
    /// are not installed are left out.
    Unwind(unwind::Args),
    /// Size and speed of the store on a synthetic hour that is hard on purpose, as a Markdown table
    Store(store::Args),
    /// Time and size of the unwind tables of large programs and libraries, as a Markdown table
    Tables(tables::Args),
    /// What it costs to walk stacks without frame pointers, as Markdown tables
    ///
    /// CPU samples by depth of stack, and waits of real services with the share of stacks that are
    /// recognised. Needs root; services that are not installed are left out.
    Walk(walk::Args),
}

/// Runs one of them.
///
/// # Errors
/// It could not be run, or with `--check` a budget was missed.
pub(crate) fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Overhead(args) => overhead::run(args),
        Bench::Unwind(args) => unwind::run(args),
        Bench::Store(args) => store::run(args),
        Bench::Tables(args) => tables::run(args),
        Bench::Walk(args) => walk::run(args),
    }
}
