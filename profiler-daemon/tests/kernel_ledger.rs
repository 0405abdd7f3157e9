//! Where wall time went, against what threads know of themselves and what the kernel counts.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::Command;

use support::{Kernel, Program, Report, kernel, truths, workload};

/// A difference as a share of wall time, in percent.
fn percent(ours: u64, theirs: u64, wall_ns: u64) -> f64 {
    (ours as f64 - theirs as f64) * 100.0 / wall_ns as f64
}

/// A thread's clocks are read right before it ends: what its end costs, some 0.1 ms, is within the
/// bounds of 4 s.
#[test]
fn a_ledger_agrees_with_the_clocks_of_its_thread() {
    let Some(kernel) = kernel() else { return };
    agrees(&kernel, &[]);
}

/// As on kernels before 5.11.
#[test]
fn a_ledger_kept_in_a_hash_agrees_with_the_clocks_of_its_thread() {
    let Some(kernel) = kernel() else { return };
    agrees(&kernel, &["--hashed-threads"]);
}

/// As on kernels built without CONFIG_DEBUG_INFO_BTF.
#[test]
#[cfg(not(target_arch = "aarch64"))]
fn a_ledger_agrees_without_types_of_the_kernel_too() {
    let Some(kernel) = kernel() else { return };
    agrees(&kernel.without_types(), &[]);
}

fn agrees(kernel: &Kernel, options: &[&str]) {
    let wallmix = workload("wallmix");
    support::twice(|| {
        let seconds = if support::is_emulated() { "2" } else { "4" };
        let arguments = [options, &["-q", "--", wallmix.to_str().unwrap(), seconds]].concat();
        let (report, outcome) = kernel.record_words(arguments);
        let truths = truths(&outcome.stdout);
        assert_eq!(truths.len(), 6, "{}", outcome.stdout);
        println!("wallmix: residual at worst {:.4} per mille of wall", report.worst_residual());
        for truth in &truths {
            let ledger = &report.thread(truth.number("tid")).ledger;
            let name = truth.text("name");
            let on_cpu = percent(ledger.on_cpu_ns, truth.number("cpu_ns"), ledger.wall_ns);
            let run_queue = percent(ledger.run_queue_ns, truth.number("run_queue_ns"), ledger.wall_ns);
            let class = match name {
                "mx-sleep" | "mx-hold" => "sleep",
                "mx-lock" => "lock/futex",
                _ => "",
            };
            let waited = ledger.off_cpu_by_class.get(class).copied().unwrap_or(0);
            // What a thread measures around its calls has the preemptions inside them, too.
            let inside = truth.number("waited_ns").saturating_sub(waited);
            let class_error = match class {
                "" => percent(ledger.blocked_ns, 0, ledger.wall_ns),
                _ => {
                    let excused = inside.min(ledger.preempted_ns + ledger.unseen_ns);
                    percent(waited + excused, truth.number("waited_ns"), ledger.wall_ns)
                }
            };
            println!(
                "  {name:10} on-CPU {on_cpu:+.3} %, run-queue {run_queue:+.3} %, {class} {class_error:+.3} %, \
                 unseen {:.3} % of wall",
                percent(ledger.unseen_ns, 0, ledger.wall_ns)
            );
            for (what, error, bound) in
                [("on-CPU", on_cpu, 0.5), ("run-queue", run_queue, 1.0), ("its wait", class_error, 1.0)]
            {
                if error.abs() > bound * support::slack() {
                    return Err(format!("{name}: {what} is off by {error:.3} % of wall: {ledger:?}"));
                }
            }
        }
        Ok(())
    });
}

#[test]
fn two_thousand_threads_and_two_hundred_processes_are_all_accounted() {
    let Some(kernel) = kernel() else { return };
    all_accounted(&kernel, &[]);
}

#[test]
fn with_thread_state_in_a_hash_all_are_accounted_too() {
    let Some(kernel) = kernel() else { return };
    all_accounted(&kernel, &["--hashed-threads"]);
}

#[test]
#[cfg(not(target_arch = "aarch64"))]
fn without_types_of_the_kernel_all_are_accounted_too() {
    let Some(kernel) = kernel() else { return };
    all_accounted(&kernel.without_types(), &[]);
}

fn all_accounted(kernel: &Kernel, options: &[&str]) {
    let churn = workload("churn");
    let arguments = [options, &["-q", "--", churn.to_str().unwrap(), "2000", "200"]].concat();
    let (report, outcome) = kernel.record_words(arguments);
    let truths = truths(&outcome.stdout);
    let truth = &truths[0];
    let threads = report.threads_named("ch-t").count();
    let processes = report.processes.iter().filter(|process| process.comm == "churn").count();
    let sleep_ns: u64 = report.threads_named("ch-t").map(|thread| thread.ledger.class("sleep")).sum();
    // Not the first one: pids may have wrapped around.
    let main = report.threads_named("ch-t").next().unwrap().pid;
    let children_ns: u64 = children(&report, main).map(|thread| thread.ledger.on_cpu_ns).sum();
    println!(
        "churn: {threads} threads, {processes} processes, sleep {:.1} ms (threads say {:.1}), \
         CPU of children {:.1} ms (kernel says {:.1}), losses {:?}",
        sleep_ns as f64 / 1e6,
        truth.number("sleep_ns") as f64 / 1e6,
        children_ns as f64 / 1e6,
        truth.number("cpu_ns") as f64 / 1e6,
        report.losses.iter().filter(|(_, count)| **count > 0).collect::<Vec<_>>(),
    );
    assert_eq!(threads, 2000);
    assert_eq!(processes, 201, "200 children and their parent");
    assert_eq!(report.threads.len(), 2201);
    assert!(report.threads.iter().all(|thread| thread.ended));
    let unseen_ns = report.total().unseen_ns;
    assert!(sleep_ns + unseen_ns >= 2_000_000_000, "1 ms a thread: {sleep_ns}");
    // The threads measure around the call, with its own cost and preemptions. In an emulator these may be as long as the sleep,
    // and are asked for by themselves.
    let said = truth.number("sleep_ns");
    let way = |thread: &support::Thread| thread.ledger.run_queue_ns + thread.ledger.stolen_ns + thread.ledger.on_cpu_ns;
    let way_ns = if support::is_emulated() { report.threads_named("ch-t").map(way).sum() } else { 0 };
    let seen_ns = sleep_ns + unseen_ns + way_ns;
    assert!(sleep_ns <= said && seen_ns > said - said / 5, "{sleep_ns} and {way_ns} beside it, of {said}");
    assert!(children_ns >= 200_000_000, "1 ms a process: {children_ns}");
    // `rusage` cuts each child's time to microseconds and takes it before the end of the exit.
    let said = truth.number("cpu_ns");
    let apart = children_ns.abs_diff(said) as f64 / said as f64;
    assert!(apart < 0.1 * support::slack(), "{children_ns}, the kernel says {said}");
    for cause in ["ring_full_thread", "thread_state_full", "torn_read", "undecodable_records"] {
        assert_eq!(report.loss(cause), 0, "{cause}");
    }
}

/// Three parents with children that end at once: some 3,000 a second.
#[test]
fn every_process_of_a_storm_of_forks_is_accounted() {
    let Some(kernel) = kernel() else { return };
    let faults = workload("faults");
    let storm = format!("for parent in 1 2 3; do {} forks 2000 & done; wait", faults.display());
    let (report, outcome) = kernel.record_words(["-q", "--", "sh", "-c", &storm]);
    let truths = truths(&outcome.stdout);
    assert_eq!(truths.len(), 3, "{}", outcome.stdout);
    let forks: u64 = truths.iter().map(|truth| truth.number("forks")).sum();
    let rate: f64 = truths.iter().map(|it| it.number("forks") as f64 * 1e9 / it.number("wall_ns") as f64).sum();
    let lost = report.loss("ring_full_thread") + report.loss("thread_state_full");
    println!("{forks} forks, {rate:.0} a second: {} ledgers, {lost} lost", report.threads.len());
    // The parents, and the shell that starts them.
    assert_eq!(report.threads.len() as u64 + lost, forks + 4);
}

/// Sums of waits travel by three ways: by the map while the window is open, by the iterator or by the thread's own
/// end after it. None of them loses a wait.
#[test]
fn gaps_hold_all_the_time_off_the_cpu_that_the_ledger_has() {
    let Some(kernel) = kernel() else { return };
    let busy = Program::start(Command::new(workload("pingpong")).args(["socket", "1000000000"]));
    let (report, _) = kernel.record(&format!("-q --pid {} --duration 2s", busy.pid()));
    gaps_agree("pingpong", &report);
    let churn = workload("churn");
    let (report, _) = kernel.record_words(["-q", "--", churn.to_str().unwrap(), "500", "50"]);
    gaps_agree("churn", &report);
}

fn gaps_agree(what: &str, report: &Report) {
    let total = report.total();
    let missed = report.loss("missed_switch_in");
    for (class, ledger_ns) in &total.off_cpu_by_class {
        let gaps_ns: u64 = report.gaps.iter().filter(|gap| gap.class == *class).map(|gap| gap.total_ns).sum();
        if *ledger_ns > 0 {
            println!("{what}: {class} {ledger_ns} ns, of it {gaps_ns} in gaps, {missed} switches missed");
        }
        assert_eq!(gaps_ns, *ledger_ns, "{what}, {class}");
    }
}

fn children(report: &Report, main: u32) -> impl Iterator<Item = &support::Thread> {
    report.threads.iter().filter(move |thread| thread.pid != main)
}
