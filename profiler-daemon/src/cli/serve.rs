//! `profilerd serve`: the service.

use std::process::ExitCode;

use super::CliError;
use super::args::ServeArgs;
use crate::config::{Argument, Sources};
use crate::daemon::service::{self, ServiceError};

/// Runs until it is told to stop.
///
/// # Errors
/// What keeps the service from starting or going on.
pub(super) fn run(args: &ServeArgs) -> Result<ExitCode, CliError> {
    let argument = |option, key, value: &String| Argument { option, key, value: value.clone() };
    let mut arguments: Vec<Argument> = args.otlp.iter().map(|url| argument("--otlp", "otlp", url)).collect();
    arguments.extend(args.store.iter().map(|folder| argument("--store", "store.dir", folder)));
    arguments.extend(args.listen.iter().map(|address| argument("--listen", "metrics.listen", address)));
    let sources = Sources::new(args.config.clone(), arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(service::run(sources)).map_err(|error: ServiceError| {
        let remedy = error.remedy();
        let is_usage = matches!(error, ServiceError::Config(_));
        let error = CliError::new(error).maybe_remedy(remedy);
        // As for arguments that make no sense: starting again does not mend it.
        if is_usage { error.exit_with(2) } else { error }
    })?;
    Ok(ExitCode::SUCCESS)
}
