//! Stacks become ids: hashed, and sent once.

use aya_ebpf::bindings::BPF_ANY;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use profiler_common::fault;
use profiler_common::wire::{StackRecord, stack_kind, tag};
use profiler_ebpf::rules::memo;

use super::{KERNEL, Owner};
use crate::emit;
use crate::lend::{self, ScratchArg};
use crate::maps::{SENT, Scratch, StackBuffer};

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn id_of_user(scratch: ScratchArg) -> u64 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    id(&scratch.user, scratch.owner)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn id_of_kernel(scratch: ScratchArg) -> u64 {
    // SAFETY: as in `walk_user`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    id(&scratch.kernel, KERNEL)
}

/// Sends the walked user stack unless the daemon has it. Returns its id, or 0 if it could not be
/// sent, so that nothing remembers an id that nobody knows.
#[inline(always)]
pub(super) fn send_user(scratch: &mut Scratch) -> u64 {
    let id = id_of_user(lend::scratch(scratch));
    fill(&mut scratch.user.record, stack_kind::USER, scratch.owner, id);
    send(&scratch.user)
}

/// The same for the walked kernel stack.
#[inline(always)]
pub(super) fn send_kernel(scratch: &mut Scratch) -> u64 {
    let id = id_of_kernel(lend::scratch(scratch));
    fill(&mut scratch.kernel.record, stack_kind::KERNEL, KERNEL, id);
    send(&scratch.kernel)
}

/// Completes a record whose frames and outcome the walk has set.
#[inline(always)]
pub(super) fn fill(record: &mut StackRecord, kind: u32, owner: Owner, id: u64) {
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
    sum = memo::mix(sum, u64::from(buffer.record.epoch) << 32 | u64::from(buffer.record.outcome));
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

/// Size of the record with its frames.
#[inline(always)]
pub(super) fn bytes<const N: usize>(buffer: &StackBuffer<N>) -> usize {
    let frames = buffer.record.frames as usize;
    size_of::<StackRecord>() + if frames > N { N } else { frames } * 8
}
