//! What one CPU sample costs a profiler's kernel program, by `bpf_stats`.
//!
//! The clocks of all CPUs run the program, the target's CPU and others. A run that meets another thread
//! ends at once; what it costs is measured by profiling a process that sleeps. So with `t` samples of the
//! target among `r` runs that took `n` nanoseconds, and `e` for a run that ends at once, a sample costs
//! `(n − (r − t) · e) / t`. The target's samples are its CPU time by the scheduler's count, times the rate.
//! That is taken of each second, and the median counts: other work on the machine comes in bursts.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use crate::bench::meter;
use crate::bench::process::{Process, bound_to_us, pinned};
use crate::bench::programs::{self, Statistics};
use crate::bench::summary::Spread;
use crate::bench::tracer::Attached;
use crate::bench::tracers::until_interrupted;
use crate::bench::unwind::figures::Figures;

/// Whose samples.
pub(super) struct Profiler {
    pub(super) title: &'static str,
    /// What its target is built with.
    pub(super) frame_pointers: bool,
    command: fn(&Run<'_>, u32) -> Command,
    /// Its program for samples; the kernel runs others of it as well.
    program: &'static str,
}

pub(super) static PROFILERD: Profiler =
    Profiler { title: "profilerd", frame_pointers: false, command: profilerd, program: "cpu_sample" };
/// The kernel's own walk by frame pointers.
pub(super) static BPFTRACE: Profiler =
    Profiler { title: "bpftrace `ustack`", frame_pointers: true, command: bpftrace, program: "" };

fn profilerd(run: &Run<'_>, pid: u32) -> Command {
    let (pid, rate) = (pid.to_string(), run.rate_hz.to_string());
    let args = ["--quiet", "--pid", &pid, "--rate", &rate, "--clock", "cpu", "-o"];
    let mut command = until_interrupted(&run.profilerd.to_string_lossy(), &args);
    command.arg(run.folder.join(REPORT)).arg("-o").arg(run.folder.join(FOLDED));
    command
}

fn bpftrace(run: &Run<'_>, pid: u32) -> Command {
    let script = format!("profile:hz:{} /pid == {pid}/ {{ @[ustack] = count(); }} END {{ clear(@); }}", run.rate_hz);
    until_interrupted("bpftrace", &["-e", &script])
}

const REPORT: &str = "walk.json";
const FOLDED: &str = "walk.folded";

/// How a profiler is measured.
pub(super) struct Run<'a> {
    pub(super) profiler: &'static Profiler,
    pub(super) profilerd: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) rate_hz: u32,
    pub(super) seconds: u32,
}

/// What was found out about one kind of stack.
pub(super) struct Sample {
    pub(super) ns: Spread,
    pub(super) samples: f64,
    /// What the profiler says of its stacks, if it does.
    pub(super) figures: Option<Figures>,
}

/// Some runs of a program and the CPU time of its target meanwhile.
#[derive(Clone, Copy)]
struct Counts {
    run_ns: f64,
    runs: f64,
    target_ns: f64,
}

impl Run<'_> {
    /// Mean nanoseconds of a run that meets another thread than the target's.
    pub(super) fn empty_ns(&self) -> Result<f64> {
        let target = start("sleep", bound_to_us("sleep").arg("infinity"))?;
        let seconds = self.count(target.pid())?;
        let costs = seconds.iter().filter(|counts| counts.runs > 0.0).map(|counts| counts.run_ns / counts.runs);
        Ok(Spread::of(costs).context("no clock ran the program")?.median)
    }

    /// Of `program`, started with these arguments.
    pub(super) fn sample(&self, program: &Path, args: &[&str], empty_ns: f64) -> Result<Sample> {
        let target = start("walk", pinned(program).args(args))?;
        let seconds = self.count(target.pid())?;
        let samples = |counts: &Counts| counts.target_ns / 1e9 * f64::from(self.rate_hz);
        let costs = seconds.iter().filter_map(|counts| cost(counts, samples(counts), empty_ns));
        let ns = Spread::of(costs).context("the target was not sampled")?;
        let (report, folded) = (self.folder.join(REPORT), self.folder.join(FOLDED));
        let is_ours = std::ptr::eq(self.profiler, &PROFILERD);
        let figures = is_ours.then(|| Figures::read(&report, &folded)).transpose()?;
        Ok(Sample { ns, samples: seconds.iter().map(samples).sum(), figures })
    }

    /// Second by second.
    fn count(&self, pid: u32) -> Result<Vec<Counts>> {
        let attached = Attached::run(self.profiler.title, &mut (self.profiler.command)(self, pid), true)?;
        let _statistics = Statistics::enable()?;
        let so_far = || -> Result<Counts> {
            let programs = programs::of_process(attached.pid())?;
            let wanted = programs.iter().filter(|it| it.name.starts_with(self.profiler.program));
            let (run_ns, runs) = wanted.fold((0, 0), |(ns, runs), it| (ns + it.run_ns, runs + it.runs));
            let target_ns = meter::of_processes(&[pid])?.cpu_ns;
            Ok(Counts { run_ns: run_ns as f64, runs: runs as f64, target_ns: target_ns as f64 })
        };
        let mut before = so_far()?;
        let second = |_| {
            thread::sleep(Duration::from_secs(1));
            let after = so_far()?;
            let since = std::mem::replace(&mut before, after);
            Ok(Counts {
                run_ns: after.run_ns - since.run_ns,
                runs: after.runs - since.runs,
                target_ns: after.target_ns - since.target_ns,
            })
        };
        (0..self.seconds).map(second).collect()
    }
}

fn start(name: &str, command: &mut Command) -> Result<Process> {
    Process::start(name, command, Signal::SIGKILL, Duration::from_secs(5))
}

fn cost(counts: &Counts, samples: f64, empty_ns: f64) -> Option<f64> {
    let empty = (counts.runs - samples).max(0.0);
    (samples >= 1.0).then(|| (counts.run_ns - empty * empty_ns) / samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_meet_others_are_taken_out() {
        let counts = Counts { run_ns: 100.0 * 5_000.0 + 300.0 * 200.0, runs: 400.0, target_ns: 0.0 };
        assert_eq!(cost(&counts, 100.0, 200.0), Some(5_000.0));
        assert_eq!(cost(&counts, 0.0, 200.0), None);
    }
}
