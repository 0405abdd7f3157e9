//! What a hook of the scheduler passes: typed tasks, or, where the kernel has no types, their addresses.

#[cfg(not(feature = "untyped"))]
pub(crate) use aya_ebpf::programs::BtfTracePointContext as Hook;
#[cfg(feature = "untyped")]
pub(crate) use aya_ebpf::programs::RawTracePointContext as Hook;
