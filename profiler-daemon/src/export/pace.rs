use std::time::Duration;

use tokio::time::Instant;

/// Keeps the mean rate of what is sent: a replay must not take the network from those who work there.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    free_at: Instant,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Pace {
        Pace { bytes_per_second: bytes_per_second.max(1), free_at: Instant::now() }
    }

    /// When the next request may go.
    pub(super) fn free_at(&self) -> Instant {
        self.free_at
    }

    /// Notes what goes now.
    pub(super) fn sent(&mut self, bytes: u64) {
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        // An hour is longer than any request takes at a rate that makes sense.
        let takes =
            Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)).min(Duration::from_secs(3_600));
        self.free_at = self.free_at.max(Instant::now()) + takes;
    }
}
