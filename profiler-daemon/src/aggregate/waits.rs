//! Single long waits.

use std::collections::HashMap;

use super::idle;
use super::intern::Interner;
use super::threads::Threads;
use super::visit::Visit;
use crate::model::{MonoNs, StackId, UnixNs, Wait, WaitClass, Waker};
use profiler_common::wire::{self, OffCpuKey, sampling, waker_flag};

/// Most waits that a window lists.
pub(super) const LISTED: usize = 1_000;

/// All waits, longest first; equals in order of time and thread.
pub(super) fn longest(waits: &[wire::Wait]) -> Vec<&wire::Wait> {
    let mut sorted: Vec<&wire::Wait> = waits.iter().collect();
    sorted.sort_by_key(|wait| (std::cmp::Reverse(duration_ns(wait)), wait.start_ns, wait.key.tid));
    sorted
}

/// The stack of each wait.
pub(super) fn stacks(waits: &[&wire::Wait], interner: &mut Interner<'_>) -> Vec<StackId> {
    waits.iter().map(|wait| interner.stack_of_wait(&wait.key)).collect()
}

/// The waits with names, in the same order. `clock` is one instant, the window's start, on both
/// clocks. A wait is idle if the sum that it belongs to is; one that was not walked belongs to several.
pub(super) fn waits(
    waits: &[&wire::Wait],
    stacks: &[StackId],
    visits: &[Visit<'_>],
    threads: &Threads,
    clock: (UnixNs, MonoNs),
) -> Vec<Wait> {
    let judged = |key: &OffCpuKey| {
        let skipped = key.sampling & sampling::SKIPPED != 0;
        skipped && idle::is_idle_alone(WaitClass::from_number(key.class), key.syscall)
    };
    let mut idle: HashMap<&OffCpuKey, bool> = waits.iter().map(|wait| (&wait.key, judged(&wait.key))).collect();
    for (key, _) in visits.iter().filter(|visit| visit.idle).filter_map(|visit| visit.waits) {
        if let Some(idle) = idle.get_mut(key) {
            *idle = true;
        }
    }
    let (UnixNs(unix), MonoNs(mono)) = clock;
    let named = waits.iter().zip(stacks).map(|(wait, stack)| Wait {
        pid: wait.key.pid,
        tid: wait.key.tid,
        start: UnixNs((unix + wait.start_ns).saturating_sub(mono)),
        duration_ns: duration_ns(wait),
        run_queue_ns: wait.header.at_ns.saturating_sub(wait.wake_ns.max(wait.start_ns)),
        class: WaitClass::from_number(wait.key.class),
        idle: idle.get(&wait.key).copied().unwrap_or(false),
        stack: *stack,
        waker: (wait.waker_flags & waker_flag::SEEN != 0).then(|| Waker {
            interrupt: wait.waker_flags & waker_flag::INTERRUPT != 0,
            ..threads.waker(wait.waker_pid, wait.waker_tid)
        }),
    });
    named.collect()
}

/// The longest ones, as many as a window lists.
pub(super) fn listed(mut waits: Vec<Wait>) -> Vec<Wait> {
    waits.truncate(LISTED);
    waits
}

fn duration_ns(wait: &wire::Wait) -> u64 {
    wait.header.at_ns.saturating_sub(wait.start_ns)
}
