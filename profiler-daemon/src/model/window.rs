use std::collections::BTreeMap;
use std::sync::Arc;

use super::{DetailLevels, Frame, Ledger, MonoNs, UnixNs, WaitClass};
use profiler_common::wire::outcome;

/// A finished, symbolized capture: all that reports and files are made from.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Start of the window.
    pub start: UnixNs,
    /// The same instant as the kernel stamps it; `Wait::start` counts on the same clock.
    pub start_mono: MonoNs,
    /// Length of the window.
    pub duration_ns: u64,
    /// What was asked for, such as `redis-server (pid 4242)`.
    pub target: String,
    /// CPUs online.
    pub cpus: u32,
    /// CPU samples a second and CPU.
    pub rate_hz: u32,
    /// Waits at least this long are in `waits`.
    pub min_wait_ns: u64,
    /// How much detail was taken, by stored window.
    pub detail: DetailLevels,
    /// Processes, by pid.
    pub processes: Vec<Process>,
    /// Threads, by pid and tid.
    pub threads: Vec<Thread>,
    /// Stacks that samples, gaps and waits refer to.
    pub stacks: Stacks,
    /// Time by thread, stack and state: sums to the ledger's on-CPU, run-queue and blocked time.
    pub samples: Vec<Sample>,
    /// Off-CPU places, longest first; idle ones marked.
    pub gaps: Vec<Gap>,
    /// Functions on CPU, largest self time first.
    pub on_cpu: Vec<FunctionTime>,
    /// Longest single waits, longest first.
    pub waits: Vec<Wait>,
    /// How whole the stacks are.
    pub on_cpu_quality: StackQuality,
    /// How whole the stacks of off-CPU time are.
    pub off_cpu_quality: StackQuality,
    /// CPU samples by how a walk by frame pointers alone would have ended, without times; if that was
    /// asked for.
    pub frame_pointer_quality: Option<StackQuality>,
    /// What was lost, by cause.
    pub losses: Losses,
    /// What the capture itself cost.
    pub overhead: Overhead,
}

/// A process and the sum of its threads.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Name, raw.
    pub comm: Arc<str>,
    /// Number of threads seen.
    pub threads: usize,
    /// Sum over the threads.
    pub ledger: Ledger,
}

/// One thread.
#[derive(Clone, Debug, Default)]
pub struct Thread {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Name, raw.
    pub comm: Arc<str>,
    /// Start of the thread's presence in the window, nanoseconds after the window's start.
    pub start_ns: u64,
    /// Its time.
    pub ledger: Ledger,
    /// Blocked time that is idle by the idle rule; part of the ledger's blocked time. The wait for a CPU
    /// after an idle wait is not in it.
    pub idle_ns: u64,
    /// Switches that blocked.
    pub blocks: u64,
    /// Switches that did not block.
    pub preemptions: u64,
    /// Whether it ended inside the window.
    pub ended: bool,
}

/// Names a stack within one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StackId(pub u32);

/// Interned stacks: frames leaf first, the kernel's before the program's.
#[derive(Clone, Debug, Default)]
pub struct Stacks {
    /// Distinct frames.
    pub frames: Vec<Arc<Frame>>,
    /// Indices into `frames`, leaf first.
    pub stacks: Vec<Arc<[u32]>>,
}

impl Stacks {
    /// The frames of a stack, leaf first. An id from elsewhere yields nothing.
    pub fn get(&self, id: StackId) -> impl DoubleEndedIterator<Item = &Frame> + ExactSizeIterator {
        self.indices(id).iter().map(|index| &*self.frames[*index as usize])
    }

    /// Indices into `frames` of a stack, leaf first.
    pub fn indices(&self, id: StackId) -> &[u32] {
        self.stacks.get(id.0 as usize).map_or(&[], |stack| stack)
    }
}

/// What a thread was doing at its stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Executing.
    OnCpu,
    /// Off the CPU for this reason; `Preempted` is pure run-queue wait.
    OffCpu(WaitClass),
}

/// Time of one thread at one stack in one state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Index into `Window::threads`.
    pub thread: u32,
    /// The stack.
    pub stack: StackId,
    /// State.
    pub state: State,
    /// Whether this is an idle wait.
    pub idle: bool,
    /// CPU samples taken, or waits counted.
    pub count: u64,
    /// Time executed; samples scaled to the thread's exact run time.
    pub on_cpu_ns: u64,
    /// Time runnable but not executing.
    pub run_queue_ns: u64,
    /// The part of it that a CPU quota made.
    pub throttled_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
}

impl Sample {
    /// All time of the sample.
    pub fn wall_ns(&self) -> u64 {
        self.on_cpu_ns + self.run_queue_ns + self.blocked_ns
    }
}

/// One off-CPU place of one process: waits of the same class at the same stack, over all its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Process.
    pub pid: u32,
    /// Reason.
    pub class: WaitClass,
    /// Idle by the idle rule: a thread parked at its loop's root.
    pub idle: bool,
    /// Number of waits.
    pub count: u64,
    /// Time off-CPU: blocked and run-queue wait.
    pub total_ns: u64,
    /// The part of `total_ns` that the threads were runnable.
    pub run_queue_ns: u64,
    /// Median, from half-octave buckets.
    pub p50_ns: u64,
    /// 99th percentile, from half-octave buckets.
    pub p99_ns: u64,
    /// Longest, exact.
    pub max_ns: u64,
    /// Kernel and user frames, leaf first.
    pub stack: StackId,
    /// The kernel function it slept in; `None` without a kernel stack.
    pub kernel_function: Option<Arc<str>>,
    /// Threads that waited here, by tid.
    pub tids: Vec<u32>,
    /// Who ended the longest waits here: waker and time it ended, largest first.
    pub wakers: Vec<(Waker, u64)>,
}

/// Time of one function on CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionTime {
    /// A frame that shows where the function is.
    pub frame: Arc<Frame>,
    /// Time with this function at the leaf.
    pub self_ns: u64,
    /// Time with this function anywhere on the stack.
    pub total_ns: u64,
}

/// Who ended a wait.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Waker {
    /// Process; 0 is the kernel itself: an interrupt or a timer on an idle CPU.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Thread name if known, raw.
    pub comm: Option<Arc<str>>,
    /// Whether an interrupt ended the wait: a timer, a device, a packet. The thread is then the one
    /// that was interrupted, which may have caused it (a packet over loopback) or not.
    pub interrupt: bool,
}

/// One long wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// When the thread was switched out.
    pub start: UnixNs,
    /// Time until it ran again.
    pub duration_ns: u64,
    /// The last part of it: runnable, waiting for a CPU.
    pub run_queue_ns: u64,
    /// Reason.
    pub class: WaitClass,
    /// Idle by the idle rule.
    pub idle: bool,
    /// Where.
    pub stack: StackId,
    /// Who ended it; `None` if not seen, or if less than half of the least wait was blocked.
    pub waker: Option<Waker>,
}

/// How walks ended: outcome → how many samples (or waits) and how much time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackQuality {
    /// By outcome number, see `profiler_common::wire::outcome`: (samples, ns).
    pub outcomes: [(u64, u64); outcome::COUNT],
    /// No stack at all: not taken, lost, or never arrived.
    pub missing: (u64, u64),
    /// Time whose stacks are a weighted sample: of waits of which, for the budget's sake, only some were walked.
    pub sampled_ns: u64,
}

/// What was lost, by cause; a cause that was measured and did not happen is there with 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Cause → count.
    pub by_cause: BTreeMap<&'static str, u64>,
}

/// What the capture cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overhead {
    /// Run time of our kernel programs; an estimate from measured slices of the window. `None` if it
    /// could not be measured.
    pub kernel_ns: Option<u64>,
    /// Runs of our kernel programs, estimated the same way.
    pub kernel_runs: Option<u64>,
    /// CPU time of the daemon during the window.
    pub daemon_ns: u64,
    /// CPU time of the daemon after the window: symbols and report.
    pub finish_ns: u64,
    /// Peak resident memory of the daemon.
    pub peak_rss_bytes: u64,
    /// Kernel memory of our maps at the end of the window, unwind tables included.
    pub kernel_memory_bytes: u64,
    /// Part of it: unwind tables and mappings, in whole slabs.
    pub tables_bytes: u64,
    /// Executables and libraries whose unwind tables are in the kernel.
    pub tables_files: u64,
    /// Stack memo: (recognised, walked) user stacks.
    pub user_memo: (u64, u64),
    /// User stacks neither recognised nor walked, for the budget's sake.
    pub user_skipped: u64,
    /// Stack memo: (recognised, walked) kernel stacks.
    pub kernel_memo: (u64, u64),
}
