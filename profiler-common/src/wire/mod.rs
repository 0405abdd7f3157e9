//! Records as the kernel programs write them: native endian, no padding, integers only.
//! Times are nanoseconds of CLOCK_MONOTONIC (`bpf_ktime_get_ns`).

mod cpu;
mod off_cpu;
mod stack;
mod task;

pub use cpu::{CpuSample, cpu_mode};
pub use off_cpu::{OffCpu, OffCpuKey, OffCpuMapKey, OffCpuValue, Wait, sampling, waker_flag};
pub use stack::{StackRecord, frame, outcome, stack_kind};
pub use task::{Exec, ThreadTotals, thread_flag};

/// The tag of each record.
pub mod tag {
    /// A [`super::StackRecord`] with its frames.
    pub const STACK: u32 = 1;
    /// A [`super::CpuSample`].
    pub const CPU_SAMPLE: u32 = 2;
    /// A [`super::Wait`].
    pub const WAIT: u32 = 3;
    /// A [`super::ThreadTotals`], of an ended thread or from the iterator.
    pub const THREAD: u32 = 4;
    /// An [`super::Exec`]: a process called exec.
    pub const EXEC: u32 = 5;
    /// An [`super::Exec`]: a process was born by fork, with its parent's mappings.
    pub const FORK: u32 = 6;
    /// An [`super::OffCpu`], of a thread that is read or ends after the window closed.
    pub const OFF_CPU: u32 = 7;
}

/// Starts every record: 16 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// One of [`tag`].
    pub tag: u32,
    /// CPU that wrote the record.
    pub cpu: u32,
    /// When it was written.
    pub at_ns: u64,
}
const _: () = assert!(size_of::<Header>() == 16);
