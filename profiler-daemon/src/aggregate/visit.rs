use crate::model::{StackId, State};
use profiler_common::wire::{OffCpuKey, OffCpuValue};

/// Time of one thread at one place, before anything is summed over places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit<'a> {
    /// Index into the window's threads.
    pub(super) thread: u32,
    /// Process of the thread.
    pub(super) pid: u32,
    /// The whole stack, kernel frames and all.
    pub(super) stack: StackId,
    /// Kernel-side id of the user stack, 0 if there is none.
    pub(super) user_stack: u64,
    /// What the thread was doing.
    pub(super) state: State,
    /// CPU samples taken, or waits counted.
    pub(super) count: u64,
    /// Time executed.
    pub(super) on_cpu_ns: u64,
    /// Time runnable.
    pub(super) run_queue_ns: u64,
    /// The part of it that a CPU quota made.
    pub(super) throttled_ns: u64,
    /// Time blocked.
    pub(super) blocked_ns: u64,
    /// The summed waits that this is; `None` on CPU, and for off-CPU time without a place.
    pub(super) waits: Option<(&'a OffCpuKey, &'a OffCpuValue)>,
    /// Idle by the idle rule.
    pub(super) idle: bool,
}

impl Visit<'_> {
    /// All time of the visit.
    pub(super) fn ns(&self) -> u64 {
        self.on_cpu_ns + self.run_queue_ns + self.blocked_ns
    }
}
