//! CPU time that is rationed, and CPUs that go away.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
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

/// A period of the quotas here, of which a queue is throttled for the most part.
const PERIOD_NS: u64 = 100_000_000;

impl Throttled {
    /// What `meanwhile` does to the cgroup it does again and again until the thread has ended.
    fn measure(kernel: &Kernel, quota: &str, before: &[&str], meanwhile: impl Fn(&Cgroup) + Sync) -> Throttled {
        let cgroup = Cgroup::make("quota", &[("cpu.max", quota)]);
        let faults = workload("faults");
        let command = cgroup.enter([before, &[faults.to_str().unwrap(), "spin", "1", "1500"]].concat());
        let folder = folder();
        let folded = folder.path().join("wall.folded");
        let words = ["-q", "-o", folded.to_str().unwrap(), "--"].into_iter().chain(command.iter().map(String::as_str));
        let is_over = AtomicBool::new(false);
        let (report, outcome) = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    meanwhile(&cgroup);
                    sleep(Duration::from_millis(30));
                }
            });
            let recorded = kernel.record_words(words);
            is_over.store(true, Ordering::Relaxed);
            recorded
        });
        let folded = fs::read_to_string(folded).unwrap();
        let places = folded.lines().filter_map(|line| line.split_once(";[throttled] "));
        Throttled {
            ledger: report.thread(truth(&outcome.stdout).number("tid")).ledger.clone(),
            all_ns: report.total().throttled_ns,
            placed_ns: places.map(|(_, ns)| ns.parse::<u64>().unwrap()).sum(),
            said_ns: cgroup.number("cpu.stat", "throttled_usec") * 1_000,
        }
    }

    /// Whether the thread waited for nothing but its quota: a twentieth is less than one period.
    fn is_alone(&self) -> bool {
        self.ledger.throttled_ns > self.ledger.wall_ns / 2 && self.rest_ns() < self.ledger.wall_ns / 20
    }

    /// Other waits for a CPU.
    fn rest_ns(&self) -> u64 {
        self.ledger.run_queue_ns - self.ledger.throttled_ns
    }

    /// The kernel's count is of the cgroup on each CPU: all of it is in the ledgers of its threads, and no thread has more. Two
    /// that wait on one CPU may have it both. Since Linux 6.12 the kernel also counts a queue with nobody on it but a thread that has
    /// just gone to sleep, which no thread waits for: the one that starts the spinning one does so once, for `asleep_ns` at most.
    fn agrees(&self, asleep_ns: u64) -> bool {
        let is_placed = self.placed_ns.abs_diff(self.all_ns) * 100 <= self.all_ns;
        (self.all_ns + asleep_ns) * 100 >= self.said_ns * 97
            && self.ledger.throttled_ns * 100 <= self.said_ns * 101
            && is_placed
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
    let throttled = Throttled::measure(&kernel, "20000 100000", &[], |_| {});
    judge(
        "cpu.max 20 %, one thread",
        "throttled as cpu.stat says, little other wait for a CPU",
        &throttled,
        throttled.agrees(PERIOD_NS) && throttled.is_alone(),
    );
}

/// It goes on waiting on the queue of the other CPU, which is throttled by itself.
#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_alone_follows_its_thread() {
    let kernel = kernel();
    let turn = AtomicUsize::new(0);
    let throttled = Throttled::measure(&kernel, "20000 100000", &[], |cgroup| {
        let cpus = ["1", "2"][turn.fetch_add(1, Ordering::Relaxed) % 2];
        for tid in fs::read_to_string(cgroup.path("cgroup.threads")).unwrap_or_default().lines() {
            // One that has just ended cannot be moved.
            let _ =
                Command::new("taskset").args(["-p", cpus, tid]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    });
    judge(
        "cpu.max 20 %, one thread that is moved from CPU to CPU as it waits",
        "little other wait for a CPU",
        &throttled,
        throttled.is_alone() && turn.into_inner() > 30,
    );
}

/// On a CPU with a neighbour a thread waits for both reasons, and the two are told apart.
#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_quota_beside_a_neighbour_is_told_apart() {
    let kernel = kernel();
    let _neighbour = start(Command::new("taskset").arg("1").arg(workload("faults")).args(["spin", "1", "60000"]));
    let throttled = Throttled::measure(&kernel, "40000 100000", &["taskset", "1"], |_| {});
    judge(
        "cpu.max 40 % beside a neighbour on the CPU",
        "throttled as cpu.stat says, the neighbour's half is other wait",
        &throttled,
        throttled.agrees(0)
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
