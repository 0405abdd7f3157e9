//! Programs that we start, watch, and surely end.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::run::say;

/// The CPU of every load, service and driver alike. What a tracer does while a CPU goes idle is charged to
/// nobody; where two parties take turns on one CPU it never does, and all of a tracer's time is theirs.
const CPU: &str = "0";

/// Where services and tracers lie.
pub(super) const SYSTEM_PROGRAMS: &str = "/usr/sbin";

/// A command that ends when we do, however we end.
pub(super) fn bound_to_us(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    // A user's path, kept under sudo, often lacks the folder of services and tracers.
    command.env("PATH", format!("{}:{SYSTEM_PROGRAMS}", env::var("PATH").unwrap_or_default()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The same on the CPU of the loads, ahead of the machine's other work.
pub(super) fn pinned(program: impl AsRef<OsStr>) -> Command {
    let mut command = bound_to_us("taskset");
    // Each of these replaces itself by the next, so the pid is the program's.
    command.args(["--cpu-list", CPU, "nice", "-n", "-15"]).arg(program);
    command
}

/// A running program.
pub(super) struct Process {
    child: Child,
    name: String,
    signal: Signal,
    patience: Duration,
}

impl Process {
    /// Starts it; `signal` is what ends it, within `patience`.
    pub(super) fn start(name: &str, command: &mut Command, signal: Signal, patience: Duration) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("cannot start `{name}`"))?;
        Ok(Self { child, name: name.to_owned(), signal, patience })
    }

    /// Starts a service.
    pub(super) fn service(name: &str, command: &mut Command) -> Result<Self> {
        Self::start(name, command, Signal::SIGTERM, Duration::from_secs(10))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Both ends of its pipes, if they were asked for.
    pub(super) fn pipes(&mut self) -> Result<(ChildStdin, ChildStdout)> {
        let pipes = self.child.stdin.take().zip(self.child.stdout.take());
        pipes.with_context(|| format!("`{}` has no pipes", self.name))
    }

    /// Polls until `ready` gives a value.
    ///
    /// # Errors
    /// Half a minute has passed, or the program has ended.
    pub(super) fn wait_until<T>(&mut self, what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("`{}` ended before it {what}: {status}", self.name);
            }
            if Instant::now() > deadline {
                bail!("`{}` has not {what} within half a minute", self.name);
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended by itself, which `try_wait` tells.
        let _ = kill(Pid::from_raw(self.child.id() as i32), self.signal);
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        say(&format!("`{}` did not end by itself and was killed", self.name));
    }
}

/// A folder of our own that goes away with its value.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("profilerd-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What remains lies in the system's own folder for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}
