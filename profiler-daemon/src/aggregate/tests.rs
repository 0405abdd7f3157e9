#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::model::{
    Capture, Frame, FrameKind, Frames, Ledger, MonoNs, RawStack, Sample, State, ThreadTime, UnixNs, WaitClass,
};
use profiler_common::histogram::bucket;
use profiler_common::wire::{self, CpuSample, Header, OffCpuKey, OffCpuValue, outcome};

/// A capture drawn by hand: process 1, a window of 1,000 ns from 5,000.
struct Drawn {
    capture: Capture,
    frames: Frames,
}

impl Drawn {
    fn new() -> Drawn {
        let capture = Capture { start: MonoNs(5_000), end: MonoNs(6_000), ..Capture::default() };
        Drawn { capture, frames: Frames::default() }
    }

    /// A thread whose ledger has this on-CPU time and off-CPU time as (class, blocked, run-queue wait).
    fn thread(mut self, tid: u32, comm: &str, on_cpu_ns: u64, off_cpu: &[(WaitClass, u64, u64)]) -> Drawn {
        let mut ledger = Ledger { on_cpu_ns, user_ns: on_cpu_ns, ..Ledger::default() };
        for (class, blocked_ns, run_queue_ns) in off_cpu {
            ledger.off_cpu_ns[*class as usize] += blocked_ns + run_queue_ns;
            ledger.blocked_ns += blocked_ns;
            ledger.run_queue_ns += run_queue_ns;
        }
        ledger.preempted_ns = ledger.off_cpu(WaitClass::Preempted);
        ledger.wall_ns = on_cpu_ns + ledger.blocked_ns + ledger.run_queue_ns;
        self.capture.threads.push(ThreadTime { pid: 1, tid, comm: comm.into(), ledger, ..ThreadTime::default() });
        self
    }

    /// A stack drawn root first; calls in the kernel begin with `@`, those in libc with `~`.
    fn stack(mut self, id: u64, drawn: &str, outcome: u32) -> Drawn {
        let frame = |name: &str| {
            let (kind, module) = match name.as_bytes()[0] {
                b'@' => (FrameKind::Kernel, "[kernel]"),
                b'~' => (FrameKind::Native, "/usr/lib/libc.so.6"),
                _ => (FrameKind::Native, "/usr/bin/program"),
            };
            Arc::new(Frame { kind, module: Some(module.into()), ..Frame::note(name.trim_start_matches(['@', '~'])) })
        };
        self.frames.insert(id, drawn.split(' ').rev().map(frame).collect());
        let kernel = drawn.starts_with('@');
        self.capture.stacks.insert(id, RawStack { kernel, outcome, ..RawStack::default() });
        self
    }

    fn whole(self, id: u64, drawn: &str) -> Drawn {
        self.stack(id, drawn, outcome::COMPLETE)
    }

    fn cpu(mut self, tid: u32, stacks: (u64, u64), count: usize) -> Drawn {
        let (kernel_stack, user_stack) = stacks;
        let sample = CpuSample { pid: 1, tid, user_stack, kernel_stack, ..CpuSample::default() };
        self.capture.cpu_samples.extend(std::iter::repeat_n(sample, count));
        self
    }

    /// Waits of one key, each of the given (blocked, run-queue) length.
    fn off(mut self, tid: u32, class: WaitClass, stacks: (u64, u64), waits: &[(u64, u64)]) -> Drawn {
        let mut value = OffCpuValue::NOTHING;
        for (blocked_ns, run_queue_ns) in waits {
            value.blocked_ns += blocked_ns;
            value.run_queue_ns += run_queue_ns;
            value.max_ns = value.max_ns.max(blocked_ns + run_queue_ns);
            value.count += 1;
            value.histogram[bucket(blocked_ns + run_queue_ns)] += 1;
        }
        self.capture.off_cpu.insert(key(tid, class, stacks), value);
        self
    }

    /// A single wait from `start` to `at` ns after the window's start, woken at `wake` by `waker`.
    fn wait(mut self, key: OffCpuKey, (start, wake, at): (u64, u64, u64), waker: u32) -> Drawn {
        self.capture.waits.push(wire::Wait {
            header: Header { at_ns: 5_000 + at, ..Header::default() },
            key,
            start_ns: 5_000 + start,
            wake_ns: 5_000 + wake,
            waker_pid: u32::from(waker != 0),
            waker_tid: waker,
            waker_flags: if wake < at { wire::waker_flag::SEEN } else { 0 },
            reserved: 0,
        });
        self
    }

    fn window(&self) -> Window {
        let context = Context { start: UnixNs(1_000_000), target: "program (pid 1)".into(), ..Context::default() };
        let (capture, frames) = (self.capture.clone(), self.frames.clone());
        window(Recording { capture, frames, programs: Vec::new(), context })
    }
}

fn key(tid: u32, class: WaitClass, (kernel_stack, user_stack): (u64, u64)) -> OffCpuKey {
    let syscall = if class == WaitClass::PollIdle { 232 } else { 202 };
    OffCpuKey { pid: 1, tid, user_stack, kernel_stack, class: class as u32, syscall, ..OffCpuKey::default() }
}

/// A stack of the window, root first.
fn draw(window: &Window, id: crate::model::StackId) -> String {
    window.stacks.get(id).rev().map(Frame::name).collect::<Vec<_>>().join(" ")
}

/// The samples as `tid state stack count on-cpu/run-queue/blocked`, idle ones with a `*`.
fn samples(window: &Window) -> Vec<String> {
    let mut lines: Vec<String> = window
        .samples
        .iter()
        .map(|sample| {
            let state = match sample.state {
                State::OnCpu => "on-cpu",
                State::OffCpu(class) => class.name(),
            };
            let tid = window.threads[sample.thread as usize].tid;
            let idle = if sample.idle { "*" } else { "" };
            let times = format!("{}/{}/{}", sample.on_cpu_ns, sample.run_queue_ns, sample.blocked_ns);
            format!("{tid} {state}{idle} [{}] {} {times}", draw(window, sample.stack), sample.count)
        })
        .collect();
    lines.sort();
    lines
}

/// Per thread, samples sum to the ledger's three parts.
fn assert_closed(window: &Window) {
    for (index, thread) in (0..).zip(&window.threads) {
        let own = || window.samples.iter().filter(|sample| sample.thread == index);
        assert_eq!(own().map(|sample| sample.on_cpu_ns).sum::<u64>(), thread.ledger.on_cpu_ns);
        assert_eq!(own().map(|sample| sample.run_queue_ns).sum::<u64>(), thread.ledger.run_queue_ns);
        assert_eq!(own().map(|sample| sample.throttled_ns).sum::<u64>(), thread.ledger.throttled_ns);
        assert_eq!(own().map(|sample| sample.blocked_ns).sum::<u64>(), thread.ledger.blocked_ns);
        let idle: u64 = own().filter(|sample| sample.idle).map(|sample| sample.blocked_ns).sum();
        assert_eq!(idle, thread.idle_ns);
    }
}

#[test]
fn what_a_quota_made_lies_where_the_thread_waited() {
    let mut drawn = Drawn::new()
        .whole(1, "main work")
        .whole(2, "main rest")
        .thread(10, "a", 0, &[(WaitClass::Preempted, 0, 300)])
        .off(10, WaitClass::Preempted, (0, 1), &[(0, 200)])
        .off(10, WaitClass::Preempted, (0, 2), &[(0, 60)]);
    drawn.capture.threads[0].ledger.throttled_ns = 190;
    let sum = drawn.capture.off_cpu.get_mut(&key(10, WaitClass::Preempted, (0, 1)));
    sum.expect("it was drawn").throttled_ns = 180;
    let window = drawn.window();
    let throttled = |sample: &Sample| (draw(&window, sample.stack), sample.throttled_ns);
    let mut places: Vec<_> = window.samples.iter().map(throttled).collect();
    places.sort();
    // Of a wait that was lost the kernel programs still know how much of it was throttled.
    let lost = crate::model::note::STACK_NOT_SEEN.to_owned();
    assert_eq!(places, [(lost, 10), ("main rest".to_owned(), 0), ("main work".to_owned(), 180)]);
    assert_closed(&window);
}

#[test]
fn samples_stand_for_the_exact_run_time() {
    let drawn = Drawn::new()
        .whole(1, "main work")
        .whole(2, "main rest")
        .whole(3, "@do_syscall @vfs_read")
        .thread(10, "a", 100, &[])
        .thread(11, "b", 7, &[])
        .thread(12, "c", 0, &[])
        .cpu(10, (0, 1), 2)
        .cpu(10, (3, 2), 1)
        .cpu(99, (0, 1), 4);
    let window = drawn.window();
    assert_eq!(
        samples(&window),
        [
            "10 on-cpu [main rest do_syscall vfs_read] 1 33/0/0",
            "10 on-cpu [main work] 2 67/0/0",
            "11 on-cpu [[on-CPU, not sampled]] 0 7/0/0",
        ]
    );
    assert_closed(&window);
    assert_eq!(window.losses.by_cause["cpu_samples_without_thread"], 4);
    let functions: Vec<_> = window.on_cpu.iter().map(|time| (time.frame.name(), time.self_ns, time.total_ns)).collect();
    assert_eq!(functions[0], ("work".to_owned(), 67, 67));
    assert_eq!(functions[1], ("vfs_read".to_owned(), 33, 33));
    assert_eq!(functions.iter().map(|(_, self_ns, _)| self_ns).sum::<u64>(), 107);
}

#[test]
fn waits_without_a_place_stay_in_their_class() {
    let drawn = Drawn::new()
        .whole(1, "main work ~read")
        .thread(10, "a", 0, &[(WaitClass::Pipe, 90, 10), (WaitClass::Preempted, 0, 50), (WaitClass::PollIdle, 40, 0)])
        .off(10, WaitClass::Pipe, (0, 1), &[(60, 5)])
        .off(10, WaitClass::Preempted, (0, 1), &[(0, 50)])
        .off(98, WaitClass::Pipe, (0, 1), &[(60, 5), (60, 5)]);
    let window = drawn.window();
    assert_eq!(
        samples(&window),
        [
            "10 pipe [[stack not seen]] 0 0/3/32",
            "10 pipe [main work read] 1 0/5/60",
            "10 poll-idle* [[stack not seen]] 0 0/2/38",
            "10 preempted [main work read] 1 0/50/0",
        ]
    );
    assert_closed(&window);
    assert_eq!(
        (window.losses.by_cause["off_cpu_without_thread"], window.losses.by_cause["off_cpu_over_ledger_ns"]),
        (2, 0)
    );
    assert_eq!(window.gaps.len(), 1, "no gap without a place, none for preemption");
    assert_eq!(window.off_cpu_quality.outcomes[outcome::COMPLETE as usize], (2, 115));
    assert_eq!(window.off_cpu_quality.missing, (0, 75));
}

/// Two stacks of which one in four was walked, a class that the sample missed, and a long wait.
#[test]
fn waits_that_were_not_walked_go_to_their_sample() {
    let of = |class, stacks, sampling| OffCpuKey { sampling, ..key(10, class, stacks) };
    let (walked, skipped) = (wire::sampling::WALKED | 2, wire::sampling::SKIPPED | 2);
    let mut drawn = Drawn::new()
        .whole(1, "main a ~lock")
        .whole(2, "main b ~lock")
        .whole(4, "@do_futex @schedule")
        .thread(10, "a", 0, &[(WaitClass::Lock, 8_000, 0), (WaitClass::Pipe, 70, 0), (WaitClass::PollIdle, 600, 0)])
        .off(10, WaitClass::Lock, (4, 1), &[(600, 0)])
        .off(10, WaitClass::Lock, (4, 2), &[(200, 0), (200, 0)])
        .off(10, WaitClass::Lock, (4, 0), &[(1_000, 0); 7])
        .off(10, WaitClass::Pipe, (4, 0), &[(70, 0)])
        .off(10, WaitClass::PollIdle, (0, 0), &[(600, 0)]);
    for (class, stacks, sampling) in [
        (WaitClass::Lock, (4, 1), walked),
        (WaitClass::Lock, (4, 2), walked),
        (WaitClass::Lock, (4, 0), skipped),
        (WaitClass::Pipe, (4, 0), skipped),
        (WaitClass::PollIdle, (0, 0), skipped),
    ] {
        let value = drawn.capture.off_cpu.remove(&key(10, class, stacks)).unwrap();
        drawn.capture.off_cpu.insert(of(class, stacks, sampling), value);
    }
    let drawn = drawn.wait(of(WaitClass::Lock, (4, 0), skipped), (0, 1_000, 1_000), 0).wait(
        of(WaitClass::PollIdle, (0, 0), skipped),
        (0, 600, 600),
        0,
    );
    let window = drawn.window();
    assert_eq!(
        samples(&window),
        [
            "10 lock/futex [main a lock do_futex] 3 0/0/4800",
            "10 lock/futex [main b lock do_futex] 7 0/0/3200",
            "10 pipe [[stack not sampled] do_futex] 1 0/0/70",
            "10 poll-idle* [[stack not sampled]] 1 0/0/600",
        ]
    );
    assert_closed(&window);
    let quality = &window.off_cpu_quality;
    assert_eq!((quality.sampled_ns, quality.missing), (8_000, (2, 670)));
    let waits: Vec<_> = window.waits.iter().map(|wait| (draw(&window, wait.stack), wait.idle)).collect();
    assert_eq!(waits, [("[stack not sampled] do_futex".to_owned(), false), ("[stack not sampled]".to_owned(), true)]);
}

#[test]
fn entries_beyond_the_ledger_are_kept_and_counted() {
    let drawn = Drawn::new().whole(1, "main work").thread(10, "a", 0, &[(WaitClass::Pipe, 50, 0)]).off(
        10,
        WaitClass::Pipe,
        (0, 1),
        &[(53, 0)],
    );
    let window = drawn.window();
    assert_eq!(samples(&window), ["10 pipe [main work] 1 0/0/53"]);
    assert_eq!(window.losses.by_cause["off_cpu_over_ledger_ns"], 3);
}

#[test]
fn a_gap_is_one_place_over_all_threads_of_a_process() {
    let lock = |ns: u64| (WaitClass::Lock, ns, 0);
    let drawn = Drawn::new()
        .whole(1, "start worker get ~pthread_mutex_lock")
        .whole(2, "@do_futex @futex_wait_queue @schedule @__schedule")
        .whole(3, "start worker log ~pthread_mutex_lock")
        .thread(11, "b", 0, &[lock(6_000)])
        .thread(10, "a", 0, &[lock(9_000), lock(500)])
        .off(11, WaitClass::Lock, (2, 1), &[(2_000, 0), (4_000, 0)])
        .off(10, WaitClass::Lock, (2, 1), &[(9_000, 0)])
        .off(10, WaitClass::Lock, (2, 3), &[(500, 0)])
        .wait(key(11, WaitClass::Lock, (2, 1)), (0, 3_000, 4_000), 10)
        .wait(key(10, WaitClass::Lock, (2, 1)), (0, 8_000, 9_000), 77)
        .wait(key(11, WaitClass::Lock, (2, 1)), (5_000, 6_500, 7_000), 77);
    let window = drawn.window();
    assert_closed(&window);
    let (first, second) = (&window.gaps[0], &window.gaps[1]);
    assert_eq!((first.count, first.total_ns, first.max_ns, &first.tids), (3, 15_000, 9_000, &vec![10, 11]));
    assert!((3_072..4_096).contains(&first.p50_ns), "{}", first.p50_ns);
    assert_eq!((first.p99_ns, first.kernel_function.as_deref()), (9_000, Some("futex_wait_queue")));
    assert!(!first.idle);
    let wakers: Vec<_> = first.wakers.iter().map(|(waker, ns)| (waker.tid, waker.comm.as_deref(), *ns)).collect();
    assert_eq!(wakers, [(77, None, 11_000), (10, Some("a"), 4_000)]);
    assert_eq!((second.total_ns, second.p50_ns, second.p99_ns, second.wakers.len()), (500, 500, 500, 0));
}

#[test]
fn a_parked_worker_is_idle_and_a_contended_one_is_not() {
    let drawn = Drawn::new()
        .whole(1, "~start_thread worker pop ~pthread_cond_wait ~?")
        .whole(2, "~start_thread worker job get ~pthread_mutex_lock")
        .whole(3, "~start_thread worker job compute")
        .whole(4, "@futex_wait")
        .thread(10, "a", 300, &[(WaitClass::Lock, 500, 100)])
        .cpu(10, (0, 3), 3)
        .off(10, WaitClass::Lock, (4, 1), &[(390, 10)])
        .off(10, WaitClass::Lock, (4, 2), &[(110, 90)]);
    let window = drawn.window();
    assert_eq!(
        samples(&window),
        [
            "10 lock/futex [start_thread worker job get pthread_mutex_lock futex_wait] 1 0/90/110",
            "10 lock/futex* [start_thread worker pop pthread_cond_wait ? futex_wait] 1 0/10/390",
            "10 on-cpu [start_thread worker job compute] 3 300/0/0",
        ]
    );
    assert_closed(&window);
    assert_eq!(window.threads[0].idle_ns, 390, "without the wait for a CPU after it");
    let gaps: Vec<_> = window.gaps.iter().map(|gap| (gap.total_ns, gap.idle)).collect();
    assert_eq!(gaps, [(400, true), (200, false)]);
}

/// One thread's loop may be another one's work: the same stack is then two gaps.
#[test]
fn idle_and_working_waits_at_one_stack_stay_apart() {
    let wait = (WaitClass::PollIdle, 400, 0);
    let drawn = Drawn::new()
        .whole(1, "main run a b c ~poll")
        .whole(2, "main run other")
        .thread(10, "a", 0, &[wait])
        .thread(11, "b", 600, &[wait])
        .cpu(11, (0, 2), 6)
        .off(10, WaitClass::PollIdle, (0, 1), &[(400, 0)])
        .off(11, WaitClass::PollIdle, (0, 1), &[(400, 0)]);
    let mut drawn = drawn.whole(1, "main run a b c d ~poll");
    let gaps = |drawn: &Drawn| drawn.window().gaps.iter().map(|gap| (gap.idle, gap.tids.clone())).collect::<Vec<_>>();
    assert_eq!(gaps(&drawn), [(false, vec![11]), (true, vec![10])]);
    drawn.capture.stacks.insert(1, RawStack { outcome: outcome::NO_INFO, ..RawStack::default() });
    assert_eq!(gaps(&drawn), [(true, vec![10, 11])], "torn: by class alone");
}

#[test]
fn single_waits_say_when_where_and_who() {
    let lock = key(10, WaitClass::Lock, (0, 1));
    let poll = key(10, WaitClass::PollIdle, (0, 2));
    let drawn = Drawn::new()
        .whole(1, "main work get ~pthread_mutex_lock")
        .whole(2, "main ~poll")
        .thread(10, "a", 0, &[(WaitClass::Lock, 300, 100), (WaitClass::PollIdle, 350, 0)])
        .thread(11, "b", 0, &[])
        .off(10, WaitClass::Lock, (0, 1), &[(100, 100), (200, 0)])
        .off(10, WaitClass::PollIdle, (0, 2), &[(350, 0)])
        .wait(lock, (0, 100, 200), 11)
        .wait(lock, (200, 390, 400), 0)
        .wait(poll, (650, 1_000, 1_000), 0);
    let window = drawn.window();
    let waits: Vec<_> = window
        .waits
        .iter()
        .map(|wait| {
            let waker = wait.waker.as_ref().map(|waker| (waker.tid, waker.comm.as_deref()));
            (wait.start.0, wait.duration_ns, wait.run_queue_ns, wait.idle, waker)
        })
        .collect();
    assert_eq!(
        waits,
        [
            (1_000_650, 350, 0, true, None),
            (1_000_000, 200, 100, false, Some((11, Some("b")))),
            (1_000_200, 200, 10, false, Some((0, None))),
        ]
    );
}

#[test]
fn the_list_of_waits_is_bounded_but_wakers_come_from_all() {
    let at = key(10, WaitClass::Lock, (0, 1));
    let mut drawn = Drawn::new().whole(1, "main get").thread(10, "a", 0, &[(WaitClass::Lock, 9_000, 0)]).off(
        10,
        WaitClass::Lock,
        (0, 1),
        &[(9_000, 0)],
    );
    for n in 0..waits::LISTED as u64 + 5 {
        drawn = drawn.wait(at, (0, 1, n + 2), 11);
    }
    let window = drawn.window();
    assert_eq!((window.waits.len(), window.waits[0].duration_ns), (1_000, 1_006));
    assert_eq!(window.gaps[0].wakers[0].1, (2..1_007).sum::<u64>());
}

#[test]
fn processes_are_the_sum_of_their_threads() {
    let mut drawn = Drawn::new().thread(2, "worker", 30, &[]).thread(1, "server", 70, &[(WaitClass::Sleep, 5, 0)]);
    let other = ThreadTime { pid: 7, tid: 8, comm: "child".into(), ..ThreadTime::default() };
    drawn.capture.threads.push(other);
    let window = drawn.window();
    let processes: Vec<_> = window
        .processes
        .iter()
        .map(|process| (process.pid, &*process.comm, process.threads, process.ledger.wall_ns))
        .collect();
    assert_eq!(processes, [(1, "server", 2, 105), (7, "child", 1, 0)]);
    assert_eq!(window.threads.iter().map(|thread| thread.tid).collect::<Vec<_>>(), [1, 2, 8]);
    assert_eq!((window.duration_ns, window.start_mono, window.start), (1_000, MonoNs(5_000), UnixNs(1_000_000)));
}

#[test]
fn a_tid_used_twice_is_one_row() {
    let mut drawn = Drawn::new().whole(1, "main work").thread(10, "before", 30, &[]).thread(10, "after", 70, &[]).cpu(
        10,
        (0, 1),
        2,
    );
    drawn.capture.threads[0].ended = true;
    drawn.capture.threads[1].start_ns = 400;
    let window = drawn.window();
    assert_closed(&window);
    let thread = &window.threads[0];
    assert_eq!((window.threads.len(), &*thread.comm, thread.ledger.wall_ns, thread.ended), (1, "after", 100, false));
}

#[test]
fn an_empty_capture_is_an_empty_window() {
    let window = Drawn::new().window();
    assert!(window.samples.is_empty() && window.gaps.is_empty() && window.threads.is_empty());
    assert!(window.losses.by_cause.values().all(|lost| *lost == 0));
}

/// 40 threads, 20,000 stacks of 24 frames, 100,000 keys, 50,000 samples.
fn large() -> Drawn {
    let mut drawn = Drawn::new();
    let name = |n: u64| format!("module::inner::Type<parameter>::function_{n}");
    let function = |n: u64| Frame { kind: FrameKind::Native, offset: Some(n * 64), ..Frame::note(name(n)) };
    let functions: Vec<Arc<Frame>> = (0..5_000).map(|n| function(n).into()).collect();
    for id in 1..=20_000u64 {
        let inner = |depth: u64| (id * 7 + depth * (131 + id / 5_000)) % 5_000;
        let at = |depth: u64| functions[(if depth > 18 { depth } else { inner(depth) }) as usize].clone();
        drawn.frames.insert(id, (0..24).map(at).collect());
        drawn.capture.stacks.insert(id, RawStack::default());
    }
    for tid in 0..40 {
        drawn = drawn.thread(tid, "worker", 1_000_000, &[(WaitClass::PollIdle, 9_000_000, 1_000_000)]);
    }
    for n in 0..100_000u64 {
        let stacks = (0, n % 20_000 + 1);
        drawn = drawn.off((n * 7 / 20_000 % 40) as u32, WaitClass::PollIdle, stacks, &[(n, 50)]);
    }
    for n in 0..50_000 {
        drawn = drawn.cpu((n % 40) as u32, (0, n * 31 % 20_000 + 1), 1);
    }
    drawn
}

#[test]
fn a_large_capture_always_gives_the_same_window() {
    let drawn = large();
    let run = |off_cpu| {
        let capture = Capture { off_cpu, ..drawn.capture.clone() };
        window(Recording { capture, frames: drawn.frames.clone(), ..Recording::default() })
    };
    let first = run(drawn.capture.off_cpu.clone());
    // A map that is filled anew has another order.
    let second = run(drawn.capture.off_cpu.iter().map(|(key, value)| (*key, *value)).collect());

    assert_eq!((first.samples.len(), first.gaps.len()), (120_006, 20_000));
    assert!(first.samples == second.samples && first.gaps == second.gaps && first.on_cpu == second.on_cpu);
    assert_eq!(first.stacks.stacks, second.stacks.stacks);
}
