//! One run of the profiler from start to end.

use std::fs::{self, File};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Kernel, Program, Report};

/// No run here takes nearly as long.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a finished program left.
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Fails with what the program said unless it ended well.
    pub(crate) fn well(self) -> Outcome {
        assert!(self.status.success(), "{}: {}", self.status, self.stderr);
        self
    }
}

/// Runs a command to its end, its output in files: a pipe would have to be read meanwhile.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let folder = super::folder();
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.path().join(name));
    command.stdin(Stdio::null());
    command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
    let start = Instant::now();
    let status = Program::start(command).wait(DEADLINE).unwrap_or_else(|| panic!("{command:?} did not end"));
    let took = start.elapsed();
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Outcome { status, stdout: text(stdout), stderr: text(stderr), took }
}

impl Kernel {
    /// The profiler with these arguments.
    pub(crate) fn profilerd<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments);
        if self.types_of_file {
            command.env("PROFILERD_BTF", "/sys/kernel/btf/vmlinux");
        }
        command
    }

    /// The same kernel, as if it had no types of its own.
    pub(crate) fn without_types(self) -> Kernel {
        Kernel { types_of_file: true, ..self }
    }

    /// Profiles with these arguments and returns the JSON report and what was printed. The ledger is
    /// checked on the way: it closes in every report, whatever the test is about.
    pub(crate) fn record(&self, arguments: &str) -> (Report, Outcome) {
        self.record_words(arguments.split_whitespace())
    }

    /// The same for arguments with spaces in them.
    pub(crate) fn record_words<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> (Report, Outcome) {
        let folder = super::folder();
        let json = folder.path().join("report.json");
        let outcome = run(self.profilerd(["-o"]).arg(&json).args(arguments)).well();
        let report = Report::read(&json);
        report.assert_closes();
        (report, outcome)
    }
}
