//! What is left in the kernel, and in the process, after a capture: nothing.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use profilerd::capture::kernel::Filter;
use profilerd::capture::object::object;
use profilerd::daemon::{Pipeline, Plan};
use support::bpf::{Held, held_by, held_by_anyone, loaded};
use support::{Program, kernel, poll};

/// The kernel frees what nobody holds after a grace period or two.
const DEADLINE: Duration = Duration::from_secs(15);

#[test]
fn a_profiler_that_is_killed_leaves_nothing_attached() {
    let Some(kernel) = kernel() else { return };
    let mut profilerd = Program::start(&mut kernel.profilerd(["--all"]));
    let pid = profilerd.pid();
    // Scheduler hooks and a sampler a CPU: it is under way.
    let is_attached = || held_by(pid).links.len() >= 4;
    assert!(poll(DEADLINE, is_attached), "{:?}, {:?}", held_by(pid), profilerd.has_ended());
    std::thread::sleep(Duration::from_millis(300));
    let held = held_by(pid);
    println!("killed with {} programs, {} maps, {} links", held.programs.len(), held.maps.len(), held.links.len());
    assert_eq!(loaded().and(&held), held);
    profilerd.signal(Signal::SIGKILL);
    assert!(profilerd.wait(DEADLINE).is_some());
    let is_gone = || loaded().and(&held).is_empty();
    assert!(poll(DEADLINE, is_gone), "left: {:?}", loaded().and(&held));
}

#[test]
fn thirty_runs_leave_nothing_loaded() {
    let Some(kernel) = kernel() else { return };
    let target = Program::start(Command::new("sleep").arg("600"));
    let before = loaded();
    for _ in 0..30 {
        support::run(&mut kernel.profilerd(["--pid", &target.pid().to_string(), "--duration", "20ms"])).well();
    }
    // Others may load programs meanwhile; theirs have a holder.
    let orphans = || loaded().minus(&before).minus(&held_by_anyone());
    let mut left = orphans();
    let gone = poll(DEADLINE, || {
        left = left.and(&orphans());
        left.is_empty()
    });
    assert!(gone, "left: {left:?}");
}

/// One capture of this process, as `profilerd` makes it.
fn cycle(runtime: &tokio::runtime::Runtime, pid: u32) {
    let filter = Filter { pids: vec![pid], ..Filter::default() };
    let plan = Plan { filter, rate_hz: 99, min_wait_ns: 1_000_000, ..Plan::default() };
    let window = runtime.block_on(async {
        let mut pipeline = Pipeline::load(plan).unwrap();
        pipeline.start().unwrap();
        pipeline.run(tokio::time::sleep(Duration::from_millis(10)), |_| ()).await.unwrap();
        pipeline.finish().unwrap()
    });
    assert_eq!(window.threads.len(), 1);
}

fn descriptors() -> Vec<PathBuf> {
    let files = fs::read_dir("/proc/self/fd").unwrap().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).collect()
}

fn resident_bytes() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[test]
fn a_hundred_captures_in_one_process_leak_nothing() {
    let Some(_kernel) = kernel() else { return };
    if object().is_none() {
        support::skip::<()>("needs the kernel programs: run `cargo xtask test`");
        return;
    }
    let target = Program::start(Command::new("sleep").arg("600"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // What is allocated once, such as the kernel's symbols and the allocator's own arenas, is there after these.
    for _ in 0..20 {
        cycle(&runtime, target.pid());
    }
    let (files, before) = (descriptors(), resident_bytes());
    for _ in 0..80 {
        cycle(&runtime, target.pid());
    }
    let (files_after, after) = (descriptors(), resident_bytes());
    println!(
        "100 captures: {} descriptors, then {}; resident {:.1} MiB, then {:.1} MiB",
        files.len(),
        files_after.len(),
        before as f64 / 1048576.0,
        after as f64 / 1048576.0
    );
    assert_eq!(files_after.len(), files.len(), "{files_after:?}");
    assert!(after < before + (4 << 20), "{before} bytes resident, then {after}");
    assert!(poll(DEADLINE, || held_by(std::process::id()) == Held::default()));
}
