//! What of a thread's waits belongs to this window, when sums in the kernel only ever grow.
//!
//! A wait's time is first in the open interval of its thread, then in one of the sums of its thread, then in the map
//! that is drained; all of it under one key. So at the end of a window what is new of a key is what was drained, plus
//! what its thread still holds, less what the thread held at the end of the window before.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use profiler_common::histogram::bounds;
use profiler_common::wire::{OffCpuKey, OffCpuValue};

/// What threads held at the end of the last window, by key: told already, and still to come once more.
#[derive(Debug, Default)]
pub(super) struct Carry {
    told: HashMap<OffCpuKey, OffCpuValue>,
}

impl Carry {
    /// Takes from `drained` what was told already, adds what is new of `held`, and keeps `held` for the next time. `keeps`
    /// says of a thread whether its sums may still come.
    pub(super) fn settle(
        &mut self,
        drained: &mut HashMap<OffCpuKey, OffCpuValue>,
        held: HashMap<OffCpuKey, OffCpuValue>,
        keeps: impl Fn(&OffCpuKey) -> bool,
    ) {
        let mut told = std::mem::take(&mut self.told);
        for (key, value) in &held {
            super::sums::merge(drained.entry(*key).or_insert(OffCpuValue::NOTHING), value);
        }
        for (key, before) in &mut told {
            let Entry::Occupied(mut now) = drained.entry(*key) else { continue };
            take(now.get_mut(), before);
            if is_nothing(now.get()) {
                now.remove();
            }
        }
        // What is owed stays owed: the sum left its thread after that was read, and comes next time.
        told.retain(|key, owed| !is_nothing(owed) && (keeps(key) || held.contains_key(key)));
        for (key, value) in held {
            super::sums::merge(told.entry(key).or_insert(OffCpuValue::NOTHING), &value);
        }
        self.told = told;
    }

    /// A thread has got another id.
    pub(super) fn rename(&mut self, renamed: &[(u32, u32, u32)]) {
        rename(&mut self.told, renamed);
    }

    /// Number of keys kept.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.told.len()
    }
}

/// Gives sums the id that their thread has now.
pub(super) fn rename(sums: &mut HashMap<OffCpuKey, OffCpuValue>, renamed: &[(u32, u32, u32)]) {
    for (pid, before, now) in renamed {
        let of_thread = |key: &OffCpuKey, _: &mut OffCpuValue| (key.pid, key.tid) == (*pid, *before);
        let moved: Vec<_> = sums.extract_if(of_thread).collect();
        for (key, value) in moved {
            super::sums::merge(sums.entry(OffCpuKey { tid: *now, ..key }).or_insert(OffCpuValue::NOTHING), &value);
        }
    }
}

fn is_nothing(value: &OffCpuValue) -> bool {
    value.count == 0 && value.blocked_ns == 0 && value.run_queue_ns == 0
}

/// Takes what was told off both sides; what is left of `before` is owed.
fn take(now: &mut OffCpuValue, before: &mut OffCpuValue) {
    let longest_before_ns = before.max_ns;
    both(&mut now.blocked_ns, &mut before.blocked_ns);
    both(&mut now.run_queue_ns, &mut before.run_queue_ns);
    both(&mut now.throttled_ns, &mut before.throttled_ns);
    both(&mut now.count, &mut before.count);
    for (now, before) in now.histogram.iter_mut().zip(&mut before.histogram) {
        let common = (*now).min(*before);
        *now -= common;
        *before -= common;
    }
    // A longest wait that is longer than before is of now. Else it lies in the last bucket that has one.
    if now.max_ns <= longest_before_ns {
        let last = now.histogram.iter().rposition(|count| *count > 0);
        now.max_ns = last.map_or(0, |bucket| now.max_ns.min(bounds(bucket).1));
    }
}

fn both(now: &mut u64, before: &mut u64) {
    let common = (*now).min(*before);
    *now -= common;
    *before -= common;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::sums::merge;
    use profiler_common::histogram::bucket;

    const KEY: OffCpuKey = OffCpuKey {
        pid: 1,
        tid: 1,
        user_stack: 5,
        kernel_stack: 6,
        class: 1,
        syscall: 202,
        generation: 0,
        sampling: 0,
    };

    fn waits(lengths_ns: &[u64]) -> OffCpuValue {
        let mut sum = OffCpuValue::NOTHING;
        for ns in lengths_ns {
            let mut one = OffCpuValue { blocked_ns: *ns, max_ns: *ns, count: 1, ..OffCpuValue::NOTHING };
            one.histogram[bucket(*ns)] = 1;
            merge(&mut sum, &one);
        }
        sum
    }

    fn open(ns: u64) -> OffCpuValue {
        OffCpuValue { blocked_ns: ns, ..OffCpuValue::NOTHING }
    }

    /// One window: what was drained and what the thread holds, and what comes out as (count, ns, max).
    fn window(carry: &mut Carry, drained: &[OffCpuValue], held: &[OffCpuValue]) -> (u64, u64, u64) {
        let sum = |values: &[OffCpuValue]| {
            let mut map = HashMap::new();
            values.iter().for_each(|value| merge(map.entry(KEY).or_insert(OffCpuValue::NOTHING), value));
            map
        };
        let mut drained = sum(drained);
        carry.settle(&mut drained, sum(held), |_| true);
        drained.get(&KEY).map_or((0, 0, 0), |value| (value.count, value.blocked_ns, value.max_ns))
    }

    #[test]
    fn a_wait_through_three_windows_is_told_once_and_in_parts() {
        let mut carry = Carry::default();
        assert_eq!(window(&mut carry, &[], &[open(4_000)]), (0, 4_000, 0));
        assert_eq!(window(&mut carry, &[], &[open(14_000)]), (0, 10_000, 0));
        assert_eq!(window(&mut carry, &[], &[waits(&[20_000])]), (1, 6_000, 20_000));
        assert_eq!(window(&mut carry, &[], &[waits(&[20_000])]), (0, 0, 0));
        assert_eq!(window(&mut carry, &[waits(&[20_000])], &[]), (0, 0, 0), "it leaves its thread");
        assert_eq!(carry.len(), 0);
    }

    #[test]
    fn the_throttled_part_is_told_with_its_wait() {
        let throttled = |ns| OffCpuValue { run_queue_ns: 2 * ns, throttled_ns: ns, ..OffCpuValue::NOTHING };
        let mut carry = Carry::default();
        for (held_ns, told_ns) in [(4_000, 4_000), (14_000, 10_000), (14_000, 0)] {
            let mut drained = HashMap::new();
            carry.settle(&mut drained, HashMap::from([(KEY, throttled(held_ns))]), |_| true);
            let told = drained.get(&KEY).map_or((0, 0), |value| (value.run_queue_ns, value.throttled_ns));
            assert_eq!(told, (2 * told_ns, told_ns));
        }
    }

    #[test]
    fn what_grows_is_told_by_what_it_grew() {
        let mut carry = Carry::default();
        assert_eq!(window(&mut carry, &[], &[waits(&[50_000, 60_000])]), (2, 110_000, 60_000));
        let grown = waits(&[50_000, 60_000, 2_000]);
        let (count, ns, max) = window(&mut carry, &[], &[grown]);
        assert_eq!((count, ns), (1, 2_000));
        assert!((2_000..=3_072).contains(&max), "known by its bucket: {max}");
        assert_eq!(window(&mut carry, &[grown], &[waits(&[90_000])]), (1, 90_000, 90_000));
    }

    #[test]
    fn a_sum_that_is_on_its_way_is_told_neither_twice_nor_never() {
        let mut carry = Carry::default();
        assert_eq!(window(&mut carry, &[], &[waits(&[7_000])]), (1, 7_000, 7_000));
        // It left its thread between the draining of the map and the reading of the thread.
        assert_eq!(window(&mut carry, &[], &[]), (0, 0, 0));
        assert_eq!(window(&mut carry, &[waits(&[7_000, 1_000])], &[]).0, 1);
        assert_eq!(carry.len(), 0);
    }

    #[test]
    fn a_thread_with_another_id_has_told_what_it_told() {
        let mut carry = Carry::default();
        window(&mut carry, &[], &[waits(&[7_000])]);
        carry.rename(&[(KEY.pid, KEY.tid, 9)]);
        let key = OffCpuKey { tid: 9, ..KEY };
        let mut drained = HashMap::from([(key, waits(&[7_000, 1_000]))]);
        carry.settle(&mut drained, HashMap::new(), |_| true);
        assert_eq!((drained[&key].count, drained[&key].blocked_ns), (1, 1_000));
    }

    #[test]
    fn of_a_thread_that_is_gone_nothing_is_kept() {
        let mut carry = Carry::default();
        window(&mut carry, &[], &[waits(&[7_000])]);
        carry.settle(&mut HashMap::new(), HashMap::new(), |_| false);
        assert_eq!(carry.len(), 0);
    }
}
