//! The walk of a user stack.

use aya_ebpf::helpers::generated::bpf_probe_read_user;
use core::ffi::c_void;
use profiler_common::limits::USER_FRAMES;
use profiler_common::wire::outcome;
use profiler_ebpf::rules::memo::{USER_SPAN, USER_WORDS};
use profiler_ebpf::rules::walk::{self, Step};

use crate::maps::Scratch;

/// Walks the current task's stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn walk_user(scratch: *mut Scratch) -> u32 {
    // SAFETY: the verifier checks the pointer; nobody else uses this working memory.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 0 };
    walk_with(scratch, |at, pair| {
        // SAFETY: the helper writes the pair, and fails on memory that cannot be read.
        unsafe { bpf_probe_read_user(pair.as_mut_ptr().cast(), 16, at as *const c_void) == 0 }
    });
    0
}
/// Walks by frame pointers from `scratch.regs` into `scratch.user`; the words that were read are
/// noted in `scratch.at`.
#[inline(always)]
pub(super) fn walk_with(scratch: &mut Scratch, read: impl Fn(u64, &mut [u64; 2]) -> bool) {
    let regs = scratch.regs;
    scratch.user.frames[0] = regs.ip;
    scratch.words = 0;
    let (mut stack_pointer, mut frame_pointer) = (regs.sp, regs.bp);
    let mut frames = 1;
    let mut end = outcome::TRUNCATED;
    while frames < USER_FRAMES {
        if !walk::plausible(frame_pointer, stack_pointer) {
            end = walk::stop(frame_pointer, frames);
            break;
        }
        let mut pair = [0u64; 2];
        if !read(frame_pointer, &mut pair) {
            // What could not be read now may be readable next time.
            scratch.words = u32::MAX;
            end = outcome::READ_FAULT;
            break;
        }
        // Both words decided the walk, also those that ended it.
        let (at, words) = (frame_pointer - regs.sp, scratch.words as usize);
        if at <= (USER_SPAN - 16) as u64 && words < USER_WORDS - 1 {
            scratch.at[words & (USER_WORDS - 1)] = at as u16;
            scratch.at[(words + 1) & (USER_WORDS - 1)] = at as u16 + 8;
            scratch.words = words as u32 + 2;
        } else {
            scratch.words = u32::MAX;
        }
        if let Step::End(why) = walk::step(pair[1]) {
            end = why;
            break;
        }
        scratch.user.frames[frames] = pair[1];
        frames += 1;
        stack_pointer = frame_pointer + 16;
        frame_pointer = pair[0];
    }
    scratch.user.record.frames = frames as u32;
    scratch.user.record.outcome = end;
}
