//! CPU time that is rationed, and CPUs that go away.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use crate::guest::{Cgroup, judge, kernel, ms, start, truth, wait_until_attached};
use crate::support::{Kernel, Ledger, Report, folder, workload};

/// A thread that spins under a quota: its ledger, the throttled time of all threads that the quota is for, and what the kernel says.
struct Throttled {
    ledger: Ledger,
    all_ns: u64,
    /// The same in folded stacks, by place.
    placed_ns: u64,
    said_ns: u64,
}

impl Throttled {
    fn measure(kernel: &Kernel, quota: &str, before: &[&str]) -> Throttled {
        let cgroup = Cgroup::make("quota", &[("cpu.max", quota)]);
        let faults = workload("faults");
        let command = cgroup.enter([before, &[faults.to_str().unwrap(), "spin", "1", "1500"]].concat());
        let folder = folder();
        let folded = folder.path().join("wall.folded");
        let words = ["-q", "-o", folded.to_str().unwrap(), "--"].into_iter().chain(command.iter().map(String::as_str));
        let (report, outcome) = kernel.record_words(words);
        let folded = fs::read_to_string(folded).unwrap();
        let places = folded.lines().filter_map(|line| line.split_once(";[throttled] "));
        Throttled {
            ledger: report.thread(truth(&outcome.stdout).number("tid")).ledger.clone(),
            all_ns: report.total().throttled_ns,
            placed_ns: places.map(|(_, ns)| ns.parse::<u64>().unwrap()).sum(),
            said_ns: cgroup.number("cpu.stat", "throttled_usec") * 1_000,
        }
    }

    /// Other waits for a CPU.
    fn rest_ns(&self) -> u64 {
        self.ledger.run_queue_ns - self.ledger.throttled_ns
    }

    /// The kernel's count is of the cgroup on each CPU: all of it is in the ledgers of its threads, and no thread has more. Two
    /// that wait on one CPU may have it both.
    fn agrees(&self) -> bool {
        let is_placed = self.placed_ns.abs_diff(self.all_ns) * 100 <= self.all_ns;
        self.all_ns * 100 >= self.said_ns * 97 && self.ledger.throttled_ns * 100 <= self.said_ns * 101 && is_placed
    }
}

impl std::fmt::Display for Throttled {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let [all, said, placed] = [self.all_ns, self.said_ns, self.placed_ns].map(ms);
        let [own, rest, wall] = [self.ledger.throttled_ns, self.rest_ns(), self.ledger.wall_ns].map(ms);
        write!(
            f,
            "throttled {all} (cpu.stat {said}, by place {placed}), the thread {own}, its other waits {rest} of {wall}"
        )
    }
}

#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_alone_is_throttled_time() {
    let kernel = kernel();
    let throttled = Throttled::measure(&kernel, "20000 100000", &[]);
    judge(
        "cpu.max 20 %, one thread",
        "throttled as cpu.stat says, little other wait for a CPU",
        &throttled,
        throttled.agrees()
            && throttled.ledger.throttled_ns > throttled.ledger.wall_ns / 2
            && throttled.rest_ns() < throttled.ledger.wall_ns / 10,
    );
}

/// On a CPU with a neighbour a thread waits for both reasons, and the two are told apart.
#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_beside_a_neighbour_is_told_apart() {
    let kernel = kernel();
    let _neighbour = start(Command::new("taskset").arg("1").arg(workload("faults")).args(["spin", "1", "60000"]));
    let throttled = Throttled::measure(&kernel, "40000 100000", &["taskset", "1"]);
    judge(
        "cpu.max 40 % beside a neighbour on the CPU",
        "throttled as cpu.stat says, the neighbour's half is other wait",
        &throttled,
        throttled.agrees()
            && throttled.ledger.throttled_ns > throttled.ledger.wall_ns / 20
            && throttled.rest_ns() > throttled.ledger.wall_ns / 4,
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
        ended.is_some_and(|status| status.success()) && (0.75..1.1).contains(&share),
    );
}
