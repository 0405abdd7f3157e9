//! The walk of a kernel stack, which the kernel does.

use aya_ebpf::helpers::generated::bpf_get_stack;
use core::ffi::c_void;
use profiler_common::fault;
use profiler_common::limits::KERNEL_FRAMES;
use profiler_common::wire::{StackRecord, outcome};

use crate::emit;
use crate::maps::Scratch;

/// Walks the kernel stack into `scratch.kernel`. Counts and returns false if there is none.
#[inline(always)]
pub(super) fn walk_kernel(scratch: &mut Scratch, context: *mut c_void, skip: u64) -> bool {
    let buffer = &mut scratch.kernel;
    let size = size_of::<[u64; KERNEL_FRAMES]>() as u32;
    // SAFETY: the helper writes at most the size given.
    let bytes = unsafe { bpf_get_stack(context, buffer.frames.as_mut_ptr().cast(), size, skip) };
    if bytes <= 0 {
        emit::count(fault::KERNEL_STACK);
        return false;
    }
    finish_kernel(&mut buffer.record, bytes as u32);
    true
}

#[inline(always)]
pub(super) fn finish_kernel(record: &mut StackRecord, bytes: u32) {
    record.frames = bytes / 8;
    record.outcome = if record.frames < KERNEL_FRAMES as u32 { outcome::COMPLETE } else { outcome::TRUNCATED };
}
