//! What faults are made with in a guest, and how their answers are told. All of it is undone when the value is dropped.

use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::bpf::held_by;
use crate::support::{self, Kernel, Program, Truth, poll, run};

/// What every fault begins with.
pub(crate) fn kernel() -> Kernel {
    assert!(support::is_emulated(), "this breaks the machine that it runs on: `cargo xtask vm` runs it in a guest");
    support::kernel().expect("a guest has all that it needs")
}

/// Tells the table of faults, and fails if the answer was wrong.
#[track_caller]
pub(crate) fn judge(fault: &str, expected: &str, measured: impl Display, holds: bool) {
    println!("FAULT\t{fault}\t{expected}\t{measured}\t{}", if holds { "ok" } else { "WRONG" });
    assert!(holds, "{fault}: {expected}, but: {measured}");
}

/// Starts it without a word of it in the table.
pub(crate) fn start(command: &mut Command) -> Program {
    Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// Waits until a profiler has its hooks and a sampler on a CPU at least.
#[track_caller]
pub(crate) fn wait_until_attached(profilerd: &mut Program) {
    let pid = profilerd.pid();
    let is_attached = poll(Duration::from_secs(15), || held_by(pid).links.len() >= 5);
    assert!(is_attached, "{:?}", profilerd.has_ended());
}

/// A time for people.
pub(crate) fn ms(ns: u64) -> String {
    format!("{:.1} ms", ns as f64 / 1e6)
}

/// The middle one; 0 if there is none.
pub(crate) fn median(mut all: Vec<u64>) -> u64 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}

/// The only `TRUTH` line of an output.
#[track_caller]
pub(crate) fn truth(output: &str) -> Truth<'_> {
    let mut truths = support::truths(output);
    assert_eq!(truths.len(), 1, "{output}");
    truths.remove(0)
}

/// Runs a program of the system, which must end well.
#[track_caller]
fn tool(program: &str, arguments: &[&str]) -> String {
    run(Command::new(program).args(arguments)).well().stdout
}

/// A block device of the device mapper over 100 MiB of nothing: all reads of it succeed, and say zero.
pub(crate) struct Device {
    name: &'static str,
    pub(crate) path: String,
}

impl Device {
    /// `target` is its name in the mapper, `options` what follows the device below.
    pub(crate) fn make(name: &'static str, target: &str, options: &str) -> Device {
        let table = format!("0 204800 {target} /dev/nullb0 0 {options}");
        tool(DMSETUP, &["--noudevsync", "--noudevrules", "create", name, "--table", &table]);
        // Without udev nobody makes the link of that name.
        let minor = tool(DMSETUP, &["info", "-c", "--noheadings", "-o", "minor", name]);
        Device { name, path: format!("/dev/dm-{}", minor.trim()) }
    }

    /// From now on nothing is answered until [`Device::resume`].
    pub(crate) fn suspend(&self) {
        tool(DMSETUP, &["--noudevsync", "suspend", "--noflush", "--nolockfs", self.name]);
    }

    pub(crate) fn resume(&self) {
        tool(DMSETUP, &["--noudevsync", "resume", self.name]);
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Whoever waits for it would wait for ever; and a second failure would hide the first.
        for action in ["resume", "remove"] {
            let _ = Command::new(DMSETUP).args(["--noudevsync", "--noudevrules", action, self.name]).status();
        }
    }
}

/// By its path: busybox has some programs of other names inside, and prefers them.
const DMSETUP: &str = "/usr/sbin/dmsetup";
const TC: &str = "/usr/sbin/tc";

/// The loopback with a delay for each packet.
pub(crate) struct SlowLoopback;

impl SlowLoopback {
    pub(crate) fn make(delay: &str) -> SlowLoopback {
        tool(TC, &["qdisc", "add", "dev", "lo", "root", "netem", "delay", delay]);
        SlowLoopback
    }
}

impl Drop for SlowLoopback {
    fn drop(&mut self) {
        let _ = Command::new(TC).args(["qdisc", "del", "dev", "lo", "root"]).status();
    }
}

/// A cgroup of the unified hierarchy. What is in it ends with it.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one in which these files say this.
    pub(crate) fn make(name: &str, settings: &[(&str, &str)]) -> Cgroup {
        let root = Path::new("/sys/fs/cgroup");
        fs::write(root.join("cgroup.subtree_control"), "+cpu +memory").unwrap();
        let cgroup = Cgroup(root.join(name));
        fs::create_dir(&cgroup.0).unwrap();
        settings.iter().for_each(|(file, value)| cgroup.set(file, value));
        cgroup
    }

    pub(crate) fn set(&self, file: &str, value: &str) {
        fs::write(self.path(file), value).unwrap_or_else(|error| panic!("{file}: {error}"));
    }

    /// A number that one of its files gives for a name.
    pub(crate) fn number(&self, file: &str, name: &str) -> u64 {
        let text = fs::read_to_string(self.path(file)).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// One of its files.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// A command that goes there and becomes this one.
    pub(crate) fn enter(&self, words: Vec<&str>) -> Vec<String> {
        let script = format!("echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"", self.0.display());
        let words = words.into_iter().map(str::to_owned);
        ["sh".to_owned(), "-c".to_owned(), script].into_iter().chain(words).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for pid in fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines() {
            let pid = Pid::from_raw(pid.parse().unwrap());
            let _ = kill(pid, Signal::SIGKILL);
        }
        let is_gone = poll(Duration::from_secs(5), || fs::remove_dir(&self.0).is_ok());
        if !is_gone {
            println!("cannot remove {}", self.0.display());
        }
    }
}

/// A file system in memory of this size, mounted until this is dropped.
pub(crate) struct SmallDisk(pub(crate) TempDir);

impl SmallDisk {
    pub(crate) fn make(size: &str) -> SmallDisk {
        let folder = support::folder();
        tool("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", folder.path().to_str().unwrap()]);
        SmallDisk(folder)
    }

    /// Leaves no room at all.
    pub(crate) fn fill(&self) {
        let mut file = fs::File::create(self.0.path().join("full")).unwrap();
        while file.write(&[0; 4096]).is_ok() {}
    }

    pub(crate) fn make_read_only(&self) {
        tool("mount", &["-o", "remount,ro", self.0.path().to_str().unwrap()]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}
