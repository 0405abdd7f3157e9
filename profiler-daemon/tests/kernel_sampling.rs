//! A thread whose waits never repeat keeps to its budget, and the sample of its stacks is right.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Command, Stdio};

use profiler_common::limits::{WALK_BUDGET_NS, WALK_PERIOD_SHIFT};
use support::{Kernel, MS, Program, Report, Truth, kernel, truths, workload};

const SECONDS: &str = "3";
/// How far shares of time and number may be off, in points.
const POINTS: f64 = 3.0;

/// Waits, and what one cost the kernel programs in nanoseconds.
fn cost(report: &Report) -> (u64, f64) {
    let waits: u64 = report.threads.iter().map(|thread| thread.blocks).sum();
    (waits, report.overhead.kernel_programs_ns.expect("measured as root") as f64 / waits as f64)
}

fn never(kernel: &Kernel, options: &[&str]) -> (Report, String) {
    let never = workload("never");
    let command = ["--", never.to_str().unwrap(), SECONDS];
    let (report, outcome) = kernel.record_words(["-q"].iter().chain(options).chain(&command).copied());
    (report, outcome.stdout)
}

/// The same work at stacks that repeat, in a process that runs already: one that is just begun meets code without
/// tables yet, whose stacks are new each time.
fn still(kernel: &Kernel) -> (Report, String) {
    let program = Program::start(Command::new(workload("never")).args(["30", "still"]).stdout(Stdio::null()));
    let (report, outcome) = kernel.record(&format!("-q --pid {} --duration {SECONDS}s", program.pid()));
    (report, outcome.stdout)
}

/// Waits and their time below this function.
fn below(report: &Report, function: &str) -> (u64, u64) {
    let gaps = report.gaps.iter().filter(|gap| gap.stack.iter().any(|frame| frame.function == function));
    gaps.fold((0, 0), |sum, gap| (sum.0 + gap.count, sum.1 + gap.total_ns))
}

fn percent(part: u64, all: u64) -> f64 {
    part as f64 * 100.0 / all.max(1) as f64
}

#[test]
fn stacks_that_never_repeat_become_a_fair_sample_within_the_budget() {
    let Some(kernel) = kernel() else { return };
    support::twice(|| {
        // Twice by turns, and the cheaper one of each counts: the rest of the machine only makes it dearer.
        let cheaper = |one: (Report, String), other: (Report, String)| {
            if cost(&one.0).1 < cost(&other.0).1 { one } else { other }
        };
        let round = || [still(&kernel), never(&kernel, &["--walk-all"]), never(&kernel, &[])];
        let ([a, b, c], [d, e, f]) = (round(), round());
        let ((still, _), (all, _), (sampled, printed)) = (cheaper(a, d), cheaper(b, e), cheaper(c, f));
        for (what, report) in [("still", &still), ("walk all", &all), ("sampled", &sampled)] {
            let memo = &report.overhead.user_stack_memo;
            let (waits, ns) = cost(report);
            println!(
                "  {what:8} {waits} waits, {ns:.0} ns each; {} recognised, {} walked, {} not walked; {} ms by sampled stacks",
                memo.recognised,
                memo.walked,
                memo.not_walked,
                report.stack_quality.sampled_off_cpu_ns / MS
            );
        }
        check_nothing_sampled(&all);
        check_nothing_sampled(&still);
        let memo = &sampled.overhead.user_stack_memo;
        let misses = memo.walked + memo.not_walked;
        assert!(misses > 50_000, "{misses} new stacks are too few to say anything");
        assert!(memo.not_walked > memo.walked, "most are beyond the budget");

        shares(&sampled, &truths(&printed))?;
        budget(&still, &all, &sampled)
    });
}

/// All waits have stacks, and those below the two paths are as many and as long as the program says.
fn shares(report: &Report, truths: &[Truth]) -> Result<(), String> {
    let lock_ns = report.total().class("lock/futex");
    let seen: Vec<_> = truths.iter().map(|truth| below(report, truth.text("path"))).collect();
    let sum = seen.iter().fold((0, 0), |sum, path| (sum.0 + path.0, sum.1 + path.1));
    let right = truths.iter().fold((0, 0), |sum, path| (sum.0 + path.number("waits"), sum.1 + path.number("ns")));
    for (truth, seen) in truths.iter().zip(&seen) {
        let path = truth.text("path");
        for (of, found, right) in [
            ("waits", percent(seen.0, sum.0), percent(truth.number("waits"), right.0)),
            ("time", percent(seen.1, sum.1), percent(truth.number("ns"), right.1)),
        ] {
            println!("  {path:6} {found:.2} % of the {of}, right {right:.2} %");
            if (found - right).abs() > POINTS {
                return Err(format!("{path}: {found:.2} % of the {of}, not {right:.2} %"));
            }
        }
    }
    // The main thread waits for the two in a futex, too.
    let joined = report.threads.iter().filter(|thread| thread.tid == thread.pid);
    let joined_ns: u64 = joined.map(|thread| thread.ledger.class("lock/futex")).sum();
    println!("  {:.2} % of the time in locks is below the two paths", percent(sum.1, lock_ns - joined_ns));
    if sum.1 + joined_ns < lock_ns / 100 * 97 {
        return Err(format!("of {lock_ns} ns in locks {} ns are below the paths, {joined_ns} ns in joins", sum.1));
    }
    let (in_locks, blocked) = (lock_ns, report.total().blocked_ns);
    if in_locks < blocked / 100 * 97 {
        return Err(format!("a wait for a lock is one whatever its stack: {in_locks} of {blocked} ns"));
    }
    Ok(())
}

/// What new stacks cost beyond recognised ones keeps within twice the budget, which is reckoned, not measured.
fn budget(still: &Report, all: &Report, sampled: &Report) -> Result<(), String> {
    let ((_, base), (_, full), (waits, ns)) = (cost(still), cost(all), cost(sampled));
    let beyond_ns = (ns - base) * waits as f64;
    let threads_ns: u64 = sampled.threads.iter().filter(|it| it.tid != it.pid).map(|it| it.ledger.wall_ns).sum();
    let share = f64::from(WALK_BUDGET_NS) / (1u64 << WALK_PERIOD_SHIFT) as f64;
    let budget_ns = threads_ns as f64 * share;
    println!("  new stacks cost {:.1} ms, the budget is {:.1} ms", beyond_ns / 1e6, budget_ns / 1e6);
    if ns >= full {
        return Err(format!("{ns:.0} ns a wait, and {full:.0} ns if all are walked"));
    }
    if beyond_ns > 2.0 * budget_ns {
        return Err(format!("new stacks cost {beyond_ns:.0} ns, the budget is {budget_ns:.0} ns"));
    }
    Ok(())
}

#[test]
fn where_stacks_repeat_nothing_is_sampled() {
    let Some(kernel) = kernel() else { return };
    for kind in ["futex", "pipe", "socket"] {
        let program = Program::start(Command::new(workload("pingpong")).args([kind, "1000000000"]));
        let (report, _) = kernel.record(&format!("-q --pid {} --duration 2s", program.pid()));
        println!("  {kind}: {:?}", report.overhead.user_stack_memo);
        assert!(report.overhead.user_stack_memo.recognised > 10_000, "a busy program: {:?}", report.threads);
        check_nothing_sampled(&report);
    }
}

fn check_nothing_sampled(report: &Report) {
    assert_eq!(report.overhead.user_stack_memo.not_walked, 0);
    assert_eq!(report.stack_quality.sampled_off_cpu_ns, 0);
}
