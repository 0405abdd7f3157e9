//! Programs that a test starts, and that never outlive it.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// A running program with all that it starts: they are one process group, which ends with this value.
pub(crate) struct Program {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Starts it. It is told to end if the thread that started it dies.
    pub(crate) fn start(command: &mut Command) -> Program {
        let end_with_us = || {
            // SAFETY: takes no pointers.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: only a system call is made between fork and exec.
        unsafe { command.pre_exec(end_with_us) };
        let child = command.process_group(0).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Program { child, ended: None }
    }

    /// Starts it silently and waits until it has printed its first line.
    pub(crate) fn start_and_wait_for_line(command: &mut Command) -> Program {
        let mut program = Program::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let mut line = String::new();
        BufReader::new(program.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "{command:?} said nothing");
        program
    }

    /// Starts a server and waits until it takes connections at this port.
    pub(crate) fn serve(command: &mut Command, port: u16) -> Program {
        let mut program = Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok();
        assert!(poll(Duration::from_secs(20), listens), "{command:?}: nothing listens, {:?}", program.has_ended());
        program
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.ended = self.ended.or_else(|| self.child.try_wait().unwrap());
        self.ended
    }

    /// Waits for its end, so long at most.
    pub(crate) fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        poll(deadline, || self.has_ended().is_some());
        self.ended
    }

    /// Sends a signal to it alone.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.has_ended().is_none() {
            nix::sys::signal::kill(Pid::from_raw(self.pid() as i32), signal).unwrap();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.pid() as i32);
        // Servers end their own children when they end well. An empty group is an error, and fine.
        let _ = killpg(group, Signal::SIGTERM);
        if self.wait(Duration::from_secs(5)).is_none() {
            let _ = killpg(group, Signal::SIGKILL);
            let _ = self.child.wait();
        }
        let _ = killpg(group, Signal::SIGKILL);
    }
}

/// Asks until the answer is yes. Returns whether it ever was.
pub(crate) fn poll(deadline: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if start.elapsed() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port of the loopback that nobody listens at.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
