//! Arguments and commands: one file a command.

mod args;
mod config;
mod diff;
mod doctor;
mod error;
mod explain;
mod instant;
mod ls;
mod man;
mod output;
mod progress;
mod query;
pub mod record;
mod serve;
pub mod terminal;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Parser};

use crate::model::nearest;

pub use args::{
    Cli, Clock, Color, Command, ConfigArgs, DiffArgs, DoctorArgs, ExplainArgs, LsArgs, OutputArgs, QueryArgs,
    RecordArgs, ServeArgs, StoreArgs, Target,
};
pub use error::CliError;
pub use progress::Progress;
pub use value::{Format, Output};

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if let Some(error) = stray_word(&error) {
                return error.report();
            }
            // Help and version come this way too; a closed stdout is no failure of ours.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    dispatch(&cli).unwrap_or_else(|error| error.report())
}

/// `profilerd 4242` and `profilerd exlain`: what is meant is easy to guess, so say it.
fn stray_word(error: &clap::Error) -> Option<CliError> {
    let stray = error.kind() == ErrorKind::UnknownArgument;
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg).filter(|_| stray) else { return None };
    if word.starts_with('-') {
        return None;
    }
    let command = Cli::command();
    let mut commands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
    let remedy = if word.parse::<u32>().is_ok() {
        format!("`profilerd --pid {word}`")
    } else if let Some(name) = commands.find(|name| nearest::edits(name, word) <= 2) {
        format!("`profilerd {name}`")
    } else {
        format!("`profilerd --comm {word}` for processes of this name, `profilerd -- {word}` to start it")
    };
    Some(CliError::usage(format!("unexpected argument `{word}`")).remedy(remedy))
}

fn dispatch(cli: &Cli) -> Result<ExitCode, CliError> {
    match &cli.command {
        None => record::run(&cli.record),
        Some(Command::Explain(args)) => explain::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Serve(args)) => serve::run(args),
        Some(Command::Config(args)) => config::run(args),
        Some(Command::Query(args)) => query::run(args),
        Some(Command::Ls(args)) => ls::run(args),
        Some(Command::Diff(args)) => diff::run(args),
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
    out.write_all(&text).and_then(|()| out.flush()).map_err(not_printed)?;
    Ok(ExitCode::SUCCESS)
}

/// What stdout leads to takes no more: a full disk, a terminal that is gone.
fn not_printed(error: io::Error) -> CliError {
    let remedy = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room where its output goes, or send it to another file system"
        }
        _ => "send its output to a file that you may write, or to a terminal",
    };
    CliError::new(error).context("cannot write to standard output").remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expected: Option<&str>) {
        let parsed = Cli::try_parse_from(std::iter::once(&"profilerd").chain(words));
        let said = parsed.err().as_ref().and_then(stray_word).map(|error| error.to_string());
        assert_eq!(said.as_deref(), expected);
    }

    #[test]
    fn a_stray_word_leads_to_what_was_meant() {
        check(&["4242"], Some("error: unexpected argument `4242`\n  try: `profilerd --pid 4242`\n"));
        check(&["exlain"], Some("error: unexpected argument `exlain`\n  try: `profilerd explain`\n"));
        check(
            &["nginx"],
            Some(
                "error: unexpected argument `nginx`\n  \
                   try: `profilerd --comm nginx` for processes of this name, `profilerd -- nginx` to start it\n",
            ),
        );
        check(&["--nonsense"], None);
        check(&["--help"], None);
    }
}
