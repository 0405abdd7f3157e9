//! Why threads wait: twenty reasons, each with a thread of its own.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use support::{Kernel, folder, kernel, truths, workload};

/// Every thread has at least this much of the wait that it measured in the class that it names.
const SHARE: f64 = 0.97;

#[test]
fn twenty_reasons_to_wait_are_told_apart() {
    let Some(kernel) = kernel() else { return };
    tell_apart(&kernel, &[]);
}

/// The object for kernels before 5.11 is another program for the verifier, and the same for the reader.
#[test]
fn with_thread_state_in_a_hash_they_are_told_apart_too() {
    let Some(kernel) = kernel() else { return };
    tell_apart(&kernel, &["--hashed-threads"]);
}

#[test]
#[cfg(not(target_arch = "aarch64"))]
fn without_types_of_the_kernel_they_are_told_apart_too() {
    let Some(kernel) = kernel() else { return };
    tell_apart(&kernel.without_types(), &[]);
}

fn tell_apart(kernel: &Kernel, options: &[&str]) {
    let (waits, scratch) = (workload("waits"), folder());
    let seconds = if support::is_emulated() { "2" } else { "4" };
    let arguments = ["-q", "--", waits.to_str().unwrap(), seconds, scratch.path().to_str().unwrap()];
    let arguments = [options, &arguments].concat();
    support::twice(|| {
        let (report, outcome) = kernel.record_words(arguments.iter().copied());
        let truths = truths(&outcome.stdout);
        assert_eq!(truths.len(), 20, "{}", outcome.stdout);
        let mut wrong = Vec::new();
        for truth in &truths {
            let (name, class, waited) = (truth.text("name"), truth.text("class"), truth.number("waited_ns"));
            let ledger = &report.thread(truth.number("tid")).ledger;
            let ours = ledger.class(class);
            // Time preempted inside a call is in the thread's own figure, and in no class.
            let excused = waited.saturating_sub(ours).min(ledger.preempted_ns + ledger.unseen_ns);
            let share = (ours + excused) as f64 / waited as f64;
            let beyond = ours.saturating_sub(waited) as f64 / ledger.wall_ns as f64;
            println!(
                "  {name:9} {class:13} {:6.2} % of its {waited} ns, {} waits{}",
                share * 100.0,
                truth.number("calls"),
                if excused > 0 {
                    format!(", {:.2} % of them preempted", excused as f64 * 100.0 / waited as f64)
                } else {
                    String::new()
                }
            );
            // The switch itself, some 4 us, is blocked time for us and CPU time for the thread.
            let (less, more) = ((1.0 - SHARE) * support::slack(), 0.03 * support::slack());
            if waited == 0 || share < 1.0 - less || beyond > more {
                wrong.push(format!("{name}: {ours} ns of {waited} ns in {class}: {ledger:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });
}
