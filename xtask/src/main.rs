//! Builds, tests and demonstrates profilerd: everything that `cargo build` alone cannot do,
//! because the kernel programs are made for another target by another compiler.

mod bench;
mod build;
mod collector;
mod cross;
mod demo;
mod dist;
mod fuzz;
mod install;
mod kernel;
mod machine;
mod run;
mod test;
mod tree;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// Builds, tests and demonstrates profilerd
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Build the kernel programs from source into target/bpf
    BuildEbpf,
    /// Build target/release/profilerd, one file with the kernel programs inside
    Build(build::Args),
    /// Build everything and run all tests; the kernel tests need root
    Test(test::Args),
    /// Profile a sample service (or `--pid N`): a report, a flame graph and a JSON file
    Demo(demo::Args),
    /// Make what is given to others: a tarball for any distribution, a package for Debian
    Dist,
    /// Install the program, its man page, shell completions and unit
    Install(install::Args),
    /// Measure what profilerd costs
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run the fuzz targets of the readers of untrusted input; installs cargo-fuzz if it is missing
    Fuzz(fuzz::Args),
    /// Build the OpenTelemetry Collector that the tests send to
    Collector,
    /// Run the kernel tests on stock Debian kernels in QEMU: all of them, or those named
    Vm(vm::Args),
    /// Check that the kernel programs hold no panic path and no open call
    CheckObject,
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::BuildEbpf => kernel::build::ours().map(drop),
        Command::Build(args) => build::run_for(&args).map(drop),
        Command::Test(args) => test::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Dist => dist::run(),
        Command::Install(args) => install::run(&args),
        Command::Bench(bench) => bench::run(&bench),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Collector => collector::build().map(drop),
        Command::Vm(args) => vm::run(&args),
        Command::CheckObject => kernel::check::all(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}
