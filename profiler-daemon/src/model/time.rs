use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An instant of CLOCK_MONOTONIC in nanoseconds, as the kernel programs stamp it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoNs(pub u64);

/// An instant in nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixNs(pub u64);

impl MonoNs {
    /// Now.
    pub fn now() -> MonoNs {
        let time =
            nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        MonoNs(time.as_nanos() as u64)
    }

    /// Nanoseconds since `earlier`, 0 if it is later.
    pub fn since(self, earlier: MonoNs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The same instant on the wall clock, by the difference of both clocks now.
    pub fn to_unix(self) -> UnixNs {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let mono = MonoNs::now().0;
        UnixNs((unix + self.0).saturating_sub(mono))
    }
}
