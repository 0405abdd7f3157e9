//! What a report and its folded stacks say about how whole the stacks are.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Where stacks of threads begin: the main one, and all others by the C library's names for them.
const ROOTS: &[&str] = &["_start", "clone3", "__clone3", "clone", "__clone", "__GI___clone"];

/// Shares are from 0 to 1; `None` is not measured, or of nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::bench) struct Figures {
    /// CPU samples.
    pub(in crate::bench) samples: u64,
    /// Samples whose walk came to the end of the stack, by the profiler's own word.
    pub(in crate::bench) on_cpu_complete: Option<f64>,
    /// The same of off-CPU time.
    pub(in crate::bench) off_cpu_complete: Option<f64>,
    /// How far a walk by frame pointers alone would have come, of the same samples.
    pub(in crate::bench) frame_pointer: Option<f64>,
    /// On-CPU time of stacks that begin where threads do, by the name of the outermost function.
    pub(in crate::bench) at_root: Option<f64>,
    /// Mean number of functions of the program in a stack, inlined ones included, by on-CPU time.
    pub(in crate::bench) depth: Option<f64>,
    /// Stacks of waits that were recognised.
    pub(in crate::bench) user_memo: Option<f64>,
    pub(in crate::bench) kernel_memo: Option<f64>,
}

impl Figures {
    /// Reads the JSON report and the folded stacks of on-CPU time.
    pub(in crate::bench) fn read(report: &Path, folded: &Path) -> Result<Self> {
        let text = |file: &Path| fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()));
        let report = serde_json::from_str(&text(report)?).context("the report is no JSON")?;
        Ok(Self::of(&report, &text(folded)?))
    }

    fn of(report: &Value, folded: &str) -> Self {
        let quality = &report["stack_quality"];
        let stacks = Stacks::of(folded);
        Self {
            samples: total(&quality["on_cpu"], "samples"),
            on_cpu_complete: complete(&quality["on_cpu"], "samples"),
            off_cpu_complete: complete(&quality["off_cpu"], "ns"),
            frame_pointer: frame_pointer_share(report),
            at_root: share(stacks.at_root_ns, stacks.ns),
            depth: share(stacks.function_ns, stacks.ns),
            user_memo: recognised(&report["overhead"]["user_stack_memo"]),
            kernel_memo: recognised(&report["overhead"]["kernel_stack_memo"]),
        }
    }
}

/// The share of samples that a walk by frame pointers would have finished, where the kernel programs were
/// told to count that as well.
fn frame_pointer_share(report: &Value) -> Option<f64> {
    complete(&report["stack_quality"]["frame_pointer"], "samples")
}

/// Those of outcome → {samples, ns} that reached the root.
fn complete(outcomes: &Value, unit: &str) -> Option<f64> {
    let of = |outcome: &str| outcomes[outcome][unit].as_u64().unwrap_or(0);
    share(of("complete") + of("complete-approximate"), total(outcomes, unit))
}

fn total(outcomes: &Value, unit: &str) -> u64 {
    outcomes.as_object().into_iter().flatten().filter_map(|(_, outcome)| outcome[unit].as_u64()).sum()
}

fn recognised(memo: &Value) -> Option<f64> {
    let (recognised, walked) = (memo["recognised"].as_u64()?, memo["walked"].as_u64()?);
    share(recognised, recognised + walked)
}

fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| part as f64 / all as f64)
}

/// Sums over folded stacks, weighted by their time.
#[derive(Debug, Default)]
struct Stacks {
    ns: u64,
    at_root_ns: u64,
    /// Time of a stack times its functions.
    function_ns: u64,
}

impl Stacks {
    /// From lines like `process;thread;root;…;leaf;kernel_[k] 1200`.
    fn of(folded: &str) -> Self {
        let mut sums = Self::default();
        for (path, ns) in folded.lines().filter_map(|line| line.rsplit_once(' ')) {
            let Ok(ns) = ns.parse::<u64>() else { continue };
            let functions = path.split(';').skip(2).filter(|name| !name.ends_with("_[k]") && !name.starts_with('['));
            let root = path.split(';').nth(2).unwrap_or_default();
            sums.ns += ns;
            sums.at_root_ns += if ROOTS.contains(&root) { ns } else { 0 };
            sums.function_ns += ns * functions.count() as u64;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const FOLDED: &str = "\
        a (1);a;_start;main;work 300\n\
        a (1);b;clone3;run;work;read_[k] 500\n\
        a (1);b;[unwinding stopped: read fault];work 200\n";

    fn report() -> Value {
        json!({
            "stack_quality": {
                "on_cpu": { "complete": { "samples": 8, "ns": 1 }, "truncated": { "samples": 2, "ns": 1 } },
                "off_cpu": { "complete": { "samples": 1, "ns": 900 }, "missing": { "samples": 9, "ns": 100 } },
            },
            "overhead": {
                "user_stack_memo": { "recognised": 3, "walked": 1 },
                "kernel_stack_memo": { "recognised": 0, "walked": 0 },
            },
        })
    }

    #[test]
    fn samples_count_on_the_cpu_and_time_off_it() {
        let figures = Figures::of(&report(), FOLDED);
        assert_eq!(figures.samples, 10);
        assert_eq!((figures.on_cpu_complete, figures.off_cpu_complete), (Some(0.8), Some(0.9)));
        assert_eq!((figures.user_memo, figures.kernel_memo), (Some(0.75), None));
    }

    #[test]
    fn roots_and_depths_are_weighted_by_time() {
        let figures = Figures::of(&report(), FOLDED);
        assert_eq!(figures.at_root, Some(0.8));
        assert_eq!(figures.depth, Some((3 * 300 + 3 * 500 + 200) as f64 / 1000.0));
    }

    #[test]
    fn walks_by_frame_pointers_are_there_only_if_they_were_made() {
        let mut report = report();
        assert_eq!(frame_pointer_share(&report), None);
        report["stack_quality"]["frame_pointer"] =
            json!({ "complete": { "samples": 1, "ns": 1 }, "no-frame-pointer": { "samples": 3, "ns": 3 } });
        assert_eq!(frame_pointer_share(&report), Some(0.25));
    }
}
