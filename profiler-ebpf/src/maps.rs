//! Every map: who writes it, who reads it, and what happens when it is full.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;
use profiler_common::fault;
use profiler_common::limits::{FILTER_ENTRIES, KERNEL_FRAMES, OFF_CPU_ENTRIES, RING_BYTES, SENT_STACKS, USER_FRAMES};
#[cfg(feature = "untyped")]
use profiler_common::settings::Visit;
use profiler_common::settings::{Control, Settings};
use profiler_common::unwind::{
    PROCESSES as MOST_PROCESSES, ProcessMappings, RULES as MOST_RULES, Rule, SLAB_WORDS, SLABS as MOST_SLABS,
};
use profiler_common::wire::{OffCpu, OffCpuMapKey, OffCpuValue, StackRecord, ThreadTotals, Wait};
use profiler_ebpf::rules::budget::Budget;
use profiler_ebpf::rules::ledger::{Interval, Ledger};
use profiler_ebpf::rules::memo::{KERNEL_SPAN, Memo, USER_SPAN, USER_WORDS};
use profiler_ebpf::rules::sums::{Place, Sums};
use profiler_ebpf::rules::throttle::Throttle;

use crate::machine::Registers;
use crate::stack::Walk;
use crate::stack::{KernelKey, Owner};

/// Set by the daemon before loading; constants to the verifier.
#[unsafe(no_mangle)]
static SETTINGS: Settings = Settings {
    min_wait_ns: 0,
    user_addresses: 0,
    filter: 0,
    own_pid: 0,
    switch_has_state: 0,
    kernel_reads: 0,
    user_reads: 0,
    user_stacks: 0,
    kernel_stacks: 0,
    verify_memo: 0,
    compare_walks: 0,
    walk_budget_ns: 0,
    windows: 0,
    tick_ns: 0,
    has_task_pt_regs: 0,
    pads_registers: 0,
    // SAFETY: plain integers.
    offsets: unsafe { core::mem::zeroed() },
};

/// Reads one member of [`SETTINGS`].
macro_rules! setting {
    ($($member:tt)+) => {
        $crate::maps::read(&$crate::maps::settings().$($member)+)
    };
}
pub(crate) use setting;

/// A volatile read, since the values are not known at build time.
#[inline(always)]
pub(crate) fn read<T: Copy>(member: &T) -> T {
    // SAFETY: a reference is valid to read.
    unsafe { (&raw const *member).read_volatile() }
}

#[inline(always)]
pub(crate) fn settings() -> &'static Settings {
    &SETTINGS
}

/// Everything known about one accounted thread. Written by the switch programs under the thread's
/// run-queue lock and, but for the few fields of a wake-up, by nobody else. Zeroed memory is a start.
#[repr(C)]
pub(crate) struct Thread {
    /// Odd while a switch is being booked.
    pub(crate) switch_seq: u32,
    /// Odd while a wake-up is being booked.
    pub(crate) wake_seq: u32,
    /// Generation of the process, see `wire::Exec`.
    pub(crate) generation: u32,
    /// Bits of `wire::thread_flag`.
    pub(crate) flags: u32,
    /// What its state is found by.
    #[cfg(feature = "hashed-threads")]
    pub(crate) tid: u32,
    #[cfg(feature = "hashed-threads")]
    pub(crate) reserved: u32,
    pub(crate) ledger: Ledger,
    pub(crate) throttle: Throttle,
    /// Where the open off-CPU interval began; its class is in the ledger as well.
    pub(crate) place: Place,
    /// Who ended it: flags of the waker, see `wire::waker_flag`.
    pub(crate) waker_flags: u32,
    /// The window that its sums belong to: changes when the thread is read, and not before, so that what is read and
    /// what goes to the map make one sum.
    pub(crate) window: u32,
    /// Who ended it: pid << 32 | tid.
    pub(crate) waker: u64,
    pub(crate) start_ns: u64,
    /// Tick-accounted times when accounting began.
    pub(crate) utime_ns: u64,
    pub(crate) stime_ns: u64,
    pub(crate) memo: Memo,
    /// What the walks cost of stacks that the memo did not know.
    pub(crate) budget: Budget,
    /// Waits that are over and not in the off-CPU map.
    pub(crate) sums: Sums,
}

/// Records to the daemon. Full: the record is counted by its kind and lost.
#[btf_map]
pub(crate) static RING: RingBuf<u8, { RING_BYTES as usize }> = RingBuf::new();

/// Waits by key that no thread sums by itself. The programs write the one that `CONTROL` names, the daemon
/// drains the other one.
/// Full: `fault::OFF_CPU_FULL`; the time is still in the thread's totals.
#[btf_map]
pub(crate) static OFF_CPU_A: HashMap<OffCpuMapKey, OffCpuValue, { OFF_CPU_ENTRIES as usize }> = HashMap::new();
/// The twin of [`OFF_CPU_A`].
#[btf_map]
pub(crate) static OFF_CPU_B: HashMap<OffCpuMapKey, OffCpuValue, { OFF_CPU_ENTRIES as usize }> = HashMap::new();

/// What the daemon says while we run.
#[btf_map]
pub(crate) static CONTROL: Array<Control, 1> = Array::new();

/// Where the walk through all threads stands, on kernels that have no iterator for it.
#[cfg(feature = "untyped")]
#[btf_map]
pub(crate) static VISIT: Array<Visit, 1> = Array::new();

/// Ids of stacks that the daemon has. Full: the least used is forgotten, and sent again when met.
#[btf_map]
pub(crate) static SENT: LruHashMap<u64, u32, { SENT_STACKS as usize }> = LruHashMap::new();

/// Faults and counters by number, see `profiler_common::fault`.
#[btf_map]
pub(crate) static FAULTS: PerCpuArray<u64, { fault::counter::SLOTS as usize }> = PerCpuArray::new();

/// Processes to account, written by the daemon before attaching.
#[btf_map]
pub(crate) static FILTER_PIDS: HashMap<u32, u32, { FILTER_ENTRIES as usize }> = HashMap::new();
/// Names of processes to account.
#[btf_map]
pub(crate) static FILTER_COMMS: HashMap<[u8; 16], u32, { FILTER_ENTRIES as usize }> = HashMap::new();
/// Ids of cgroups to account, kept up to date by the daemon.
#[btf_map]
pub(crate) static FILTER_CGROUPS: HashMap<u64, u32, { FILTER_ENTRIES as usize }> = HashMap::new();

/// One slab of unwind tables and mappings, see `profiler_common::unwind`.
pub(crate) type Slab = Array<[u32; SLAB_WORDS], 1, { BPF_F_MMAPABLE as usize }>;

/// Unwind tables and mappings. The daemon makes slabs as it needs them, and writes them in place: what
/// a walk may still read is not reused. Empty: the code counts as without a table yet.
#[btf_map]
pub(crate) static SLABS: ArrayOfMaps<Slab, { MOST_SLABS as usize }> = ArrayOfMaps::new();

/// The rules that rows name, written by the daemon. Full: the rows say `cfa::UNSUPPORTED`.
#[btf_map]
pub(crate) static RULES: Array<Rule, { MOST_RULES as usize }> = Array::new();

/// Where the mappings of each process lie, written by the daemon. Full, or not there yet: stacks are
/// walked by frame pointers and say so.
#[btf_map]
pub(crate) static PROCESSES: HashMap<u32, ProcessMappings, { MOST_PROCESSES as usize }> = HashMap::new();

/// A stack record being built: the header and its frames lie together, ready to be sent.
#[repr(C)]
pub(crate) struct StackBuffer<const N: usize> {
    pub(crate) record: StackRecord,
    pub(crate) frames: [u64; N],
}

/// Working memory of one program run; too big for the 512 bytes of BPF stack.
#[repr(C)]
pub(crate) struct Scratch {
    /// Which one it is, see [`scratch`].
    #[cfg(feature = "hashed-threads")]
    pub(crate) number: u32,
    /// Where the walk starts, and whose it is.
    pub(crate) regs: Registers,
    pub(crate) owner: Owner,
    /// `Control::epoch` when the program began.
    pub(crate) epoch: u32,
    /// `Control::wait_level` when the program began.
    pub(crate) wait_level: u32,
    pub(crate) kernel_key: KernelKey,
    /// A value on its way past the verifier.
    pub(crate) any: u64,
    /// Bytes of `user_stretch` that were read.
    pub(crate) user_span: u32,
    /// A stretch of kernel stack, read at once. What a stack that is recognised needs lies here at the start, on few
    /// pages.
    pub(crate) kernel_stretch: [u64; KERNEL_SPAN / 8],
    /// A stretch of user stack, read at once.
    pub(crate) user_stretch: [u64; USER_SPAN / 8],
    /// Where the walk stands.
    pub(crate) walk: Walk,
    pub(crate) user: StackBuffer<USER_FRAMES>,
    pub(crate) kernel: StackBuffer<KERNEL_FRAMES>,
    /// Where the words lay that the last user walk read.
    pub(crate) at: [u16; USER_WORDS],
    /// Number of those words; more than fit if the walk cannot be kept.
    pub(crate) words: u32,
    /// The highest of those places.
    pub(crate) reach: u32,
    /// All ones if the walk looked at the frame pointer that the leaf had, else 0.
    pub(crate) bp_mask: u64,
    /// Where the leaf returns to if the walk looked at that register, else 0.
    pub(crate) link: u64,
    /// Frames found in the kernel stretch so far.
    pub(crate) found: u32,
    pub(crate) wait: Wait,
    /// The wait that has just ended, and what is summed of one key.
    pub(crate) interval: Interval,
    pub(crate) sum: OffCpu,
    pub(crate) map_key: OffCpuMapKey,
    pub(crate) totals: ThreadTotals,
    /// A thread's first state, copied into its storage.
    pub(crate) thread: Thread,
}

/// Which scratch a program uses. A timer may interrupt a switch, so they must not share one.
pub(crate) mod scratch {
    /// `sched_switch`.
    pub(crate) const SWITCH: u32 = 0;
    /// The CPU sampler.
    pub(crate) const SAMPLE: u32 = 1;
    /// Births and exec.
    pub(crate) const TASK: u32 = 2;
    /// The iterators, which may be preempted by any of the others.
    pub(crate) const ITERATOR: u32 = 3;
    pub(crate) const COUNT: usize = 4;
}

/// See [`Scratch`].
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, { scratch::COUNT }> = PerCpuArray::new();

/// The working memory of this program run.
#[inline(always)]
#[cfg(not(feature = "hashed-threads"))]
pub(crate) fn scratch(which: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(which)
}

/// The working memory of this program run, which knows its number.
#[inline(always)]
#[cfg(feature = "hashed-threads")]
pub(crate) fn scratch(which: u32) -> Option<*mut Scratch> {
    let scratch = scratch_numbered(which)?;
    // SAFETY: this CPU's working memory.
    unsafe { (*scratch).number = which };
    Some(scratch)
}

/// The working memory of this CPU that has the number.
#[inline(always)]
#[cfg(feature = "hashed-threads")]
pub(crate) fn scratch_numbered(which: u32) -> Option<*mut Scratch> {
    SCRATCH.get_ptr_mut(which)
}

/// The words of a slab, if it was made.
#[inline(always)]
pub(crate) fn slab(number: u32) -> Option<*mut u32> {
    SLABS.get_value_ptr_mut(number, &0).map(<*mut [u32; SLAB_WORDS]>::cast)
}

/// What the daemon says now.
#[inline(always)]
pub(crate) fn control() -> Option<Control> {
    // SAFETY: the daemon may write it meanwhile; each member is read once, by a single load.
    CONTROL.get_ptr(0).map(|control| unsafe { control.read_volatile() })
}
