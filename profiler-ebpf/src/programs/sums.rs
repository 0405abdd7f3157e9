//! The ways of summed waits: from the thread's own sums to the map, and to the daemon once the window is
//! closed. While it is open a sum leaves its thread when another place needs the slot, or the thread
//! ends; what is left then the iterator `threads` writes.
//!
//! After the end nothing changes a sum any more, so a thread that is read and then ends, and says its
//! sums twice, says the same twice.

use aya_ebpf::bindings::BPF_NOEXIST;
use profiler_common::fault;
use profiler_common::wire::{OffCpu, OffCpuKey, tag};
use profiler_ebpf::rules::sums::{self, Place, SLOTS};

use crate::emit;
use crate::lend::{self, ScratchArg, ThreadArg};
use crate::maps::{OFF_CPU_A, OFF_CPU_B, Scratch, Thread, scratch};
use crate::task::{self, Task};

/// Says whose sums follow. They are built in working memory: the BPF stack has no room for them.
#[inline(always)]
pub(crate) fn name(scratch: &mut Scratch, task: Task) {
    scratch.sum.key.pid = task::pid(task);
    scratch.sum.key.tid = task::tid(task);
}

/// Fills in what else a key is made of.
#[inline(always)]
pub(crate) fn place(key: &mut OffCpuKey, place: &Place) {
    key.user_stack = place.user_stack;
    key.kernel_stack = place.kernel_stack;
    key.class = place.class;
    key.syscall = place.syscall;
    key.generation = place.generation;
    key.sampling = place.sampling;
}

/// Adds `scratch.interval` to the sum of the thread's place, wherever that is.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn add_anywhere(scratch: ScratchArg, thread: ThreadArg, active: u32) -> u32 {
    // SAFETY: as in `add_elsewhere`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    if !thread.sums.add(&thread.place, &scratch.interval) {
        add_elsewhere(lend::scratch(scratch), lend::thread(thread), active);
    }
    0
}

/// Adds `scratch.interval` where no slot sums its place: to a slot that gives way, or to the map.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn add_elsewhere(scratch: ScratchArg, thread: ThreadArg, active: u32) -> u32 {
    // SAFETY: the verifier checks the pointers; nobody else uses this working memory, and the thread is being
    // switched by this program.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    if let Some(slot) = thread.sums.admit() {
        slot_to_map(lend::scratch(scratch), lend::thread(thread), slot as u32, active);
        thread.sums.start(slot, &thread.place, &scratch.interval);
        return 0;
    }
    place(&mut scratch.sum.key, &thread.place);
    sums::first(&mut scratch.sum.value, &scratch.interval);
    key_of_map(scratch, thread);
    add_to_map(active);
    0
}

/// Sends the sums of a thread that ends to the map.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn to_map(scratch: ScratchArg, thread: ThreadArg, active: u32) -> u32 {
    let mut slot = 0;
    while slot < SLOTS {
        slot_to_map(scratch, thread, slot as u32, active);
        slot += 1;
    }
    0
}

/// Adds the sum of one slot to the map; `scratch.sum.key` says whose it is.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn slot_to_map(scratch: ScratchArg, thread: ThreadArg, slot: u32, active: u32) -> u32 {
    // SAFETY: as in `add_elsewhere`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let slot = slot as usize & (SLOTS - 1);
    let value = &thread.sums.values[slot];
    if value.count != 0 {
        place(&mut scratch.sum.key, &thread.sums.places[slot]);
        sums::copy(&mut scratch.sum.value, value);
        key_of_map(scratch, thread);
        add_to_map(active);
    }
    0
}

/// Says under which key `Scratch::sum` goes to the map: its own, in the window of its thread.
#[inline(always)]
fn key_of_map(scratch: &mut Scratch, thread: &Thread) {
    scratch.map_key.key = scratch.sum.key;
    // SAFETY: a plain member, which the iterator may write meanwhile.
    scratch.map_key.window = unsafe { (&raw const thread.window).read_volatile() };
}

/// Adds `Scratch::sum` to the map that is written now. Looks the working memory up again: keys and values of maps may
/// not lie behind an argument of a global function before Linux 6.2.
#[inline(always)]
fn add_to_map(active: u32) {
    let Some(scratch) = scratch(scratch::SWITCH) else { return };
    // SAFETY: this CPU's working memory for switches; the callers write none of it meanwhile.
    let (key, more) = unsafe { (&(*scratch).map_key, &(*scratch).sum.value) };
    let entry = if active != 0 { OFF_CPU_B.get_ptr_mut(key) } else { OFF_CPU_A.get_ptr_mut(key) };
    if let Some(entry) = entry {
        // SAFETY: the key holds the tid, whose switches are serial: nobody else writes this entry.
        sums::merge(unsafe { &mut *entry }, more);
        return;
    }
    let inserted = if active != 0 {
        OFF_CPU_B.insert(key, more, BPF_NOEXIST.into())
    } else {
        OFF_CPU_A.insert(key, more, BPF_NOEXIST.into())
    };
    if inserted.is_err() {
        emit::add(fault::OFF_CPU_FULL, more.count);
    }
}

/// Sends the sums of a thread that ends after the window.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn to_ring(scratch: ScratchArg, thread: ThreadArg) -> u32 {
    // SAFETY: as in `add_elsewhere`.
    let (Some(scratch), Some(thread)) = (unsafe { (lend::scratch_of(scratch), lend::thread_of(thread)) }) else {
        return 0;
    };
    let mut slot = 0;
    while slot < SLOTS {
        if thread.sums.values[slot].count != 0 {
            fill(&mut scratch.sum, &thread.sums.places[slot]);
            sums::copy(&mut scratch.sum.value, &thread.sums.values[slot]);
            // SAFETY: a whole record.
            unsafe { emit::record(&raw const scratch.sum, size_of::<OffCpu>(), fault::RING_FULL_THREAD) };
        }
        slot += 1;
    }
    0
}

/// Sends the copy of a thread's sums that is in working memory.
#[cfg(feature = "untyped")]
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn copy_to_ring(scratch: ScratchArg) -> u32 {
    // SAFETY: as in `add_elsewhere`.
    let Some(scratch) = (unsafe { lend::scratch_of(scratch) }) else { return 0 };
    let mut slot = 0;
    while slot < SLOTS {
        if scratch.thread.sums.values[slot].count != 0 {
            fill(&mut scratch.sum, &scratch.thread.sums.places[slot]);
            sums::copy(&mut scratch.sum.value, &scratch.thread.sums.values[slot]);
            // SAFETY: a whole record.
            unsafe { emit::record(&raw const scratch.sum, size_of::<OffCpu>(), fault::RING_FULL_THREAD) };
        }
        slot += 1;
    }
    0
}

/// Completes the part of a record that comes before its sums.
#[inline(always)]
pub(super) fn fill(sum: &mut OffCpu, from: &Place) {
    sum.header.tag = tag::OFF_CPU;
    sum.header.cpu = 0;
    sum.header.at_ns = 0;
    place(&mut sum.key, from);
}
