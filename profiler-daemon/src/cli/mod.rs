//! Arguments and commands: one file a command.

mod args;
mod doctor;
mod error;
mod explain;
mod man;
mod progress;
pub mod record;
pub mod terminal;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

pub use args::{Cli, Clock, Color, Command, DoctorArgs, ExplainArgs, RecordArgs, Target};
pub use error::CliError;
pub use progress::Progress;
pub use value::{Format, Output};

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; a closed stdout is no failure of ours.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    dispatch(&cli).unwrap_or_else(|error| error.report())
}

fn dispatch(cli: &Cli) -> Result<ExitCode, CliError> {
    match &cli.command {
        None => record::run(&cli.record),
        Some(Command::Explain(args)) => explain::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Completions { shell }) => print(|out| {
            clap_complete::generate(*shell, &mut Cli::command(), "profilerd", out);
            Ok(())
        }),
        Some(Command::Man) => print(|out| man::write(out)),
    }
}

/// Makes a text whole and then writes it to stdout, so that a reader who leaves costs one error.
fn print(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Result<ExitCode, CliError> {
    let mut text = Vec::new();
    write(&mut text)?;
    let mut out = io::stdout().lock();
    out.write_all(&text)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
