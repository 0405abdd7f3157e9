//! How much of a thread's waits for a CPU was the doing of a CPU quota.
//!
//! The kernel counts for each CPU's queue of a cgroup how long it was throttled. A wait for a CPU begins with a mark:
//! which queue, and its count by then. What the count has grown by when the thread runs again is the throttled part of the
//! wait, which it never exceeds. A thread that goes to another CPU while it waits, as many do when they are woken, keeps the
//! growth so far and gets a new mark. Counts are in the scheduler's clock and waits in ours; their lengths agree.

/// What a queue says at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Which one, by its address; 0 if there is nothing to know.
    pub address: u64,
    /// How long it was throttled, as far as that is over.
    pub past_ns: u64,
    /// How long it has been throttled up to now, if it is and the kernel says since when.
    pub open_ns: u64,
    /// 1 if the thread may not run now, for its quota.
    pub throttled: u64,
}

/// The throttled time of one thread. Zeroed memory is a start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle {
    /// The queue on which the wait began; 0 if none did.
    pub address: u64,
    /// The count of that queue by then.
    pub mark_ns: u64,
    /// 1 if the thread was throttled by then.
    pub throttled: u64,
    /// How long queues before this one were throttled in this wait.
    pub carried_ns: u64,
    /// Throttled time of all waits that are over.
    pub total_ns: u64,
}

impl Throttle {
    /// A wait for a CPU begins.
    #[inline(always)]
    pub fn begin(&mut self, queue: Queue) {
        self.carried_ns = 0;
        self.mark(queue);
    }

    #[inline(always)]
    fn mark(&mut self, queue: Queue) {
        self.address = queue.address;
        self.mark_ns = queue.past_ns + queue.open_ns;
        self.throttled = queue.throttled;
    }

    /// The wait goes on, on the queue of another CPU: what the one before says by now, and what this one does.
    #[inline(always)]
    pub fn migrate(&mut self, before: Queue, queue: Queue) {
        if before.address == self.address {
            self.carried_ns += (before.past_ns + before.open_ns).saturating_sub(self.mark_ns);
        }
        self.mark(queue);
    }

    /// Whether there is anything to know of the wait.
    #[inline(always)]
    pub fn is_open(&self) -> bool {
        self.address != 0 || self.carried_ns != 0
    }

    /// The wait is over: it had this length, and the queue on which it began was throttled for so long by now. Returns how
    /// much of the wait was throttled.
    #[inline(always)]
    pub fn end(&mut self, past_ns: u64, wait_ns: u64) -> u64 {
        let grown_ns = past_ns.saturating_sub(self.mark_ns) + self.carried_ns;
        let part_ns = if grown_ns < wait_ns { grown_ns } else { wait_ns };
        self.total_ns += part_ns;
        self.address = 0;
        self.carried_ns = 0;
        part_ns
    }

    /// All throttled time with that of a wait which has this length and is not over.
    #[inline(always)]
    pub fn with_open(&self, queue: Queue, wait_ns: u64) -> u64 {
        let is_there = self.address != 0 && self.address == queue.address;
        // Throttled when it began, and never let go since. The scheduler's clock stands still on an idle CPU, so its count
        // would come out too short here.
        let still = is_there && self.throttled != 0 && queue.past_ns <= self.mark_ns;
        let grown_ns = if is_there { (queue.past_ns + queue.open_ns).saturating_sub(self.mark_ns) } else { 0 };
        let part_ns = grown_ns + self.carried_ns;
        self.total_ns + if still || part_ns > wait_ns { wait_ns } else { part_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: u64 = 0xffff;

    /// A thread whose wait began on a queue that had been throttled for 1,000.
    fn begun(throttled: bool) -> Throttle {
        let mut throttle = Throttle { total_ns: 7, ..Throttle::default() };
        throttle.begin(Queue { address: QUEUE, past_ns: 1_000, open_ns: 0, throttled: throttled.into() });
        throttle
    }

    fn ended(past_ns: u64, wait_ns: u64) -> u64 {
        let mut throttle = begun(false);
        let part_ns = throttle.end(past_ns, wait_ns);
        assert_eq!(throttle.address, 0, "no wait is open");
        assert_eq!(throttle.total_ns, 7 + part_ns);
        part_ns
    }

    #[test]
    fn what_the_count_grew_by_was_throttled() {
        assert_eq!(ended(1_090, 100), 90);
        assert_eq!(ended(1_000, 100), 0, "an ordinary wait");
        assert_eq!(ended(1_200, 100), 100, "never more than the wait");
        assert_eq!(ended(500, 100), 0, "another queue at the same address");
    }

    #[test]
    fn what_was_throttled_before_the_wait_is_not_of_it() {
        let mut throttle = Throttle::default();
        // Throttled for 60 already when the thread was woken, for 100 in all.
        throttle.begin(Queue { address: QUEUE, past_ns: 1_000, open_ns: 60, throttled: 1 });
        assert_eq!(throttle.end(1_100, 50), 40);
    }

    #[test]
    fn a_wait_that_goes_to_another_cpu_has_what_both_queues_grew_by() {
        const OTHER: u64 = 0xfff0;
        let there = |past_ns, open_ns| Queue { address: OTHER, past_ns, open_ns, throttled: 0 };
        let migrated = |before| {
            let mut throttle = begun(true);
            throttle.migrate(before, there(70, 5));
            throttle
        };
        let before = Queue { address: QUEUE, past_ns: 1_000, open_ns: 20, throttled: 1 };
        assert_eq!(migrated(before).end(105, 100), 20 + 30);
        assert_eq!(migrated(before).end(0, 100), 20, "the second queue is not known any more");
        assert_eq!(migrated(before).end(500, 100), 100, "never more than the wait");
        assert_eq!(migrated(before).with_open(there(70, 35), 100) - 7, 20 + 30);
        assert_eq!(migrated(before).with_open(Queue::default(), 100) - 7, 20);
        assert_eq!(migrated(Queue::default()).end(105, 100), 30, "the first queue is not known any more");
        let mut nowhere = begun(true);
        nowhere.migrate(before, Queue::default());
        assert!(nowhere.is_open(), "what was found is kept");
        assert_eq!(nowhere.end(0, 100), 20);
        assert!(!nowhere.is_open());
        let mut next = migrated(before);
        next.begin(there(105, 0));
        assert_eq!(next.end(110, 100), 5, "another wait has nothing of this one");
    }

    #[test]
    fn an_open_wait_is_throttled_as_long_as_its_queue_is() {
        let now = |past_ns, open_ns| Queue { address: QUEUE, past_ns, open_ns, throttled: 0 };
        for (throttled, queue, expected) in [
            (true, now(1_000, 3), 80),
            (true, now(1_030, 0), 30),
            (true, now(1_030, 20), 50),
            (false, now(1_000, 0), 0),
            (false, now(1_000, 30), 30),
            (false, now(1_000, 300), 80),
            (true, Queue { address: 1, ..now(1_000, 0) }, 0),
            (true, Queue::default(), 0),
        ] {
            assert_eq!(begun(throttled).with_open(queue, 80) - 7, expected, "{throttled} {queue:?}");
        }
        assert_eq!(Throttle { total_ns: 7, ..Throttle::default() }.with_open(Queue::default(), 80), 7);
    }
}
