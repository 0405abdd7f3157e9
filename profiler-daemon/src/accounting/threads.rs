//! The latest totals of each thread, and what they say about the window.

use std::collections::HashMap;

use crate::model::{Ledger, MonoNs, ThreadTime, text};
use profiler_common::wire::{ThreadTotals, thread_flag};

/// Tells one thread from another across reads. A tid alone is used again; `since_ns` keeps apart a
/// leader that ended and the thread that took over its tid and start time by exec.
type Identity = (u32, u32, u64, u64);

#[derive(Debug, Default)]
pub(super) struct Threads {
    latest: HashMap<Identity, ThreadTotals>,
}

impl Threads {
    pub(super) fn add(&mut self, totals: &ThreadTotals) {
        let identity = (totals.pid, totals.tid, totals.start_ns, totals.since_ns);
        let known = self.latest.entry(identity).or_insert(*totals);
        let final_already = ended(known) && !ended(totals);
        if !final_already && (ended(totals) || totals.header.at_ns >= known.header.at_ns) {
            *known = *totals;
        }
    }

    /// The last totals of every thread, by pid, tid and start.
    pub(super) fn latest(self) -> Vec<ThreadTotals> {
        let leaders: HashMap<(u32, u64), u32> = self
            .latest
            .values()
            .filter(|totals| totals.tid == totals.pid)
            .map(|totals| ((totals.pid, totals.since_ns), totals.generation))
            .collect();
        // A thread that is not the leader and calls exec goes on under the leader's tid, with its
        // time so far. What was read under its old tid is the same time once more.
        let went_on = |totals: &ThreadTotals| {
            let leader = leaders.get(&(totals.pid, totals.since_ns));
            totals.tid != totals.pid && !ended(totals) && leader.is_some_and(|now| *now > totals.generation)
        };
        let mut threads: Vec<ThreadTotals> = self.latest.into_values().filter(|totals| !went_on(totals)).collect();
        threads.sort_unstable_by_key(|totals| (totals.pid, totals.tid, totals.start_ns, totals.since_ns));
        threads
    }
}

pub(super) fn ended(totals: &ThreadTotals) -> bool {
    totals.flags & thread_flag::ENDED != 0
}

/// The thread's time in the window `[start, end)`.
///
/// It was there from the window's start if it was alive when accounting began, else from its birth;
/// and until the window's end, or its own. What lies outside of its totals is unseen.
pub(super) fn time(totals: &ThreadTotals, start: MonoNs, end: MonoNs) -> ThreadTime {
    let (since, at) = (totals.since_ns, totals.header.at_ns.max(totals.since_ns));
    let from = if totals.flags & thread_flag::SEEDED != 0 { start.0.min(since) } else { since };
    let to = if ended(totals) { at } else { end.0.max(at) };
    let (user_ns, kernel_ns) = split(totals.on_cpu_ns, totals.utime_ns, totals.stime_ns);
    ThreadTime {
        pid: totals.pid,
        tid: totals.tid,
        born_ns: totals.start_ns,
        generation: totals.generation,
        comm: text::from_bytes(&totals.comm).into(),
        start_ns: MonoNs(from).since(start),
        ledger: Ledger {
            wall_ns: to - from,
            on_cpu_ns: totals.on_cpu_ns,
            user_ns,
            kernel_ns,
            stolen_ns: totals.stolen_ns,
            run_queue_ns: totals.run_queue_ns,
            preempted_ns: totals.preempted_ns,
            throttled_ns: totals.throttled_ns.min(totals.run_queue_ns),
            blocked_ns: totals.blocked_ns,
            off_cpu_ns: totals.off_cpu_ns,
            unseen_ns: totals.unseen_ns + (since - from) + (to - at),
        },
        blocks: totals.blocks,
        preemptions: totals.preemptions,
        ended: ended(totals),
    }
}

/// `on_cpu_ns` as user and kernel time. The kernel counts these by ticks, so only their proportion
/// is used; without any tick all of it is user time, which is the kernel's own convention.
/// Source: `cputime_adjust`, kernel/sched/cputime.c.
pub(super) fn split(on_cpu_ns: u64, utime_ns: u64, stime_ns: u64) -> (u64, u64) {
    let ticks = u128::from(utime_ns) + u128::from(stime_ns);
    let kernel = (u128::from(on_cpu_ns) * u128::from(stime_ns)).checked_div(ticks).unwrap_or(0);
    // A share of a u64 is a u64.
    let kernel_ns = kernel as u64;
    (on_cpu_ns - kernel_ns, kernel_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_kernel_share_the_exact_run_time() {
        for (on_cpu, utime, stime, expected) in [
            (1_000, 0, 0, (1_000, 0)),
            (1_000, 4, 0, (1_000, 0)),
            (1_000, 0, 4, (0, 1_000)),
            (1_001, 1, 1, (501, 500)),
            (10, 1, 2, (4, 6)),
            (u64::MAX, u64::MAX, u64::MAX, (u64::MAX / 2 + 1, u64::MAX / 2)),
            (0, 5, 5, (0, 0)),
        ] {
            assert_eq!(split(on_cpu, utime, stime), expected, "{on_cpu} by {utime}:{stime}");
        }
    }
}
