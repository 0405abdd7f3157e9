//! `profilerd`: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    profilerd::cli::main()
}
