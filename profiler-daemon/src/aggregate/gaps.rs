//! Off-CPU places.

use std::collections::HashMap;

use super::kernel::slept_in;
use super::percentile::{Histogram, percentile};
use super::threads::Threads;
use super::visit::Visit;
use crate::model::{Gap, StackId, Stacks, State, Wait, WaitClass, Waker};
use profiler_common::histogram::BUCKETS;

/// Most wakers that a gap names.
const WAKERS: usize = 3;

/// Waits of one class at one stack of one process; idle ones apart, since one thread's loop may be
/// another's work.
type Key = (u32, WaitClass, StackId, bool);

/// The gaps, longest first; equals by process, class and stack. Preempted threads are none: they
/// waited for a CPU, not for anything that has a place. Nor is time without a known place.
pub(super) fn gaps(visits: &[Visit<'_>], waits: &[Wait], threads: &Threads, stacks: &Stacks) -> Vec<Gap> {
    let mut wakers = wakers(waits);
    let mut blocked: Vec<(Key, &Visit<'_>)> = visits.iter().filter_map(|visit| Some((key(visit)?, visit))).collect();
    blocked.sort_by_key(|(key, _)| *key);
    let mut gaps: Vec<Gap> = blocked
        .chunk_by(|a, b| a.0 == b.0)
        .map(|visits| {
            let wakers = wakers.remove(&visits[0].0).unwrap_or_default();
            gap(visits, wakers, threads, stacks)
        })
        .collect();
    gaps.sort_by_key(|gap| (std::cmp::Reverse(gap.total_ns), gap.pid, gap.class, gap.stack));
    gaps
}

fn key(visit: &Visit<'_>) -> Option<Key> {
    match visit.state {
        State::OffCpu(class) if class != WaitClass::Preempted && visit.waits.is_some() => {
            Some((visit.pid, class, visit.stack, visit.idle))
        }
        _ => None,
    }
}

fn gap(visits: &[(Key, &Visit<'_>)], wakers: Vec<(Waker, u64)>, threads: &Threads, stacks: &Stacks) -> Gap {
    let (pid, class, stack, idle) = visits[0].0;
    let mut histogram: Histogram = [0; BUCKETS];
    let (mut count, mut run_queue_ns, mut blocked_ns, mut max_ns) = (0, 0, 0, 0);
    for (_, value) in visits.iter().filter_map(|(_, visit)| visit.waits) {
        count += value.count;
        run_queue_ns += value.run_queue_ns;
        blocked_ns += value.blocked_ns;
        max_ns = value.max_ns.max(max_ns);
        for (slot, waits) in histogram.iter_mut().zip(value.histogram) {
            *slot += u64::from(waits);
        }
    }
    let mut tids: Vec<u32> = visits.iter().map(|(_, visit)| threads.list()[visit.thread as usize].tid).collect();
    tids.sort_unstable();
    tids.dedup();
    Gap {
        pid,
        class,
        idle,
        count,
        total_ns: blocked_ns + run_queue_ns,
        run_queue_ns,
        p50_ns: percentile(&histogram, 50, max_ns),
        p99_ns: percentile(&histogram, 99, max_ns),
        max_ns,
        stack,
        kernel_function: slept_in(stacks.get(stack)),
        tids,
        wakers,
    }
}

/// Who ended the long waits of each gap, by the time of the waits that they ended, largest first.
fn wakers(waits: &[Wait]) -> HashMap<Key, Vec<(Waker, u64)>> {
    let mut ended: HashMap<Key, HashMap<&Waker, u64>> = HashMap::new();
    for wait in waits {
        if let Some(waker) = &wait.waker {
            let gap = ended.entry((wait.pid, wait.class, wait.stack, wait.idle)).or_default();
            *gap.entry(waker).or_default() += wait.duration_ns;
        }
    }
    let largest = |gap: HashMap<&Waker, u64>| {
        let mut wakers: Vec<(Waker, u64)> = gap.into_iter().map(|(waker, ns)| (waker.clone(), ns)).collect();
        wakers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        wakers.truncate(WAKERS);
        wakers
    };
    ended.into_iter().map(|(key, gap)| (key, largest(gap))).collect()
}
