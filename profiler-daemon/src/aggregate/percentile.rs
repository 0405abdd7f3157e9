//! Percentiles out of half-octave buckets.

use profiler_common::histogram::{BUCKETS, bounds};

/// Waits by length, summed over several keys.
pub(super) type Histogram = [u64; BUCKETS];

/// The wait length that `percent` of the waits do not exceed, by nearest rank; `max_ns` is the exact
/// longest wait.
///
/// Inside a bucket the waits count as spread evenly, so the answer is off by half the bucket's width
/// at worst, a factor of 1.5. The longest wait itself is exact, and with it every percentile of a
/// single wait.
pub(super) fn percentile(histogram: &Histogram, percent: u64, max_ns: u64) -> u64 {
    let count: u64 = histogram.iter().sum();
    let rank = (u128::from(count) * u128::from(percent)).div_ceil(100) as u64;
    if rank >= count {
        return max_ns;
    }
    let mut before = 0;
    for (index, in_bucket) in histogram.iter().enumerate() {
        if rank <= before + in_bucket {
            let (low, high) = bounds(index);
            let high = high.min(max_ns).max(low);
            // The middle of the rank's own slice of the bucket, in halves of a slice.
            let halves = u128::from(2 * (rank - before).max(1) - 1);
            let offset = u128::from(high - low) * halves / u128::from(2 * in_bucket.max(&1));
            return (low + offset as u64).min(max_ns);
        }
        before += in_bucket;
    }
    max_ns
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::histogram::bucket;

    fn of(waits: impl IntoIterator<Item = u64>) -> (Histogram, u64) {
        let mut histogram = [0; BUCKETS];
        let mut max_ns = 0;
        for ns in waits {
            histogram[bucket(ns)] += 1;
            max_ns = max_ns.max(ns);
        }
        (histogram, max_ns)
    }

    #[test]
    fn one_wait_is_exact() {
        for ns in [0, 1, 999, 1_500_000, u64::MAX] {
            let (histogram, max_ns) = of([ns]);
            assert_eq!((percentile(&histogram, 50, max_ns), percentile(&histogram, 99, max_ns)), (ns, ns));
        }
    }

    #[test]
    fn an_even_spread_is_read_within_a_percent() {
        let (histogram, max_ns) = of((1..=100_000).map(|n| n * 100));
        for percent in [1, 25, 50, 90, 99] {
            let (read, exact) = (percentile(&histogram, percent, max_ns) as f64, (percent * 100_000) as f64);
            assert!((read / exact - 1.0).abs() < 0.01, "p{percent}: {read} for {exact}");
        }
    }

    #[test]
    fn nothing_is_longer_than_the_longest() {
        // Two waits in one bucket [1024, 1536) that end at 1030.
        let (histogram, max_ns) = of([1_025, 1_030]);
        assert!((1_024..=1_030).contains(&percentile(&histogram, 50, max_ns)));
        // The last bucket has no upper bound of its own.
        let (histogram, max_ns) = of([1 << 50, 1 << 51, 1 << 52]);
        assert!(percentile(&histogram, 50, max_ns) <= 1 << 52);
    }

    #[test]
    fn a_rare_long_wait_shows_at_its_rank_only() {
        let (histogram, max_ns) = of(std::iter::repeat_n(2_000, 99).chain([9_000_000]));
        assert!(percentile(&histogram, 99, max_ns) < 4_000);
        let (histogram, max_ns) = of(std::iter::repeat_n(2_000, 98).chain([9_000_000, 9_000_000]));
        assert!(percentile(&histogram, 99, max_ns) > 5_000_000);
    }

    #[test]
    fn no_waits_have_no_length() {
        assert_eq!(percentile(&[0; BUCKETS], 50, 0), 0);
    }
}
