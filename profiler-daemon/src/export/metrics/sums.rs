use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::class;
use profiler_common::histogram::{BUCKETS, FIRST_OCTAVE};

use crate::model::text::printable;
use crate::model::{Program, Recording, WaitClass};

/// Whose times they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) unit: Option<Arc<str>>,
}

/// A window by service.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) times: HashMap<Service, Times>,
    pub(super) waits: HashMap<(Service, WaitClass), Waits>,
}

/// Times of all threads of a service, by their ledgers.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) on_cpu_ns: u64,
    /// Wait for a CPU without a block before it.
    pub(super) preempted_ns: u64,
    /// Wait for a CPU after a wake-up.
    pub(super) woken_ns: u64,
    /// The part of both in which a CPU quota kept them from running.
    pub(super) throttled_ns: u64,
    pub(super) off_cpu_ns: [u64; class::COUNT],
}

/// Waits by their lengths.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    ns: u64,
    histogram: [u64; BUCKETS],
}

impl Sums {
    pub(super) fn of(recording: &Recording) -> Sums {
        let programs: HashMap<(u32, u32), &Program> =
            recording.programs.iter().map(|program| ((program.pid, program.generation), program)).collect();
        let service = |pid, generation| match programs.get(&(pid, generation)) {
            Some(program) => Service { name: named(&program.service), unit: program.unit.as_deref().map(named) },
            None => Service { name: "unknown_service".into(), unit: None },
        };
        let mut sums = Sums::default();
        for thread in &recording.capture.threads {
            let times = sums.times.entry(service(thread.pid, thread.generation)).or_default();
            let ledger = &thread.ledger;
            times.on_cpu_ns = times.on_cpu_ns.saturating_add(ledger.on_cpu_ns);
            times.preempted_ns = times.preempted_ns.saturating_add(ledger.preempted_ns);
            times.woken_ns = times.woken_ns.saturating_add(ledger.run_queue_ns.saturating_sub(ledger.preempted_ns));
            times.throttled_ns = times.throttled_ns.saturating_add(ledger.throttled_ns);
            for (sum, ns) in times.off_cpu_ns.iter_mut().zip(ledger.off_cpu_ns) {
                *sum = sum.saturating_add(ns);
            }
        }
        for (key, value) in &recording.capture.off_cpu {
            let place = (service(key.pid, key.generation), WaitClass::from_number(key.class));
            let waits = sums.waits.entry(place).or_insert(Waits { ns: 0, histogram: [0; BUCKETS] });
            waits.ns = waits.ns.saturating_add(value.blocked_ns).saturating_add(value.run_queue_ns);
            for (sum, count) in waits.histogram.iter_mut().zip(value.histogram) {
                *sum += u64::from(count);
            }
        }
        sums
    }
}

fn named(name: &str) -> Arc<str> {
    if name.is_empty() { "unknown_service".into() } else { printable(name).into() }
}

impl Waits {
    /// A length in seconds for each bucket, and how many have it. Lengths lie inside of their buckets, and as near as
    /// that allows to what makes their sum the exact one.
    pub(super) fn lengths(&self) -> Vec<(f64, u64)> {
        let taken = self.histogram.iter().enumerate().filter(|(_, count)| **count > 0);
        let taken: Vec<_> = taken.map(|(bucket, count)| (bounds(bucket), *count)).collect();
        // Where between its bounds a length is, the same for all.
        let sum =
            |part: f64| -> f64 { taken.iter().map(|(bounds, count)| between(*bounds, part) * *count as f64).sum() };
        let (lowest, highest) = (sum(0.0), sum(1.0));
        let part =
            if highest > lowest { ((self.ns as f64 - lowest) / (highest - lowest)).clamp(0.0, 1.0) } else { 0.5 };
        taken.iter().map(|(bounds, count)| (between(*bounds, part) / 1e9, *count)).collect()
    }
}

fn between((from, to): (f64, f64), part: f64) -> f64 {
    from + (to - from) * part
}

/// The bounds of a bucket in nanoseconds. The last one is open: a wait in it counts up to an hour.
fn bounds(bucket: usize) -> (f64, f64) {
    let start = |bucket: usize| {
        let octave = 2f64.powi(FIRST_OCTAVE as i32 + (bucket as i32 - 1) / 2);
        if bucket.is_multiple_of(2) { octave * 1.5 } else { octave }
    };
    match bucket {
        0 => (0.0, start(1)),
        _ if bucket == BUCKETS - 1 => (start(bucket), 3_600e9),
        _ => (start(bucket), start(bucket + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::histogram::bucket;

    #[test]
    fn bounds_are_those_of_the_kernel_side() {
        for number in 1..BUCKETS {
            let (from, to) = bounds(number);
            assert_eq!((bucket(from as u64), bucket(to as u64 - 1)), (number, number), "{from} to {to}");
            assert_eq!(bucket(from as u64 - 1), number - 1);
        }
    }

    #[test]
    fn lengths_keep_number_and_sum() {
        for lengths_ns in [vec![5_000], vec![900, 2_000, 2_001, 70_000_000], vec![1 << 40], vec![1_024, 1_535, 1_536]] {
            let mut waits = Waits { ns: lengths_ns.iter().sum(), histogram: [0; BUCKETS] };
            lengths_ns.iter().for_each(|ns| waits.histogram[bucket(*ns)] += 1);
            let found = waits.lengths();
            assert_eq!(found.iter().map(|(_, count)| *count).sum::<u64>(), lengths_ns.len() as u64);
            let sum: f64 = found.iter().map(|(seconds, count)| seconds * *count as f64).sum();
            assert!((sum * 1e9 / waits.ns as f64 - 1.0).abs() < 1e-6, "{lengths_ns:?}: {sum}");
        }
    }
}
