//! Is it the stack of last time? See `rules::memo`.

use profiler_common::limits::KERNEL_FRAMES;
use profiler_ebpf::rules::memo::{
    self, KERNEL_ENTRY_FRAMES, KERNEL_SPAN, KERNEL_WORDS, KernelSlot, SLOTS, USER_SPAN, USER_WORDS, UserSlot,
};

use crate::lend::{self, ScratchArg, ThreadArg};
use crate::machine;
use crate::maps::{Scratch, read};
use crate::memory;

const _: () = assert!(KERNEL_WORDS < KERNEL_FRAMES && KERNEL_FRAMES <= USER_WORDS);

/// The remembered stack with these registers and the same words in the same places; 0 if none.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn recall_user(scratch: ScratchArg, thread: ThreadArg) -> u64 {
    // SAFETY: as in `walk_user`; the thread is being switched by this program.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let regs = scratch.regs;
    // In memory, not in a register, so that the verifier does not follow what was read so far.
    scratch.user_span = 0;
    let mut index = 0;
    while index < SLOTS {
        let slot = &thread.memo.user[index];
        index += 1;
        if slot.stack == 0 || slot.ip != regs.ip || slot.sp != regs.sp || slot.bp != regs.bp & slot.bp_mask {
            continue;
        }
        if machine::LINKS && slot.link != 0 && slot.link != regs.link {
            continue;
        }
        let span = slot.span;
        let is_of_now = slot.generation == scratch.owner.generation && slot.epoch == scratch.epoch;
        if !is_of_now || span as usize > USER_SPAN {
            continue;
        }
        if span > read(&scratch.user_span) {
            if !read_user_stretch(scratch, span) {
                return 0;
            }
            scratch.user_span = span;
        }
        if hash_user(scratch, slot) == slot.hash {
            return slot.stack;
        }
    }
    0
}

/// Hash of the words in the stretch that a slot names. Their number is read as if it might have changed: a compiler that
/// knows it to be within bounds makes a loop of it that verifiers before 6.8 see no end of. Not a function of its own: to return from one costs 10 ns and
/// more where the kernel guards returns.
#[inline(always)]
fn hash_user(scratch: &Scratch, slot: &UserSlot) -> u64 {
    // SAFETY: the stretch has USER_SPAN bytes.
    unsafe { memo::hash::<USER_SPAN, USER_WORDS>(scratch.user_stretch.as_ptr(), &slot.at, read(&slot.words)) }
}

/// Keeps the walk that was just made, if all its words lie in one stretch.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn remember_user(scratch: ScratchArg, thread: ThreadArg, stack: u64) -> u32 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let words = scratch.words;
    if words as usize > USER_WORDS {
        return 0;
    }
    let mut span = 0;
    if words > 0 {
        span = (scratch.reach & (USER_SPAN as u32 - 8)) + 8;
        // Read again: the hash is of what lies there now.
        if span as usize > USER_SPAN || !read_user_stretch(scratch, span) {
            return 0;
        }
    }
    let next = thread.memo.next_user as usize & (SLOTS - 1);
    thread.memo.next_user = next as u32 + 1;
    let slot = &mut thread.memo.user[next];
    let mut index = 0;
    while index < USER_WORDS {
        slot.at[index] = scratch.at[index];
        index += 1;
    }
    memo::pad(&mut slot.at, words);
    slot.stack = stack;
    slot.ip = scratch.regs.ip;
    slot.sp = scratch.regs.sp;
    slot.bp = scratch.regs.bp & scratch.bp_mask;
    slot.bp_mask = scratch.bp_mask;
    slot.link = scratch.link;
    slot.generation = scratch.owner.generation;
    slot.epoch = scratch.epoch;
    slot.span = span;
    slot.words = words;
    slot.hash = hash_user(scratch, slot);
    0
}

/// Reads `span` bytes from the stack pointer upwards; `span` is at most `USER_SPAN`.
#[inline(always)]
fn read_user_stretch(scratch: &mut Scratch, span: u32) -> bool {
    let span = lend::at_most(span, USER_SPAN);
    // SAFETY: the stretch holds the span.
    unsafe { memory::read_user(scratch.user_stretch.as_mut_ptr().cast(), span, scratch.regs.sp) }
}

/// Reads `bytes` bytes of kernel stack from `first` bytes above the program's context upwards; at most `KERNEL_SPAN`.
#[inline(always)]
fn read_kernel_stretch(scratch: &mut Scratch, first: u32, bytes: u32) -> bool {
    let bytes = lend::at_most(bytes, KERNEL_SPAN);
    let from = scratch.kernel_key.context.wrapping_add(first.into());
    // SAFETY: the stretch has KERNEL_SPAN bytes.
    unsafe { memory::read_kernel(scratch.kernel_stretch.as_mut_ptr().cast(), bytes, from) }
}

/// The same as [`hash_user`] for a kernel stack.
#[inline(always)]
fn hash_kernel(scratch: &Scratch, slot: &KernelSlot) -> u64 {
    // SAFETY: the stretch has KERNEL_SPAN bytes.
    unsafe { memo::hash::<KERNEL_SPAN, KERNEL_WORDS>(scratch.kernel_stretch.as_ptr(), &slot.at, read(&slot.words)) }
}

/// The remembered kernel stack of the same path with the same words; 0 if none.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn recall_kernel(scratch: ScratchArg, thread: ThreadArg) -> u64 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let key = scratch.kernel_key;
    let (mut from, mut read) = (0, 0);
    let mut index = 0;
    while index < SLOTS {
        let slot = &thread.memo.kernel[index];
        index += 1;
        let is_path = slot.syscall == key.syscall && slot.state == key.state && slot.length == key.length;
        let (first, span) = (slot.first, slot.span);
        let end = u64::from(first) + u64::from(span);
        if slot.stack == 0 || !is_path || span as usize > KERNEL_SPAN || end > key.distance {
            continue;
        }
        // The kernel copies word by word, so that every byte less counts.
        if span > read || first != from {
            if !read_kernel_stretch(scratch, first, span) {
                return 0;
            }
            (from, read) = (first, span);
        }
        if hash_kernel(scratch, slot) == slot.hash {
            if slot.descriptor == key.descriptor {
                scratch.kernel_key.file_mode = slot.file_mode;
            }
            return slot.stack;
        }
    }
    0
}

/// Finds where in the stretch the addresses of the walk lie, in order, and keeps those places.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn remember_kernel(scratch: ScratchArg, thread: ThreadArg, stack: u64) -> u32 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let key = scratch.kernel_key;
    let unverified = if key.syscall < 0 { 0 } else { KERNEL_ENTRY_FRAMES };
    let wanted = (scratch.kernel.record.frames as usize).saturating_sub(unverified);
    let reach = if key.distance < KERNEL_SPAN as u64 { key.distance as u32 } else { KERNEL_SPAN as u32 };
    if wanted == 0 || wanted > KERNEL_WORDS || !read_kernel_stretch(scratch, 0, reach) {
        return 0;
    }
    // Progress lives in memory, not in a register, so that the verifier sees one loop state.
    scratch.found = 0;
    let found = &raw mut scratch.found;
    let mut word = 0;
    while word < KERNEL_SPAN / 8 {
        // SAFETY: the pointer comes from a reference; the mask keeps the index inside both arrays. It comes before the
        // comparison: after it the compiler knows that there is nothing to mask, and verifiers before 6.8 do not.
        unsafe {
            let next = found.read_volatile() as usize & (KERNEL_FRAMES - 1);
            let address = *scratch.kernel.frames.get_unchecked(next);
            if next < wanted && machine::kernel_code(scratch.kernel_stretch[word]) == address {
                *scratch.at.get_unchecked_mut(next) = (word * 8) as u16;
                found.write_volatile(next as u32 + 1);
            }
        }
        word += 1;
    }
    if scratch.found as usize != wanted {
        return 0;
    }
    let next = thread.memo.next_kernel as usize & (SLOTS - 1);
    thread.memo.next_kernel = next as u32 + 1;
    let slot = &mut thread.memo.kernel[next];
    let first = scratch.at[0];
    let mut index = 0;
    while index < KERNEL_WORDS {
        slot.at[index] = scratch.at[index] - first;
        index += 1;
    }
    memo::pad(&mut slot.at, wanted as u32);
    slot.stack = stack;
    slot.syscall = key.syscall;
    slot.state = key.state;
    slot.length = key.length;
    slot.first = first.into();
    let last = u32::from(slot.at[(wanted - 1) & (KERNEL_WORDS - 1)]);
    let span = (last & (KERNEL_SPAN as u32 - 8)) + 8;
    slot.span = span;
    slot.words = wanted as u32;
    slot.file_mode = key.file_mode;
    slot.descriptor = key.descriptor;
    // Read again: the stretch begins at the first word.
    if !read_kernel_stretch(scratch, first.into(), span) {
        slot.stack = 0;
    }
    slot.hash = hash_kernel(scratch, slot);
    0
}
