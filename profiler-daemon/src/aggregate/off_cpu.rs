//! Summed waits to visits that add up to each thread's exact off-CPU time, class by class.

use std::collections::HashMap;

use super::intern::Interner;
use super::threads::Threads;
use super::visit::Visit;
use crate::model::{Ledger, State, WaitClass, note};
use profiler_common::class;
use profiler_common::wire::{OffCpuKey, OffCpuValue};

/// The off-CPU visits of all threads.
pub(super) struct OffCpu<'a> {
    pub(super) visits: Vec<Visit<'a>>,
    /// Waits of threads without a ledger.
    pub(super) without_thread: u64,
    /// By how much entries exceed the ledger of their thread and class.
    pub(super) over_ledger_ns: u64,
}

/// What the entries of one thread add up to.
#[derive(Clone, Default)]
struct Sums {
    by_class: [u64; class::COUNT],
    blocked_ns: u64,
    throttled_ns: u64,
}

pub(super) fn visits<'a>(
    entries: &'a HashMap<OffCpuKey, OffCpuValue>,
    threads: &Threads,
    interner: &mut Interner<'_>,
) -> OffCpu<'a> {
    let mut sums = vec![Sums::default(); threads.list().len()];
    let mut found = OffCpu { visits: Vec::with_capacity(entries.len()), without_thread: 0, over_ledger_ns: 0 };
    // Sorted, so that ids do not depend on the hash order and two runs give the same window.
    // Keys are copied: comparing them through references would miss the cache at every step.
    let mut sorted: Vec<(OffCpuKey, _)> = entries.iter().map(|(key, entry)| (*key, (key, entry))).collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    for (_, (key, value)) in sorted {
        let Some(thread) = threads.find(key.pid, key.tid, key.generation) else {
            found.without_thread += value.count;
            continue;
        };
        let class = WaitClass::from_number(key.class);
        let sum = &mut sums[thread as usize];
        sum.by_class[class as usize] += value.blocked_ns + value.run_queue_ns;
        sum.blocked_ns += value.blocked_ns;
        let throttled_ns = value.throttled_ns.min(value.run_queue_ns);
        sum.throttled_ns += throttled_ns;
        found.visits.push(Visit {
            thread,
            pid: key.pid,
            stack: interner.stack_of_wait(key),
            user_stack: key.user_stack,
            state: State::OffCpu(class),
            count: value.count,
            on_cpu_ns: 0,
            run_queue_ns: value.run_queue_ns,
            throttled_ns,
            blocked_ns: value.blocked_ns,
            waits: Some((key, value)),
            idle: false,
        });
    }
    for ((thread, row), sum) in (0..).zip(threads.list()).zip(&sums) {
        let (missing, over_ns) = missing(&row.ledger, sum);
        found.over_ledger_ns += over_ns;
        let mut throttled_left_ns = row.ledger.throttled_ns.saturating_sub(sum.throttled_ns);
        for (class, blocked_ns, run_queue_ns) in missing {
            let throttled_ns = throttled_left_ns.min(run_queue_ns);
            throttled_left_ns -= throttled_ns;
            found.visits.push(Visit {
                thread,
                pid: row.pid,
                stack: interner.note(note::STACK_NOT_SEEN),
                user_stack: 0,
                state: State::OffCpu(class),
                count: 0,
                on_cpu_ns: 0,
                run_queue_ns,
                throttled_ns,
                blocked_ns,
                waits: None,
                idle: false,
            });
        }
    }
    found
}

/// What the ledger holds beyond the entries, as (class, blocked, run-queue wait), and by how much
/// entries exceed it. Only the sum of a class is known: its blocked part is taken in the proportion
/// of what is missing of both in the thread, and the parts sum to these exactly.
fn missing(ledger: &Ledger, sums: &Sums) -> (Vec<(WaitClass, u64, u64)>, u64) {
    let mut over_ns = 0;
    let mut missing = Vec::new();
    for class in WaitClass::ALL {
        let (exact, found) = (ledger.off_cpu(class), sums.by_class[class as usize]);
        over_ns += found.saturating_sub(exact);
        if exact > found {
            missing.push((class, exact - found));
        }
    }
    // A preempted thread was runnable throughout.
    let waited = |class: WaitClass| class != WaitClass::Preempted;
    let mut left: u64 = missing.iter().filter(|(class, _)| waited(*class)).map(|(_, ns)| ns).sum();
    let mut blocked_left = ledger.blocked_ns.saturating_sub(sums.blocked_ns).min(left);
    let parts = missing.into_iter().map(|(class, ns)| {
        if !waited(class) {
            return (class, 0, ns);
        }
        let blocked = (u128::from(ns) * u128::from(blocked_left)).div_ceil(u128::from(left)) as u64;
        left -= ns;
        blocked_left -= blocked;
        (class, blocked, ns - blocked)
    });
    (parts.collect(), over_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(preempted: u64, lock: (u64, u64), pipe: (u64, u64)) -> Ledger {
        let mut ledger = Ledger {
            preempted_ns: preempted,
            run_queue_ns: preempted + lock.1 + pipe.1,
            blocked_ns: lock.0 + pipe.0,
            ..Ledger::default()
        };
        ledger.off_cpu_ns[WaitClass::Preempted as usize] = preempted;
        ledger.off_cpu_ns[WaitClass::Lock as usize] = lock.0 + lock.1;
        ledger.off_cpu_ns[WaitClass::Pipe as usize] = pipe.0 + pipe.1;
        ledger
    }

    fn sums(preempted: u64, lock: (u64, u64), pipe: (u64, u64)) -> Sums {
        let ledger = ledger(preempted, lock, pipe);
        Sums { by_class: ledger.off_cpu_ns, blocked_ns: ledger.blocked_ns, ..Sums::default() }
    }

    #[test]
    fn nothing_is_missing_when_entries_meet_the_ledger() {
        assert_eq!(missing(&ledger(5, (90, 10), (7, 0)), &sums(5, (90, 10), (7, 0))), (vec![], 0));
    }

    #[test]
    fn what_is_missing_keeps_class_and_kind() {
        let (missing, over) = missing(&ledger(5, (90, 10), (40, 20)), &sums(2, (60, 5), (0, 0)));
        assert_eq!(missing[0], (WaitClass::Preempted, 0, 3));
        assert_eq!((missing[1].0, missing[1].1 + missing[1].2), (WaitClass::Lock, 35));
        assert_eq!((missing[2].0, missing[2].1 + missing[2].2), (WaitClass::Pipe, 60));
        assert_eq!((missing[1].1 + missing[2].1, missing[1].2 + missing[2].2, over), (70, 25, 0));
    }

    #[test]
    fn more_than_the_ledger_is_counted_and_taken_from_nobody() {
        let (missing, over) = missing(&ledger(0, (90, 0), (10, 0)), &sums(0, (95, 0), (0, 0)));
        assert_eq!((missing, over), (vec![(WaitClass::Pipe, 5, 5)], 5));
    }
}
