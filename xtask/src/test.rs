//! All tests, on the program as it is shipped.

use std::env;
use std::ffi::OsString;

use anyhow::Result;

use crate::{build, collector, dist, kernel, run, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// More arguments for `cargo test`, such as `-p profiler-daemon --test kernel_ledger`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// Builds everything, then runs `cargo test`. Tests find the finished program by
/// `PROFILERD_BINARY`: what they assert of time and memory holds for an optimized one. Those of OTLP find a real
/// collector by `PROFILERD_COLLECTOR`, those of packages find these by `PROFILERD_DIST`.
///
/// # Errors
/// Something does not build, or a test failed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = build::run()?;
    let mut cargo = run::cargo();
    cargo.args(["test", "--target-dir"]).arg(workspace::target());
    if !args.rest.iter().any(|arg| ["-p", "--package", "--workspace"].iter().any(|name| arg == name)) {
        cargo.arg("--workspace");
    }
    // clap drops a `--` that comes first, which parts cargo's arguments from those of the tests.
    if env::args_os().nth(2).is_some_and(|first| first == "--") {
        cargo.arg("--");
    }
    cargo.args(&args.rest);
    cargo.env(build::OBJECT_VARIABLE, kernel::build::our_object()).env("PROFILERD_BINARY", &binary);
    // Packing takes a quarter of a minute, which one test of something else need not wait for.
    let is_one = args.rest.iter().any(|arg| arg == "--test" || arg == "--lib");
    if !is_one || args.rest.iter().any(|arg| arg == "kernel_package") {
        match dist::pack(&binary) {
            Ok(results) => drop(cargo.env(dist::VARIABLE, results)),
            // As with the collector below.
            Err(error) => run::say(&format!("no packages: {error:#}")),
        }
    }
    match collector::build() {
        Ok(collector) => drop(cargo.env(collector::VARIABLE, collector)),
        // The tests that need it say so, and fail where none may be skipped.
        Err(error) => run::say(&format!("no OpenTelemetry Collector: {error:#}")),
    }
    run::run(&mut cargo)
}
