use std::collections::HashMap;
use std::sync::Arc;

use super::{Ledger, MonoNs};
use profiler_common::wire::{CpuSample, OffCpuKey, OffCpuValue, Wait};

/// A capture as the kernel told it: exact times, raw addresses, no names yet.
/// `aggregate` turns it into a [`super::Window`].
#[derive(Clone, Debug, Default)]
pub struct Capture {
    /// First instant of the window.
    pub start: MonoNs,
    /// End of the window.
    pub end: MonoNs,
    /// Every thread that was seen, each once, by (pid, tid, start).
    pub threads: Vec<ThreadTime>,
    /// Stacks by kernel-side id.
    pub stacks: HashMap<u64, RawStack>,
    /// On-CPU samples in order of arrival.
    pub cpu_samples: Vec<CpuSample>,
    /// Waits summed by key; open waits are included up to `end`, so that per thread the entries add
    /// up to the ledger's off-CPU time but for what `OFF_CPU_FULL` counts.
    pub off_cpu: HashMap<OffCpuKey, OffCpuValue>,
    /// Longest single waits, in no order.
    pub waits: Vec<Wait>,
}

/// One thread's time in the window, by the kernel's exact sums.
#[derive(Clone, Debug, Default)]
pub struct ThreadTime {
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// When the thread was born, on the kernel's clock: tells apart who bore the same ids.
    pub born_ns: u64,
    /// The last generation of its process that it saw; its waits and samples bear this or an earlier one.
    pub generation: u32,
    /// Name, raw: control characters and all, but valid UTF-8.
    pub comm: Arc<str>,
    /// Start of its presence in the window, nanoseconds after the window's start.
    pub start_ns: u64,
    /// Its time.
    pub ledger: Ledger,
    /// Switches that blocked.
    pub blocks: u64,
    /// Switches that did not block.
    pub preemptions: u64,
    /// Whether it ended inside the window.
    pub ended: bool,
}

/// One stack as walked in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawStack {
    /// Process; 0 for kernel stacks.
    pub pid: u32,
    /// Generation of the process: picks the mappings.
    pub generation: u32,
    /// Epoch of the process' mappings: picks between those of one generation.
    pub epoch: u32,
    /// Whether these are kernel addresses.
    pub kernel: bool,
    /// How the walk ended, see `profiler_common::wire::outcome`.
    pub outcome: u32,
    /// Addresses, leaf first. Those of a user stack carry the bits of `profiler_common::wire::frame`. The
    /// first one of a kernel stack is exact, the others are return addresses.
    pub addresses: Vec<u64>,
}
