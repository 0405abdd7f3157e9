use super::Header;
use crate::class;
use crate::limits::COMM_BYTES;

/// Bits of [`ThreadTotals::flags`].
pub mod thread_flag {
    /// The thread ended; these are its last totals.
    pub const ENDED: u32 = 1;
    /// It was alive when accounting started; otherwise it was born under our eyes.
    pub const SEEDED: u32 = 2;
}

/// All time of one thread since it was first accounted: 320 bytes. `header.at_ns` is the instant
/// that the totals reach to; an open interval is included up to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadTotals {
    /// Tag [`super::tag::THREAD`].
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Bits of [`thread_flag`].
    pub flags: u32,
    /// Generation of the process, see [`Exec::generation`].
    pub generation: u32,
    /// The thread's `start_time`: with the tid, its identity across reads.
    pub start_ns: u64,
    /// Start of accounting for this thread.
    pub since_ns: u64,
    /// Time executed, by the scheduler's own count.
    pub on_cpu_ns: u64,
    /// On a CPU by the clock, yet not executed.
    pub stolen_ns: u64,
    /// Runnable but not executing, all of it.
    pub run_queue_ns: u64,
    /// The part of `run_queue_ns` of intervals without a block.
    pub preempted_ns: u64,
    /// The part of `run_queue_ns` in which a CPU quota kept it from running.
    pub throttled_ns: u64,
    /// Not runnable.
    pub blocked_ns: u64,
    /// No record of what it did.
    pub unseen_ns: u64,
    /// Off-CPU time by class: blocked plus the wake-up wait; slot 0 equals `preempted_ns`.
    pub off_cpu_ns: [u64; class::COUNT],
    /// Growth of the thread's user time by the kernel's tick accounting.
    pub utime_ns: u64,
    /// Growth of the thread's system time by the kernel's tick accounting.
    pub stime_ns: u64,
    /// Switches that blocked.
    pub blocks: u64,
    /// Switches that did not block.
    pub preemptions: u64,
    /// Of `blocked_ns + run_queue_ns`: the interval that is still open, 0 if none is. It is in no
    /// [`super::OffCpuValue`] yet.
    pub open_ns: u64,
    /// What the open interval waits for; zero if none is open.
    pub open: super::OffCpuKey,
    /// Run-queue part of `open_ns`.
    pub open_run_queue_ns: u64,
    /// Throttled part of `open_run_queue_ns`.
    pub open_throttled_ns: u64,
    /// The thread's name, NUL padded.
    pub comm: [u8; COMM_BYTES],
}
const _: () = assert!(size_of::<ThreadTotals>() == 16 + 16 + 9 * 8 + 8 * class::COUNT + 5 * 8 + 40 + 2 * 8 + 16);

/// A process called exec, so its mappings and its name are new; or it was born, by the tag. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    /// Tag [`super::tag::EXEC`] or [`super::tag::FORK`].
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Its generation: names one program of one process. That of a process' first program is when the
    /// process was born, in units of 2^20 ns, so that a pid used again gets another one; each exec that
    /// was seen adds 1.
    pub generation: u32,
    /// Its name from now on.
    pub comm: [u8; COMM_BYTES],
    /// Parent process of a newborn; 0 after exec.
    pub parent: u32,
    /// Always zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Exec>() == 48);
