use super::Header;
use crate::histogram::BUCKETS;

/// Which waits are summed together in the kernel: 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffCpuKey {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Id of the user stack, 0 if none could be taken.
    pub user_stack: u64,
    /// Id of the kernel stack, 0 if none was taken; always 0 for preempted threads.
    pub kernel_stack: u64,
    /// Number of the class, see [`crate::class`].
    pub class: u32,
    /// System call number, or −1 outside of one.
    pub syscall: i32,
    /// Generation of the process, see [`Exec::generation`](super::Exec).
    pub generation: u32,
    /// How the user stack came to be taken or not, see [`sampling`].
    pub sampling: u32,
}
const _: () = assert!(size_of::<OffCpuKey>() == 40);

/// The key of the off-CPU maps: 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OffCpuMapKey {
    /// The waits.
    pub key: OffCpuKey,
    /// The window in which the thread was when the sum left it, see `Control::window`.
    pub window: u32,
    /// Always zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<OffCpuMapKey>() == 48);

/// How the user stack of a wait came to be taken or not: a level and, unless that is 0, one of two bits.
pub mod sampling {
    /// Taken like every other one: recognised, or walked.
    pub const EXACT: u32 = 0;
    /// Bits of the level: one stack in 2^level was taken.
    pub const LEVEL: u32 = 0xf;
    /// Bit: taken by chance, and stands for those of its level that were not.
    pub const WALKED: u32 = 0x10;
    /// Bit: not taken for the cost's sake; there is no user stack.
    pub const SKIPPED: u32 = 0x20;
}

/// The summed waits of one key: 232 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffCpuValue {
    /// Time not runnable.
    pub blocked_ns: u64,
    /// Time runnable but not executing.
    pub run_queue_ns: u64,
    /// The part of it in which a CPU quota kept the thread from running.
    pub throttled_ns: u64,
    /// Longest wait, both parts together.
    pub max_ns: u64,
    /// Number of waits.
    pub count: u64,
    /// Waits by length, both parts together, see [`crate::histogram`].
    pub histogram: [u32; BUCKETS],
}
const _: () = assert!(size_of::<OffCpuValue>() == 40 + 4 * BUCKETS);

impl OffCpuValue {
    /// The sum of no waits.
    pub const NOTHING: OffCpuValue =
        OffCpuValue { blocked_ns: 0, run_queue_ns: 0, throttled_ns: 0, max_ns: 0, count: 0, histogram: [0; BUCKETS] };
}

/// Sums of a thread that were still in its own state when the window closed: 288 bytes.
/// They are final: a second record of the same key says the same once more.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffCpu {
    /// Tag [`super::tag::OFF_CPU`].
    pub header: Header,
    /// Which waits.
    pub key: OffCpuKey,
    /// Their sums.
    pub value: OffCpuValue,
}
const _: () = assert!(size_of::<OffCpu>() == 16 + 40 + size_of::<OffCpuValue>());

/// Bits of [`Wait::waker_flags`].
pub mod waker_flag {
    /// A wake-up was seen.
    pub const SEEN: u32 = 1;
    /// It came from an interrupt; the thread named is the one that was interrupted, which may have
    /// caused it (a packet sent over loopback) or not (a timer).
    pub const INTERRUPT: u32 = 2;
}

/// One wait of at least `min_wait_ns`: 88 bytes. `header.at_ns` is when the thread ran again.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Tag [`super::tag::WAIT`].
    pub header: Header,
    /// What was waited for, and where.
    pub key: OffCpuKey,
    /// When the thread was switched out.
    pub start_ns: u64,
    /// When it became runnable; equal to `start_ns` if it always was.
    pub wake_ns: u64,
    /// Process that ended it; 0 is an idle CPU.
    pub waker_pid: u32,
    /// Thread that ended it; 0 is an idle CPU.
    pub waker_tid: u32,
    /// Bits of [`waker_flag`]; 0 also for a wait that was blocked for less than half of `min_wait_ns`, whose
    /// waker is not noted.
    pub waker_flags: u32,
    /// Always zero.
    pub reserved: u32,
}
const _: () = assert!(size_of::<Wait>() == 88);
