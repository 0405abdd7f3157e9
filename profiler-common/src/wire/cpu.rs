use super::Header;

/// What a CPU was doing when its sampling clock fired.
pub mod cpu_mode {
    /// Executing the program.
    pub const USER: u32 = 0;
    /// Executing the kernel on its behalf.
    pub const KERNEL: u32 = 1;
}

/// One on-CPU sample: 48 bytes. `header.at_ns` is the time of the sample.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuSample {
    /// Tag [`super::tag::CPU_SAMPLE`].
    pub header: Header,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Generation of the process when sampled: which mappings its stack belongs to.
    pub generation: u32,
    /// One of [`cpu_mode`].
    pub mode: u32,
    /// Id of the user stack, 0 if none could be taken.
    pub user_stack: u64,
    /// Id of the kernel stack, 0 outside the kernel or if none could be taken.
    pub kernel_stack: u64,
}
const _: () = assert!(size_of::<CpuSample>() == 48);
