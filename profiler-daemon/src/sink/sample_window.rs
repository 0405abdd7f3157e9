//! Small windows for the tests of the sinks.

use std::sync::Arc;

use profiler_common::fault;
use profiler_common::wire::outcome;

use crate::model::{
    DetailLevels, Frame, FrameKind, FunctionTime, Gap, Ledger, Losses, MonoNs, Overhead, Process, Sample, StackId,
    StackQuality, State, Thread, UnixNs, Wait, WaitClass, Waker, Window,
};

const MS: u64 = 1_000_000;

/// Names that try to break out of a format.
pub(super) const HOSTILE: [&str; 14] = [
    "new\nline\r\n",
    "semi;colon;",
    "quote\"'\\",
    "<script>alert(1)</script>&amp;]]>",
    "\x1b[31mred\x07\0",
    "override\u{202e}txt\u{2028}\u{feff}",
    "\u{fffe}\u{ffff}\u{fffd}\\xff",
    "# comment",
    "ends in 12",
    "all of it 1.5",
    "\x0e\x0f\x1d\u{85}",
    "   ",
    "",
    "${jndi}%n%s{{}}",
];

/// Two processes with on-CPU time, waits of four classes, preemption, an idle thread, stolen and
/// unseen time, inlined and unresolved frames. Every thread's ledger closes.
pub(super) fn window() -> Window {
    let mut window = Window {
        start: UnixNs(1_795_000_000_123_456_789),
        start_mono: MonoNs(5_000_000_000),
        duration_ns: 10_000 * MS,
        target: "checkout (pid 4242)".to_owned(),
        cpus: 2,
        rate_hz: 99,
        min_wait_ns: MS,
        losses: Losses { by_cause: fault::NAMES.iter().map(|name| (*name, 0)).collect() },
        overhead: Overhead {
            kernel_ns: Some(31 * MS),
            kernel_runs: Some(81_000),
            daemon_ns: 9 * MS,
            finish_ns: 120 * MS,
            peak_rss_bytes: 31 << 20,
            kernel_memory_bytes: 17 << 20,
            tables_bytes: 3 << 20,
            tables_files: 12,
            user_memo: (3_900, 131),
            user_skipped: 0,
            kernel_memo: (4_000, 31),
        },
        ..Window::default()
    };
    [0, 1, 1].map(DetailLevels::one).iter().for_each(|level| window.detail.add(level));
    window.losses.by_cause.insert("ring_full_wait", 3);

    let main = native("main", "main.cpp", 12);
    let run = native("Handler::run", "handler.cpp", 31);
    let get = Frame { inlined: true, ..native("Cache::get", "cache.cpp", 118) };
    let on_cpu = stack(&mut window, &[native("sha256", "sha.c", 7), get.clone(), run.clone(), main.clone()]);
    let write = stack(&mut window, &[kernel("vfs_write"), unresolved(), main.clone()]);
    let lock = stack(&mut window, &[kernel("futex_wait"), get, run.clone(), main.clone()]);
    let preempted = stack(&mut window, &[run.clone(), main.clone()]);
    let sync =
        stack(&mut window, &[kernel("jbd2_log_wait_commit"), kernel("ext4_sync_file"), unresolved(), main.clone()]);
    let receive = stack(&mut window, &[kernel("tcp_recvmsg"), run, main.clone()]);
    let park = stack(&mut window, &[kernel("do_epoll_wait"), native("poll_loop", "loop.cpp", 9), main]);
    let cut = stack(&mut window, &[Frame::note("[unwinding stopped: no unwind info]")]);

    add_thread(
        &mut window,
        4242,
        4243,
        "worker-1",
        &[
            (on_cpu, State::OnCpu, false, 248, [2_500, 0, 0]),
            (write, State::OnCpu, false, 20, [200, 0, 0]),
            (lock, State::OffCpu(WaitClass::Lock), false, 1_031, [0, 10, 3_990]),
            (preempted, State::OffCpu(WaitClass::Preempted), false, 70, [0, 300, 0]),
            (receive, State::OffCpu(WaitClass::SocketRecv), false, 410, [0, 50, 2_900]),
        ],
    );
    window.threads[0].ledger.stolen_ns = 50 * MS;
    add_thread(
        &mut window,
        4242,
        4244,
        "journal",
        &[
            (write, State::OnCpu, false, 99, [1_000, 0, 0]),
            (sync, State::OffCpu(WaitClass::FsSync), false, 97, [0, 20, 4_000]),
            (cut, State::OffCpu(WaitClass::Other), false, 2, [0, 0, 30]),
        ],
    );
    window.threads[1].ledger.unseen_ns = 4_950 * MS;
    add_thread(
        &mut window,
        4242,
        4245,
        "reactor",
        &[
            (park, State::OffCpu(WaitClass::PollIdle), true, 2_000, [0, 100, 9_700]),
            (preempted, State::OnCpu, false, 20, [200, 0, 0]),
        ],
    );
    add_thread(
        &mut window,
        4300,
        4300,
        "helper",
        &[
            (park, State::OffCpu(WaitClass::PollIdle), true, 10, [0, 0, 9_000]),
            (on_cpu, State::OnCpu, false, 99, [1_000, 0, 0]),
        ],
    );
    add_processes(&mut window, &[(4242, "checkout"), (4300, "helper")]);

    window.gaps = vec![
        gap(lock, WaitClass::Lock, false, 4_000 * MS, Some("futex_wait"), &[4243]),
        gap(sync, WaitClass::FsSync, false, 4_020 * MS, Some("ext4_sync_file"), &[4244]),
        gap(cut, WaitClass::Other, false, 30 * MS, None, &[4244]),
        gap(park, WaitClass::PollIdle, true, 9_800 * MS, Some("do_epoll_wait"), &[4245]),
    ];
    window.gaps[0].wakers = vec![
        (Waker { pid: 4242, tid: 4244, comm: Some("journal".into()), interrupt: false }, 2_800 * MS),
        (interrupt(), 100 * MS),
    ];
    window.on_cpu = vec![
        FunctionTime { frame: native("sha256", "sha.c", 7).into(), self_ns: 3_500 * MS, total_ns: 3_500 * MS },
        FunctionTime { frame: kernel("vfs_write").into(), self_ns: 1_200 * MS, total_ns: 1_200 * MS },
        FunctionTime { frame: unresolved().into(), self_ns: 0, total_ns: 1_200 * MS },
    ];
    let wait = Wait {
        pid: 4242,
        tid: 4243,
        start: UnixNs(window.start.0 + 700 * MS),
        duration_ns: 31 * MS,
        run_queue_ns: MS / 2,
        class: WaitClass::Lock,
        idle: false,
        stack: lock,
        waker: window.gaps[0].wakers.first().map(|(waker, _)| waker.clone()),
    };
    let unseen_end = Wait { tid: 4245, class: WaitClass::PollIdle, idle: true, stack: park, waker: None, ..wait };
    window.waits = vec![wait, unseen_end];
    window.on_cpu_quality = quality(&[(outcome::COMPLETE, 486, 4_900 * MS)], (0, 0));
    window.off_cpu_quality = quality(&[(outcome::COMPLETE, 3_618, 30_000 * MS), (3, 2, 30 * MS)], (7, MS));
    window
}

/// The same with a CPU quota that made two thirds of each wait for a CPU.
pub(super) fn throttled() -> Window {
    let mut window = window();
    for sample in &mut window.samples {
        sample.throttled_ns = sample.run_queue_ns * 2 / 3;
        window.threads[sample.thread as usize].ledger.throttled_ns += sample.throttled_ns;
    }
    window
}

/// One process, one thread and one function, all of that name, with 1000 ns on a CPU.
pub(super) fn named(name: &str) -> Window {
    let mut window = Window { target: name.to_owned(), duration_ns: 1000, ..Window::default() };
    let frame = Frame {
        file: Some(name.into()),
        module: Some(name.into()),
        build_id: Some(name.into()),
        ..native(name, name, 1)
    };
    let two = stack(&mut window, &[frame.clone(), frame.clone()]);
    add_thread(&mut window, 1, 1, name, &[(two, State::OnCpu, false, 1, [0, 0, 0])]);
    window.samples[0].on_cpu_ns = 1000;
    window.threads[0].ledger = Ledger { wall_ns: 1000, on_cpu_ns: 1000, user_ns: 1000, ..Ledger::default() };
    add_processes(&mut window, &[(1, name)]);
    window.on_cpu = vec![FunctionTime { frame: frame.into(), self_ns: 1000, total_ns: 1000 }];
    window.gaps = vec![gap(two, WaitClass::Other, false, 1, Some(name), &[1])];
    window.gaps[0].wakers = vec![(Waker { pid: 1, tid: 1, comm: Some(name.into()), interrupt: false }, 1)];
    window
}

/// `samples` samples with distinct stacks of 25 frames, out of 5,000 functions, and a tenth as many waits.
pub(super) fn large(samples: usize) -> Window {
    let mut window = Window { duration_ns: 10_000 * MS, ..Window::default() };
    for index in 0..5_000 {
        let frame = native(&format!("library::module::function_{index}(int, char*)"), "file.cpp", index);
        window.stacks.frames.push(frame.into());
    }
    for index in 0..samples {
        let root = [1, index as u32 % 7, index as u32 % 83];
        let tail =
            (0..22).map(|depth| ((index as u32).wrapping_mul(2_654_435_761) >> 3).wrapping_add(depth * 211) % 5_000);
        window.stacks.stacks.push(tail.chain(root).collect());
    }
    add_thread(&mut window, 1, 1, "main", &[]);
    for index in 0..samples as u32 {
        let (state, idle) = (State::OffCpu(WaitClass::ALL[1 + index as usize % 12]), index % 5 == 0);
        let time =
            Sample { blocked_ns: 1_000 + u64::from(index), run_queue_ns: 50, ..sample(0, StackId(index), state, idle) };
        window.samples.push(time);
    }
    add_processes(&mut window, &[(1, "large")]);
    let wait = self::window().waits.swap_remove(0);
    window.waits = (0..samples as u32 / 10).map(|index| Wait { stack: StackId(index), ..wait.clone() }).collect();
    window
}

type Part = (StackId, State, bool, u64, [u64; 3]);

/// Adds a thread with its samples, in milliseconds on-CPU, run-queue and blocked, and the ledger that follows.
fn add_thread(window: &mut Window, pid: u32, tid: u32, comm: &str, parts: &[Part]) {
    let index = window.threads.len() as u32;
    let mut ledger = Ledger { wall_ns: window.duration_ns, ..Ledger::default() };
    let mut idle_ns = 0;
    for &(stack, state, idle, count, [on_cpu, run_queue, blocked]) in parts {
        let sample = Sample {
            count,
            on_cpu_ns: on_cpu * MS,
            run_queue_ns: run_queue * MS,
            blocked_ns: blocked * MS,
            ..sample(index, stack, state, idle)
        };
        ledger.on_cpu_ns += sample.on_cpu_ns;
        ledger.run_queue_ns += sample.run_queue_ns;
        ledger.blocked_ns += sample.blocked_ns;
        if let State::OffCpu(class) = state {
            ledger.off_cpu_ns[class as usize] += sample.wall_ns();
        }
        idle_ns += if idle { sample.blocked_ns } else { 0 };
        window.samples.push(sample);
    }
    ledger.preempted_ns = ledger.off_cpu(WaitClass::Preempted);
    ledger.user_ns = ledger.on_cpu_ns * 3 / 4;
    ledger.kernel_ns = ledger.on_cpu_ns - ledger.user_ns;
    window.threads.push(Thread {
        pid,
        tid,
        comm: comm.into(),
        ledger,
        idle_ns,
        blocks: 7,
        preemptions: 2,
        ..Thread::default()
    });
}

fn add_processes(window: &mut Window, names: &[(u32, &str)]) {
    for &(pid, comm) in names {
        let mut process = Process { pid, comm: comm.into(), ..Process::default() };
        for thread in window.threads.iter().filter(|thread| thread.pid == pid) {
            process.threads += 1;
            process.ledger.add(&thread.ledger);
        }
        window.processes.push(process);
    }
}

fn sample(thread: u32, stack: StackId, state: State, idle: bool) -> Sample {
    Sample { thread, stack, state, idle, count: 1, on_cpu_ns: 0, run_queue_ns: 0, throttled_ns: 0, blocked_ns: 0 }
}

fn stack(window: &mut Window, frames: &[Frame]) -> StackId {
    let stacks = &mut window.stacks;
    let mut indices = Vec::new();
    for frame in frames {
        let index = stacks.frames.iter().position(|it| **it == *frame).unwrap_or_else(|| {
            stacks.frames.push(frame.clone().into());
            stacks.frames.len() - 1
        });
        indices.push(index as u32);
    }
    stacks.stacks.push(indices.into());
    StackId(stacks.stacks.len() as u32 - 1)
}

fn native(function: &str, file: &str, line: u32) -> Frame {
    Frame {
        kind: FrameKind::Native,
        function: Some(function.into()),
        file: Some(format!("/src/{file}").into()),
        line: Some(line),
        module: Some("/usr/bin/checkout".into()),
        build_id: Some("0badcafe".into()),
        offset: Some(0x1000 + u64::from(line)),
        inlined: false,
    }
}

fn kernel(function: &str) -> Frame {
    Frame {
        kind: FrameKind::Kernel,
        file: None,
        line: None,
        module: Some("[kernel]".into()),
        build_id: None,
        offset: Some(0xffff_ffff_8100_0000 + function.len() as u64),
        ..native(function, "", 0)
    }
}

fn unresolved() -> Frame {
    Frame { function: None, file: None, line: None, module: Some("/usr/lib/libz.so.1".into()), ..native("", "", 0) }
}

fn interrupt() -> Waker {
    Waker { pid: 0, tid: 0, comm: None, interrupt: true }
}

fn gap(stack: StackId, class: WaitClass, idle: bool, total_ns: u64, function: Option<&str>, tids: &[u32]) -> Gap {
    Gap {
        pid: 4242,
        class,
        idle,
        count: 97,
        total_ns,
        run_queue_ns: total_ns / 100,
        p50_ns: 3 * MS,
        p99_ns: 12 * MS,
        max_ns: 31 * MS,
        stack,
        kernel_function: function.map(Arc::from),
        tids: tids.to_vec(),
        wakers: Vec::new(),
    }
}

fn quality(outcomes: &[(u32, u64, u64)], missing: (u64, u64)) -> StackQuality {
    let mut quality = StackQuality { missing, ..StackQuality::default() };
    for &(outcome, samples, ns) in outcomes {
        quality.outcomes[outcome as usize] = (samples, ns);
    }
    quality
}
