//! Why a kernel program gave something up: stable numbers, counted per CPU in the map `FAULTS`.
//!
//! A fault never stops the capture and never makes a time grow: what it cost stays visible as
//! unseen time, as an unknown stack, or as a shorter list of single waits.

/// The ring was full: a stack was not sent. It is sent again at its next use.
pub const RING_FULL_STACK: u32 = 0;
/// The ring was full: a CPU sample was lost.
pub const RING_FULL_SAMPLE: u32 = 1;
/// The ring was full: a single long wait was not kept. Its time is still in the sums.
pub const RING_FULL_WAIT: u32 = 2;
/// The ring was full: totals of an ended thread were lost, or waits that a thread had summed; on kernels without types, of any
/// thread.
pub const RING_FULL_THREAD: u32 = 3;
/// The ring was full: an exec was not reported, so names of that process may be old.
pub const RING_FULL_EXEC: u32 = 4;
/// The off-CPU map was full: the wait is in its thread's totals, but in no gap.
pub const OFF_CPU_FULL: u32 = 5;
/// No memory for a thread's state: the thread is missing from the ledger.
pub const THREAD_STATE: u32 = 6;
/// A switch-in was never seen: the time before is shared out by the scheduler's own run time.
pub const MISSED_SWITCH_IN: u32 = 7;
/// A switch-out was never seen: what the thread did not run is unseen.
pub const MISSED_SWITCH_OUT: u32 = 8;
/// The kernel stack of a wait could not be read.
pub const KERNEL_STACK: u32 = 9;
/// The user stack could not be started: no user registers, or the kernel was asked for it and gave none.
pub const USER_STACK: u32 = 10;
/// A memo said "same stack" and a full walk beside it disagreed (only counted in verify mode).
pub const MEMO_WRONG: u32 = 11;
/// A thread's state was read while it was being written, and that was given up after retries; or, on kernels without types, the
/// list of a process' threads changed while it was read.
pub const TORN_READ: u32 = 12;
/// Number of faults.
pub const COUNT: usize = 13;

/// The name of each fault as reports show it, by its number.
pub const NAMES: [&str; COUNT] = [
    "ring_full_stack",
    "ring_full_sample",
    "ring_full_wait",
    "ring_full_thread",
    "ring_full_exec",
    "off_cpu_map_full",
    "thread_state_full",
    "missed_switch_in",
    "missed_switch_out",
    "kernel_stack_failed",
    "user_stack_failed",
    "memo_mismatch",
    "torn_read",
];

/// Counters that are no loss: how the stack memo fared. They follow the faults in the same map.
pub mod counter {
    /// A user stack was recognised by its words.
    pub const USER_HIT: u32 = super::COUNT as u32;
    /// A user stack was walked afresh.
    pub const USER_WALK: u32 = USER_HIT + 1;
    /// A kernel stack was recognised by its words.
    pub const KERNEL_HIT: u32 = USER_HIT + 2;
    /// A kernel stack was walked afresh.
    pub const KERNEL_WALK: u32 = USER_HIT + 3;
    /// A recognised stack was walked as well, to compare (verify mode).
    pub const VERIFIED: u32 = USER_HIT + 4;
    /// A user stack was not walked, for the budget's sake.
    pub const USER_SKIPPED: u32 = USER_HIT + 5;
    /// CPU samples by how a walk by frame pointers alone ended, one counter each of `wire::outcome`.
    pub const FRAME_POINTER: u32 = USER_HIT + 6;
    /// Number of slots of the map, faults and counters together.
    pub const SLOTS: u32 = FRAME_POINTER + crate::wire::outcome::COUNT as u32;
}
