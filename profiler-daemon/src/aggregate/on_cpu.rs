//! On-CPU samples to visits that add up to each thread's exact run time.

use super::intern::Interner;
use super::scale::shares;
use super::threads::Threads;
use super::visit::Visit;
use crate::model::{StackId, State, note};
use profiler_common::wire::CpuSample;

/// The on-CPU visits of all threads, and how many samples belong to no known thread.
///
/// Samples only say where a thread ran; how long is exact. So each sample of a thread stands for the
/// same part of its run time, and a thread that ran between two ticks gets one visit that says so.
pub(super) fn visits(
    samples: &[CpuSample],
    threads: &Threads,
    interner: &mut Interner<'_>,
) -> (Vec<Visit<'static>>, u64) {
    let place = |sample: &CpuSample| {
        let thread = threads.find(sample.pid, sample.tid, sample.generation)?;
        Some((thread, sample.user_stack, sample.kernel_stack))
    };
    let mut places: Vec<(u32, u64, u64)> = samples.iter().filter_map(place).collect();
    let without_thread = (samples.len() - places.len()) as u64;
    places.sort_unstable();
    let counts: Vec<_> = places.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as u64)).collect();

    let mut visits = Vec::with_capacity(counts.len());
    let mut rest = counts.as_slice();
    for (thread, row) in (0..).zip(threads.list()) {
        let (own, others) = rest.split_at(rest.partition_point(|((of, ..), _)| *of <= thread));
        rest = others;
        let visit = |stack: StackId, user_stack: u64, count: u64, on_cpu_ns: u64| Visit {
            thread,
            pid: row.pid,
            stack,
            user_stack,
            state: State::OnCpu,
            count,
            on_cpu_ns,
            run_queue_ns: 0,
            throttled_ns: 0,
            blocked_ns: 0,
            waits: None,
            idle: false,
        };
        let weights: Vec<u64> = own.iter().map(|(_, count)| *count).collect();
        let times = shares(row.ledger.on_cpu_ns, &weights);
        for (((_, user, kernel), count), ns) in own.iter().zip(times) {
            visits.push(visit(interner.stack(*kernel, *user), *user, *count, ns));
        }
        if own.is_empty() && row.ledger.on_cpu_ns > 0 {
            visits.push(visit(interner.note(note::ON_CPU_NOT_SAMPLED), 0, 0, row.ledger.on_cpu_ns));
        }
    }
    (visits, without_thread)
}
