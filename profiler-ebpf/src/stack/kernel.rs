//! Walks that the kernel does: of its own stacks and, where ours cannot read memory, of the user's.

use aya_ebpf::bindings::BPF_F_USER_STACK;
use aya_ebpf::helpers::generated::bpf_get_stack;
use core::ffi::c_void;
use profiler_common::fault;
use profiler_common::limits::{KERNEL_FRAMES, USER_FRAMES};
use profiler_common::wire::{StackRecord, frame, outcome};

use crate::emit;
use crate::lend::{self, ScratchArg};
use crate::maps::{PROCESSES, Scratch};

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

/// Walks the user stack of the current task into `scratch.user`, by frame pointers: what the kernel can do. Whether the leaf
/// is exact is told by `scratch.regs`. Counts and returns false if there is none.
#[inline(always)]
pub(super) fn walk_user_by_kernel(scratch: &mut Scratch, context: *mut c_void) -> bool {
    let size = size_of::<[u64; USER_FRAMES]>() as u32;
    let frames = scratch.user.frames.as_mut_ptr().cast();
    // SAFETY: the helper writes at most the size given.
    let bytes = unsafe { bpf_get_stack(context, frames, size, BPF_F_USER_STACK.into()) };
    if bytes <= 0 {
        emit::count(fault::USER_STACK);
        return false;
    }
    scratch.user.record.frames = bytes as u32 / 8;
    scratch.user.record.outcome = outcome::FRAME_POINTERS;
    // SAFETY: the daemon replaces entries whole; a stale one is as good as none.
    let mappings = PROCESSES.get_ptr(scratch.owner.pid).map(|mappings| unsafe { mappings.read_volatile() });
    scratch.user.record.epoch = mappings.map_or(0, |mappings| mappings.epoch);
    mark_frames(lend::scratch(scratch));
    true
}

/// Says of each frame how it was found.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mark_frames(scratch: ScratchArg) -> u32 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let mut mark = scratch.regs.ip & frame::EXACT;
    let mut index = 0;
    while index < USER_FRAMES {
        if index as u32 >= scratch.user.record.frames {
            break;
        }
        scratch.user.frames[index] = scratch.user.frames[index] & frame::ADDRESS | mark;
        mark = frame::APPROXIMATE;
        index += 1;
    }
    0
}
