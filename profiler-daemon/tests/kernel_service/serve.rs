//! A running `profilerd serve` with its files, and what it stored.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use profilerd::model::Recording;
use profilerd::store::{Follower, Reader, StoredWindow};
use tempfile::TempDir;

use crate::support::{Kernel, Outcome, Program, Report, folder, free_port, poll, run};

/// Longest time that a start, a stop or an answer takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// One window of the store.
pub(crate) type Stored = (StoredWindow, Recording);

/// A service, and the folder with all that is its own; the folder outlives the process.
pub(crate) struct Serve<'a> {
    kernel: &'a Kernel,
    folder: TempDir,
    port: u16,
    program: Option<Program>,
    /// How long it took from the start of the process until it profiled.
    pub(crate) started: Duration,
}

impl<'a> Serve<'a> {
    /// Starts it with this configuration and waits until it profiles.
    pub(crate) fn start(kernel: &'a Kernel, config: &str) -> Serve<'a> {
        let mut serve = Serve { kernel, folder: folder(), port: free_port(), program: None, started: Duration::ZERO };
        serve.configure(config);
        serve.go_on();
        serve
    }

    /// Starts it, again if it ended.
    pub(crate) fn go_on(&mut self) {
        let before = self.count("profiling all processes");
        let begin = Instant::now();
        let mut command = self.command();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut program = Program::start(command.stdin(Stdio::null()).stderr(log));
        let is_up = poll(SOON, || program.has_ended().is_some() || self.count("profiling all processes") > before);
        self.started = begin.elapsed();
        assert!(is_up && program.has_ended().is_none(), "{}", self.log());
        self.program = Some(program);
    }

    /// What starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.kernel.profilerd(["serve", "--store"]);
        command.arg(self.path("store")).arg(format!("--listen=127.0.0.1:{}", self.port));
        command.arg("--config").arg(self.path("profilerd.toml"));
        command
    }

    /// Writes the configuration; windows are of 2 s unless it says something else.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.path("profilerd.toml"), config).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.as_ref().unwrap().pid()
    }

    pub(crate) fn signal(&mut self, signal: Signal) {
        self.program.as_mut().unwrap().signal(signal);
    }

    /// Ends it by this signal, and waits.
    pub(crate) fn end(&mut self, signal: Signal) {
        let mut program = self.program.take().unwrap();
        assert_eq!(program.has_ended(), None, "{}", self.log());
        program.signal(signal);
        let ended = program.wait(SOON).unwrap_or_else(|| panic!("it does not end: {}", self.log()));
        assert!(ended.success() || signal == Signal::SIGKILL, "{ended}: {}", self.log());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// How often it said this.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        assert!(poll(SOON, || self.count(text) > 0), "it does not say `{text}`: {}", self.log());
    }

    /// All windows of the store, as they were stored.
    pub(crate) fn windows(&self) -> Vec<Stored> {
        windows(&self.path("store"))
    }

    /// Waits until so many more windows are stored than there were at the call.
    #[track_caller]
    pub(crate) fn wait_for_windows(&self, more: u64) {
        let stored = || Reader::open(&self.path("store")).unwrap().windows(ALL).unwrap().windows.len() as u64;
        let wanted = stored() + more;
        assert!(poll(SOON * 4, || stored() >= wanted), "no window: {}", self.log());
    }

    /// A page, with its headers.
    pub(crate) fn page(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A series of the page of metrics, by its name with labels; `None` if there is none.
    pub(crate) fn metric(&self, series: &str) -> Option<f64> {
        let page = self.page("/metrics");
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Runs another command on the store.
    pub(crate) fn ask(&self, words: &[&str]) -> Outcome {
        run(self.kernel.profilerd(words).arg("--store").arg(self.path("store")).env("TZ", "UTC"))
    }

    /// The report of a question, which closes.
    pub(crate) fn query(&self, words: &[&str]) -> (Report, String) {
        let json = self.path("answer.json");
        let outcome = self.ask(&[&["query", "-o", json.to_str().unwrap()], words].concat()).well();
        let report = Report::read(&json);
        report.assert_closes();
        (report, outcome.stdout)
    }
}

const ALL: profilerd::store::TimeRange = profilerd::store::TimeRange::ALL;

/// All windows of a store, one by one.
pub(crate) fn windows(store: &Path) -> Vec<Stored> {
    let mut follower = Follower::new(Reader::open(store).unwrap());
    let mut windows: Vec<Stored> = Vec::new();
    let newest = |windows: &[Stored]| windows.last().map_or(0, |(window, _)| window.sequence);
    while let Some(next) = follower.after(newest(&windows)).unwrap() {
        windows.push(next);
    }
    windows
}

/// The names of the functions of a stack, leaf first.
pub(crate) fn functions(recording: &Recording, stack: u64) -> Vec<String> {
    recording.frames.get(&stack).map(|frames| frames.iter().map(|frame| frame.name()).collect()).unwrap_or_default()
}

/// Time off-CPU by class and whether the stack has this function, of one thread in one window.
pub(crate) fn waited_in(recording: &Recording, tid: u64, function: &str) -> HashMap<(u32, bool), u64> {
    let mut sums = HashMap::new();
    for (key, value) in recording.capture.off_cpu.iter().filter(|(key, _)| u64::from(key.tid) == tid) {
        let is_there = functions(recording, key.user_stack).iter().any(|name| name == function);
        *sums.entry((key.class, is_there)).or_default() += value.blocked_ns + value.run_queue_ns;
    }
    sums
}
