//! Sizes that both sides rely on: one number, read by the kernel programs and by the daemon.

/// Most frames that one user stack holds; a deeper stack keeps its leaf side.
pub const USER_FRAMES: usize = 256;
/// Most frames that one kernel stack holds.
pub const KERNEL_FRAMES: usize = 64;
/// Bytes of the ring that carries records to the daemon; a power of two.
pub const RING_BYTES: u32 = 4 << 20;
/// Entries of each of the two off-CPU maps, which are swapped and drained every second. They hold what
/// threads do not sum by themselves: beyond four places at a time. An entry takes 328 bytes.
pub const OFF_CPU_ENTRIES: u32 = 8_192;
/// Stacks that the kernel remembers having sent; the least used is forgotten and sent again.
pub const SENT_STACKS: u32 = 16_384;
/// Over how long the cost of a thread's stacks is kept within its budget: 2^26 ns, 67 ms.
pub const WALK_PERIOD_SHIFT: u32 = 26;
/// What new stacks of a thread's waits may cost in one such period, a 64th of it: 1.6 % of the thread's wall time.
pub const WALK_BUDGET_NS: u32 = 1 << (WALK_PERIOD_SHIFT - 6);
/// Most processes, names or cgroups that a filter lists.
pub const FILTER_ENTRIES: u32 = 1_024;
/// Most threads alive at once when thread state has to live in a hash (Linux before 5.11).
pub const HASHED_THREADS: u32 = 4_096;
/// Length of a thread name, with its NUL. Source: `TASK_COMM_LEN`, include/linux/sched.h.
pub const COMM_BYTES: usize = 16;
