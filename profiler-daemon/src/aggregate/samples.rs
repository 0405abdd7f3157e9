use super::visit::Visit;
use crate::model::Sample;

/// Visits summed by thread, stack, state and idleness, in this order. Places that took neither time
/// nor samples are left out.
pub(super) fn sum(visits: &[Visit<'_>]) -> Vec<Sample> {
    let taken = visits.iter().filter(|visit| visit.ns() > 0 || visit.count > 0);
    let mut samples: Vec<Sample> = taken
        .map(|visit| Sample {
            thread: visit.thread,
            stack: visit.stack,
            state: visit.state,
            idle: visit.idle,
            count: visit.count,
            on_cpu_ns: visit.on_cpu_ns,
            run_queue_ns: visit.run_queue_ns,
            throttled_ns: visit.throttled_ns,
            blocked_ns: visit.blocked_ns,
        })
        .collect();
    let place = |sample: &Sample| (sample.thread, sample.stack, sample.state, sample.idle);
    samples.sort_unstable_by_key(place);
    samples.dedup_by(|next, sum| {
        let same = place(next) == place(sum);
        if same {
            sum.count += next.count;
            sum.on_cpu_ns += next.on_cpu_ns;
            sum.run_queue_ns += next.run_queue_ns;
            sum.throttled_ns += next.throttled_ns;
            sum.blocked_ns += next.blocked_ns;
        }
        same
    });
    samples
}
