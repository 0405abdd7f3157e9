//! What a capture costs: memory, CPU time of the daemon, time to resolve symbols.

mod support;

use std::process::Command;

use support::{Program, kernel, workload};

const MIB: f64 = 1048576.0;

#[test]
fn one_busy_process_costs_little() {
    let Some(kernel) = kernel() else { return };
    // Ten times the switches of a busy server; it is stopped long before its end.
    let busy = Program::start(Command::new(workload("pingpong")).args(["socket", "1000000000"]));
    let (report, _) = kernel.record(&format!("-q --pid {} --duration 30s", busy.pid()));
    let overhead = &report.overhead;
    let seconds = report.window.duration_ns as f64 / 1e9;
    let share = |ns: u64| ns as f64 * 100.0 / report.window.duration_ns as f64;
    let waits: u64 = report.threads.iter().map(|thread| thread.blocks).sum();
    let programs_ns = overhead.kernel_programs_ns.expect("measured as root");
    println!(
        "pingpong, {} threads, {waits} waits in {seconds:.1} s: daemon {:.2} % of a CPU, kernel programs {:.2} % \
         ({:.0} ns a wait), {:.1} MiB at most, then {:.0} ms for symbols and report",
        report.threads.len(),
        share(overhead.daemon_ns),
        share(programs_ns),
        programs_ns as f64 / waits as f64,
        overhead.peak_rss_bytes as f64 / MIB,
        overhead.finish_ns as f64 / 1e6
    );
    assert!(waits > 10_000, "a busy process");
    assert!(overhead.peak_rss_bytes as f64 <= 60.0 * MIB, "{} bytes resident", overhead.peak_rss_bytes);
    assert!(share(overhead.daemon_ns) <= 1.0, "the daemon took {:.2} % of a CPU", share(overhead.daemon_ns));
    assert!(overhead.finish_ns <= 1_000_000_000, "{} ns for symbols and report", overhead.finish_ns);
}
