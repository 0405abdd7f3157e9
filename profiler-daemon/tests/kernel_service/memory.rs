//! What happened at three?

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use profilerd::model::UnixNs;
use profilerd::store::{Limits, Store};

use crate::CONFIG;
use crate::serve::Serve;
use crate::support::{Report, folder, kernel, run, workload};

const SECOND_NS: u64 = 1_000_000_000;
/// 2026-03-14, 15:00:00 UTC.
const THREE: u64 = 1_773_500_400 * SECOND_NS;

/// A window of the hour after that comes every so often.
const STEP: u64 = 30 * SECOND_NS;

/// For 20 s threads queue for a lock. The hour after that is like the seconds before, again and again, and is
/// sealed. Whoever asks for these 20 s then is told the stack that did it; whoever asks for the hour is not.
#[test]
fn an_hour_later_a_question_names_the_stack_that_did_it() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, &CONFIG.replace("2s", "5s"));
    serve.wait_for_windows(1);
    run(Command::new(workload("served")).args(["threads", "20"])).well();
    serve.wait_for_windows(1);
    serve.end(Signal::SIGTERM);
    let recorded = serve.windows();
    let has_convoy = |at: &usize| recorded[*at].1.capture.threads.iter().any(|thread| thread.comm.starts_with("sv-"));
    let (convoy, others): (Vec<usize>, Vec<usize>) = (0..recorded.len()).partition(has_convoy);
    assert!(convoy.len() >= 4 && !others.is_empty(), "{convoy:?} {others:?}");

    let folder = folder();
    let path = folder.path().join("store");
    let limits = Limits { bytes: 1 << 30, age: Duration::from_secs(3600 * 24 * 3650) };
    let mut store = Store::open(&path, limits).unwrap();
    let mut at = THREE;
    let mut append = |at: &mut u64, window: usize| {
        let (stored, mut recording) = recorded[window].clone();
        recording.context.start = UnixNs(*at);
        store.append(&recording).unwrap();
        *at += stored.duration_ns;
        *at
    };
    for window in &convoy {
        append(&mut at, *window);
    }
    let mut end = append(&mut at, others[0]);
    let mut windows = 0;
    while end < THREE + 3_700 * SECOND_NS {
        at = end + STEP;
        end = append(&mut at, others[windows % others.len()]);
        windows += 1;
    }
    store.maintain(UnixNs(end + 600 * SECOND_NS), None).unwrap();
    assert!(store.counters().sealed_total > 0);
    drop(store);

    let ask = |since: &str, until: &str| {
        let json = folder.path().join("answer.json");
        let mut query = kernel.profilerd(["query", "--since", since, "--until", until, "-o"]);
        let outcome = run(query.arg(&json).arg("--store").arg(&path).env("TZ", "UTC")).well();
        println!("{since} to {until}: answered in {:?}", outcome.took);
        (Report::read(&json), outcome.stdout)
    };
    let (report, said) = ask("2026-03-14 15:00", "2026-03-14 15:00:20");
    report.assert_closes();
    let is_lock = |gap: &&crate::support::Gap| gap.class == "lock/futex" && !gap.idle;
    let worst = report.gaps.iter().filter(is_lock).max_by_key(|gap| gap.total_ns).unwrap();
    assert!(worst.has("take_the_lock"), "{worst:?}\n{said}");
    // Three threads, of which two wait at any time.
    assert!(worst.total_ns > 30 * SECOND_NS, "{worst:?}");
    assert!(said.contains("take_the_lock"), "{said}");

    let (report, said) = ask("2026-03-14 15:01", "2026-03-14 16:01");
    assert!(!said.contains("take_the_lock") && !report.threads.iter().any(|it| it.comm.starts_with("sv-")), "{said}");
    assert!(windows > 100 && report.window.duration_ns > 3_500 * SECOND_NS, "{windows} windows");
}
