//! What the service costs, and what it does when that is more than it may.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use profilerd::model::WaitClass;

use crate::judge::{assert_waits_have_places, lives, of_tid};
use crate::serve::{SOON, Serve};
use crate::support::{Program, kernel, poll, run, truths, workload};
use crate::{CONFIG, percent};

/// How much more than what is promised is let pass here: other guests of the machine take their part of it, and the
/// program may not be optimized.
const NOISE: u32 = 3;

/// Detail goes when there is no money for it, and comes back with it; times and classes are exact all the while.
#[test]
fn a_service_that_may_cost_nothing_sheds_detail_and_no_time() {
    let Some(kernel) = kernel() else { return };
    let rich = CONFIG.replace("2s", "1s");
    let mut serve = Serve::start(&kernel, &rich.replace("100%", "0.1%"));
    assert_eq!(serve.metric("profilerd_detail_level"), Some(0.0));
    let outcome = run(Command::new(workload("served")).args(["threads", "10"])).well();
    assert!(poll(SOON, || serve.metric("profilerd_detail_level") == Some(6.0)), "{}", serve.log());
    for (level, words) in [
        (1, "the stacks of one wait in 4"),
        (5, "no kernel stacks of waits, one CPU sample in 4"),
        (6, "new programs noticed ten times a second"),
    ] {
        assert!(
            serve.log().lines().any(|it| it.contains(words) && it.contains(&format!("level={level} "))),
            "{}",
            serve.log()
        );
    }
    assert_eq!(serve.count(" warn  profiling costs more than it may"), 6, "{}", serve.log());

    serve.configure(&rich);
    serve.signal(Signal::SIGHUP);
    serve.wait_for("changed key=limits.max_cpu ");
    assert!(poll(SOON * 2, || serve.metric("profilerd_detail_level") == Some(0.0)), "{}", serve.log());
    assert_eq!(serve.count(" info  profiling is cheap again"), 6, "{}", serve.log());
    serve.end(Signal::SIGTERM);
    assert_eq!(serve.count("a window is lost"), 0, "{}", serve.log());

    let windows = serve.windows();
    let rates: Vec<u32> = windows.iter().map(|(_, recording)| recording.context.rate_hz).collect();
    println!("samples a second and CPU, by window: {rates:?}");
    assert!(rates.contains(&19) && rates.contains(&4), "{rates:?}");
    // What was taken is in the windows themselves.
    let levels: Vec<_> = windows.iter().map(|(window, _)| window.detail_level).collect();
    assert!((0..=6).all(|level| levels.contains(&Some(level))), "{levels:?}");
    assert!(levels.iter().zip(&rates).all(|(level, rate)| *rate == [19, 19, 19, 19, 9, 4, 4][level.unwrap() as usize]));
    let lives = lives(&windows);
    let worst = assert_waits_have_places(&lives);
    println!("{} windows, places differ from ledgers by {worst:.4} per mille at most", windows.len());
    for truth in truths(&outcome.stdout) {
        let (name, wall_ns) = (truth.text("name"), truth.number("wall_ns"));
        let life = of_tid(&lives, truth.number("tid"));
        let on_cpu = percent(life.ledger.on_cpu_ns, truth.number("cpu_ns"), wall_ns);
        let wall = percent(life.ledger.wall_ns, wall_ns, wall_ns);
        println!("  {name:10} wall {wall:+.3} %, on-CPU {on_cpu:+.3} % of wall");
        assert!(wall.abs() < 0.5 && on_cpu.abs() < 0.5, "{name}: {life:?}");
        let class = if name == "sv-sleep" { WaitClass::Sleep } else { WaitClass::Lock };
        let excused_ns = life.ledger.preempted_ns + life.ledger.unseen_ns;
        let short_ns = truth.number("waited_ns").saturating_sub(life.ledger.off_cpu(class) + excused_ns);
        assert!(percent(short_ns, 0, wall_ns) < 0.5, "{name}: {short_ns} ns of {class:?} are missing: {life:?}");
    }
}

/// 300 processes with 3,000 threads, nearly all asleep: it starts within 5 s and closes a window within 200 ms.
#[test]
fn a_host_with_three_thousand_threads_starts_soon_and_closes_windows_quickly() {
    let Some(kernel) = kernel() else { return };
    let mut crowd = Command::new(workload("served"));
    let _crowd = Program::start_and_wait_for_line(crowd.args(["crowd", "300", "10"]));
    let mut serve = Serve::start(&kernel, CONFIG);
    serve.wait_for_windows(5);
    let stage = |name: &str| {
        let of = |part: &str| serve.metric(&format!("profilerd_stage_seconds_{part}{{stage=\"{name}\"}}")).unwrap();
        of("sum") / of("count") * 1e3
    };
    let rotate_ms = stage("rotate");
    println!(
        "started within {:?}; a window is closed in {rotate_ms:.0} ms, named in {:.0} ms, stored in {:.0} ms",
        serve.started,
        stage("name"),
        stage("store")
    );
    let started = serve.started;
    serve.end(Signal::SIGTERM);
    let windows = serve.windows();
    for (window, recording) in &windows {
        let crowd = recording.capture.threads.iter().filter(|thread| &*thread.comm == "sv-crowd").count();
        assert_eq!(crowd, 3_000, "window {}", window.sequence);
        let places =
            recording.capture.off_cpu.iter().filter(|(key, value)| key.user_stack != 0 && value.blocked_ns > 0);
        println!("window {}: {} threads, {} places", window.sequence, window.threads, places.count());
    }
    lives(&windows);
    assert!(started < Duration::from_secs(5) * NOISE, "{started:?}");
    assert!(rotate_ms < 200.0 * f64::from(NOISE), "{rotate_ms}");
}
