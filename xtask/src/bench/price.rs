//! What a tracer's kernel programs take of each cycle of a thread: block, wake, run.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::load::Running;
use super::programs::{self, Program, Statistics};
use super::summary::Spread;
use super::tracer::Attached;
use super::tracers::{Context, Kind, REPORT, Tracer};

/// The kernel side of a tracer under one load.
pub(super) struct Price {
    /// Nanoseconds of a cycle, all programs together but for those that no cycle starts, see [`BESIDE`].
    pub(super) cycle_ns: Spread,
    /// What each program does in a cycle, the dearest first.
    pub(super) programs: Vec<Share>,
    pub(super) memo: Option<Memo>,
}

/// Programs of ours that a clock starts, or the birth of a thread: they are listed, and take the same of a thread that
/// never blocks.
const BESIDE: [&str; 3] = ["cpu_sample", "sched_wakeup_ne", "sched_process_e"];

/// One program's part.
#[derive(Debug, PartialEq)]
pub(super) struct Share {
    pub(super) name: String,
    pub(super) runs_per_cycle: f64,
    pub(super) ns_per_run: f64,
}

/// Shares of the stacks of waits that profilerd recognised, from 0 to 1. `None`: it took none.
pub(super) struct Memo {
    pub(super) user: Option<f64>,
    pub(super) kernel: Option<f64>,
}

/// Has the kernel time the tracer's programs over some batches of the load. `None` if it has no programs.
///
/// The programs see the whole machine, so what else switches meanwhile is counted in: little beside a load
/// that does nothing but switch.
///
/// # Errors
/// The load or the tracer failed, or the kernel does not time programs.
pub(super) fn of(tracer: &Tracer, context: &Context<'_>, running: &mut Running, batches: u32) -> Result<Option<Price>> {
    let attached = Attached::start(tracer, context)?;
    let _statistics = Statistics::enable()?;
    let first = programs::of_process(attached.pid())?;
    if first.is_empty() {
        return Ok(None);
    }
    let (mut cycles, mut costs, mut before) = (0, Vec::new(), first.clone());
    for _ in 0..batches {
        let batch = running.batch()?;
        let after = programs::of_process(attached.pid())?;
        costs.push(total(&after).saturating_sub(total(&before)) as f64 / batch.usage.switches as f64);
        cycles += batch.usage.switches;
        before = after;
    }
    drop(attached);
    let cycle_ns = Spread::of(costs).context("no batch was run")?;
    let memo = if tracer.kind == Kind::Ours { memo(context)? } else { None };
    Ok(Some(Price { cycle_ns, programs: shares(&first, &before, cycles), memo }))
}

fn total(programs: &[Program]) -> u64 {
    let of_cycles = programs.iter().filter(|program| !BESIDE.iter().any(|name| program.name.starts_with(name)));
    of_cycles.map(|program| program.run_ns).sum()
}

fn shares(before: &[Program], after: &[Program], cycles: u64) -> Vec<Share> {
    let mut shares: Vec<_> = after
        .iter()
        .filter_map(|program| {
            let first = before.iter().find(|first| first.id == program.id)?;
            let (run_ns, runs) = (program.run_ns - first.run_ns, program.runs - first.runs);
            (runs > 0).then(|| Share {
                name: program.name.clone(),
                runs_per_cycle: runs as f64 / cycles as f64,
                ns_per_run: run_ns as f64 / runs as f64,
            })
        })
        .collect();
    shares.sort_by(|a, b| (b.runs_per_cycle * b.ns_per_run).total_cmp(&(a.runs_per_cycle * a.ns_per_run)));
    shares
}

/// Reads the report that profilerd has left.
fn memo(context: &Context<'_>) -> Result<Option<Memo>> {
    let file = context.folder.join(REPORT);
    let text = fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let report: Value = serde_json::from_slice(&text).with_context(|| format!("cannot read `{}`", file.display()))?;
    let rate = |memo: &str| {
        let count = |what: &str| report["overhead"][memo][what].as_f64();
        let (known, walked) = (count("recognised")?, count("walked")?);
        (known + walked > 0.0).then(|| known / (known + walked))
    };
    Ok(Some(Memo { user: rate("user_stack_memo"), kernel: rate("kernel_stack_memo") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(id: u32, run_ns: u64, runs: u64) -> Program {
        Program { id, name: format!("p{id}"), run_ns, runs }
    }

    #[test]
    fn the_dearest_program_comes_first_and_idle_ones_not_at_all() {
        let before = [program(1, 1_000, 10), program(2, 0, 0), program(3, 500, 5)];
        let after = [program(1, 1_400, 20), program(2, 3_000, 10), program(3, 500, 5)];
        let share = |name: &str, ns_per_run| Share { name: name.to_owned(), runs_per_cycle: 0.5, ns_per_run };
        assert_eq!(shares(&before, &after, 20), [share("p2", 300.0), share("p1", 40.0)]);
    }
}
