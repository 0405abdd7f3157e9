//! The report as a whole, against committed text. `UPDATE_GOLDEN=1 cargo test` writes it anew.

#![expect(clippy::unwrap_used, reason = "tests")]

mod fixture;

use std::path::PathBuf;

use profiler_common::wire::outcome;
use unicode_width::UnicodeWidthStr;

use super::*;
use crate::model::{Frame, WaitClass, Window};
use fixture::{Builder, MS, Wait, kernel, libc, native, own, service};

fn plain(width: usize) -> Options {
    Options { width, color: false, bars: false, full: false, threads: false, top: 10, utc_offset_s: 0 }
}

fn text(window: &Window, options: &Options) -> String {
    let files = [(PathBuf::from("wall.svg"), "open it in a browser"), (PathBuf::from("wall.json"), "")];
    let mut out = Vec::new();
    write(window, &files, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[track_caller]
fn check(name: &str, window: &Window, options: &Options) {
    let text = text(window, options);
    if !options.color {
        for line in text.lines() {
            assert!(line.width() <= options.width, "{} columns: {line}", line.width());
        }
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/sink/report/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap();
    assert!(text == committed, "{name} is another text now:\n{text}");
}

#[test]
fn a_service_in_a_pipe() {
    check("service-120.txt", &service().finish(), &plain(120));
}

#[test]
fn a_service_on_a_narrow_terminal() {
    check("service-80.txt", &service().finish(), &Options { bars: true, ..plain(80) });
}

#[test]
fn a_service_with_bars_colours_and_threads() {
    check("service-bars.txt", &service().finish(), &Options { bars: true, threads: true, ..plain(110) });
    check("service-color.txt", &service().finish(), &Options { bars: true, color: true, ..plain(110) });
}

#[test]
fn throttled_time_has_a_line_of_its_own() {
    let mut window = service().finish();
    assert!(!text(&window, &plain(100)).contains("throttled"), "none is no line");
    let thread = window.threads.iter_mut().max_by_key(|thread| thread.ledger.run_queue_ns).unwrap();
    thread.ledger.throttled_ns = 100 * MS;
    let text = text(&window, &plain(100));
    let lines: Vec<_> = text.lines().collect();
    let waiting = lines.iter().position(|line| line.starts_with("  waiting for a CPU")).unwrap();
    assert_eq!(lines[waiting + 1], "    throttled            0.1 s   0.1 %  of it, by the CPU quota of a cgroup");
}

#[test]
fn a_service_in_full() {
    check("service-full.txt", &service().finish(), &Options { full: true, top: 2, ..plain(100) });
}

fn machine() -> Window {
    let mut machine = Builder::new("all processes", 10);
    for (pid, comm, on_cpu_ms, disk_ms) in
        [(812, "postgres", 1_200, 3_000), (90, "redis-server", 6_100, 0), (1, "systemd", 3, 0), (77, "sshd", 0, 0)]
    {
        machine.thread(pid, pid, comm, on_cpu_ms);
        if disk_ms > 0 {
            let stack = vec![
                kernel("io_schedule"),
                libc("pread64"),
                native("mdread", "/usr/lib/postgresql/15/bin/postgres"),
                native("exec_simple_query", "/usr/lib/postgresql/15/bin/postgres"),
            ];
            let wait = Wait {
                class: WaitClass::DiskIo,
                idle: false,
                tids: &[pid],
                count: 90,
                blocked_ms: disk_ms,
                run_queue_ms: 1,
                max_ms: 90,
                stack,
                wakers: &[("", 0, disk_ms)],
            };
            machine.wait(pid, wait);
        }
        machine.idle(WaitClass::PollIdle, vec![kernel("ep_poll"), libc("epoll_wait"), libc("main")], &[pid]);
    }
    for cron in 0..30 {
        machine.thread(2_000 + cron, 2_000 + cron, "cron", 1);
        machine.idle(WaitClass::WaitChild, vec![kernel("do_wait"), libc("wait4"), libc("main")], &[2_000 + cron]);
    }
    machine.function(native("dictFind", "/usr/bin/redis-server"), 3_000, 3_100);
    machine.finish()
}

#[test]
fn a_whole_machine() {
    check("machine-120.txt", &machine(), &Options { top: 5, ..plain(120) });
    check("machine-80.txt", &machine(), &Options { top: 3, threads: false, ..plain(80) });
}

#[test]
fn hostile_names_are_only_names() {
    let mut hostile = Builder::new("\x1b]0;owned\x07evil (pid 66)", 1);
    hostile.thread(66, 66, "a\nb;c\x1b[2J", 300);
    hostile.thread(66, 67, "", 0);
    hostile.thread(66, 68, "\u{202e}txt.exe", 5);
    let long = format!("ns::{}::last", "very::".repeat(60));
    let stack = vec![
        kernel("futex_wait"),
        libc("pthread_mutex_lock"),
        own("fn with\ttab\nand line", "/tmp/\x1b[31mred.c", 3),
        own(&long, "/src/日本語のとても長いファイル名です日本語のとても長いファイル名です.rs", 1),
        Frame::note("[unwinding stopped: no unwind info]"),
    ];
    let wait = Wait {
        class: WaitClass::Lock,
        idle: false,
        tids: &[66, 67, 68],
        count: 3,
        blocked_ms: 400,
        run_queue_ms: 0,
        max_ms: 400,
        stack,
        wakers: &[("\x07bell", 70, 800)],
    };
    hostile.wait(66, wait);
    hostile.idle(WaitClass::Other, vec![kernel("do_\x1bsleep")], &[66, 67, 68]);
    hostile.function(Frame { function: None, offset: Some(0x1234), ..native("", "/opt/\r/strange") }, 200, 300);
    hostile.function(own(&long, "/src/a.rs", 2), 100, 300);
    let window = hostile.finish();
    for width in [60, 80, 120] {
        for full in [false, true] {
            let text = text(&window, &Options { full, threads: true, ..plain(width) });
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text}");
            assert!(!text.contains('\u{202e}'));
        }
    }
    check("hostile-80.txt", &window, &Options { threads: true, ..plain(80) });
}

#[test]
fn bad_data_are_said_first() {
    let mut bad = service();
    for thread in &mut bad.window.threads[..3] {
        let ledger = &mut thread.ledger;
        ledger.unseen_ns = 9_000 * MS;
        ledger.wall_ns += 9_000 * MS;
    }
    bad.window.on_cpu_quality.outcomes = Default::default();
    bad.window.on_cpu_quality.outcomes[outcome::COMPLETE as usize] = (7, 3_000 * MS);
    bad.window.on_cpu_quality.outcomes[outcome::NO_INFO as usize] = (12, 8_200 * MS);
    bad.window.losses.by_cause =
        [("ring_full_sample", 1_204), ("missed_switch_in", 3), ("torn_read", 0)].into_iter().collect();
    bad.window.overhead.kernel_ns = None;
    check("bad-80.txt", &bad.finish(), &plain(80));
}

#[test]
fn what_a_lockdown_takes_away_is_said_first() {
    let mut locked = service();
    for quality in [&mut locked.window.on_cpu_quality, &mut locked.window.off_cpu_quality] {
        let (samples, ns) = std::mem::take(&mut quality.outcomes[outcome::COMPLETE as usize]);
        quality.outcomes[outcome::FRAME_POINTERS as usize] = (samples, ns);
    }
    check("locked-down-80.txt", &locked.finish(), &plain(80));
}

#[test]
fn nothing_at_all() {
    let mut nothing = Builder::new("processes named `nginx`", 10);
    nothing.window.on_cpu_quality = Default::default();
    nothing.window.off_cpu_quality = Default::default();
    let window = nothing.finish();
    check("nothing-80.txt", &window, &plain(80));
    text(&Window::default(), &plain(80));
}

#[test]
fn sampled_stacks_are_said() {
    let mut sampled = service();
    let all: u64 = sampled.window.off_cpu_quality.outcomes.iter().map(|(_, ns)| ns).sum();
    let missing = sampled.window.off_cpu_quality.missing.1;
    sampled.window.off_cpu_quality.sampled_ns = (all + missing) / 8;
    let text = text(&sampled.finish(), &plain(120));
    assert!(text.contains("\n12.5 % of off-CPU time by sampled stacks"), "{text}");
}

/// The lines of the ledger, read back from the text, add up to the wall time.
#[test]
fn the_lines_add_up_to_the_wall_time() {
    for (window, wall_s) in [(service().finish(), 120.0), (machine(), 340.0)] {
        let text = text(&window, &plain(120));
        let ledger = text.lines().skip_while(|line| !line.starts_with("where")).skip(1);
        let mut sum = 0.0;
        for line in ledger.take_while(|line| !line.is_empty()) {
            // The parts of `blocked` are indented under it.
            if !line.starts_with("    ") {
                let (label, rest) = line[2..].split_at(20);
                let number = rest.trim_start().split(' ').next().unwrap();
                sum += number.replace([',', '<'], "").parse::<f64>().unwrap_or_else(|_| panic!("{label}: {number}"));
            }
        }
        assert!((sum - wall_s).abs() < 0.5, "{sum} of {wall_s}\n{text}");
    }
}

#[test]
fn the_same_window_gives_the_same_text() {
    let mut shuffled = service().finish();
    shuffled.gaps.reverse();
    shuffled.on_cpu.reverse();
    assert_eq!(text(&service().finish(), &plain(100)), text(&shuffled, &plain(100)));
}

#[test]
fn every_width_holds() {
    for width in 60..=140 {
        for bars in [false, true] {
            let options = Options { bars, full: bars, threads: true, ..plain(width) };
            for window in [service().finish(), machine()] {
                for line in text(&window, &options).lines() {
                    assert!(line.width() <= width, "{width}: {line}");
                }
            }
        }
    }
}
