//! Stacks of code without frame pointers are whole and right: programs whose every stack is known, and
//! gdb's word for it.

#![expect(clippy::unwrap_used, reason = "tests")]

mod build;
mod gdb;
mod judge;
mod pattern;
mod profile;
mod programs;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use judge::Verdict;
use pattern::{Chains, Extent, Place};
use profile::Stack;
use support::Kernel;

/// Of the samples, and of the time off the CPU.
const RIGHT: f64 = 0.995;
/// And no more of it may be elsewhere than at the end of a chain.
const ON_THE_WAY: f64 = 0.03;
/// Fewer samples than this would say nothing.
const SAMPLES: u64 = 300;
/// Samples a second.
const RATE_HZ: u32 = 997;
/// Stacks of so much time may be met before the tables are there.
const LATE_MS: f64 = 20.0;

/// Starts a program of its folder.
fn start(folder: &Path, program: &str, arguments: &[&str]) -> support::Program {
    let mut command = Command::new(folder.join(program));
    command.args(arguments).current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    support::Program::start(&mut command)
}

/// Profiles a process and returns its stacks.
fn profile(kernel: &Kernel, pid: u32, seconds: u32) -> Vec<Stack> {
    let output = support::folder();
    let pprof = output.path().join("stacks.pb.gz");
    let arguments = format!("-q --rate {RATE_HZ} --pid {pid} --duration {seconds}s -o");
    kernel.record_words(arguments.split(' ').chain([pprof.to_str().unwrap()]));
    profile::read(&pprof)
}

#[test]
fn every_stack_of_a_program_is_the_one_that_its_source_says() {
    let Some(kernel) = support::kernel() else { return };
    println!("{}", judge::HEAD);
    let mut failures = Vec::new();
    for program in programs::wanted() {
        let folder = build::build(program.name, program.build);
        let running = start(&folder, program.name, program.arguments);
        let seconds = if support::is_emulated() { program.seconds / 2 } else { program.seconds };
        let verdict = Verdict::of(program, &profile(&kernel, running.pid(), seconds));
        println!("{verdict}");
        verdict.wrong.iter().for_each(|(stack, what)| println!("    {what}: {stack}"));
        for (share, what) in [(&verdict.on_cpu, "samples"), (&verdict.off_cpu, "off-CPU time")] {
            if share.right() < 1.0 - (1.0 - RIGHT) * support::slack() {
                failures.push(format!("{}: {:.2} % of the {what} right", program.name, share.right() * 100.0));
            }
            if share.on_the_way() > ON_THE_WAY {
                failures.push(format!(
                    "{}: {:.2} % of the {what} on the way",
                    program.name,
                    share.on_the_way() * 100.0
                ));
            }
        }
        let (late, late_ns) = verdict.late;
        let late_ms = (late as f64 * 1e3 / f64::from(RATE_HZ)).max(late_ns as f64 / 1e6);
        if late_ms > LATE_MS * support::slack() {
            failures.push(format!("{}: for {late_ms:.0} ms there were no tables", program.name));
        }
        if verdict.on_cpu.all < SAMPLES {
            failures.push(format!("{}: {} samples are too few", program.name, verdict.on_cpu.all));
        }
        failures.extend(verdict.not_met.iter().map(|chain| format!("{}: not met: {chain}", program.name)));
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Where there is no compiler, as in a guest, they are taken from here.
#[test]
fn every_workload_compiles() {
    for program in programs::wanted() {
        build::build(program.name, program.build);
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workloads");
    for source in std::fs::read_dir(sources).unwrap().map(|file| file.unwrap().path()) {
        if source.extension().is_some_and(|extension| extension == "c") {
            support::workload(source.file_stem().unwrap().to_str().unwrap());
        }
    }
}

/// A stack that was taken for one it resembles would be missing here, and too often there.
#[test]
fn paths_that_differ_in_one_return_address_wait_equally_often() {
    let Some(kernel) = support::kernel() else { return };
    let program = programs::named("twins");
    let folder = build::build(program.name, program.build);
    let running = start(&folder, program.name, program.arguments);
    let chains = Chains::of(&(program.chains)(), program.libc());
    let mut waits = vec![0; chains.all.len()];
    for stack in profile(&kernel, running.pid(), program.seconds).iter().filter(|stack| !stack.on_cpu) {
        if let Some((chain, Extent::Whole)) = chains.find(&stack.places) {
            waits[chain] += stack.count;
        }
    }
    // Every second chain ends in the sleep.
    let waits: Vec<u64> = waits.into_iter().skip(1).step_by(2).collect();
    println!("waits by path: {waits:?}");
    let (least, most) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert_eq!(waits.len(), 8);
    // A sleep is now and then too short to be switched out for, or preempted in the system call.
    assert!(*least > 100 && most - least <= most / 100 + 3, "{waits:?}");
}

/// Whoever doubts a failure of the test above: this one needs no profiler.
#[test]
fn gdb_finds_the_chains_that_the_sources_say() {
    let Some(_alone) = support::kernel() else { return };
    let Some(gdb) = support::installed(&["gdb"]) else { return };
    for program in programs::ALL {
        let folder = build::build(program.name, program.build);
        let running = start(&folder, program.name, program.arguments);
        let known = (program.chains)();
        let chains = Chains::of(&known, program.libc());
        // Not while it is being loaded.
        thread::sleep(Duration::from_millis(100));
        let stacks = gdb::stacks(&gdb, running.pid());
        let of_interest = |tid: &u32| program.thread.is_none() || *tid != running.pid();
        for (_, stack) in stacks.iter().filter(|(tid, _)| of_interest(tid)) {
            assert!(chains.find(stack).is_some(), "{}: {}", program.name, judge::shown(stack));
        }
    }
}

#[test]
fn ten_blocked_threads_are_where_gdb_says() {
    let Some(kernel) = support::kernel() else { return };
    let Some(gdb) = support::installed(&["gdb"]) else { return };
    let folder = build::build("sleepers", programs::SLEEPERS);
    let running = start(&folder, "sleepers", &[]);
    let ours = profile(&kernel, running.pid(), 2);
    let theirs = gdb::stacks(&gdb, running.pid());
    let mut compared = 0;
    for (tid, theirs) in theirs.iter().filter(|(tid, _)| **tid != running.pid()) {
        let ours = ours.iter().filter(|stack| stack.tid == *tid && !stack.on_cpu);
        let ours = &ours.max_by_key(|stack| stack.ns).unwrap_or_else(|| panic!("thread {tid} has not waited")).places;
        // Names of libc's functions depend on what is installed of it, and each has several.
        let named = |stack: &[Place]| {
            let is_own = |place: &Place| Path::new(&place.file).starts_with(&folder);
            let name = |place: &Place| if is_own(place) { place.function.clone() } else { String::new() };
            stack.iter().map(|place| (place.file.clone(), place.offset, name(place))).collect::<Vec<_>>()
        };
        let (shown, theirs_shown) = (judge::shown(ours), judge::shown(theirs));
        println!("{tid}: {} frames: {theirs_shown}", theirs.len());
        assert_eq!(named(ours), named(theirs), "thread {tid}:\n{shown}\ngdb:\n{theirs_shown}");
        compared += 1;
    }
    assert_eq!(compared, 10);
}
