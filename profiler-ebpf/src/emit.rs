//! Hands records to the daemon, or counts why not.

use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::generated::bpf_ringbuf_output;

use aya_log_ebpf::warn;
use profiler_common::fault;

use crate::maps::{FAULTS, RING};
use crate::task::{self, Task};

/// Counts a fault or raises a counter of `profiler_common::fault`.
#[inline(always)]
pub(crate) fn count(number: u32) {
    add(number, 1);
}

/// Counts `more` faults at once.
#[inline(always)]
pub(crate) fn add(number: u32, more: u64) {
    if let Some(slot) = FAULTS.get_ptr_mut(number) {
        // SAFETY: the slot belongs to this CPU.
        unsafe { *slot += more };
    }
}

/// A thread is missing from the ledger, since there was no memory for its state: counted, and told with its name.
#[inline(always)]
pub(crate) fn no_thread_state(task: Task) {
    count(fault::THREAD_STATE);
    let (pid, tid) = (task::pid(task), task::tid(task));
    warn!((), "no memory for the state of thread {} of process {}: its time is not accounted", tid, pid);
}

/// Copies `bytes` bytes into the ring; the daemon polls, so nobody is woken. Counts `fault` and
/// returns false if the ring is full.
///
/// # Safety
/// `record` points to at least `bytes` initialised bytes.
#[inline(always)]
pub(crate) unsafe fn record<T>(record: *const T, bytes: usize, fault: u32) -> bool {
    // SAFETY: the caller vouches for the record; the verifier checks it again.
    unsafe { output(record, bytes, BPF_RB_NO_WAKEUP, fault) }
}

/// The same for a rare record that the daemon should look at right now.
///
/// # Safety
/// As for [`record`].
#[inline(always)]
pub(crate) unsafe fn urgent<T>(record: *const T, bytes: usize, fault: u32) -> bool {
    // SAFETY: as above.
    unsafe { output(record, bytes, BPF_RB_FORCE_WAKEUP, fault) }
}

#[inline(always)]
unsafe fn output<T>(record: *const T, bytes: usize, flags: u32, fault: u32) -> bool {
    // SAFETY: RING is a ring buffer; the caller vouches for the record.
    let result = unsafe {
        bpf_ringbuf_output((&raw const RING).cast_mut().cast(), record.cast_mut().cast(), bytes as u64, flags.into())
    };
    if result < 0 {
        count(fault);
    }
    result >= 0
}
