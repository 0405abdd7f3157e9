//! The main job: watch the target, then report.

use std::process::ExitCode;

use super::{CliError, RecordArgs};

/// Profiles what the arguments name.
///
/// # Errors
/// What could not start or finish, with its remedy.
pub fn run(args: &RecordArgs) -> Result<ExitCode, CliError> {
    args.check()?;
    let _target = args.target()?;
    Err(CliError::message("this build cannot capture"))
}
