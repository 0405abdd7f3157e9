//! Disks that are slow, fail or hang.

use std::process::Command;
use std::time::Duration;

use crate::guest::{Device, judge, kernel, median, ms, start, truth};
use crate::support::{MS, Wait, workload};

#[test]
#[ignore = "makes a block device: `cargo xtask vm` runs it"]
fn a_slow_disk_is_disk_io_of_the_right_length() {
    let kernel = kernel();
    let disk = Device::make("slow", "delay", "20");
    let faults = workload("faults");
    let arguments = ["-q", "--", faults.to_str().unwrap(), "read", disk.path.as_str(), "50"];
    let (report, outcome) = kernel.record_words(arguments);
    let truth = truth(&outcome.stdout);
    let tid = truth.number("tid");
    let disk_ns = report.thread(tid).ledger.class("disk-io");
    let is_read = |wait: &&Wait| u64::from(wait.tid) == tid && wait.class == "disk-io";
    let waits: Vec<_> = report.waits.iter().filter(is_read).map(|wait| wait.duration_ns).collect();
    let (middle, waited_ns) = (median(waits.clone()), truth.number("waited_ns"));
    judge(
        "disk that answers after 20 ms",
        "class disk-io, median 20 ms, no more than the reader measured",
        format!("{} waits of class disk-io, median {}, {} of {}", waits.len(), ms(middle), ms(disk_ns), ms(waited_ns)),
        waits.len() >= 45
            && (19 * MS..30 * MS).contains(&middle)
            && disk_ns >= 45 * 19 * MS
            && disk_ns * 100 <= waited_ns * 101,
    );
}

#[test]
#[ignore = "makes a block device: `cargo xtask vm` runs it"]
fn a_failing_disk_fails_the_reader_and_not_the_ledger() {
    let kernel = kernel();
    let disk = Device::make("failing", "flakey", "0 1");
    let faults = workload("faults");
    let arguments = ["-q", "--", faults.to_str().unwrap(), "read", disk.path.as_str(), "50"];
    let (report, outcome) = kernel.record_words(arguments);
    let truth = truth(&outcome.stdout);
    let ledger = &report.thread(truth.number("tid")).ledger;
    judge(
        "disk that fails each read",
        "the reader has its errors, the ledger closes",
        format!("{} errors in 50 reads, residual {} ns", truth.number("errors"), ledger.residual_ns),
        truth.number("errors") == 50,
    );
}

#[test]
#[ignore = "makes a block device: `cargo xtask vm` runs it"]
fn a_reader_of_a_hung_disk_waits_for_the_disk() {
    let kernel = kernel();
    let disk = Device::make("hung", "delay", "1");
    let mut command = Command::new(workload("faults"));
    let reader = start(command.arg("read").arg(&disk.path).arg("1000000"));
    std::thread::sleep(Duration::from_millis(300));
    disk.suspend();
    let (report, _) = kernel.record(&format!("-q --pid {} --duration 2s", reader.pid()));
    let state = std::fs::read_to_string(format!("/proc/{}/stat", reader.pid())).unwrap();
    let is_asleep_for_good = state.rsplit(") ").next().unwrap().starts_with('D');
    disk.resume();
    let thread = report.thread(reader.pid().into());
    let disk_ns = thread.ledger.class("disk-io");
    judge(
        "disk that hangs (reader in state D)",
        "the open wait is disk-io, the ledger closes",
        format!("disk-io {} of {}, blocked {}", ms(disk_ns), ms(thread.ledger.wall_ns), ms(thread.ledger.blocked_ns)),
        is_asleep_for_good && disk_ns * 100 > thread.ledger.wall_ns * 98,
    );
}
