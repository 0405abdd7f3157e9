//! Where a thread sums its waits before they go to the map of all threads. Most threads wait again
//! and again at the same few places, and a sum in the thread's own state costs a comparison where the
//! map costs a hash of the key and a search.

use profiler_common::histogram;
use profiler_common::wire::OffCpuValue;

use super::ledger::Interval;

/// Places that a thread sums by itself. A power of two.
pub const SLOTS: usize = 4;
/// How often a place that is met no more is passed over before another one takes its slot.
const PATIENCE: u32 = 3;

/// What tells the waits of one thread apart: the thread's part of `wire::OffCpuKey`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Place {
    /// Id of the user stack.
    pub user_stack: u64,
    /// Id of the kernel stack.
    pub kernel_stack: u64,
    /// Number of the class.
    pub class: u32,
    /// System call.
    pub syscall: i32,
    /// Generation of the process.
    pub generation: u32,
    /// How the user stack came to be taken or not, see `wire::sampling`.
    pub sampling: u32,
}

/// The sums of one thread; a slot is empty as long as its count is 0. Zeroed memory is empty.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// What each slot sums.
    pub places: [Place; SLOTS],
    /// How often each slot may still be passed over.
    pub patience: [u32; SLOTS],
    /// Whose turn it is to give way.
    pub next: u32,
    /// Always zero.
    pub reserved: u32,
    /// The sums.
    pub values: [OffCpuValue; SLOTS],
}

impl Sums {
    /// Adds a wait if its place has a slot; returns whether it has.
    #[inline(always)]
    pub fn add(&mut self, place: &Place, interval: &Interval) -> bool {
        let mut slot = 0;
        while slot < SLOTS {
            if self.places[slot] == *place && self.values[slot].count != 0 {
                self.patience[slot] = PATIENCE;
                add(&mut self.values[slot], interval);
                return true;
            }
            slot += 1;
        }
        false
    }

    /// The slot that gives way to a new place, after its sum has gone to the map; `None` if all are
    /// worth more: then the wait itself goes to the map. So a place that is met once drives none out.
    #[inline(always)]
    pub fn admit(&mut self) -> Option<usize> {
        let slot = self.next as usize & (SLOTS - 1);
        self.next = slot as u32 + 1;
        if self.values[slot].count != 0 && self.patience[slot] != 0 {
            self.patience[slot] -= 1;
            return None;
        }
        Some(slot)
    }

    /// Gives a slot to a place and its first wait.
    #[inline(always)]
    pub fn start(&mut self, slot: usize, place: &Place, interval: &Interval) {
        let slot = slot & (SLOTS - 1);
        self.places[slot] = *place;
        // Not at once patient: the second wait shows that there is a third one to be expected.
        self.patience[slot] = 0;
        first(&mut self.values[slot], interval);
    }
}

/// Adds one wait to a sum.
#[inline(always)]
fn add(value: &mut OffCpuValue, interval: &Interval) {
    let total_ns = interval.blocked_ns + interval.run_queue_ns;
    value.blocked_ns += interval.blocked_ns;
    value.run_queue_ns += interval.run_queue_ns;
    value.throttled_ns += interval.throttled_ns;
    value.count += 1;
    if total_ns > value.max_ns {
        value.max_ns = total_ns;
    }
    if let Some(count) = value.histogram.get_mut(histogram::bucket(total_ns)) {
        *count = saturating_sum(*count, 1);
    }
}

/// Like `saturating_add`, without a branch: in a loop over all buckets the verifier would follow both ways of each.
#[inline(always)]
fn saturating_sum(count: u32, more: u32) -> u32 {
    let sum = u64::from(count) + u64::from(more);
    let carry = sum >> 32;
    (sum | carry.wrapping_neg()) as u32
}

/// Copies a sum word by word. A plain copy of this size the compiler makes one of bytes.
#[inline(always)]
pub fn copy(to: &mut OffCpuValue, from: &OffCpuValue) {
    let to: *mut u64 = (&raw mut *to).cast();
    let from: *const u64 = (&raw const *from).cast();
    let mut word = 0;
    while word < size_of::<OffCpuValue>() / size_of::<u64>() {
        // SAFETY: both are whole values of so many words, aligned to them, of which any bits are valid. Volatile, since the
        // compiler knows a copy in the shape of a loop, too.
        unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
        word += 1;
    }
}

/// Makes a sum of one wait.
#[inline(always)]
pub fn first(value: &mut OffCpuValue, interval: &Interval) {
    copy(value, &OffCpuValue::NOTHING);
    add(value, interval);
}

/// Adds the sum `more` to `value`, both of one key.
#[inline(always)]
pub fn merge(value: &mut OffCpuValue, more: &OffCpuValue) {
    value.blocked_ns += more.blocked_ns;
    value.run_queue_ns += more.run_queue_ns;
    value.throttled_ns += more.throttled_ns;
    value.count += more.count;
    if more.max_ns > value.max_ns {
        value.max_ns = more.max_ns;
    }
    let mut bucket = 0;
    while bucket < histogram::BUCKETS {
        value.histogram[bucket] = saturating_sum(value.histogram[bucket], more.histogram[bucket]);
        bucket += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// A thread's sums with the map behind them, as `programs::sums` joins them.
    struct Thread {
        sums: Sums,
        map: HashMap<Place, OffCpuValue>,
        /// Waits that cost more than a comparison.
        misses: usize,
    }

    impl Thread {
        fn new() -> Thread {
            let places = [Place::default(); SLOTS];
            let sums =
                Sums { places, patience: [0; SLOTS], next: 0, reserved: 0, values: [OffCpuValue::NOTHING; SLOTS] };
            Thread { sums, map: HashMap::new(), misses: 0 }
        }

        fn wait(&mut self, place: Place, interval: Interval) {
            if self.sums.add(&place, &interval) {
                return;
            }
            self.misses += 1;
            if let Some(slot) = self.sums.admit() {
                self.flush(slot);
                self.sums.start(slot, &place, &interval);
            } else {
                let mut one = OffCpuValue::NOTHING;
                first(&mut one, &interval);
                merge(self.map.entry(place).or_insert(OffCpuValue::NOTHING), &one);
            }
        }

        fn flush(&mut self, slot: usize) {
            if self.sums.values[slot].count != 0 {
                merge(self.map.entry(self.sums.places[slot]).or_insert(OffCpuValue::NOTHING), &self.sums.values[slot]);
            }
        }

        fn finish(mut self) -> HashMap<Place, OffCpuValue> {
            (0..SLOTS).for_each(|slot| self.flush(slot));
            self.map
        }
    }

    fn place(n: u64) -> Place {
        Place { user_stack: n, kernel_stack: 7, class: 1, syscall: 202, generation: 3, sampling: 0 }
    }

    /// Waits at places named by letters, `?` is a new one each time: how many of them found no slot.
    fn misses(places: &str) -> usize {
        let mut thread = Thread::new();
        for (n, name) in places.bytes().enumerate() {
            let name = if name == b'?' { 1_000 + n as u64 } else { name.into() };
            thread.wait(place(name), Interval::default());
        }
        thread.misses
    }

    #[test]
    fn whatever_the_order_no_wait_is_lost_or_counted_twice() {
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |limit: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % limit
        };
        for kinds in [1, 3, 5, 9, 400] {
            let mut thread = Thread::new();
            let mut expected: HashMap<Place, OffCpuValue> = HashMap::new();
            for n in 0..5_000 {
                // Some places are met often, and in stretches.
                let which = random(kinds).min(random(kinds)) + n / 1_000;
                let longest_ns = 1 << random(30);
                let run_queue_ns = random(longest_ns);
                let throttled_ns = random(run_queue_ns + 1);
                let interval = Interval { start_ns: n, blocked_ns: random(1 << 20), run_queue_ns, throttled_ns };
                let sum = expected.entry(place(which)).or_insert(OffCpuValue::NOTHING);
                add(sum, &interval);
                thread.wait(place(which), interval);
            }
            assert_eq!(thread.finish(), expected, "{kinds} places");
        }
    }

    #[test]
    fn every_part_of_a_place_tells_it_apart() {
        let one = place(1);
        for other in [
            Place { user_stack: 2, ..one },
            Place { kernel_stack: 2, ..one },
            Place { class: 2, ..one },
            Place { syscall: 2, ..one },
            Place { generation: 2, ..one },
            Place { sampling: 2, ..one },
        ] {
            let mut thread = Thread::new();
            thread.wait(one, Interval::default());
            assert!(!thread.sums.add(&other, &Interval::default()), "{other:?}");
        }
        assert!(!Thread::new().sums.add(&Place::default(), &Interval::default()), "an empty slot is no place");
    }

    #[test]
    fn places_that_come_again_keep_their_slots() {
        assert_eq!(misses(&"abcd".repeat(100)), 4, "as many as there are slots");
        assert_eq!(misses(&"abab?".repeat(100)), 2 + 100, "what is met once drives none out");
        assert_eq!(misses(&("ab".repeat(50) + &"cdef".repeat(50))), 4 + 14, "but what is met no more gives way");
    }
}
