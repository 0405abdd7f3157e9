//! On-CPU shares of functions, against a program that spends its CPU time by its own clock.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{kernel, truths, workload};

#[test]
fn shares_of_functions_are_right_within_two_points() {
    let Some(kernel) = kernel() else { return };
    let shares = workload("shares");
    support::twice(|| {
        let seconds = if support::is_emulated() { "2" } else { "10" };
        let (report, outcome) = kernel.record_words(["-q", "--rate", "997", "--", shares.to_str().unwrap(), seconds]);
        let samples: u64 = report.stack_quality.on_cpu.values().map(|walks| walks.samples).sum();
        let process_ns = report.total().on_cpu_ns;
        println!("shares: {samples} samples of {:.2} s on CPU", process_ns as f64 / 1e9);
        let truths = truths(&outcome.stdout);
        assert_eq!(truths.len(), 3, "{}", outcome.stdout);
        let spent_ns: u64 = truths.iter().map(|truth| truth.number("cpu_ns")).sum();
        for truth in &truths {
            let function = truth.text("function");
            let (self_ns, total_ns) = report.on_cpu_of(function);
            let right = truth.number("cpu_ns") as f64 * 100.0 / spent_ns as f64;
            let [own, all] = [self_ns, total_ns].map(|ns| ns as f64 * 100.0 / process_ns as f64);
            println!("  {function:13} {own:.2} % self, {all:.2} % in all, right {right:.2} %");
            // What a sample itself costs is on the CPU as well.
            let points = 2.0 * support::slack();
            if (own - right).abs() > points || (all - right).abs() > points {
                return Err(format!("{function}: {own:.2} % self and {all:.2} % in all, not {right:.2} %"));
            }
        }
        Ok(())
    });
}
