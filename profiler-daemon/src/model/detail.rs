use std::collections::BTreeMap;

/// How much is taken of what happens. Times and classes are exact whatever it is; stacks become fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// One wait in 2^level has its user stack taken, by chance.
    pub wait_level: u32,
    /// Whether waits have kernel stacks.
    pub kernel_stacks: bool,
    /// CPU samples are taken at the wanted rate divided by this.
    pub rate_divisor: u32,
    /// Programs are noticed ten times a second instead of at their exec. Until then their code has no unwind tables.
    pub late_programs: bool,
}

impl Detail {
    /// What is given up in which order when the profiler costs more than it may: stacks of waits become a weighted sample,
    /// then a small one, kernel stacks of waits go, the sampling rate falls, and programs are noticed later.
    pub const LADDER: [Detail; 7] = [
        Detail { wait_level: 0, kernel_stacks: true, rate_divisor: 1, late_programs: false },
        Detail { wait_level: 2, kernel_stacks: true, rate_divisor: 1, late_programs: false },
        Detail { wait_level: 5, kernel_stacks: true, rate_divisor: 1, late_programs: false },
        Detail { wait_level: 5, kernel_stacks: false, rate_divisor: 1, late_programs: false },
        Detail { wait_level: 8, kernel_stacks: false, rate_divisor: 2, late_programs: false },
        Detail { wait_level: 10, kernel_stacks: false, rate_divisor: 4, late_programs: false },
        Detail { wait_level: 10, kernel_stacks: false, rate_divisor: 4, late_programs: true },
    ];

    /// Its place on the ladder: 0 is full detail. What is not on it is as its last step.
    pub fn level(self) -> u32 {
        let level = Detail::LADDER.iter().position(|step| *step == self);
        level.unwrap_or(Detail::LADDER.len() - 1) as u32
    }

    /// What a level of the ladder means, in words for a log.
    pub fn describe(self) -> String {
        let mut words = vec![match self.wait_level {
            0 => "all stacks of waits".to_owned(),
            level => format!("the stacks of one wait in {}", 1u32 << level),
        }];
        if !self.kernel_stacks {
            words.push("no kernel stacks of waits".to_owned());
        }
        if self.rate_divisor > 1 {
            words.push(format!("one CPU sample in {}", self.rate_divisor));
        }
        if self.late_programs {
            words.push("new programs noticed ten times a second".to_owned());
        }
        words.join(", ")
    }
}

impl Default for Detail {
    fn default() -> Detail {
        Detail::LADDER[0]
    }
}

/// How many windows were captured at which level of [`Detail::LADDER`]. Windows that do not say it count in none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailLevels {
    windows: BTreeMap<u32, u32>,
}

impl DetailLevels {
    /// One window at this level.
    pub fn one(level: u32) -> DetailLevels {
        DetailLevels { windows: [(level, 1)].into() }
    }

    /// Counts other windows in.
    pub fn add(&mut self, others: &DetailLevels) {
        for (level, windows) in &others.windows {
            *self.windows.entry(*level).or_default() += windows;
        }
    }

    /// Windows that say their level.
    pub fn known(&self) -> u32 {
        self.windows.values().sum()
    }

    /// The levels at which detail was shed, lowest first, with their windows.
    pub fn shed(&self) -> impl Iterator<Item = (u32, u32)> {
        self.windows.iter().filter(|(level, _)| **level > 0).map(|(level, windows)| (*level, *windows))
    }

    /// The highest level; `None` if no window says one.
    pub fn highest(&self) -> Option<u32> {
        self.windows.last_key_value().map(|(level, _)| *level)
    }

    /// What was shed, in words; `None` if nothing was.
    pub fn note(&self) -> Option<String> {
        let shed: Vec<(u32, u32)> = self.shed().collect();
        let sum: u32 = shed.iter().map(|(_, windows)| windows).sum();
        let words = match &shed[..] {
            [] => return None,
            [(level, _)] => DetailLevels::describe(*level),
            _ => {
                let of = |(level, windows): &(u32, u32)| format!("in {windows} {}", DetailLevels::describe(*level));
                shed.iter().map(of).collect::<Vec<_>>().join("; ")
            }
        };
        let windows = if self.known() == 1 { "window" } else { "windows" };
        Some(format!("detail was shed in {sum} of {} {windows}: {words}", self.known()))
    }

    /// What a level means. A store may have those of a later version.
    pub fn describe(level: u32) -> String {
        let step = usize::try_from(level).ok().and_then(|level| Detail::LADDER.get(level));
        step.map_or_else(|| format!("level {level}, which this version does not know"), |step| step.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_counted_by_level() {
        let note = |levels: &[u32]| {
            let mut all = DetailLevels::default();
            levels.iter().for_each(|level| all.add(&DetailLevels::one(*level)));
            assert_eq!((all.known() as usize, all.highest()), (levels.len(), levels.iter().max().copied()));
            all.note()
        };
        assert_eq!((note(&[]), note(&[0, 0])), (None, None));
        assert_eq!(
            note(&[0, 1, 1, 0]).as_deref(),
            Some("detail was shed in 2 of 4 windows: the stacks of one wait in 4")
        );
        assert_eq!(
            note(&[1, 9, 1]).as_deref(),
            Some(
                "detail was shed in 3 of 3 windows: in 2 the stacks of one wait in 4; \
                 in 1 level 9, which this version does not know"
            )
        );
        for (level, detail) in (0..).zip(Detail::LADDER) {
            assert_eq!(detail.level(), level);
        }
    }

    #[test]
    fn each_level_says_what_it_leaves_out() {
        let words: Vec<String> = Detail::LADDER.iter().map(|detail| detail.describe()).collect();
        assert_eq!(words[0], "all stacks of waits");
        assert_eq!(words[5], "the stacks of one wait in 1024, no kernel stacks of waits, one CPU sample in 4");
        assert_eq!(words[6], format!("{}, new programs noticed ten times a second", words[5]));
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
