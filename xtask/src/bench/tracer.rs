//! A tracer at work: attached for as long as its value lives.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::process::Process;
use super::tracers::{Context, Kind, Tracer};

/// How long the set of a tracer's links and events stays as it is before we believe it complete.
const QUIET: Duration = Duration::from_millis(500);
/// Time for what a tracer does once attached: ours visits all threads.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a tracer may take to print what it found.
const STOP_WITHIN: Duration = Duration::from_secs(60);

/// An attached tracer; dropping it interrupts it and waits for its end.
pub(super) struct Attached(Process);

impl Attached {
    /// Starts it and waits until it traces.
    ///
    /// # Errors
    /// It could not start, or attached nothing.
    pub(super) fn start(tracer: &Tracer, context: &Context<'_>) -> Result<Self> {
        Self::run(tracer.title, &mut (tracer.command)(context), tracer.kind != Kind::Control)
    }

    /// The same for any command; `attaches` if it has kernel programs to wait for.
    ///
    /// # Errors
    /// As [`Attached::start`].
    pub(super) fn run(title: &str, command: &mut Command, attaches: bool) -> Result<Self> {
        let mut process = Process::start(title, command, Signal::SIGINT, STOP_WITHIN)?;
        if attaches {
            let pid = process.pid();
            let mut last = (0, Instant::now());
            process.wait_until("attached", || {
                let handles = handles(pid).unwrap_or_default();
                if handles != last.0 {
                    last = (handles, Instant::now());
                }
                (handles > 0 && last.1.elapsed() > QUIET).then_some(())
            })?;
        }
        thread::sleep(SETTLE);
        Ok(Self(process))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }
}

/// Number of links and events that a process holds: its programs may be loaded long before they are attached.
fn handles(pid: u32) -> Result<usize> {
    let folder = format!("/proc/{pid}/fd");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read `{folder}`"))?;
    let targets = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets
        .filter(|target| {
            let target = target.to_string_lossy();
            ["bpf_link", "[perf_event]"].iter().any(|kind| target.ends_with(kind))
        })
        .count())
}
