//! How a command fails: what went wrong, why, what to try, and with which exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::model::text::printable;

/// An error on its way to a person.
///
/// Its `Display` is the whole message, several lines with a line feed at the end:
/// ```text
/// error: cannot start signal `run-queue`
///   caused by: Operation not permitted (os error 1)
///   try: run as root, or grant CAP_BPF and CAP_PERFMON
/// ```
#[derive(Debug)]
pub struct CliError {
    error: anyhow::Error,
    remedy: Option<String>,
    exit_code: u8,
}

impl CliError {
    /// Something could not start or finish: exit code 1. The causes are those of `error`.
    pub fn new(error: impl Into<anyhow::Error>) -> CliError {
        CliError { error: error.into(), remedy: None, exit_code: 1 }
    }

    /// The same without a cause: `message` is all there is to say.
    pub fn message(message: impl Into<String>) -> CliError {
        CliError::new(anyhow::Error::msg(message.into()))
    }

    /// The arguments make no sense: exit code 2.
    pub fn usage(message: impl Into<String>) -> CliError {
        CliError { exit_code: 2, ..CliError::message(message) }
    }

    /// What was being done when it failed; the error so far becomes the cause.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> CliError {
        CliError { error: self.error.context(message.into()), ..self }
    }

    /// What a person can do about it. Lines after the first are indented under it.
    #[must_use]
    pub fn remedy(self, remedy: impl Into<String>) -> CliError {
        CliError { remedy: Some(remedy.into()), ..self }
    }

    /// The same for stages whose errors know a remedy only sometimes.
    #[must_use]
    pub fn maybe_remedy(self, remedy: Option<impl Into<String>>) -> CliError {
        match remedy {
            Some(remedy) => self.remedy(remedy),
            None => self,
        }
    }

    /// Another exit code than 1, such as 127 for a command that was not found.
    #[must_use]
    pub fn exit_with(self, exit_code: u8) -> CliError {
        CliError { exit_code, ..self }
    }

    /// The exit code of the program.
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// Whether whoever read our output has gone, as with `profilerd … | head`: nothing to report.
    pub fn is_broken_pipe(&self) -> bool {
        let kind = self.error.downcast_ref::<io::Error>().map(io::Error::kind);
        kind == Some(io::ErrorKind::BrokenPipe)
    }

    /// Prints the message on stderr and gives the exit code. A broken pipe is quiet.
    pub(super) fn report(&self) -> ExitCode {
        if self.is_broken_pipe() {
            return ExitCode::SUCCESS;
        }
        let text = self.to_string();
        match text.strip_prefix(PREFIX) {
            // Nobody is left to tell if stderr is closed.
            Some(rest) if super::terminal::stderr_colors() => eprint!("\x1b[1;31m{PREFIX}\x1b[0m{rest}"),
            _ => eprint!("{text}"),
        }
        ExitCode::from(self.exit_code)
    }
}

const PREFIX: &str = "error:";

impl fmt::Display for CliError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.error.to_string();
        writeln!(out, "{PREFIX} {}", indented(&said))?;
        for cause in self.error.chain().skip(1) {
            let cause = cause.to_string();
            // Some libraries repeat their source in their own message: once is enough.
            if !said.contains(&cause) {
                writeln!(out, "  caused by: {}", indented(&cause))?;
                said = cause;
            }
        }
        match &self.remedy {
            Some(remedy) => writeln!(out, "  try: {}", indented(remedy)),
            None => Ok(()),
        }
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::new(error)
    }
}

/// Lines after the first stand under the first; names from strangers cannot act on the terminal.
fn indented(text: &str) -> String {
    text.trim_end().lines().map(printable).collect::<Vec<_>>().join("\n       ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum LoadError {
        #[error("cannot load kernel program `{program}`")]
        NotPermitted { program: &'static str, source: io::Error },
        #[error("cannot read `{0}`: {1}")]
        Repeats(&'static str, #[source] io::Error),
    }

    #[track_caller]
    fn check(error: CliError, expected: &str) {
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn an_error_names_its_causes_and_the_way_out() {
        let source = io::Error::from_raw_os_error(1);
        let error = CliError::new(LoadError::NotPermitted { program: "sched_switch", source })
            .context("cannot start signal `run-queue`")
            .remedy("run as root, or grant CAP_BPF and CAP_PERFMON");
        check(
            error,
            "error: cannot start signal `run-queue`\n  \
               caused by: cannot load kernel program `sched_switch`\n  \
               caused by: Operation not permitted (os error 1)\n  \
               try: run as root, or grant CAP_BPF and CAP_PERFMON\n",
        );
    }

    #[test]
    fn a_cause_that_was_said_is_not_said_again() {
        let error = CliError::new(LoadError::Repeats("maps", io::Error::from_raw_os_error(13)));
        check(error, "error: cannot read `maps`: Permission denied (os error 13)\n");
    }

    #[test]
    fn lines_of_a_message_stand_under_each_other() {
        check(
            CliError::message("no process 4243")
                .remedy("pgrep -a NAME to find it;\na pid inside a container is another"),
            "error: no process 4243\n  try: pgrep -a NAME to find it;\n       a pid inside a container is another\n",
        );
    }

    #[test]
    fn a_hostile_name_cannot_act_on_the_terminal() {
        check(
            CliError::message("no process named `\x1b]0;owned\x07`"),
            "error: no process named `\\u{1b}]0;owned\\u{7}`\n",
        );
    }

    #[test]
    fn exit_codes_follow_the_kind() {
        assert_eq!(CliError::message("x").exit_code(), 1);
        assert_eq!(CliError::usage("x").exit_code(), 2);
        assert_eq!(CliError::message("x").exit_with(127).context("y").exit_code(), 127);
        assert!(CliError::from(io::Error::from(io::ErrorKind::BrokenPipe)).is_broken_pipe());
    }
}
