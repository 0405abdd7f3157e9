//! Two profiles compared: by state, by function on CPU, by off-CPU place, and stack by stack.
//!
//! What is compared are folded stacks, which every window becomes and every file of ours holds; a JSON report has no stacks of
//! on-CPU time, so only its functions and gaps are. Processes go by name: a pid is another one tomorrow. Idle waits are left
//! out: how long nothing was to be done says nothing about the work.

mod read;
mod svg;

use std::collections::BTreeMap;
use std::io;

pub use read::ProfileError;

/// One side of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What it is, for the report.
    pub name: String,
    /// How long it was captured, if that is known.
    pub duration_ns: Option<u64>,
    /// Time by state: `on-CPU`, `run-queue`, the class of a wait.
    states: BTreeMap<String, u64>,
    /// On-CPU time by function, as (self, with callees).
    functions: BTreeMap<String, (u64, u64)>,
    /// Off-CPU time by (state, place).
    gaps: BTreeMap<(String, String), u64>,
    /// Time by folded stack; `None` if this is not known.
    stacks: Option<BTreeMap<String, u64>>,
}

/// A value of both sides, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// Of the first side.
    pub before_ns: u64,
    /// Of the second side, scaled to the length of the first.
    pub after_ns: u64,
}

impl Pair {
    /// How much more the second has; negative if it has less.
    pub fn change_ns(self) -> i64 {
        self.after_ns as i64 - self.before_ns as i64
    }

    /// The change in percent of the first; `None` if the first has nothing.
    pub fn percent(self) -> Option<f64> {
        (self.before_ns > 0).then(|| self.change_ns() as f64 * 100.0 / self.before_ns as f64)
    }
}

/// Two profiles side by side. The lists have the largest change first, whatever its sign.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What the first side is.
    pub before: String,
    /// What the second side is.
    pub after: String,
    /// What the times of the second side were multiplied by.
    pub scale: f64,
    /// By state.
    pub states: Vec<(String, Pair)>,
    /// On-CPU self time by function.
    pub functions: Vec<(String, Pair)>,
    /// Off-CPU time by state and place.
    pub gaps: Vec<((String, String), Pair)>,
    /// By folded stack; `None` if one of the sides has none.
    pub stacks: Option<Vec<(String, Pair)>>,
}

impl Comparison {
    /// Compares two profiles. If both lengths are known and differ, the second is scaled to the length of the first.
    pub fn new(before: &Profile, after: &Profile) -> Comparison {
        let scale = match (before.duration_ns, after.duration_ns) {
            // Windows that close a little later are not another length.
            (Some(a), Some(b)) if a > 0 && b > 0 && a.abs_diff(b) > a / 100 => a as f64 / b as f64,
            _ => 1.0,
        };
        let own = |functions: &BTreeMap<String, (u64, u64)>| {
            functions.iter().map(|(name, (own, _))| (name.clone(), *own)).collect::<BTreeMap<_, _>>()
        };
        let stacks = before.stacks.as_ref().zip(after.stacks.as_ref());
        Comparison {
            before: before.name.clone(),
            after: after.name.clone(),
            scale,
            states: pairs(&before.states, &after.states, scale),
            functions: pairs(&own(&before.functions), &own(&after.functions), scale),
            gaps: pairs(&before.gaps, &after.gaps, scale),
            stacks: stacks.map(|(before, after)| pairs(before, after, scale)),
        }
    }

    /// Writes the stacks as folded lines with both times: root first, then nanoseconds of the first and of the second side.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn folded(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for (stack, pair) in self.stacks.iter().flatten() {
            writeln!(out, "{stack} {} {}", pair.before_ns, pair.after_ns)?;
        }
        Ok(())
    }

    /// Draws the stacks of the second side: red grew, blue shrank.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn svg(&self, out: &mut dyn io::Write) -> io::Result<()> {
        svg::write(self, out)
    }
}

fn pairs<K: Clone + Ord>(before: &BTreeMap<K, u64>, after: &BTreeMap<K, u64>, scale: f64) -> Vec<(K, Pair)> {
    let mut joined: BTreeMap<&K, Pair> = BTreeMap::new();
    for (key, ns) in before {
        joined.entry(key).or_default().before_ns = *ns;
    }
    for (key, ns) in after {
        // Unscaled times stay exact, whatever their size.
        let scaled = if scale == 1.0 { *ns } else { (*ns as f64 * scale).round() as u64 };
        joined.entry(key).or_default().after_ns = scaled;
    }
    let mut pairs: Vec<(K, Pair)> = joined.into_iter().map(|(key, pair)| (key.clone(), pair)).collect();
    pairs.sort_by_key(|(_, pair)| std::cmp::Reverse(pair.change_ns().unsigned_abs()));
    pairs
}

#[cfg(test)]
mod tests;
