//! Stacks of tasks that sleep, taken by an iterator instead of their own switch.

use aya_ebpf::bindings::seq_file;
use aya_ebpf::helpers::generated::{bpf_copy_from_user_task, bpf_get_task_stack, bpf_seq_write};
use core::ffi::c_void;
use profiler_common::limits::KERNEL_FRAMES;
use profiler_common::wire::{frame, stack_kind};

use super::kernel::finish_kernel;
use super::send::{bytes, fill, id_of_kernel, id_of_user};
use super::walk::{self, walk_some, went};
use super::{KERNEL, Owner};
use crate::maps::{Scratch, StackBuffer};
use crate::regs::Regs;
use crate::task::Task;
use crate::{lend, machine};

/// Runs of steps for the stack of a sleeper: enough for its frames and the windows between them.
const SLEEPER_TURNS: u32 = 128;

/// Ids of the user and the kernel stack of a task that sleeps, and that is not the current one; 0 for
/// what cannot be had. Writes the stacks to the iterator's file. For sleepable programs only.
#[inline(always)]
pub(crate) fn of_sleeper(
    scratch: &mut Scratch,
    task: Task,
    regs: Regs,
    syscall: i32,
    owner: Owner,
    seq: *mut seq_file,
) -> (u64, u64) {
    scratch.regs = machine::registers(regs, syscall);
    scratch.owner = owner;
    let mut user_stack = 0;
    if scratch.regs.ip & frame::ADDRESS != 0 {
        machine::all_registers(regs, &mut scratch.walk.leaf);
        walk::start(scratch);
        let mut turn = 0;
        while turn < SLEEPER_TURNS {
            turn += 1;
            let went = walk_some(lend::scratch(scratch));
            if went == went::OVER {
                break;
            }
            if went == went::MISSING {
                walk::fetch(scratch, |into, bytes, from| {
                    // SAFETY: the window has room for the bytes; the iterator holds the task.
                    unsafe { bpf_copy_from_user_task(into, bytes, from as *const c_void, task, 0) == 0 }
                });
            }
        }
        walk::finish(scratch);
        user_stack = id_of_user(lend::scratch(scratch));
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
    let kernel_stack = id_of_kernel(lend::scratch(scratch));
    fill(&mut scratch.kernel.record, stack_kind::KERNEL, KERNEL, kernel_stack);
    write(&scratch.kernel, seq);
    (user_stack, kernel_stack)
}

#[inline(always)]
fn write<const N: usize>(buffer: &StackBuffer<N>, seq: *mut seq_file) {
    // SAFETY: as in `send`; `seq` is the iterator's file.
    unsafe { bpf_seq_write(seq, (&raw const *buffer).cast(), bytes(buffer) as u32) };
}
