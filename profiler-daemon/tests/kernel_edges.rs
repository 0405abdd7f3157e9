//! The edges of a window: threads that do nothing in it, threads that live inside it, intervals that
//! are open at its start and its end.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::Command;

use profilerd::capture::btf::Btf;
use profilerd::capture::features;
use support::{Frame, Ledger, MS, Program, Report, is_emulated, kernel, workload};

const WINDOW_MS: u64 = 2000;

fn program_frames<'a>(report: &'a Report, tid: u32) -> Vec<&'a str> {
    let of_program = |frame: &&'a Frame| frame.kind == "native";
    report.gap_of(tid).stack.iter().filter(of_program).map(|frame| frame.function.as_str()).collect()
}

#[test]
fn what_lasts_longer_than_the_window_fills_it_and_what_is_shorter_is_in_it() {
    let Some(kernel) = kernel() else { return };
    let edges = Program::start_and_wait_for_line(&mut Command::new(workload("edges")));
    // Mid-run: all threads are where they stay.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let (report, _) = kernel.record(&format!("-q --pid {} --duration {WINDOW_MS}ms", edges.pid()));
    let has_sleepers = features::SLEEPERS.is_in(&Btf::of_kernel().unwrap());
    let window_ns = report.window.duration_ns;
    // Finding the threads that are there takes as long.
    let edge_ns = if is_emulated() { 60 * MS } else { MS };
    assert!(is_emulated() || window_ns.abs_diff(WINDOW_MS * MS) < 200 * MS, "{window_ns}");

    for (name, class, function) in [
        ("ed-asleep", "sleep", "sleeps_throughout"),
        ("ed-locked", "lock/futex", "waits_throughout"),
        ("edges", "pipe", "main"),
    ] {
        let thread = report.thread_named(name);
        let (blocked_ns, class_ns) = (thread.ledger.blocked_ns, thread.ledger.class(class));
        println!("  {name:10} blocked {blocked_ns} of {window_ns} ns, {class} {class_ns} ns");
        assert!(blocked_ns.abs_diff(window_ns) < edge_ns, "{name}: {:?}", thread.ledger);
        assert!(class_ns.abs_diff(window_ns) < edge_ns, "{name}: {:?}", thread.ledger);
        let gap = report.gap_of(thread.tid);
        assert_eq!(gap.class, class, "{name}");
        if !has_sleepers {
            assert!(gap.kernel_function.is_none() && program_frames(&report, thread.tid).is_empty(), "{:?}", gap.stack);
            continue;
        }
        assert!(gap.kernel_function.is_some(), "{name} has no kernel function");
        let frames = program_frames(&report, thread.tid);
        println!("             in {:?}, {}", gap.kernel_function, frames.join(" < "));
        assert!(frames.contains(&function), "{name}: {frames:?}");
    }

    let napping = report.thread_named("ed-napping");
    println!("  ed-napping {:?}", napping.ledger);
    assert!(napping.ledger.wall_ns.abs_diff(window_ns) < edge_ns, "there from start to end");
    assert!(
        napping.ledger.class("sleep") + napping.ledger.on_cpu_ns + 4 * MS + edge_ns > window_ns,
        "asleep but for moments"
    );
    if has_sleepers {
        assert!(report.gap_of(napping.tid).has("naps"));
    }
    // Without them the nap that was open at the start has no stack; the others have.
    assert!(report.gaps.iter().any(|gap| gap.tids.contains(&napping.tid) && gap.has("naps")));

    let flashes: Vec<_> = report.threads_named("ed-flash").collect();
    // The way from the call to the switch is part of the 2 ms that it sleeps.
    let slept_ns = if is_emulated() { MS } else { 2 * MS };
    // An emulator is on that way, stolen time included, for most of it.
    let way = |ledger: &Ledger| if is_emulated() { ledger.stolen_ns + ledger.on_cpu_ns } else { 0 };
    let slept = |ledger: &Ledger| ledger.class("sleep") + way(ledger);
    let inside = flashes.iter().filter(|thread| thread.ended && slept(&thread.ledger) >= slept_ns).count();
    println!("  ed-flash   {} threads, {inside} of them from birth to end", flashes.len());
    // One every 20 ms and a bit more: a busy machine wakes the flasher late.
    let (least, most) = if is_emulated() { (20, window_ns / (20 * MS) + 2) } else { (50, 101) };
    assert!((least..=most).contains(&(flashes.len() as u64)), "{}", flashes.len());
    assert!(inside + 2 >= flashes.len(), "all but one at the very start and one at the very end are whole");
    assert!(flashes.iter().all(|thread| thread.ledger.wall_ns < 100 * MS));
}
