//! `profilerd config`: what counts of a configuration, or what is wrong with it.

use std::io::Write;
use std::process::ExitCode;

use super::CliError;
use super::args::ConfigArgs;
use crate::config::Sources;

/// Prints the configuration that `serve` would run by.
///
/// # Errors
/// When the file cannot be read or something in it is wrong, and when the output cannot be written.
pub(super) fn run(args: &ConfigArgs) -> Result<ExitCode, CliError> {
    let sources = Sources::new(args.check.clone(), Vec::new());
    let effective = sources.load().map_err(|error| {
        let remedy = error.remedy();
        CliError::new(error).maybe_remedy(remedy)
    })?;
    super::print(|out| write!(out, "{effective}"))
}
