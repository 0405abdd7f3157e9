//! How much CPU time a thread may use: a share of the time that passes, saved up for a while.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Most that is saved up, and what there is at the start: the first window of a machine names everything anew.
const MOST_SAVED: Duration = Duration::from_secs(5);

/// The account of the thread that made it.
#[derive(Debug)]
pub(super) struct Pace {
    share: f64,
    saved_s: f64,
    at: Instant,
    used: Duration,
}

impl Pace {
    /// `share` CPU seconds a second.
    pub(super) fn new(share: f64) -> Pace {
        Pace { share, saved_s: MOST_SAVED.as_secs_f64(), at: Instant::now(), used: own_time() }
    }

    /// Another share from now on.
    pub(super) fn set(&mut self, share: f64) {
        self.settle();
        self.share = share;
    }

    /// How long the thread should rest now. To be called by the same thread.
    pub(super) fn rest(&mut self) -> Duration {
        self.settle();
        if self.saved_s >= 0.0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(-self.saved_s / self.share).unwrap_or(MOST_SAVED)
    }

    fn settle(&mut self) {
        let (now, used) = (Instant::now(), own_time());
        let earned_s = now.duration_since(self.at).as_secs_f64() * self.share;
        let spent_s = used.saturating_sub(self.used).as_secs_f64();
        self.saved_s = (self.saved_s + earned_s - spent_s).min(MOST_SAVED.as_secs_f64());
        (self.at, self.used) = (now, used);
    }
}

fn own_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Into::into)
}
