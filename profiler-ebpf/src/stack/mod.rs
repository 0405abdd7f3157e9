//! User and kernel stacks as ids: recognised by the memo, or walked and sent.
//!
//! The loops live in global functions (`extern "C"`, never inlined): the verifier checks each of them
//! once and alone, instead of once for every state that a caller can be in. They take working memory
//! and thread state by pointer, which the verifier lets be null, and return a plain number. What
//! they share lies in the working memory.

mod budget;
mod kernel;
mod memo;
mod send;
#[cfg(not(feature = "untyped"))]
mod sleeper;
mod walk;

use aya_ebpf::bindings::BPF_ANY;
use core::ffi::c_void;
use profiler_common::fault::{self, counter};
use profiler_common::wire::{frame, outcome, sampling};
use profiler_ebpf::rules::memo::MODE_UNKNOWN;

use crate::emit;
use crate::lend;
use crate::machine;
use crate::maps::{PROCESSES, Scratch, Thread, scratch, setting};
use crate::memory;
use crate::regs::{self, Regs};
use budget::{choose, ration};
use kernel::{walk_kernel, walk_user_by_kernel};
use memo::{recall_kernel, recall_user, remember_kernel, remember_user};
use send::{id_of_kernel, id_of_user, send_kernel, send_user};
use walk::walk_user;

#[cfg(not(feature = "untyped"))]
pub(crate) use sleeper::of_sleeper;
pub(crate) use walk::Walk;

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
    pub(crate) regs: Regs,
    /// System call, negative outside of one.
    pub(crate) syscall: i32,
    /// Task state at the switch.
    pub(crate) state: u32,
    /// What is read or written, see `machine::argument`.
    pub(crate) descriptor: u64,
}

/// What tells kernel paths apart before any word is compared.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct KernelKey {
    syscall: i32,
    state: u32,
    /// In an exception the distance to the saved registers, else 0.
    length: u32,
    /// Mode of the file behind the descriptor, `MODE_UNKNOWN` while it was not looked at.
    file_mode: u32,
    descriptor: u64,
    /// Where the stretch begins, and how far the saved registers are from there.
    context: u64,
    distance: u64,
}

/// Id of the user stack that starts at `regs`, the registers of the current task; 0 if there is none.
/// `syscall` is the one that they were saved in, negative if none; `context` is the program's.
#[inline(always)]
pub(crate) fn user(scratch: &mut Scratch, context: *mut c_void, regs: Regs, syscall: i32, owner: Owner) -> u64 {
    scratch.regs = machine::registers(regs, syscall);
    scratch.owner = owner;
    if !memory::of_user() {
        return if walk_user_by_kernel(scratch, context) { send_user(scratch) } else { 0 };
    }
    if scratch.regs.ip & frame::ADDRESS == 0 {
        emit::count(fault::USER_STACK);
        return 0;
    }
    walk_own(scratch, regs);
    send_user(scratch)
}

/// The same for a thread that waits from `now_ns` on: asks its memo first, and then whether its budget pays for a
/// walk. Tells as well how the stack came to be taken or not, by `wire::sampling`.
#[inline(always)]
pub(crate) fn user_of_wait(
    scratch: &mut Scratch,
    thread: &mut Thread,
    context: *mut c_void,
    regs: Regs,
    syscall: i32,
    owner: Owner,
    now_ns: u64,
) -> (u64, u32) {
    scratch.regs = machine::registers(regs, syscall);
    scratch.owner = owner;
    let way = choose(scratch.wait_level);
    if way & sampling::SKIPPED != 0 {
        emit::count(counter::USER_SKIPPED);
        return (0, way);
    }
    let known = recall_user(lend::scratch(scratch), lend::thread(thread));
    if known != 0 {
        emit::count(counter::USER_HIT);
        if setting!(verify_memo) != 0 {
            walk_own(scratch, regs);
            verify(known, id_of_user(lend::scratch(scratch)));
        }
        return (known, way);
    }
    let way = if way == sampling::EXACT { ration(lend::thread(thread), now_ns) } else { way };
    if way & sampling::SKIPPED != 0 {
        emit::count(counter::USER_SKIPPED);
        return (0, way);
    }
    emit::count(counter::USER_WALK);
    let stack = user(scratch, context, regs, syscall, owner);
    thread.budget.walked(scratch.user.record.frames);
    if stack != 0 && memory::of_user() {
        remember_user(lend::scratch(scratch), lend::thread(thread), stack);
    }
    (stack, way)
}

/// A process was born: until the daemon says otherwise it has its parent's mappings.
#[inline(always)]
pub(crate) fn inherit(parent: u32, child: u32, generation: u32) {
    if let Some(mappings) = PROCESSES.get_ptr(parent) {
        // SAFETY: as in `walk::start`.
        let mut mappings = unsafe { mappings.read_volatile() };
        mappings.generation = generation;
        // If this fails its stacks say so, and the daemon tries again.
        let _ = PROCESSES.insert(child, mappings, BPF_ANY.into());
    }
}

/// Counts how a walk by frame pointers alone ends, for comparison.
#[inline(always)]
pub(crate) fn compare(scratch: &mut Scratch, regs: Regs, syscall: i32, owner: Owner) {
    scratch.regs = machine::registers(regs, syscall);
    scratch.owner = owner;
    walk::start(scratch);
    walk::without_tables(scratch);
    walk_user(lend::scratch(scratch));
    // All the outcomes that a walk of ours can have.
    emit::count(counter::FRAME_POINTER + (scratch.user.record.outcome & (outcome::FRAME_POINTERS - 1)));
}

#[inline(always)]
fn walk_own(scratch: &mut Scratch, regs: Regs) {
    machine::all_registers(regs, &mut scratch.walk.leaf);
    walk::start(scratch);
    walk_user(lend::scratch(scratch));
}

/// Id of the kernel stack of the current task, which is being switched out, 0 if it has none; and the mode of
/// the file behind its descriptor, which `read_mode` reads unless the memo knows it.
#[inline(always)]
pub(crate) fn kernel_of_wait(
    scratch: &mut Scratch,
    thread: &mut Thread,
    place: KernelPlace,
    read_mode: impl Fn() -> u32,
) -> (u64, u32) {
    let distance = regs::distance(place.regs, place.context, scratch::SWITCH);
    scratch.kernel_key.syscall = place.syscall;
    scratch.kernel_key.state = place.state;
    scratch.kernel_key.length = if place.syscall < 0 { distance as u32 } else { 0 };
    scratch.kernel_key.context = place.context as u64;
    scratch.kernel_key.distance = distance;
    scratch.kernel_key.descriptor = place.descriptor;
    scratch.kernel_key.file_mode = MODE_UNKNOWN;
    if memory::of_kernel() {
        let known = recall_kernel(lend::scratch(scratch), lend::thread(thread));
        if known != 0 {
            emit::count(counter::KERNEL_HIT);
            if setting!(verify_memo) != 0 && walk_kernel(scratch, place.context, SWITCH_SKIP) {
                verify(known, id_of_kernel(lend::scratch(scratch)));
            }
            let known_mode = scratch.kernel_key.file_mode;
            return (known, if known_mode == MODE_UNKNOWN { read_mode() } else { known_mode });
        }
    }
    emit::count(counter::KERNEL_WALK);
    let file_mode = read_mode();
    if !walk_kernel(scratch, place.context, SWITCH_SKIP) {
        return (0, file_mode);
    }
    scratch.kernel_key.file_mode = file_mode;
    let stack = send_kernel(scratch);
    if memory::of_kernel() && stack != 0 {
        remember_kernel(lend::scratch(scratch), lend::thread(thread), stack);
    }
    (stack, file_mode)
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

#[inline(always)]
fn verify(recalled: u64, walked: u64) {
    emit::count(counter::VERIFIED);
    if recalled != walked {
        emit::count(fault::MEMO_WRONG);
    }
}
