use std::collections::BTreeMap;

use super::visit::Visit;
use crate::model::Sample;

/// Visits summed by thread, stack, state and idleness, in this order. Places that took neither time
/// nor samples are left out.
pub(super) fn sum(visits: &[Visit<'_>]) -> Vec<Sample> {
    let mut sums: BTreeMap<_, Sample> = BTreeMap::new();
    for visit in visits.iter().filter(|visit| visit.ns() > 0 || visit.count > 0) {
        let sample = sums.entry((visit.thread, visit.stack, visit.state, visit.idle)).or_insert(Sample {
            thread: visit.thread,
            stack: visit.stack,
            state: visit.state,
            idle: visit.idle,
            count: 0,
            on_cpu_ns: 0,
            run_queue_ns: 0,
            blocked_ns: 0,
        });
        sample.count += visit.count;
        sample.on_cpu_ns += visit.on_cpu_ns;
        sample.run_queue_ns += visit.run_queue_ns;
        sample.blocked_ns += visit.blocked_ns;
    }
    sums.into_values().collect()
}
