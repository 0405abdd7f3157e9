//! Processes that are killed, and processes without end.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::guest::{judge, kernel, ms, start, truth, wait_until_attached};
use crate::support::bpf::{held_by, loaded};
use crate::support::{poll, workload};

/// The kernel frees what nobody holds after a grace period or two.
const DEADLINE: Duration = Duration::from_secs(15);

#[test]
#[ignore = "of a piece with the other faults: `cargo xtask vm` runs it"]
fn a_profiler_that_is_killed_leaves_nothing() {
    let kernel = kernel();
    let mut target = start(Command::new("sleep").arg("600"));
    let mut profilerd = start(&mut kernel.profilerd(["--all"]));
    wait_until_attached(&mut profilerd);
    std::thread::sleep(Duration::from_millis(300));
    let held = held_by(profilerd.pid());
    profilerd.signal(Signal::SIGKILL);
    let start = Instant::now();
    assert!(profilerd.wait(DEADLINE).is_some());
    let is_gone = poll(DEADLINE, || loaded().and(&held).is_empty());
    let took = start.elapsed();
    judge(
        "kill -9 of the profiler",
        "no program, map or link is left, the target runs on",
        format!(
            "{} programs, {} maps, {} links gone after {}",
            held.programs.len(),
            held.maps.len(),
            held.links.len(),
            ms(took.as_nanos() as u64)
        ),
        is_gone && !held.is_empty() && target.has_ended().is_none(),
    );
}

#[test]
#[ignore = "of a piece with the other faults: `cargo xtask vm` runs it"]
fn every_process_of_a_storm_is_accounted_or_counted() {
    let kernel = kernel();
    let faults = workload("faults");
    let (report, outcome) = kernel.record_words(["-q", "--", faults.to_str().unwrap(), "forks", "2000"]);
    let truth = truth(&outcome.stdout);
    let forks = truth.number("forks");
    // The parent, and its children; the kernel gives no pid twice in so short a time.
    let threads = report.threads.len() as u64 - 1;
    let lost = report.loss("ring_full_thread") + report.loss("thread_state_full");
    let rate = forks as f64 * 1e9 / truth.number("wall_ns") as f64;
    judge(
        "a storm of forks",
        "each child has a ledger or is a counted loss",
        format!("{forks} forks, {rate:.0} a second: {threads} ledgers, {lost} losses"),
        threads <= forks && threads + lost >= forks,
    );
}
