use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Longest time that a destination may ask us to wait: one that asks for a year is mistaken.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// How long to wait before the next attempt: doubling, with jitter, so that many hosts do not come back at once.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(first: Duration, longest: Duration) -> Backoff {
        Backoff { first, longest, failures: 0 }
    }

    /// The destination answers again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: at least what the destination `asked` for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        // Keys of the standard hasher are random, and no more is needed here.
        let wait = self.wait(RandomState::new().hash_one(self.failures));
        self.failures = self.failures.saturating_add(1);
        wait.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }

    /// Between half of the doubled time and all of it.
    fn wait(&self, random: u64) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(20)).min(self.longest);
        doubled.mul_f64(0.5 + 0.5 * (random as f64 / u64::MAX as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for most_s in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(backoff.wait(u64::MAX), Duration::from_secs(most_s));
            assert_eq!(backoff.wait(0), Duration::from_secs(most_s) / 2);
            assert!(backoff.next(None) <= Duration::from_secs(most_s));
        }
        backoff.reset();
        assert_eq!(backoff.wait(u64::MAX), Duration::from_secs(1));
    }

    #[test]
    fn what_is_asked_for_is_kept_within_reason() {
        for (asked_s, expected_s) in [(7, 7), (599, 599), (1 << 40, 600)] {
            let mut backoff = Backoff::new(Duration::from_millis(1), Duration::from_secs(1));
            assert_eq!(backoff.next(Some(Duration::from_secs(asked_s))), Duration::from_secs(expected_s));
        }
        let mut backoff = Backoff::new(Duration::from_secs(9), Duration::from_secs(9));
        assert!(backoff.next(Some(Duration::ZERO)) >= Duration::from_millis(4_500), "not less than our own");
    }
}
