use std::collections::HashMap;

use super::*;

/// One place a line: the program's calls root first, what the thread did there, and for how long.
/// `park` can be idle, `poll` also without a whole stack, `block` never, `run` is no wait; a path of
/// `?` is a torn stack. `→ idle` and `→ work` say what is expected; a line without is not asked.
fn check(drawn: &[&str]) {
    let mut numbers: HashMap<&str, u32> = HashMap::new();
    let mut rows = Vec::new();
    for line in drawn {
        let (place, expected) = line.split_once(" → ").unwrap_or((line, ""));
        let mut words: Vec<&str> = place.split_whitespace().collect();
        let ns: u64 = words.pop().and_then(|ns| ns.parse().ok()).expect("a time");
        let doing = match words.pop().expect("a word") {
            "run" => Doing::Running,
            "block" => Doing::Blocked,
            "park" => Doing::Parked { alone: false },
            "poll" => Doing::Parked { alone: true },
            word => panic!("{word}?"),
        };
        let path: Option<Vec<u32>> = (words != ["?"]).then(|| {
            words
                .iter()
                .map(|name| {
                    let next = numbers.len() as u32;
                    *numbers.entry(*name).or_insert(next)
                })
                .collect()
        });
        rows.push((path, doing, ns, expected));
    }
    let seen: Vec<Seen<'_>> =
        rows.iter().map(|(path, doing, ns, _)| Seen { path: path.as_deref(), doing: *doing, ns: *ns }).collect();
    for ((line, (.., expected)), idle) in drawn.iter().zip(&rows).zip(idle(&seen)) {
        if !expected.is_empty() {
            assert_eq!(if idle { "idle" } else { "work" }, *expected, "{line}");
        }
    }
}

#[test]
fn an_event_loop_is_idle_in_its_poll_however_busy_it_is() {
    check(&["main loop poll 900 → idle", "main loop handle read run 100"]);
    check(&["main loop poll 100 → idle", "main loop handle read run 900", "main loop run 50"]);
}

#[test]
fn a_poll_function_of_the_loop_may_lie_beyond_it() {
    check(&["main loop events api_poll poll 300 → idle", "main loop events handle run 700"]);
    // The system call itself is on-CPU time on the way to the wait.
    check(&["main loop api_poll poll 100 → idle", "main loop api_poll run 200", "main loop handle run 700"]);
}

#[test]
fn a_worker_parks_at_its_queue_but_not_in_its_work() {
    check(&[
        "start worker pop park 500 → idle",
        "start worker job compute run 300",
        "start worker job await_reply park 200 → work",
        "start worker job lock block 50 → work",
    ]);
}

#[test]
fn a_wait_directly_in_the_loop_is_idle() {
    check(&["start worker park 10 → idle", "start worker job run 990"]);
    check(&["start worker park 990 → idle", "start worker job run 10"]);
}

#[test]
fn a_wait_that_goes_deep_is_work() {
    check(&["main loop a b c park 500 → idle", "main loop x run 500"]);
    check(&["main loop a b c d park 500 → work", "main loop x run 500"]);
}

#[test]
fn below_ninety_percent_of_waiting_it_is_work() {
    check(&["main loop get park 90 → idle", "main loop get parse run 10", "main loop x run 100"]);
    check(&["main loop get park 89 → work", "main loop get parse run 11", "main loop x run 100"]);
    check(&["main loop get park 50 → work", "main loop get write block 50", "main loop x run 100"]);
}

#[test]
fn start_up_does_not_hide_the_loop() {
    // Five calls below `main`: only the root loop makes this idle.
    check(&[
        "main init read_config block 5 → work",
        "main init run 4",
        "main serve run_loop turn park_it inner poll 600 → idle",
        "main serve run_loop turn park_it inner deep run 2",
        "main serve run_loop turn park_it run 1",
        "main serve run_loop turn park_it inner run 388",
    ]);
}

#[test]
fn the_only_place_of_a_thread_is_its_loop() {
    check(&["start a b c d e f park 1000 → idle"]);
    check(&["start a b c d e f park 0 → idle"]);
    check(&["start a b c d e f block 1000 → work"]);
}

#[test]
fn a_thread_that_lives_in_libc_has_no_calls_and_parks_at_its_root() {
    check(&[" park 1000 → idle"]);
    check(&[" park 1000 → idle", "start helper run 50"]);
}

#[test]
fn without_a_whole_stack_only_some_waits_are_idle() {
    check(&["? poll 100 → idle", "? park 100 → work", "? block 100 → work", "main loop job run 100"]);
}

#[test]
fn torn_stacks_do_not_hide_the_loop() {
    check(&["? run 5000", "main loop poll 10 → idle", "main loop handle read run 990"]);
}

/// A frame-pointer walk from a frameless leaf of libc loses `api_poll`, and of a sample in `memcpy`
/// called by `handle` it loses `handle`.
#[test]
fn callers_lost_at_the_leaf_do_not_matter() {
    check(&[
        "main loop events poll 400 → idle",
        "main loop events api_poll poll 400 → idle",
        "main loop events run 100",
        "main loop run 50",
        "main loop events handle run 300",
    ]);
}

#[test]
fn a_rare_park_beside_a_busy_path_is_judged_where_it_leaves() {
    check(&["main loop work compute run 9990", "main loop wait_more park 9 → idle"]);
    check(&["main loop work compute run 9990", "main loop work a b c d park 9 → work"]);
}

#[test]
fn which_waits_can_be_idle() {
    let (never, rooted, alone) = (Doing::Blocked, Doing::Parked { alone: false }, Doing::Parked { alone: true });
    for (class, syscall, parks, expected) in [
        (WaitClass::PollIdle, 232, false, alone),
        (WaitClass::WaitChild, 61, false, alone),
        (WaitClass::SocketAccept, syscall::ACCEPT, false, alone),
        (WaitClass::SocketAccept, syscall::ACCEPT4, false, alone),
        (WaitClass::SocketAccept, libc::SYS_connect as i32, false, never),
        (WaitClass::Lock, 202, true, rooted),
        (WaitClass::Lock, 202, false, never),
        (WaitClass::Other, syscall::PAUSE, false, alone),
        (WaitClass::Other, syscall::RT_SIGTIMEDWAIT, false, alone),
        (WaitClass::Other, syscall::RT_SIGSUSPEND, false, alone),
        (WaitClass::Other, syscall::READ, false, rooted),
        (WaitClass::Other, -1, true, never),
        (WaitClass::Sleep, 230, true, never),
        (WaitClass::SocketRecv, 0, true, never),
        (WaitClass::SocketSend, 1, true, never),
        (WaitClass::Pipe, 0, true, never),
        (WaitClass::DiskIo, 0, true, never),
        (WaitClass::FsSync, 74, true, never),
        (WaitClass::PageFault, -1, true, never),
        (WaitClass::Preempted, 232, true, Doing::Running),
    ] {
        assert_eq!(doing(State::OffCpu(class), syscall, parks), expected, "{} {syscall}", class.name());
    }
    assert_eq!(doing(State::OnCpu, 232, true), Doing::Running);
}

#[test]
fn a_torn_futex_is_idle_only_for_a_thread_that_does_nothing_else() {
    check(&["? park 1000 → idle"]);
    check(&["? park 995 → idle", "? run 5"]);
    check(&["? park 900 → work", "? run 100"]);
    check(&["? block 1000 → work"]);
}
