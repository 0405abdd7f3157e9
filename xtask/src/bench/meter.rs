//! CPU time and switches of processes, as the scheduler counts them.

use std::fs;
use std::ops::{Add, Sub};

use anyhow::{Context, Result};
use nix::sys::resource::{Usage as Rusage, UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// What threads have used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Time on a CPU in nanoseconds, user and kernel.
    pub(super) cpu_ns: u64,
    /// How often they left a CPU, voluntarily or not.
    pub(super) switches: u64,
}

impl Add for Usage {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { cpu_ns: self.cpu_ns + other.cpu_ns, switches: self.switches + other.switches }
    }
}

impl Sub for Usage {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            switches: self.switches.saturating_sub(before.switches),
        }
    }
}

/// All threads of these processes, which must live on.
pub(super) fn of_processes(pids: &[u32]) -> Result<Usage> {
    pids.iter().try_fold(Usage::default(), |sum, pid| Ok(sum + of_process(*pid)?))
}

fn of_process(pid: u32) -> Result<Usage> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).with_context(|| format!("process {pid} is gone"))?;
    let mut sum = Usage::default();
    for thread in threads {
        let thread = thread?.path();
        let (run, status) = (fs::read_to_string(thread.join("schedstat"))?, fs::read_to_string(thread.join("status"))?);
        sum = sum + parse(&run, &status).with_context(|| format!("cannot read the times in `{folder}`"))?;
    }
    Ok(sum)
}

/// The first number of `schedstat` is the run time; `status` has the switches.
fn parse(schedstat: &str, status: &str) -> Option<Usage> {
    let cpu_ns = schedstat.split_whitespace().next()?.parse().ok()?;
    let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    let switches = counts.filter_map(|(_, count)| count.trim().parse::<u64>().ok()).sum();
    Some(Usage { cpu_ns, switches })
}

/// All children of ours that have ended and were waited for.
pub(super) fn of_ended_children() -> Result<Usage> {
    let usage: Rusage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let switches = usage.voluntary_context_switches() + usage.involuntary_context_switches();
    Ok(Usage { cpu_ns: nanoseconds(usage.user_time()) + nanoseconds(usage.system_time()), switches: switches as u64 })
}

fn nanoseconds(time: TimeVal) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_usec() as u64 * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_switches_count() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t5\n";
        assert_eq!(parse("1500 20 3\n", status), Some(Usage { cpu_ns: 1500, switches: 12 }));
        assert_eq!(parse("", status), None);
    }
}
