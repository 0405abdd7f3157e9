use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// What an exporter counts while it runs, for whoever shows it. Each number is right by itself; two that are read
/// together may be a request apart.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) windows_sent: AtomicU64,
    pub(super) windows_lost: AtomicU64,
    pub(super) windows_waiting: AtomicU64,
    pub(super) requests_sent: AtomicU64,
    pub(super) requests_refused: AtomicU64,
    pub(super) attempts_failed: AtomicU64,
    pub(super) profiles_sent: AtomicU64,
    pub(super) profiles_refused: AtomicU64,
    pub(super) profiles_rejected: AtomicU64,
    pub(super) bytes_sent: AtomicU64,
    pub(super) last_success_unix_ns: AtomicU64,
}

/// The counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Windows that are done: all of their requests were taken, or refused for good.
    pub windows_sent: u64,
    /// Windows that the store had removed, or never had, before they were sent.
    pub windows_lost: u64,
    /// Windows between the last one that is done and the newest.
    pub windows_waiting: u64,
    /// Requests that the destination took.
    pub requests_sent: u64,
    /// Requests that the destination refused for good: their data is not sent again.
    pub requests_refused: u64,
    /// Attempts that failed and were made again.
    pub attempts_failed: u64,
    /// Profiles in the requests that were taken, without those that were rejected.
    pub profiles_sent: u64,
    /// Profiles in the requests that were refused.
    pub profiles_refused: u64,
    /// Profiles that the destination left out of requests that it took.
    pub profiles_rejected: u64,
    /// Bytes of the requests that were taken, before compression.
    pub bytes_sent: u64,
    /// When a request was taken last, nanoseconds since 1970; 0 if never.
    pub last_success_unix_ns: u64,
}

impl Counters {
    /// The numbers now.
    pub fn read(&self) -> Counts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            windows_sent: get(&self.windows_sent),
            windows_lost: get(&self.windows_lost),
            windows_waiting: get(&self.windows_waiting),
            requests_sent: get(&self.requests_sent),
            requests_refused: get(&self.requests_refused),
            attempts_failed: get(&self.attempts_failed),
            profiles_sent: get(&self.profiles_sent),
            profiles_refused: get(&self.profiles_refused),
            profiles_rejected: get(&self.profiles_rejected),
            bytes_sent: get(&self.bytes_sent),
            last_success_unix_ns: get(&self.last_success_unix_ns),
        }
    }

    pub(super) fn taken(&self, profiles: u64, rejected: u64, bytes: u64) {
        add(&self.requests_sent, 1);
        add(&self.profiles_sent, profiles.saturating_sub(rejected));
        add(&self.profiles_rejected, rejected);
        add(&self.bytes_sent, bytes);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        self.last_success_unix_ns.store(now, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, profiles: u64) {
        add(&self.requests_refused, 1);
        add(&self.profiles_refused, profiles);
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
