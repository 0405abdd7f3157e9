//! What makes a load's operations happen, a batch at a time.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::Signal;

use super::process::Process;
use crate::run;

/// The line that ends a batch of a [`Session`].
const DONE: &str = "done";

/// One batch, started and waited for.
pub(super) enum Driver {
    /// A program that lives on between batches.
    Session(Session),
    /// A program that runs once a batch.
    Command(Box<dyn Fn() -> Command>),
}

impl Driver {
    /// Runs one batch and returns what a command printed.
    pub(super) fn batch(&mut self) -> Result<String> {
        match self {
            Driver::Session(session) => session.batch().map(|()| String::new()),
            Driver::Command(command) => {
                let output = run::output(command().stdout(Stdio::piped()))?;
                Ok(String::from_utf8_lossy(&output).into_owned())
            }
        }
    }
}

/// A program that runs a batch for each order on its standard input, and then answers "done".
pub(super) struct Session {
    // Closed before the process is ended: most programs then end by themselves.
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    order: String,
    process: Process,
}

impl Session {
    pub(super) fn start(name: &str, command: &mut Command, order: &str) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = Process::start(name, command, Signal::SIGTERM, Duration::from_secs(5))?;
        let (input, output) = process.pipes()?;
        Ok(Self { input, output: BufReader::new(output), order: order.to_owned(), process })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends one line and returns the answer.
    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the load's driver ended in the middle of a batch");
        }
        Ok(line.trim_end().to_owned())
    }

    fn batch(&mut self) -> Result<()> {
        let answer = self.ask(&self.order.clone())?;
        if answer != DONE {
            bail!("the load's driver answered `{}`", answer.escape_debug());
        }
        Ok(())
    }
}
