//! How many of a thread's new stacks are walked: as many as a stated share of its time pays for.
//!
//! A stack that the memo does not recognise has to be walked, and nothing bounds how often that happens. So each
//! thread has a budget by period. As long as it lasts every new stack is walked. Beyond it one in 2^level is, by
//! chance, whatever the stack is: a fair sample.
//!
//! The level of a period follows from what all new stacks of the period before would have cost; a period that
//! costs more than its budget all the same raises its level at once. What decides is always the past, never the
//! stack at hand. Each wait bears its level, and waits of one level had the same chance, so it does not matter to
//! a sample how often the level changed.

use profiler_common::limits::WALK_PERIOD_SHIFT;
use profiler_common::wire::sampling;

/// The highest level: one stack in 1,024.
pub const MOST_LEVEL: u32 = 10;
/// What a new stack costs before its first frame: hashed, sent, remembered, and summed under a key of its own.
const STACK_NS: u32 = 2_000;
/// What each of its frames costs.
const FRAME_NS: u32 = 100;
/// Raises of the level inside a period are this part of a budget apart, once the budget is spent.
const RAISE_PART: u32 = 4;

/// What a thread's walks have cost. Zeroed memory is a start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// What all new stacks of this period would have cost, as far as the walked ones tell.
    pub demand_ns: u64,
    /// The running period: its number, modulo 2^32.
    pub period: u32,
    /// One new stack in 2^level is walked.
    pub level: u32,
    /// What this period's walks cost.
    pub spent_ns: u32,
    /// At what cost the level rises.
    pub limit_ns: u32,
}

impl Budget {
    /// What is to be done about a new stack at `now_ns`, as a value of [`sampling`]: `SKIPPED` is not to be
    /// walked. `budget_ns` is what the walks of a period may cost, `random` is a random number.
    #[inline(always)]
    pub fn ration(&mut self, now_ns: u64, budget_ns: u32, random: u32) -> u32 {
        let period = (now_ns >> WALK_PERIOD_SHIFT) as u32;
        if period != self.period {
            let follows = period == self.period.wrapping_add(1);
            self.period = period;
            self.level = if follows { level(self.demand_ns, budget_ns) } else { 0 };
            self.demand_ns = 0;
            self.spent_ns = 0;
            self.limit_ns = budget_ns;
        }
        if self.spent_ns > self.limit_ns && self.level < MOST_LEVEL {
            self.level += 1;
            self.limit_ns = self.limit_ns.saturating_add(budget_ns / RAISE_PART);
        }
        if self.level == 0 {
            return sampling::EXACT;
        }
        choose(self.level, random)
    }

    /// A new stack was walked and has this many frames.
    #[inline(always)]
    pub fn walked(&mut self, frames: u32) {
        let cost_ns = STACK_NS + FRAME_NS * (frames & 0xffff);
        self.spent_ns = self.spent_ns.saturating_add(cost_ns);
        self.demand_ns += u64::from(cost_ns) << (self.level & sampling::LEVEL);
    }
}

/// Whether chance has one stack in 2^`level` taken, as a value of [`sampling`]; `level` is not 0.
#[inline(always)]
pub fn choose(level: u32, random: u32) -> u32 {
    let level = level & sampling::LEVEL;
    level | if random & ((1 << level) - 1) == 0 { sampling::WALKED } else { sampling::SKIPPED }
}

/// The lowest level at which stacks that would cost `demand_ns`, walked all, are expected to keep the budget.
#[inline(always)]
fn level(demand_ns: u64, budget_ns: u32) -> u32 {
    let mut level = 0;
    while level < MOST_LEVEL {
        if demand_ns >> level <= u64::from(budget_ns) {
            break;
        }
        level += 1;
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::limits::WALK_BUDGET_NS;

    const PERIOD_NS: u64 = 1 << WALK_PERIOD_SHIFT;
    /// Frames of each stack: a walk costs 3,000 ns, and a budget pays for 349.
    const FRAMES: u32 = 10;
    const COST_NS: u64 = 3_000;

    /// Source: xorshift64, Marsaglia 2003.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u32 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 32) as u32
        }
    }

    /// What became of the new stacks of one period.
    #[derive(Clone, Copy, Debug, Default)]
    struct Played {
        stacks: u64,
        walked: u64,
        /// Walked ones, each counted as often as its level says that it stands for others.
        weight: u64,
        /// The level at the end.
        level: u32,
    }

    /// A thread that makes so many new stacks in each period, evenly spread.
    fn play(periods: &[u64]) -> Vec<Played> {
        let mut budget = Budget::default();
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let play = |(number, stacks): (u64, &u64)| {
            let mut played = Played { stacks: *stacks, ..Played::default() };
            for n in 0..*stacks {
                let now_ns = (1_000 + number) * PERIOD_NS + n * PERIOD_NS / stacks;
                let way = budget.ration(now_ns, WALK_BUDGET_NS, random.next());
                played.level = way & sampling::LEVEL;
                if way & sampling::SKIPPED == 0 {
                    budget.walked(FRAMES);
                    played.walked += 1;
                    played.weight += 1 << played.level;
                }
            }
            played
        };
        (0..).zip(periods).map(play).collect()
    }

    /// The level at the end of each period, one digit each (`a` is 10), `.` for 0.
    fn levels(periods: &[u64]) -> String {
        let digit = |played: &Played| match played.level {
            0 => '.',
            level => char::from_digit(level, 36).unwrap_or('?'),
        };
        play(periods).iter().map(digit).collect()
    }

    #[test]
    fn what_the_budget_pays_for_is_walked() {
        assert_eq!(levels(&[340; 12]), "............");
        assert!(play(&[340; 12]).iter().all(|played| played.walked == 340));
    }

    #[test]
    fn the_level_follows_the_rate() {
        // Some more than the budget, six times, fifty times, and far beyond what the levels reach.
        assert_eq!(levels(&[500; 8]), "11111111");
        assert_eq!(levels(&[2_000; 8])[1..], *"3333333");
        assert_eq!(levels(&[18_000; 8])[2..], *"666666");
        assert_eq!(levels(&[600_000; 4])[1..], *"aaa");
        assert_eq!(levels(&[100, 100, 500, 500, 100, 100, 100]), "..111..", "and comes down again, a period later");
    }

    #[test]
    fn a_pause_makes_a_new_start() {
        assert_eq!(levels(&[500, 500, 0, 100, 500, 0, 0, 100]), "11..1...");
    }

    #[test]
    fn the_budget_is_kept() {
        for rate in [400, 1_000, 4_000, 20_000] {
            let played = play(&[rate; 100]);
            let cost_ns: u64 = played.iter().map(|played| played.walked * COST_NS).sum();
            let share = cost_ns as f64 / (100 * PERIOD_NS) as f64;
            assert!(share < 0.017, "{rate} a period: {share}");
            assert!(share > 0.007, "{rate} a period: {share}, and nothing is left unused");
        }
    }

    #[test]
    fn the_first_period_of_a_burst_costs_little_more() {
        for stacks in [1_000, 5_000, 20_000] {
            let played = play(&[100, stacks, 0, 0, stacks])[1];
            let budgets = (played.walked * COST_NS) as f64 / f64::from(WALK_BUDGET_NS);
            assert!(budgets < 3.0, "{stacks}: {budgets} budgets");
        }
    }

    #[test]
    fn walked_stacks_stand_for_all_of_them() {
        let steady = play(&[3_000; 200]);
        let rising: Vec<u64> = (0..200).map(|n| 50 + n * 60).collect();
        let bursts: Vec<u64> = (0..600).map(|n| if n % 7 < 3 { 4_000 } else { n % 5 * 100 }).collect();
        for played in [steady, play(&rising), play(&bursts)] {
            let (stacks, weight) =
                played.iter().fold((0, 0), |sum, played| (sum.0 + played.stacks, sum.1 + played.weight));
            let ratio = weight as f64 / stacks as f64;
            assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
        }
    }

    #[test]
    fn every_level_has_its_chance() {
        let mut random = Random(7);
        for level in 1..=MOST_LEVEL {
            let now_ns = PERIOD_NS * 5;
            let tries = 40_000 << level.min(6);
            let mut walked = 0;
            for _ in 0..tries {
                let mut budget = Budget { period: 5, level, limit_ns: u32::MAX, ..Budget::default() };
                let way = budget.ration(now_ns, WALK_BUDGET_NS, random.next());
                assert_eq!(way & sampling::LEVEL, level);
                walked += u64::from(way & sampling::WALKED != 0);
            }
            let ratio = walked as f64 * f64::from(1 << level) / f64::from(tries);
            assert!((ratio - 1.0).abs() < 0.1, "level {level}: {ratio}");
        }
    }
}
