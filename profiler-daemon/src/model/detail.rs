/// How much is taken of what happens. Times and classes are exact whatever it is; stacks become fewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// One wait in 2^level has its user stack taken, by chance.
    pub wait_level: u32,
    /// Whether waits have kernel stacks.
    pub kernel_stacks: bool,
    /// CPU samples are taken at the wanted rate divided by this.
    pub rate_divisor: u32,
}

impl Detail {
    /// What is given up in which order when the profiler costs more than it may: stacks of waits become a weighted sample,
    /// then a small one, kernel stacks of waits go, and the sampling rate falls.
    pub const LADDER: [Detail; 6] = [
        Detail { wait_level: 0, kernel_stacks: true, rate_divisor: 1 },
        Detail { wait_level: 2, kernel_stacks: true, rate_divisor: 1 },
        Detail { wait_level: 5, kernel_stacks: true, rate_divisor: 1 },
        Detail { wait_level: 5, kernel_stacks: false, rate_divisor: 1 },
        Detail { wait_level: 8, kernel_stacks: false, rate_divisor: 2 },
        Detail { wait_level: 10, kernel_stacks: false, rate_divisor: 4 },
    ];

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
        words.join(", ")
    }
}

impl Default for Detail {
    fn default() -> Detail {
        Detail::LADDER[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_says_what_it_leaves_out() {
        let words: Vec<String> = Detail::LADDER.iter().map(|detail| detail.describe()).collect();
        assert_eq!(words[0], "all stacks of waits");
        assert_eq!(words[5], "the stacks of one wait in 1024, no kernel stacks of waits, one CPU sample in 4");
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
