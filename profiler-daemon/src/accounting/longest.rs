use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use profiler_common::wire::Wait;

/// The longest waits seen so far, at most `limit` of them: the shortest kept one lies on top of a
/// heap, and a longer newcomer takes its place.
#[derive(Debug)]
pub(super) struct Longest {
    heap: BinaryHeap<Reverse<ByDuration>>,
    limit: usize,
    over: u64,
}

impl Longest {
    pub(super) fn new(limit: usize) -> Longest {
        Longest { heap: BinaryHeap::new(), limit, over: 0 }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn add(&mut self, wait: Wait) {
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(ByDuration(wait)));
            return;
        }
        self.over += 1;
        if let Some(mut shortest) = self.heap.peek_mut()
            && ByDuration(wait) > shortest.0
        {
            *shortest = Reverse(ByDuration(wait));
        }
    }

    /// The waits in no order, and how many were not kept.
    pub(super) fn into_parts(self) -> (Vec<Wait>, u64) {
        (self.heap.into_iter().map(|Reverse(ByDuration(wait))| wait).collect(), self.over)
    }
}

#[derive(Clone, Copy, Debug)]
struct ByDuration(Wait);

impl ByDuration {
    /// Duration first; start and thread make the order total, so that what stays does not depend on
    /// the order of arrival.
    fn rank(&self) -> (u64, Reverse<u64>, u32) {
        let ByDuration(wait) = self;
        (wait.header.at_ns.saturating_sub(wait.start_ns), Reverse(wait.start_ns), wait.key.tid)
    }
}

impl Ord for ByDuration {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for ByDuration {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByDuration {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for ByDuration {}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::wire::Header;

    fn wait(start_ns: u64, duration: u64) -> Wait {
        Wait { header: Header { at_ns: start_ns + duration, ..Header::default() }, start_ns, ..Wait::default() }
    }

    #[test]
    fn the_longest_stay_whatever_the_order() {
        for order in [[5, 1, 9, 7, 3], [9, 7, 5, 3, 1], [1, 3, 5, 7, 9]] {
            let mut longest = Longest::new(3);
            order.into_iter().for_each(|duration| longest.add(wait(0, duration)));
            let (waits, over) = longest.into_parts();
            let mut kept: Vec<u64> = waits.iter().map(|wait| wait.header.at_ns).collect();
            kept.sort_unstable();
            assert_eq!((kept, over), (vec![5, 7, 9], 2));
        }
    }

    #[test]
    fn of_equals_the_first_in_time_stays() {
        let mut longest = Longest::new(1);
        [20, 10, 30].into_iter().for_each(|start| longest.add(wait(start, 4)));
        assert_eq!(longest.into_parts().0[0].start_ns, 10);
    }
}
