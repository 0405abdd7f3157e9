//! The histogram of waits: half-octave buckets of nanoseconds, filled in the kernel.
//!
//! Bucket 0 holds everything below [`FIRST_NS`], the last one everything above the range. Each
//! octave `[2^n, 2^(n+1))` is cut at 1.5·2^n, so a bucket is at most 1.5 times as wide as its
//! start, and a percentile read from it is right within that factor at worst.

/// Number of buckets.
pub const BUCKETS: usize = 48;
/// Exponent of the first octave: 2^10 ns, about a microsecond.
pub const FIRST_OCTAVE: u32 = 10;
/// Lower bound of bucket 1, in nanoseconds.
pub const FIRST_NS: u64 = 1 << FIRST_OCTAVE;

/// The bucket of a wait of `ns` nanoseconds, always below [`BUCKETS`].
#[inline(always)]
pub fn bucket(ns: u64) -> usize {
    if ns < FIRST_NS {
        return 0;
    }
    // Without a branch, each of which doubles what the kernel's verifier has to follow.
    let octave = ns.ilog2();
    let half = (ns >> (octave - 1)) & 1;
    let bucket = 1 + 2 * (octave - FIRST_OCTAVE) as usize + half as usize;
    if bucket < BUCKETS { bucket } else { BUCKETS - 1 }
}

/// The half-open range `[low, high)` of a bucket in nanoseconds; the last bucket has no end.
pub fn bounds(bucket: usize) -> (u64, u64) {
    let low = |bucket: usize| match bucket {
        0 => 0,
        bucket => {
            let octave = FIRST_OCTAVE + (bucket as u32 - 1) / 2;
            let start = 1u64 << octave;
            if (bucket - 1).is_multiple_of(2) { start } else { start + start / 2 }
        }
    };
    let high = if bucket + 1 < BUCKETS { low(bucket + 1) } else { u64::MAX };
    (low(bucket), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wait_falls_into_the_bucket_whose_bounds_hold_it() {
        for shift in 0..63 {
            for ns in [(1u64 << shift) - 1, 1 << shift, (1 << shift) + (1 << shift) / 2, (3u64 << shift) / 2 + 1] {
                let (low, high) = bounds(bucket(ns));
                assert!(low <= ns && ns < high, "{ns} in [{low}, {high})");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn buckets_meet_without_gaps() {
        for n in 1..BUCKETS {
            assert_eq!(bounds(n - 1).1, bounds(n).0);
        }
    }
}
