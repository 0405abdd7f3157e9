//! A wall clock that jumps.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime, clock_settime};

use crate::guest::{judge, kernel, ms, start, wait_until_attached};
use crate::serve::Serve;
use crate::support::{MS, Report, folder};

const HOUR: Duration = Duration::from_secs(3600);

/// Sets the clock an hour ahead, and back when this is dropped.
struct Ahead;

impl Ahead {
    fn jump() -> Ahead {
        set(|now| now + HOUR);
        Ahead
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        set(|now| now - HOUR);
    }
}

fn set(change: impl Fn(Duration) -> Duration) {
    let clock = ClockId::CLOCK_REALTIME;
    let now = Duration::from(clock_gettime(clock).unwrap());
    clock_settime(clock, TimeSpec::from_duration(change(now))).unwrap();
}

#[test]
#[ignore = "sets the clock: `cargo xtask vm` runs it"]
fn a_capture_does_not_mind_the_clock() {
    let kernel = kernel();
    let target = start(Command::new("sleep").arg("600"));
    let folder = folder();
    let json = folder.path().join("report.json");
    let pid = target.pid().to_string();
    let mut profilerd = kernel.profilerd(["-q", "--pid", &pid, "--duration", "3s", "-o"]);
    let mut profilerd = start(profilerd.arg(&json));
    wait_until_attached(&mut profilerd);
    sleep(Duration::from_millis(800));
    let ahead = Ahead::jump();
    sleep(Duration::from_millis(800));
    drop(ahead);
    let ended = profilerd.wait(Duration::from_secs(30));
    let report = Report::read(&json);
    report.assert_closes();
    let (duration_ns, wall_ns) = (report.window.duration_ns, report.thread_named("sleep").ledger.wall_ns);
    judge(
        "the clock goes an hour ahead and back (capture)",
        "3 s are 3 s, the ledger closes",
        format!("window of {}, wall {}", ms(duration_ns), ms(wall_ns)),
        ended.is_some_and(|status| status.success())
            && (2_900 * MS..4_000 * MS).contains(&duration_ns)
            && wall_ns.abs_diff(duration_ns) < 20 * MS,
    );
}

#[test]
#[ignore = "sets the clock: `cargo xtask vm` runs it"]
fn a_service_stores_its_windows_whatever_the_clock() {
    const CONFIG: &str = "[capture]\nwindow = \"1s\"\n[limits]\nmax_cpu = \"100%\"\nmax_memory = \"1GiB\"\n\
                          [log]\nlevel = \"info\"\ntarget = \"stderr\"\n";
    let kernel = kernel();
    let mut serve = Serve::start(&kernel, CONFIG);
    serve.wait_for_windows(1);
    let ahead = Ahead::jump();
    serve.wait_for_windows(2);
    drop(ahead);
    serve.wait_for_windows(2);
    serve.end(Signal::SIGTERM);
    let windows = serve.windows();
    let follow = windows.windows(2).all(|pair| pair[1].0.sequence == pair[0].0.sequence + 1);
    // The last one ends with the service.
    let lengths: Vec<_> = windows
        .iter()
        .rev()
        .skip(1)
        .map(|(_, recording)| recording.capture.end.since(recording.capture.start))
        .collect();
    let (shortest, longest) = (lengths.iter().min().copied().unwrap_or(0), lengths.iter().max().copied().unwrap_or(0));
    judge(
        "the clock goes an hour ahead and back (service)",
        "each window is stored, and is as long as it was",
        format!("{} windows in a row, of {} to {}", windows.len(), ms(shortest), ms(longest)),
        windows.len() >= 5 && follow && shortest > 800 * MS && longest < 2_000 * MS && !serve.log().contains("panic"),
    );
}
