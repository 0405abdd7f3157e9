//! What is full: disks, maps, the ring. It is told, and costs nothing but what did not fit.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use support::{Outcome, Program, Report, folder, kernel, poll, workload};

/// A file system of 64 KiB in memory, gone when it is dropped.
struct Small(tempfile::TempDir);

impl Small {
    fn new() -> Small {
        let folder = folder();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
        Small(folder)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Its folder stays behind if this fails, which is better than a second panic.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_costs_its_own_file_and_nothing_else() {
    let Some(kernel) = kernel() else { return };
    let (small, roomy) = (Small::new(), folder());
    let (old, json) = (small.0.path().join("wall.svg"), roomy.path().join("report.json"));
    fs::write(&old, "old").unwrap();
    let filler = small.0.path().join("filler");
    // As much as goes in; the last write fails.
    let _ = std::io::copy(&mut std::io::repeat(0), &mut File::create(&filler).unwrap());

    let mut profilerd = kernel.profilerd(["-o"]);
    profilerd.arg(&old).arg("-o").arg(&json).args(["--", "sleep", "0.2"]);
    let outcome = support::run(&mut profilerd);
    println!("exit code {:?}\n{}", outcome.status.code(), outcome.stderr.trim());
    assert_eq!(outcome.status.code(), Some(1));
    for words in ["error: writing `", "wall.svg", "No space left on device", "try: make room"] {
        assert!(outcome.stderr.contains(words), "no `{words}` in {}", outcome.stderr);
    }
    Report::read(&json).assert_closes();
    assert!(outcome.stdout.contains("where the ") && outcome.stdout.contains("report.json"), "{}", outcome.stdout);
    assert_eq!(fs::read_to_string(&old).unwrap(), "old", "an earlier file stays whole");
    assert_eq!(names(small.0.path()), ["filler", "wall.svg"], "and no half of a new one beside it");
}

/// Runs it with its stdout at a device that is always full. Its stderr.
fn to_full_device(profilerd: &mut Command) -> Outcome {
    let folder = folder();
    let stderr = folder.path().join("stderr");
    let full = File::options().write(true).open("/dev/full").unwrap();
    profilerd.stdin(Stdio::null()).stdout(full).stderr(File::create(&stderr).unwrap());
    let start = std::time::Instant::now();
    let status = Program::start(profilerd).wait(Duration::from_secs(30)).unwrap();
    Outcome { status, stdout: String::new(), stderr: fs::read_to_string(stderr).unwrap(), took: start.elapsed() }
}

#[test]
fn a_report_that_cannot_be_printed_is_an_error_with_a_remedy() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let json = folder.path().join("report.json");
    let target = Program::start(Command::new("sleep").arg("30"));
    let pid = target.pid().to_string();
    for (words, writes) in [
        (vec!["--pid", &pid, "--duration", "100ms", "-o", json.to_str().unwrap()], true),
        (vec!["explain"], false),
        (vec!["man"], false),
    ] {
        let outcome = to_full_device(&mut kernel.profilerd(&words));
        println!("{words:?}: {:?}, {}", outcome.status.code(), outcome.stderr.trim());
        assert_eq!(outcome.status.code(), Some(1), "{words:?}");
        assert_eq!(
            outcome.stderr,
            "error: cannot write to standard output\n  caused by: No space left on device (os error 28)\n  \
             try: make room where its output goes, or send it to another file system\n"
        );
        assert_eq!(writes, json.exists(), "files are written before the report");
        let _ = fs::remove_file(&json);
    }
}

/// The daemon stands still for so long that neither the map of waits nor the ring can take what comes:
/// every wait is at a place of its own.
#[test]
fn what_fits_in_no_map_and_no_ring_is_counted_and_the_ledger_closes() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let file = |name| folder.path().join(name);
    let paths = Program::start_and_wait_for_line(Command::new(workload("paths")).arg("2"));
    let mut command = kernel.profilerd(["-q", "--min-wait", "1us", "--duration", "4s", "--pid"]);
    command.arg(paths.pid().to_string()).arg("-o").arg(file("report.json")).arg("-o").arg(file("wall.folded"));
    let mut profilerd = Program::start(&mut command);
    assert!(poll(Duration::from_secs(10), || support::bpf::held_by(profilerd.pid()).links.len() >= 3));
    std::thread::sleep(Duration::from_millis(300));
    profilerd.signal(Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(2500));
    profilerd.signal(Signal::SIGCONT);
    let status = profilerd.wait(Duration::from_secs(60)).expect("it ends");
    assert!(status.success(), "{status}");

    let report = Report::read(&file("report.json"));
    report.assert_closes();
    let ledger = report.total();
    let waits: u64 = report.threads.iter().map(|thread| thread.blocks).sum();
    let lost: Vec<_> = report.losses.iter().filter(|(_, count)| **count > 0).collect();
    println!("{waits} waits, worst residual {} per mille, {lost:?}", report.worst_residual());
    for cause in ["off_cpu_map_full", "ring_full_stack", "ring_full_wait"] {
        assert!(report.loss(cause) > 0, "{cause}: {lost:?}");
    }
    assert!(report.loss("off_cpu_map_full") < waits, "some did fit");
    assert_eq!(report.threads.len(), 3);
    // The two that wait and wait did nothing else than sleep, and all of that is in their ledgers.
    for thread in report.threads.iter().filter(|thread| thread.tid != thread.pid) {
        let slept = thread.ledger.class("sleep");
        let off_cpu = thread.ledger.blocked_ns + thread.ledger.run_queue_ns - thread.ledger.preempted_ns;
        assert!(slept * 100 >= off_cpu * 99, "{slept} of {off_cpu}: {:?}", thread.ledger);
        assert!(thread.blocks > 10_000, "{}", thread.blocks);
    }
    // What has no place still has its time in the files.
    let folded = fs::read_to_string(file("wall.folded")).unwrap();
    let sum: u64 = folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum();
    let over = report.loss("off_cpu_over_ledger_ns");
    assert_eq!(sum as i64, ledger.wall_ns as i64 + ledger.residual_ns + over as i64);
}
