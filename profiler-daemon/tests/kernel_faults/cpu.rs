//! CPU time that is rationed, and CPUs that go away.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::guest::{Cgroup, judge, kernel, ms, start, truth, wait_until_attached};
use crate::support::{Report, folder, workload};

/// A difference of at most so many percent.
fn agree(ours: u64, theirs: u64, percent: f64) -> bool {
    (ours as f64 - theirs as f64).abs() <= theirs as f64 * percent / 100.0
}

/// The part of wall time that a quota took is what the kernel says of the cgroup.
#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_alone_is_throttled_time() {
    let kernel = kernel();
    let cgroup = Cgroup::make("quota", &[("cpu.max", "20000 100000")]);
    let command = cgroup.enter(&workload("faults"));
    let command = command.iter().map(String::as_str).chain(["spin", "1", "1500"]);
    let (report, outcome) = kernel.record_words(["-q", "--"].into_iter().chain(command));
    let said_ns = cgroup.number("cpu.stat", "throttled_usec") * 1_000;
    let ledger = &report.thread(truth(&outcome.stdout).number("tid")).ledger;
    // The thread that starts it has its part, too.
    let all_ns = report.total().throttled_ns;
    let rest_ns = ledger.run_queue_ns - ledger.throttled_ns;
    judge(
        "cpu.max 20 %, one thread",
        "throttled as cpu.stat says, little other wait for a CPU",
        format!(
            "throttled {} (cpu.stat {}), its thread {} of it and other waits {}, wall {}",
            ms(all_ns),
            ms(said_ns),
            ms(ledger.throttled_ns),
            ms(rest_ns),
            ms(ledger.wall_ns)
        ),
        agree(all_ns, said_ns, 3.0) && said_ns > 600_000_000 && rest_ns < ledger.wall_ns / 20,
    );
}

/// On a CPU with a neighbour a thread waits for both reasons, and the two are told apart.
#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_beside_a_neighbour_is_told_apart() {
    let kernel = kernel();
    let faults = workload("faults");
    let mut neighbour = Command::new("taskset");
    neighbour.arg("1").arg(&faults).args(["spin", "1", "60000"]);
    let neighbour = start(&mut neighbour);
    let cgroup = Cgroup::make("quota", &[("cpu.max", "40000 100000")]);
    let command = cgroup.enter(Path::new("taskset"));
    let command = command.iter().map(String::as_str).chain(["1", faults.to_str().unwrap(), "spin", "1", "1500"]);
    let (report, outcome) = kernel.record_words(["-q", "--"].into_iter().chain(command));
    drop(neighbour);
    let said_ns = cgroup.number("cpu.stat", "throttled_usec") * 1_000;
    let ledger = &report.thread(truth(&outcome.stdout).number("tid")).ledger;
    // The thread that starts it has its part, too.
    let all_ns = report.total().throttled_ns;
    let rest_ns = ledger.run_queue_ns - ledger.throttled_ns;
    judge(
        "cpu.max 40 % beside a neighbour on the CPU",
        "throttled as cpu.stat says, the neighbour's half is other wait",
        format!(
            "throttled {} (cpu.stat {}), its thread {} of it and other waits {}, wall {}",
            ms(all_ns),
            ms(said_ns),
            ms(ledger.throttled_ns),
            ms(rest_ns),
            ms(ledger.wall_ns)
        ),
        agree(all_ns, said_ns, 5.0) && ledger.throttled_ns > 100_000_000 && rest_ns > ledger.wall_ns * 25 / 100,
    );
}

/// Samples of threads that ran, by stacks of any quality.
fn samples(report: &Report) -> u64 {
    report.stack_quality.on_cpu.values().map(|walks| walks.samples).sum()
}

#[test]
#[ignore = "stops a CPU: `cargo xtask vm` runs it"]
fn a_cpu_that_comes_back_is_sampled_again() {
    const ONLINE: &str = "/sys/devices/system/cpu/cpu1/online";
    let kernel = kernel();
    let folder = folder();
    let json = folder.path().join("report.json");
    let mut profilerd = kernel.profilerd(["-q", "-o"]);
    // The command begins when all is attached, and keeps both CPUs busy.
    let mut profilerd = start(profilerd.arg(&json).arg("--").arg(workload("faults")).args(["spin", "2", "5000"]));
    wait_until_attached(&mut profilerd);
    sleep(Duration::from_millis(700));
    fs::write(ONLINE, "0").unwrap();
    sleep(Duration::from_millis(1300));
    fs::write(ONLINE, "1").unwrap();
    let ended = profilerd.wait(Duration::from_secs(30));
    let report = Report::read(&json);
    report.assert_closes();
    let on_cpu_ns = report.total().on_cpu_ns;
    let expected = on_cpu_ns as f64 * 99.0 / 1e9;
    let share = samples(&report) as f64 / expected;
    judge(
        "a CPU goes off line for 1.3 s",
        "sampled again within a second of its return, the ledger closes",
        format!("{} samples of {expected:.0} by run time ({:.0} %)", samples(&report), share * 100.0),
        ended.is_some_and(|status| status.success()) && (0.87..1.1).contains(&share),
    );
}
