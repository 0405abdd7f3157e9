//! Summed waits: merging drained entries, and an interval that is still open as one wait more.

use profiler_common::histogram::{BUCKETS, bucket};
use profiler_common::wire::{OffCpuValue, ThreadTotals, Wait};

/// Adds `more` to `sum`, both of the same key.
pub(super) fn merge(sum: &mut OffCpuValue, more: &OffCpuValue) {
    sum.blocked_ns = sum.blocked_ns.saturating_add(more.blocked_ns);
    sum.run_queue_ns = sum.run_queue_ns.saturating_add(more.run_queue_ns);
    sum.throttled_ns = sum.throttled_ns.saturating_add(more.throttled_ns);
    sum.max_ns = sum.max_ns.max(more.max_ns);
    sum.count = sum.count.saturating_add(more.count);
    for (slot, more) in sum.histogram.iter_mut().zip(more.histogram) {
        *slot = slot.saturating_add(more);
    }
}

/// The open interval of a thread as one wait.
pub(super) fn open_value(totals: &ThreadTotals) -> OffCpuValue {
    let mut histogram = [0; BUCKETS];
    histogram[bucket(totals.open_ns)] = 1;
    OffCpuValue { max_ns: totals.open_ns, count: 1, histogram, ..open_time(totals) }
}

/// The time of that interval, as no wait at all.
pub(super) fn open_time(totals: &ThreadTotals) -> OffCpuValue {
    let run_queue_ns = totals.open_run_queue_ns.min(totals.open_ns);
    let throttled_ns = totals.open_throttled_ns.min(run_queue_ns);
    OffCpuValue { blocked_ns: totals.open_ns - run_queue_ns, run_queue_ns, throttled_ns, ..OffCpuValue::NOTHING }
}

/// The open interval of a thread as a single wait that lasts until the totals were read. A thread
/// that is still blocked then has no waker, and its wake-up falls together with the end.
pub(super) fn open_wait(totals: &ThreadTotals) -> Wait {
    let at_ns = totals.header.at_ns;
    Wait {
        header: totals.header,
        key: totals.open,
        start_ns: at_ns.saturating_sub(totals.open_ns),
        wake_ns: at_ns.saturating_sub(totals.open_run_queue_ns.min(totals.open_ns)),
        waker_pid: 0,
        waker_tid: 0,
        waker_flags: 0,
        reserved: 0,
    }
}
