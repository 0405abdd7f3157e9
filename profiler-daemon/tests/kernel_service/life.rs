//! Starts, stops, crashes, and configurations that are wrong.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::CONFIG;
use crate::judge::lives;
use crate::serve::{SOON, Serve};
use crate::support::{Program, kernel, poll, run};

#[test]
fn the_last_window_is_kept_however_short_it_is() {
    let Some(kernel) = kernel() else { return };
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut serve = Serve::start(&kernel, &CONFIG.replace("2s", "10m"));
        std::thread::sleep(Duration::from_millis(700));
        let begin = Instant::now();
        serve.end(signal);
        let windows = serve.windows();
        println!("{signal}: ended within {:?}, window of {} ms", begin.elapsed(), windows[0].0.duration_ns / 1_000_000);
        assert_eq!(windows.len(), 1);
        assert!((700_000_000..20_000_000_000).contains(&windows[0].0.duration_ns), "{:?}", windows[0].0);
        // We are one of all processes.
        assert!(windows[0].1.capture.threads.iter().any(|thread| thread.pid == std::process::id()));
        lives(&windows);
        assert_eq!(serve.count(" info  stopped\n"), 1, "{}", serve.log());
    }
}

#[test]
fn a_crash_costs_the_window_that_runs_and_no_other() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, &CONFIG.replace("2s", "1s"));
    for round in 1..=3 {
        serve.wait_for_windows(2);
        let before = serve.windows();
        serve.end(Signal::SIGKILL);
        let after = serve.windows();
        assert!(after.len() >= before.len(), "{} of {}", after.len(), before.len());
        let kept = after.iter().zip(&before).all(|(after, before)| after.0 == before.0);
        assert!(kept, "round {round}");
        // What was not finished was younger than two windows: one that ran, and one that was being named.
        let newest = after.last().unwrap().0.end();
        let lost = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64 - newest.0;
        println!("round {round}: {} windows, {} ms lost", after.len(), lost / 1_000_000);
        assert!(lost < 3_000_000_000, "{lost} ns");
        serve.go_on();
        serve.wait_for_windows(1);
        let again = serve.windows();
        assert_eq!(again[after.len()].0.sequence, after.last().unwrap().0.sequence + 1);
    }
    serve.end(Signal::SIGTERM);
    assert_eq!(serve.ask(&["ls"]).well().stderr, "");
}

#[test]
fn a_store_has_one_service() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, CONFIG);
    let second = run(&mut serve.command());
    assert_eq!(second.status.code(), Some(1), "{}", second.stderr);
    for said in ["error: cannot use the store", "is being written by another process (pid ", "try: "] {
        assert!(second.stderr.contains(said), "{said}: {}", second.stderr);
    }
    serve.wait_for_windows(1);
    serve.end(Signal::SIGTERM);
}

#[test]
fn a_wrong_configuration_is_refused_with_its_line() {
    let Some(kernel) = kernel() else { return };
    let serve = Serve::start(&kernel, CONFIG);
    // All that is wrong at once.
    serve.configure("[capture]\nwindow = \"2s\"\nrate_hz = \"often\"\n[limit]\nmax_cpu = \"1%\"\n");
    let outcome = run(&mut serve.command());
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
    for said in ["profilerd.toml:3:11: `capture.rate_hz`", "profilerd.toml:5:1: unknown key `limit.max_cpu`"] {
        assert!(outcome.stderr.contains(said), "{said}: {}", outcome.stderr);
    }
    let outcome = run(&mut kernel.profilerd(["serve", "--config", "/nowhere/profilerd.toml"]));
    assert_eq!(outcome.status.code(), Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("cannot read configuration `/nowhere/profilerd.toml`"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("No such file"), "{}", outcome.stderr);
}

#[test]
fn a_reload_takes_what_is_right_and_keeps_the_rest() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, CONFIG);
    serve.wait_for_windows(1);
    serve.configure(&CONFIG.replace("2s", "0s"));
    serve.signal(Signal::SIGHUP);
    serve.wait_for("profilerd.toml:2:10: `capture.window` cannot be ");
    assert_eq!(serve.metric("profilerd_config_reloads_total{result=\"error\"}"), Some(1.0));
    assert!(serve.page("/readyz").contains("200 OK"));

    // From a window of two seconds to one of one, and what needs a start is said and not taken.
    serve.configure(&CONFIG.replace("2s", "1s").replace("[capture]", "[capture]\nrate_hz = 49"));
    serve.signal(Signal::SIGHUP);
    serve.wait_for("changed key=capture.window ");
    serve.wait_for("changes when the service is started again key=capture.rate_hz from=19 to=49");
    assert!(poll(SOON, || serve.metric("profilerd_config_reloads_total{result=\"success\"}") == Some(1.0)));
    serve.wait_for_windows(4);
    serve.end(Signal::SIGTERM);
    let windows = serve.windows();
    lives(&windows);
    let lengths: Vec<u64> = windows.iter().map(|(window, _)| window.duration_ns / 100_000_000).collect();
    println!("lengths in 0.1 s: {lengths:?}");
    assert!(lengths[0] >= 20 && lengths[lengths.len() - 3..lengths.len() - 1].iter().all(|tenths| *tenths < 20));
    assert!(windows.iter().all(|(_, recording)| recording.context.rate_hz == 19));
}

/// It is heard when it has started.
#[test]
fn a_stop_while_it_starts_is_heard() {
    let Some(kernel) = kernel() else { return };
    let mut serve = Serve::start(&kernel, CONFIG);
    serve.end(Signal::SIGTERM);
    let mut program = Program::start(&mut serve.command());
    std::thread::sleep(Duration::from_millis(200));
    program.signal(Signal::SIGTERM);
    let ended = program.wait(SOON);
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
}

/// What the kernel programs say stands in the same log, with the process that they say it of.
#[test]
fn lines_of_kernel_programs_are_in_the_log() {
    let Some(kernel) = kernel() else { return };
    let serve = Serve::start(&kernel, &CONFIG.replace("debug", "trace"));
    let brief = Program::start(&mut Command::new("true"));
    serve.wait_for(&format!("process {} runs another program", brief.pid()));
    let log = serve.log();
    let line = log.lines().find(|line| line.contains("runs another program")).unwrap();
    println!("{line}");
    assert!(line.contains(" trace "), "{line}");
}
