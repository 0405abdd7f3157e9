//! `profilerd serve` on workloads of known times: what it stores adds up over windows, says where time went, and lasts
//! through stops, crashes and wrong configurations.

#![expect(clippy::unwrap_used, reason = "tests")]

mod contract;
mod judge;
mod life;
mod memory;
mod serve;
mod soak;
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use judge::{assert_waits_have_places, lives, of_tid};
use nix::sys::signal::Signal;
use profilerd::model::WaitClass;
use serve::{Serve, Stored, waited_in};
use support::{kernel, run, truths, workload};

/// Windows of two seconds, and no limit that anything here would meet.
pub(crate) const CONFIG: &str = "[capture]\nwindow = \"2s\"\n[limits]\nmax_cpu = \"100%\"\nmax_memory = \"1GiB\"\n\
                                 [log]\nlevel = \"debug\"\ntarget = \"stderr\"\n";

/// A difference as a share of wall time, in percent.
fn percent(ours: u64, theirs: u64, wall_ns: u64) -> f64 {
    (ours as f64 - theirs as f64) * 100.0 / wall_ns as f64
}

#[test]
fn windows_add_up_and_say_where_time_went() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, CONFIG);
    let outcome = run(Command::new(workload("served")).args(["threads", "9"])).well();
    serve.wait_for_windows(1);
    serve.end(Signal::SIGTERM);
    let windows = serve.windows();
    let lives = lives(&windows);
    let worst = assert_waits_have_places(&lives);
    println!(
        "{} windows, {} threads, places differ from ledgers by {worst:.4} per mille at most",
        windows.len(),
        lives.len()
    );

    let truths = truths(&outcome.stdout);
    assert_eq!(truths.len(), 5, "{}", outcome.stdout);
    let (report, _) = serve.query(&["--since", "10m ago", "--comm", "served"]);
    for truth in &truths {
        let (name, tid) = (truth.text("name"), truth.number("tid"));
        let life = of_tid(&lives, tid);
        let wall_ns = truth.number("wall_ns");
        assert!(life.ended && life.comm == name && life.windows >= 4, "{name}: {life:?}");
        let wall = percent(life.ledger.wall_ns, wall_ns, wall_ns);
        let on_cpu = percent(life.ledger.on_cpu_ns, truth.number("cpu_ns"), wall_ns);
        println!("  {name:10} wall {wall:+.3} %, on-CPU {on_cpu:+.3} % of wall, in {} windows", life.windows);
        assert!(wall.abs() < 0.5 && on_cpu.abs() < 0.5, "{name}: {life:?}");
        // The same by another way: what a person is told.
        assert_eq!(report.thread(tid).ledger.on_cpu_ns, life.ledger.on_cpu_ns);
        assert_eq!(report.thread(tid).ledger.wall_ns, life.ledger.wall_ns);
        let (class, function) = match name {
            "sv-burn" => continue,
            "sv-sleep" => (WaitClass::Sleep, "sleep_all_day"),
            _ => (WaitClass::Lock, "take_the_lock"),
        };
        let waited_ns = life.ledger.off_cpu(class);
        // What a thread measures around its calls has the preemptions inside them, too.
        let excused_ns = life.ledger.preempted_ns + life.ledger.unseen_ns;
        let short_ns = truth.number("waited_ns").saturating_sub(waited_ns + excused_ns);
        assert!(percent(short_ns, 0, wall_ns) < 0.5, "{name}: {short_ns} ns too short: {life:?}");
        assert!(percent(waited_ns, truth.number("waited_ns"), wall_ns) < 0.5, "{name}: too long: {life:?}");
        let gap = report.gaps.iter().find(|gap| gap.tids.contains(&(tid as u32)) && gap.has(function));
        assert!(gap.is_some_and(|gap| gap.class == class.name()), "{name}: {:?}", report.gap_of(tid as u32));

        // And in every window that it was in from start to end.
        let time = |stored: &Stored| stored.1.capture.threads.iter().find(|it| u64::from(it.tid) == tid).cloned();
        let whole = windows.iter().skip_while(|stored| time(stored).is_none()).skip(1);
        let whole = whole.filter(|stored| time(stored).is_some_and(|it| it.ledger.wall_ns > 1_900_000_000));
        let mut seen = 0;
        for (window, recording) in whole {
            let waited = waited_in(recording, tid, function);
            let in_place_ns = waited.get(&(class as u32, true)).copied().unwrap_or(0);
            let all_ns: u64 = waited.iter().filter(|((it, _), _)| *it == class as u32).map(|(_, ns)| ns).sum();
            assert!(in_place_ns * 100 >= all_ns * 99 && all_ns > 0, "{name} in window {}: {waited:?}", window.sequence);
            if class == WaitClass::Sleep {
                assert!(in_place_ns > 1_890_000_000, "{name} in window {}: {waited:?}", window.sequence);
            }
            seen += 1;
        }
        assert!(seen >= 2, "{name}: {seen} whole windows");
    }
    let on_cpu = report.on_cpu_of("burn_all_day");
    assert!(on_cpu.1 > report.thread_named("sv-burn").ledger.on_cpu_ns * 9 / 10, "{on_cpu:?}");

    let listed = serve.ask(&["ls"]).well().stdout;
    assert!(listed.contains("\nserved  "), "{listed}");
    assert_eq!(serve.count(" error "), 0, "{}", serve.log());
}

#[test]
fn what_ends_within_a_window_keeps_its_names() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, CONFIG);
    let served = workload("served");
    const BRIEF: usize = 20;
    for _ in 0..BRIEF {
        run(Command::new(&served).args(["brief", "60"]).env("OTEL_SERVICE_NAME", "brief work")).well();
    }
    run(Command::new(&served).args(["exec", "400"])).well();
    let again = run(Command::new(&served).args(["again", "400"])).well().stdout;
    serve.wait_for_windows(2);
    serve.end(Signal::SIGTERM);
    let windows = serve.windows();
    let all = lives(&windows);
    assert_waits_have_places(&all);

    let (report, said) = serve.query(&["--since", "10m ago", "--service", "brief work"]);
    assert_eq!(report.threads_named("sv-brief").count(), BRIEF, "{said}");
    assert!(report.threads.iter().all(|thread| thread.comm == "sv-brief" && thread.ended), "{said}");
    let on_cpu_ns = report.total().on_cpu_ns;
    let (_, in_work_ns) = report.on_cpu_of("brief_work");
    println!(
        "brief: {:.1} % of {} ms in its function",
        in_work_ns as f64 * 100.0 / on_cpu_ns as f64,
        on_cpu_ns / 1_000_000
    );
    assert!(in_work_ns * 10 > on_cpu_ns * 7, "{in_work_ns} of {on_cpu_ns}: {said}");

    // A program that becomes another one, and two programs with one pid, each with its own functions.
    let burnt = |pid: u32| {
        let (report, _) = serve.query(&["--since", "10m ago", "--pid", &pid.to_string()]);
        ["before_exec", "after_exec", "first_life", "second_life"].map(|name| report.on_cpu_of(name).1 / 1_000_000)
    };
    let mut pids = all.keys().map(|id| id.0);
    let pid = pids.find(|pid| is_after_exec(&windows, *pid)).unwrap();
    let [before, after, ..] = burnt(pid);
    println!("exec: {before} ms before, {after} ms after");
    assert!(before > 300 && after > 300, "{before} {after}");
    let pid = truths(&again)[0].number("pid") as u32;
    let [.., first, second] = burnt(pid);
    println!("one pid twice: {first} ms, {second} ms");
    assert!(first > 300 && second > 300, "{first} {second}");
    let births: std::collections::BTreeSet<u64> = all.keys().filter(|id| id.0 == pid).map(|id| id.2).collect();
    assert_eq!(births.len(), 2);
}

/// Whether a process had a sample in `after_exec`.
fn is_after_exec(windows: &[Stored], pid: u32) -> bool {
    windows.iter().any(|(_, recording)| {
        let samples = recording.capture.cpu_samples.iter().filter(|sample| sample.pid == pid);
        samples.into_iter().any(|it| serve::functions(recording, it.user_stack).iter().any(|name| name == "after_exec"))
    })
}
