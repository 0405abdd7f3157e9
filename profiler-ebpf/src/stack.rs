//! User and kernel stacks as ids: recognised by the memo, or walked and sent.
//!
//! The loops live in global functions (`extern "C"`, never inlined): the verifier checks each of them
//! once and alone, instead of once for every state that a caller can be in. They take working memory
//! and thread state by pointer, which the verifier lets be null, and return a plain number. What
//! they share lies in the working memory.

use aya_ebpf::bindings::{BPF_ANY, pt_regs, seq_file};
use aya_ebpf::helpers::generated::{
    bpf_copy_from_user_task, bpf_get_stack, bpf_get_task_stack, bpf_ktime_get_ns, bpf_probe_read_kernel,
    bpf_probe_read_user, bpf_seq_write,
};
use core::ffi::c_void;
use profiler_common::fault::{self, counter};
use profiler_common::limits::{KERNEL_FRAMES, USER_FRAMES};
use profiler_common::wire::{StackRecord, outcome, stack_kind, tag};
use profiler_ebpf::rules::memo::{self, KERNEL_ENTRY_FRAMES, KERNEL_SPAN, KERNEL_WORDS, SLOTS, USER_SPAN, USER_WORDS};
use profiler_ebpf::rules::walk::{self, Step};

use crate::emit;
use crate::maps::{SENT, Scratch, StackBuffer, Thread, setting};
use crate::task::{Registers, Task};

/// Whose stack: what its id depends on besides the addresses.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Owner {
    pub(crate) pid: u32,
    pub(crate) generation: u32,
}

/// Where a task's kernel stack lies while it is switched out, and what tells its paths apart.
#[derive(Clone, Copy)]
pub(crate) struct KernelPlace {
    /// The program's context, which lies on the stack just below the scheduler's frames.
    pub(crate) context: *mut c_void,
    /// The saved user registers, at the top of the stack.
    pub(crate) regs: *const pt_regs,
    /// System call, negative outside of one.
    pub(crate) syscall: i32,
    /// Task state at the switch.
    pub(crate) state: u32,
}

/// What tells kernel paths apart before any word is compared.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelKey {
    syscall: i32,
    state: u32,
    /// In an exception the distance to the saved registers, else 0.
    length: u32,
    /// Always zero.
    reserved: u32,
    /// Where the stretch begins, and how far the saved registers are from there.
    context: u64,
    distance: u64,
}

/// Id of the user stack that starts at `regs`; 0 if there is none.
#[inline(always)]
pub(crate) fn user(scratch: &mut Scratch, regs: Registers, owner: Owner) -> u64 {
    scratch.regs = regs;
    scratch.owner = owner;
    if regs.ip == 0 {
        emit::count(fault::USER_STACK);
        return 0;
    }
    walk_user(scratch);
    send_user(scratch)
}

/// The same for a thread that waits: asks its memo first.
#[inline(always)]
pub(crate) fn user_of_wait(scratch: &mut Scratch, thread: &mut Thread, regs: Registers, owner: Owner) -> u64 {
    scratch.regs = regs;
    scratch.owner = owner;
    let known = recall_user(scratch, thread);
    if known != 0 {
        emit::count(counter::USER_HIT);
        if setting!(verify_memo) != 0 {
            walk_user(scratch);
            verify(known, id_of_user(scratch));
        }
        return known;
    }
    emit::count(counter::USER_WALK);
    let stack = user(scratch, regs, owner);
    if stack != 0 {
        remember_user(scratch, thread, stack);
    }
    stack
}

/// Id of the kernel stack of the current task, which is being switched out; 0 if it has none.
#[inline(always)]
pub(crate) fn kernel_of_wait(scratch: &mut Scratch, thread: &mut Thread, place: KernelPlace) -> u64 {
    let distance = (place.regs as u64).wrapping_sub(place.context as u64);
    scratch.kernel_key.syscall = place.syscall;
    scratch.kernel_key.state = place.state;
    scratch.kernel_key.length = if place.syscall < 0 { distance as u32 } else { 0 };
    scratch.kernel_key.context = place.context as u64;
    scratch.kernel_key.distance = distance;
    if setting!(kernel_reads) != 0 {
        let known = recall_kernel(scratch, thread);
        if known != 0 {
            emit::count(counter::KERNEL_HIT);
            if setting!(verify_memo) != 0 && walk_kernel(scratch, place.context, SWITCH_SKIP) {
                verify(known, id_of_kernel(scratch));
            }
            return known;
        }
    }
    emit::count(counter::KERNEL_WALK);
    if !walk_kernel(scratch, place.context, SWITCH_SKIP) {
        return 0;
    }
    let stack = send_kernel(scratch);
    if setting!(kernel_reads) != 0 && stack != 0 {
        remember_kernel(scratch, thread, stack);
    }
    stack
}

/// Id of the kernel stack under an interrupt that samples the CPU; 0 if it has none.
#[inline(always)]
pub(crate) fn kernel(scratch: &mut Scratch, context: *mut c_void) -> u64 {
    if walk_kernel(scratch, context, 0) { send_kernel(scratch) } else { 0 }
}

/// Kernel addresses mean the same in every process.
const KERNEL: Owner = Owner { pid: 0, generation: 0 };
/// In `sched_switch` the first frames are our own program and its trampoline.
const SWITCH_SKIP: u64 = 2;

/// Walks the current task's stack.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_user(scratch: *mut Scratch) -> u32 {
    // SAFETY: the verifier checks the pointer; nobody else uses this working memory.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 0 };
    walk_with(scratch, |at, pair| {
        // SAFETY: the helper writes the pair, and fails on memory that cannot be read.
        unsafe { bpf_probe_read_user(pair.as_mut_ptr().cast(), 16, at as *const c_void) == 0 }
    });
    0
}

/// Ids of the user and the kernel stack of a task that sleeps, and that is not the current one; 0 for
/// what cannot be had. Writes the stacks to the iterator's file. For sleepable programs only.
#[inline(always)]
pub(crate) fn of_sleeper(
    scratch: &mut Scratch,
    task: Task,
    regs: Registers,
    owner: Owner,
    seq: *mut seq_file,
) -> (u64, u64) {
    scratch.regs = regs;
    scratch.owner = owner;
    let mut user_stack = 0;
    if regs.ip != 0 {
        walk_with(scratch, |at, pair| {
            // SAFETY: as in `walk_user`; the iterator holds the task.
            unsafe { bpf_copy_from_user_task(pair.as_mut_ptr().cast(), 16, at as *const c_void, task, 0) == 0 }
        });
        user_stack = id_of_user(scratch);
        fill(&mut scratch.user.record, stack_kind::USER, owner, user_stack);
        write(&scratch.user, seq);
    }
    let buffer = &mut scratch.kernel;
    let size = size_of::<[u64; KERNEL_FRAMES]>() as u32;
    // SAFETY: the helper writes at most the size given; the iterator holds the task.
    let bytes = unsafe { bpf_get_task_stack(task, buffer.frames.as_mut_ptr().cast(), size, 0) };
    if bytes <= 0 {
        return (user_stack, 0);
    }
    finish_kernel(&mut buffer.record, bytes as u32);
    let kernel_stack = id_of_kernel(scratch);
    fill(&mut scratch.kernel.record, stack_kind::KERNEL, KERNEL, kernel_stack);
    write(&scratch.kernel, seq);
    (user_stack, kernel_stack)
}

/// Walks by frame pointers from `scratch.regs` into `scratch.user`; the words that were read are
/// noted in `scratch.at`.
#[inline(always)]
fn walk_with(scratch: &mut Scratch, read: impl Fn(u64, &mut [u64; 2]) -> bool) {
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

/// The remembered stack with these registers and the same words in the same places; 0 if none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn recall_user(scratch: *mut Scratch, thread: *mut Thread) -> u64 {
    // SAFETY: as in `walk_user`; the thread is being switched by this program.
    let (Some(scratch), Some(thread)) = (unsafe { (scratch.as_mut(), thread.as_ref()) }) else { return 0 };
    let regs = scratch.regs;
    let mut read = 0;
    let mut index = 0;
    while index < SLOTS {
        let slot = &thread.memo.user[index];
        index += 1;
        if slot.stack == 0 || slot.ip != regs.ip || slot.sp != regs.sp || slot.bp != regs.bp {
            continue;
        }
        let span = slot.span;
        if slot.generation != scratch.owner.generation || span as usize > USER_SPAN {
            continue;
        }
        if span > read {
            if !read_user_stretch(scratch, span) {
                return 0;
            }
            read = span;
        }
        if hash_user(scratch, slot.words, &slot.at) == slot.hash {
            return slot.stack;
        }
    }
    0
}

/// Keeps the walk that was just made, if all its words lie in one stretch.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember_user(scratch: *mut Scratch, thread: *mut Thread, stack: u64) -> u32 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (scratch.as_mut(), thread.as_mut()) }) else { return 0 };
    let words = scratch.words;
    if words as usize > USER_WORDS {
        return 0;
    }
    let mut span = 0;
    if words > 0 {
        span = u32::from(scratch.at[(words as usize - 1) & (USER_WORDS - 1)]) + 8;
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
    slot.stack = stack;
    slot.ip = scratch.regs.ip;
    slot.sp = scratch.regs.sp;
    slot.bp = scratch.regs.bp;
    slot.hash = hash_user(scratch, words, &slot.at);
    slot.generation = scratch.owner.generation;
    slot.span = span;
    slot.words = words;
    0
}

/// Reads `span` bytes from the stack pointer upwards; `span` is at most `USER_SPAN`.
#[inline(always)]
fn read_user_stretch(scratch: &mut Scratch, span: u32) -> bool {
    // SAFETY: the helper writes at most the span, which the stretch holds.
    unsafe {
        bpf_probe_read_user(scratch.user_stretch.as_mut_ptr().cast(), span, scratch.regs.sp as *const c_void) == 0
    }
}

#[inline(always)]
fn hash_user(scratch: &Scratch, words: u32, at: &[u16; USER_WORDS]) -> u64 {
    // SAFETY: the stretch has USER_SPAN bytes.
    unsafe { memo::hash::<USER_SPAN, USER_WORDS>(scratch.user_stretch.as_ptr(), at, words) }
}

/// Walks the kernel stack into `scratch.kernel`. Counts and returns false if there is none.
#[inline(always)]
fn walk_kernel(scratch: &mut Scratch, context: *mut c_void, skip: u64) -> bool {
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
fn finish_kernel(record: &mut StackRecord, bytes: u32) {
    record.frames = bytes / 8;
    record.outcome = if record.frames < KERNEL_FRAMES as u32 { outcome::COMPLETE } else { outcome::TRUNCATED };
}

/// Reads `bytes` bytes of kernel stack from the program's context upwards; at most `KERNEL_SPAN`.
#[inline(always)]
fn read_kernel_stretch(scratch: &mut Scratch, bytes: u32) -> bool {
    let from = scratch.kernel_key.context as *const c_void;
    // SAFETY: the helper writes at most KERNEL_SPAN bytes, and fails on a bad address.
    unsafe { bpf_probe_read_kernel(scratch.kernel_stretch.as_mut_ptr().cast(), bytes, from) == 0 }
}

#[inline(always)]
fn hash_kernel(scratch: &Scratch, words: u32, at: &[u16; KERNEL_WORDS]) -> u64 {
    // SAFETY: the stretch has KERNEL_SPAN bytes.
    unsafe { memo::hash::<KERNEL_SPAN, KERNEL_WORDS>(scratch.kernel_stretch.as_ptr(), at, words) }
}

/// The remembered kernel stack of the same path with the same words; 0 if none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn recall_kernel(scratch: *mut Scratch, thread: *mut Thread) -> u64 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (scratch.as_mut(), thread.as_ref()) }) else { return 0 };
    let key = scratch.kernel_key;
    let mut read = 0;
    let mut index = 0;
    while index < SLOTS {
        let slot = &thread.memo.kernel[index];
        index += 1;
        let is_path = slot.syscall == key.syscall && slot.state == key.state && slot.length == key.length;
        let span = slot.span;
        if slot.stack == 0 || !is_path || span as usize > KERNEL_SPAN || u64::from(span) > key.distance {
            continue;
        }
        // Word by word, so that every byte less counts.
        if span > read {
            if !read_kernel_stretch(scratch, span) {
                return 0;
            }
            read = span;
        }
        if hash_kernel(scratch, slot.words, &slot.at) == slot.hash {
            return slot.stack;
        }
    }
    0
}

/// Finds where in the stretch the addresses of the walk lie, in order, and keeps those places.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn remember_kernel(scratch: *mut Scratch, thread: *mut Thread, stack: u64) -> u32 {
    // SAFETY: as in `recall_user`.
    let (Some(scratch), Some(thread)) = (unsafe { (scratch.as_mut(), thread.as_mut()) }) else { return 0 };
    let key = scratch.kernel_key;
    let unverified = if key.syscall < 0 { 0 } else { KERNEL_ENTRY_FRAMES };
    let wanted = (scratch.kernel.record.frames as usize).saturating_sub(unverified);
    let reach = if key.distance < KERNEL_SPAN as u64 { key.distance as u32 } else { KERNEL_SPAN as u32 };
    if wanted == 0 || wanted > KERNEL_WORDS || !read_kernel_stretch(scratch, reach) {
        return 0;
    }
    // Progress lives in memory, not in a register, so that the verifier sees one loop state.
    scratch.found = 0;
    let found = &raw mut scratch.found;
    let mut word = 0;
    while word < KERNEL_SPAN / 8 {
        // SAFETY: the pointer comes from a reference; masks keep every index inside its array.
        unsafe {
            let next = found.read_volatile() as usize;
            let address = *scratch.kernel.frames.get_unchecked(next & (KERNEL_FRAMES - 1));
            if next < wanted && scratch.kernel_stretch[word] == address {
                *scratch.at.get_unchecked_mut(next & (KERNEL_WORDS - 1)) = (word * 8) as u16;
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
    let mut index = 0;
    while index < KERNEL_WORDS {
        slot.at[index] = scratch.at[index];
        index += 1;
    }
    slot.stack = stack;
    slot.syscall = key.syscall;
    slot.state = key.state;
    slot.length = key.length;
    slot.span = u32::from(slot.at[(wanted - 1) & (KERNEL_WORDS - 1)]) + 8;
    slot.words = wanted as u32;
    slot.hash = hash_kernel(scratch, wanted as u32, &slot.at);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn id_of_user(scratch: *mut Scratch) -> u64 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 0 };
    id(&scratch.user, scratch.owner)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn id_of_kernel(scratch: *mut Scratch) -> u64 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { scratch.as_mut() }) else { return 0 };
    id(&scratch.kernel, KERNEL)
}

/// Sends the walked user stack unless the daemon has it. Returns its id, or 0 if it could not be
/// sent, so that nothing remembers an id that nobody knows.
#[inline(always)]
fn send_user(scratch: &mut Scratch) -> u64 {
    let id = id_of_user(scratch);
    fill(&mut scratch.user.record, stack_kind::USER, scratch.owner, id);
    send(&scratch.user)
}

/// The same for the walked kernel stack.
#[inline(always)]
fn send_kernel(scratch: &mut Scratch) -> u64 {
    let id = id_of_kernel(scratch);
    fill(&mut scratch.kernel.record, stack_kind::KERNEL, KERNEL, id);
    send(&scratch.kernel)
}

/// Completes a record whose frames and outcome the walk has set.
#[inline(always)]
fn fill(record: &mut StackRecord, kind: u32, owner: Owner, id: u64) {
    record.header.tag = tag::STACK;
    // SAFETY: no arguments.
    record.header.at_ns = unsafe { bpf_ktime_get_ns() };
    record.id = id;
    record.pid = owner.pid;
    record.generation = owner.generation;
    record.kind = kind;
}

/// The id of the walked stack in `buffer`: never 0.
#[inline(always)]
fn id<const N: usize>(buffer: &StackBuffer<N>, owner: Owner) -> u64 {
    let mut sum = memo::mix(memo::SEED, u64::from(owner.pid) << 32 | u64::from(owner.generation));
    sum = memo::mix(sum, u64::from(buffer.record.outcome));
    let mut index = 0;
    while index < N {
        if index as u32 >= buffer.record.frames {
            break;
        }
        sum = memo::mix(sum, buffer.frames[index]);
        index += 1;
    }
    sum | 1
}

#[inline(always)]
fn send<const N: usize>(buffer: &StackBuffer<N>) -> u64 {
    let id = buffer.record.id;
    if SENT.get_ptr(id).is_some() {
        return id;
    }
    // SAFETY: header and frames lie together, and `bytes` stays within them.
    if !unsafe { emit::record(&raw const *buffer, bytes(buffer), fault::RING_FULL_STACK) } {
        return 0;
    }
    // If this fails the stack is sent once more.
    let _ = SENT.insert(id, 1, BPF_ANY.into());
    id
}

#[inline(always)]
fn write<const N: usize>(buffer: &StackBuffer<N>, seq: *mut seq_file) {
    // SAFETY: as in `send`; `seq` is the iterator's file.
    unsafe { bpf_seq_write(seq, (&raw const *buffer).cast(), bytes(buffer) as u32) };
}

/// Size of the record with its frames.
#[inline(always)]
fn bytes<const N: usize>(buffer: &StackBuffer<N>) -> usize {
    let frames = buffer.record.frames as usize;
    size_of::<StackRecord>() + if frames > N { N } else { frames } * 8
}

#[inline(always)]
fn verify(recalled: u64, walked: u64) {
    emit::count(counter::VERIFIED);
    if recalled != walked {
        emit::count(fault::MEMO_WRONG);
    }
}
