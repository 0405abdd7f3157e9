//! What the service may cost, and what it does about it. No I/O, no clock.

use crate::model::Detail;

/// Windows in a row that have to be cheap before more detail is taken again.
const CALM_WINDOWS: u32 = 6;
/// Cheap is a window that costs less than this part of what it may.
const CHEAP: f64 = 0.5;
/// Part of the memory at which detail is shed: before the limit itself is reached.
const FULL: f64 = 0.9;

/// What a window cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Share of the machine's CPU time, from 0 to 1.
    pub(super) cpu: f64,
    /// Resident memory and kernel memory in bytes.
    pub(super) memory: u64,
}

/// What it may cost, in the same units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) cpu: f64,
    pub(super) memory: u64,
}

/// Where on [`Detail::LADDER`] the service stands.
#[derive(Debug, Default)]
pub(super) struct Contract {
    level: usize,
    calm: u32,
}

impl Contract {
    /// The level, from 0.
    pub(super) fn level(&self) -> u32 {
        self.level as u32
    }

    /// Judges a window; returns what to take from now on if that is something else than before.
    pub(super) fn judge(&mut self, cost: Cost, budget: Budget) -> Option<Detail> {
        let memory = cost.memory as f64 / budget.memory.max(1) as f64;
        let before = self.level;
        if cost.cpu > budget.cpu || memory > FULL {
            self.calm = 0;
            self.level = (self.level + 1).min(Detail::LADDER.len() - 1);
        } else if cost.cpu < budget.cpu * CHEAP {
            self.calm += 1;
            if self.calm >= CALM_WINDOWS {
                self.calm = 0;
                self.level = self.level.saturating_sub(1);
            }
        } else {
            self.calm = 0;
        }
        (self.level != before).then(|| Detail::LADDER[self.level])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One character a window: `!` dear, `.` cheap, `-` between, `m` full of memory. The level after each.
    fn play(windows: &str) -> String {
        let budget = Budget { cpu: 0.01, memory: 1_000 };
        let mut contract = Contract::default();
        let mut level = |window| {
            let cost = match window {
                '!' => Cost { cpu: 0.02, memory: 0 },
                '-' => Cost { cpu: 0.008, memory: 0 },
                'm' => Cost { cpu: 0.0, memory: 950 },
                _ => Cost { cpu: 0.001, memory: 100 },
            };
            let changed = contract.judge(cost, budget);
            assert!(changed.is_none_or(|detail| detail == Detail::LADDER[contract.level]));
            contract.level().to_string()
        };
        windows.chars().map(&mut level).collect()
    }

    #[test]
    fn detail_is_shed_at_once_and_comes_back_slowly() {
        assert_eq!(play("..!!-.....-......"), "00122222222222221");
        assert_eq!(play("!!!!!!!!"), "12345666");
        assert_eq!(play("m............"), "1111110000000");
    }
}
