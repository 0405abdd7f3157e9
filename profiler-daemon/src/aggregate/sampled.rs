//! Waits whose user stacks were not walked, shared out among those that were.
//!
//! Where a thread's stacks never repeat the kernel programs walk one in 2^level of them, by chance. Of the others
//! thread, class, system call, kernel stack and all times are exact; only where in the program they were is told
//! by the sample. So their time, their wait for a CPU and their number go to the walked ones, each in
//! proportion to what these had of it themselves, and not a nanosecond is lost or added.
//!
//! The sample of a wait is what was walked of the same thread, class, system call, kernel stack and level: there
//! each had the same chance. If nothing was, other levels of the same kernel stack stand in, then other kernel
//! stacks, each walked wait counted as often as its level says. Without any the wait stays as it is, and shows
//! as not sampled: a thread never gets the stacks of another one.

use std::collections::HashMap;

use super::scale::shares;
use profiler_common::histogram::BUCKETS;
use profiler_common::wire::{OffCpuKey, OffCpuValue, sampling};

/// Most stacks that a wait without a sample of its own is shared among. They are taken at even distances out of
/// all in the order of their ids, which are hashes: a fair choice again.
const STAND_INS: usize = 64;
/// Most places that sharing adds. What comes after them stays not sampled.
const MOST_NEW: usize = 100_000;

/// Shares out the waits that were not walked.
pub(super) fn share(entries: &mut HashMap<OffCpuKey, OffCpuValue>) {
    let mut skipped: Vec<Entry> = entries.extract_if(|key, _| key.sampling & sampling::SKIPPED != 0).collect();
    if skipped.is_empty() {
        return;
    }
    let is_walked = |(key, _): &(&OffCpuKey, &OffCpuValue)| key.sampling & sampling::WALKED != 0;
    let mut walked: Vec<Entry> = entries.iter().filter(is_walked).map(|(key, value)| (*key, *value)).collect();
    // Remainders then go to the same ones in every run.
    skipped.sort_unstable_by_key(|(key, _)| *key);
    walked.sort_unstable_by_key(|(key, _)| *key);
    let most = entries.len() + MOST_NEW;
    for (is_own, group) in [(true, of_level as fn(&OffCpuKey) -> OffCpuKey), (false, of_place), (false, of_call)] {
        let mut groups: HashMap<OffCpuKey, Vec<&Entry>> = HashMap::new();
        for entry in &walked {
            groups.entry(group(&entry.0)).or_default().push(entry);
        }
        skipped.retain(|(key, value)| {
            let Some(members) = groups.get(&group(key)) else { return true };
            let stand_ins;
            let members = if is_own {
                members
            } else {
                stand_ins = few(members, value.count);
                &stand_ins
            };
            let has_room = is_own || entries.len() < most;
            if has_room {
                share_one(key, value, members, entries);
            }
            !has_room
        });
    }
    entries.extend(skipped);
}

type Entry = (OffCpuKey, OffCpuValue);

fn of_level(key: &OffCpuKey) -> OffCpuKey {
    OffCpuKey { user_stack: 0, sampling: key.sampling & sampling::LEVEL, ..*key }
}

fn of_place(key: &OffCpuKey) -> OffCpuKey {
    OffCpuKey { user_stack: 0, sampling: 0, ..*key }
}

fn of_call(key: &OffCpuKey) -> OffCpuKey {
    OffCpuKey { user_stack: 0, kernel_stack: 0, sampling: 0, ..*key }
}

/// Those of `members` that `waits` waits are shared among.
fn few<'a>(members: &[&'a Entry], waits: u64) -> Vec<&'a Entry> {
    let wanted = members.len().min(STAND_INS).min(usize::try_from(waits).unwrap_or(STAND_INS)).max(1);
    (0..wanted).map(|n| members[n * members.len() / wanted]).collect()
}

/// Shares out one sum of waits.
fn share_one(key: &OffCpuKey, value: &OffCpuValue, members: &[&Entry], entries: &mut HashMap<OffCpuKey, OffCpuValue>) {
    let counts = weighed(members, |own| own.count);
    let by = |part: u64, of: fn(&OffCpuValue) -> u64| {
        let weights = weighed(members, of);
        // None of the sample has any of it: then by number, which each has.
        shares(part, if weights.iter().all(|weight| *weight == 0) { &counts } else { &weights })
    };
    let blocked_ns = by(value.blocked_ns, |own| own.blocked_ns);
    let run_queue_ns = by(value.run_queue_ns, |own| own.run_queue_ns);
    // So none has more of it than of its wait for a CPU.
    let throttled_ns = shares(value.throttled_ns.min(value.run_queue_ns), &run_queue_ns);
    let count = by(value.count, |own| own.count);
    for (n, (of, own)) in members.iter().enumerate() {
        let level = key.sampling & sampling::LEVEL;
        let target = OffCpuKey { user_stack: of.user_stack, sampling: sampling::WALKED | level, ..*key };
        let sum = entries.entry(target).or_insert(OffCpuValue::NOTHING);
        sum.blocked_ns += blocked_ns[n];
        sum.run_queue_ns += run_queue_ns[n];
        sum.throttled_ns += throttled_ns[n];
        sum.count += count[n];
        add_in_proportion(&mut sum.histogram, &own.histogram, count[n]);
        // The longest of all is known, but not whose it is; still no sum has a mean above its longest.
        let mean_ns = (sum.blocked_ns + sum.run_queue_ns).div_ceil(sum.count.max(1));
        sum.max_ns = sum.max_ns.max(own.max_ns).max(mean_ns);
    }
}

/// What each of the sample has of something, times what it stands for.
fn weighed(members: &[&Entry], of: impl Fn(&OffCpuValue) -> u64) -> Vec<u64> {
    let weight = |(key, own): &&Entry| of(own).saturating_mul(1 << (key.sampling & sampling::LEVEL));
    members.iter().map(weight).collect()
}

/// Adds `count` waits that are as long as those of `own`.
fn add_in_proportion(histogram: &mut [u32; BUCKETS], own: &[u32; BUCKETS], count: u64) {
    let all: u128 = own.iter().map(|waits| u128::from(*waits)).sum();
    let mut before = 0;
    let mut shared = 0;
    for (slot, waits) in histogram.iter_mut().zip(own) {
        before += u128::from(*waits);
        // Up to here, so that the last one leaves nothing.
        let up_to_here = (u128::from(count) * before).checked_div(all).unwrap_or(0);
        *slot = slot.saturating_add(u32::try_from(up_to_here - shared).unwrap_or(u32::MAX));
        shared = up_to_here;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::histogram::bucket;

    fn key(user_stack: u64, sampling: u32) -> OffCpuKey {
        OffCpuKey { pid: 1, tid: 2, user_stack, kernel_stack: 9, class: 1, syscall: 202, generation: 3, sampling }
    }

    fn value(count: u64, blocked_ns: u64, run_queue_ns: u64) -> OffCpuValue {
        let each = (blocked_ns + run_queue_ns) / count;
        let mut histogram = [0; BUCKETS];
        histogram[bucket(each)] = count as u32;
        OffCpuValue { blocked_ns, run_queue_ns, max_ns: each, count, histogram, ..OffCpuValue::NOTHING }
    }

    fn shared(entries: &[Entry]) -> HashMap<OffCpuKey, OffCpuValue> {
        let mut entries = entries.iter().copied().collect();
        share(&mut entries);
        entries
    }

    /// Count, blocked time and wait for a CPU of a key.
    fn parts(entries: &HashMap<OffCpuKey, OffCpuValue>, key: OffCpuKey) -> (u64, u64, u64) {
        entries.get(&key).map_or((0, 0, 0), |sum| (sum.count, sum.blocked_ns, sum.run_queue_ns))
    }

    const WALKED: u32 = sampling::WALKED;
    const SKIPPED: u32 = sampling::SKIPPED;

    #[test]
    fn each_part_goes_by_what_the_sample_has_of_it() {
        let entries = shared(&[
            (key(1, 0), value(500, 9_000_000, 500)),
            (key(5, WALKED | 2), value(3, 3_000, 0)),
            (key(7, WALKED | 2), value(1, 3_000, 100)),
            (key(0, SKIPPED | 2), OffCpuValue { throttled_ns: 33, ..value(13, 20_001, 44) }),
        ]);
        assert_eq!(parts(&entries, key(1, 0)), (500, 9_000_000, 500), "what is exact gets nothing");
        assert_eq!(parts(&entries, key(5, WALKED | 2)), (3 + 10, 3_000 + 10_001, 0));
        assert_eq!(parts(&entries, key(7, WALKED | 2)), (1 + 3, 3_000 + 10_000, 144));
        assert_eq!(entries[&key(7, WALKED | 2)].throttled_ns, 33, "with the wait for a CPU that it is part of");
        assert_eq!(entries.len(), 3);
        for (key, sum) in &entries {
            assert_eq!(sum.histogram.iter().map(|waits| u64::from(*waits)).sum::<u64>(), sum.count, "{key:?}");
            assert!(sum.max_ns * sum.count >= sum.blocked_ns + sum.run_queue_ns, "{key:?}");
        }
    }

    #[test]
    fn the_sample_is_of_the_same_level_place_and_thread() {
        let here = key(0, SKIPPED | 2);
        for (other, gets) in [
            (key(5, WALKED | 3), true),
            (OffCpuKey { kernel_stack: 8, ..key(5, WALKED | 3) }, true),
            (OffCpuKey { syscall: 0, ..key(5, WALKED | 2) }, false),
            (OffCpuKey { class: 2, ..key(5, WALKED | 2) }, false),
            (OffCpuKey { tid: 3, ..key(5, WALKED | 2) }, false),
            (OffCpuKey { generation: 4, ..key(5, WALKED | 2) }, false),
            (key(5, 0), false),
        ] {
            let wait = (here, value(4, 4_000, 0));
            let entries = shared(&[wait, (other, value(2, 700, 0))]);
            let stands_in = key(5, WALKED | 2);
            let expected = if gets { (4, 4_000, 0) } else { (0, 0, 0) };
            assert_eq!(parts(&entries, stands_in), expected, "{other:?}");
            assert_eq!(parts(&entries, here).0, if gets { 0 } else { 4 }, "{other:?}");
            assert_eq!(parts(&entries, other), (2, 700, 0), "{other:?}");
            // One of its own goes first.
            let entries = shared(&[wait, (other, value(2, 700, 0)), (key(11, WALKED | 2), value(1, 50, 0))]);
            assert_eq!(parts(&entries, key(11, WALKED | 2)), (5, 4_050, 0), "{other:?}");
        }
    }

    #[test]
    fn what_stands_in_counts_as_often_as_its_level_says() {
        let entries = shared(&[
            (key(0, SKIPPED | 1), value(100, 9_000, 0)),
            (key(5, WALKED | 2), value(20, 600, 0)),
            (key(7, WALKED | 5), value(20, 600, 0)),
        ]);
        assert_eq!(parts(&entries, key(5, WALKED | 1)), (11, 1_000, 0));
        assert_eq!(parts(&entries, key(7, WALKED | 1)), (89, 8_000, 0));
    }

    #[test]
    fn stand_ins_are_few() {
        let mut entries: Vec<Entry> = (1..5_000).map(|id| (key(id, WALKED | 3), value(1, 1_000, 0))).collect();
        let elsewhere = |n: u64| OffCpuKey { kernel_stack: 100 + n, ..key(0, SKIPPED | 3) };
        entries.push((elsewhere(0), value(7, 7_000, 0)));
        entries.extend((1..3_000).map(|n| (elsewhere(n), value(900, 900_000, 0))));
        let shared = shared(&entries);
        assert!(shared.len() <= entries.len() + MOST_NEW + STAND_INS, "{}", shared.len());
        let of_seven = shared.keys().filter(|key| key.kernel_stack == 100).count();
        assert_eq!(of_seven, 7, "a wait has one place");
        let count = |entries: &mut dyn Iterator<Item = &OffCpuValue>| entries.map(|sum| sum.count).sum::<u64>();
        assert_eq!(count(&mut shared.values()), count(&mut entries.iter().map(|(_, sum)| sum)));
    }

    /// Source: xorshift64, Marsaglia 2003.
    fn random(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed >> 11
    }

    /// A thread whose shares of three paths change while its level does: one estimate for all of it would mix what
    /// was sampled more with what was sampled less. Found and true (count, time) of each path.
    fn simulate(seed: &mut u64) -> [[(u64, u64); 3]; 2] {
        const PHASES: [(u32, u64); 4] = [(0, 50), (5, 10), (2, 80), (7, 30)];
        let mut entries: HashMap<OffCpuKey, OffCpuValue> = HashMap::new();
        let mut truth = [(0, 0); 3];
        for (level, odds) in PHASES.into_iter().flat_map(|phase| std::iter::repeat_n(phase, 20_000)) {
            let path = if random(seed) % 100 < odds { 0 } else { 1 + usize::from(random(seed).is_multiple_of(3)) };
            // The third path waits longest.
            let ns = 1_000 + random(seed) % 1_000 + path as u64 * 4_000;
            let key = match (level, random(seed) % (1 << level)) {
                (0, _) => key(path as u64 + 1, 0),
                (_, 0) => key(path as u64 + 1, WALKED | level),
                _ => key(0, SKIPPED | level),
            };
            let sum = entries.entry(key).or_insert(OffCpuValue::NOTHING);
            sum.count += 1;
            sum.blocked_ns += ns;
            sum.max_ns = sum.max_ns.max(ns);
            sum.histogram[bucket(ns)] += 1;
            truth[path].0 += 1;
            truth[path].1 += ns;
        }
        share(&mut entries);
        let mut found = [(0, 0); 3];
        for (key, sum) in entries {
            let path = &mut found[key.user_stack as usize - 1];
            path.0 += sum.count;
            path.1 += sum.blocked_ns;
        }
        [found, truth]
    }

    #[test]
    fn shares_are_right_in_the_mean_whatever_the_level_does() {
        const ROUNDS: u32 = 40;
        let mut seed = 0x9e37_79b9_7f4a_7c15;
        let mut ratios = [(0.0, 0.0); 3];
        for _ in 0..ROUNDS {
            let [found, truth] = simulate(&mut seed);
            let sum = |paths: [(u64, u64); 3]| paths.iter().fold((0, 0), |sum, path| (sum.0 + path.0, sum.1 + path.1));
            assert_eq!(sum(found), sum(truth), "to the nanosecond");
            for (ratio, (found, right)) in ratios.iter_mut().zip(found.into_iter().zip(truth)) {
                ratio.0 += found.0 as f64 / right.0 as f64 / f64::from(ROUNDS);
                ratio.1 += found.1 as f64 / right.1 as f64 / f64::from(ROUNDS);
            }
        }
        for (count, time) in ratios {
            assert!((count - 1.0).abs() < 0.02 && (time - 1.0).abs() < 0.02, "{ratios:?}");
        }
    }
}
