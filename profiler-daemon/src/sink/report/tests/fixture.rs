//! Windows that look like real ones, made from a few lines.

use std::sync::Arc;

use profiler_common::wire::outcome;

use crate::model::{
    Frame, FrameKind, FunctionTime, Gap, Ledger, Overhead, Process, Sample, StackId, State, Thread, UnixNs, WaitClass,
    Waker, Window,
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

/// A function of the program, with its source line.
pub(super) fn own(function: &str, file: &str, line: u32) -> Frame {
    Frame { file: Some(file.into()), line: Some(line), ..native(function, "/opt/checkout/checkout-api") }
}

pub(super) fn native(function: &str, module: &str) -> Frame {
    Frame { kind: FrameKind::Native, module: Some(module.into()), ..Frame::note(function) }
}

pub(super) fn libc(function: &str) -> Frame {
    native(function, LIBC)
}

pub(super) fn kernel(function: &str) -> Frame {
    Frame { kind: FrameKind::Kernel, module: Some("[kernel]".into()), ..Frame::note(function) }
}

/// Grows a window whose ledgers close.
#[derive(Default)]
pub(super) struct Builder {
    pub(super) window: Window,
}

/// One off-CPU place, by what it costs each of its threads.
pub(super) struct Wait<'a> {
    pub(super) class: WaitClass,
    pub(super) idle: bool,
    pub(super) tids: &'a [u32],
    pub(super) count: u64,
    pub(super) blocked_ms: u64,
    pub(super) run_queue_ms: u64,
    pub(super) max_ms: u64,
    pub(super) stack: Vec<Frame>,
    pub(super) wakers: &'a [(&'a str, u32, u64)],
}

impl Builder {
    pub(super) fn new(target: &str, seconds: u64) -> Builder {
        let mut builder = Builder::default();
        let window = &mut builder.window;
        window.start = UnixNs(68_651_000_000_000);
        window.duration_ns = seconds * 1_000 * MS;
        window.target = target.to_owned();
        window.cpus = 2;
        window.rate_hz = 99;
        window.overhead =
            Overhead { kernel_ns: Some(28 * MS), daemon_ns: 12 * MS, peak_rss_bytes: 31 << 20, ..Overhead::default() };
        window.on_cpu_quality.outcomes[outcome::COMPLETE as usize] = (1_102, 9_970 * MS);
        window.on_cpu_quality.outcomes[outcome::TRUNCATED as usize] = (6, 30 * MS);
        window.off_cpu_quality.outcomes[outcome::COMPLETE as usize] = (8_000, 99_000 * MS);
        window.off_cpu_quality.missing = (12, 900 * MS);
        builder
    }

    /// A thread that was there throughout and is on CPU for so long; what nothing else claims is idle
    /// once [`Builder::finish`] has been called.
    pub(super) fn thread(&mut self, pid: u32, tid: u32, comm: &str, on_cpu_ms: u64) {
        let ledger = Ledger {
            wall_ns: self.window.duration_ns,
            on_cpu_ns: on_cpu_ms * MS,
            user_ns: on_cpu_ms * MS * 7 / 8,
            kernel_ns: on_cpu_ms * MS / 8,
            ..Ledger::default()
        };
        self.window.threads.push(Thread { pid, tid, comm: comm.into(), ledger, ..Thread::default() });
    }

    fn stack(&mut self, frames: Vec<Frame>) -> StackId {
        let stacks = &mut self.window.stacks;
        let first = stacks.frames.len() as u32;
        stacks.stacks.push((first..first + frames.len() as u32).collect());
        stacks.frames.extend(frames.into_iter().map(Arc::new));
        StackId(stacks.stacks.len() as u32 - 1)
    }

    pub(super) fn wait(&mut self, pid: u32, wait: Wait) {
        let kernel_function =
            wait.stack.iter().find(|frame| frame.kind == FrameKind::Kernel).and_then(|frame| frame.function.clone());
        let stack = self.stack(wait.stack);
        let (blocked_ns, run_queue_ns) = (wait.blocked_ms * MS, wait.run_queue_ms * MS);
        for tid in wait.tids {
            let index = self.window.threads.iter().position(|thread| (thread.pid, thread.tid) == (pid, *tid));
            let index = index.unwrap_or_else(|| panic!("no thread {tid}"));
            let thread = &mut self.window.threads[index];
            thread.ledger.blocked_ns += blocked_ns;
            thread.ledger.run_queue_ns += run_queue_ns;
            thread.ledger.off_cpu_ns[wait.class as usize] += blocked_ns + run_queue_ns;
            if wait.class == WaitClass::Preempted {
                thread.ledger.preempted_ns += run_queue_ns;
            }
            if wait.idle {
                thread.idle_ns += blocked_ns;
            }
            let state = State::OffCpu(wait.class);
            let count = wait.count / wait.tids.len() as u64;
            let thread = index as u32;
            self.window.samples.push(Sample {
                thread,
                stack,
                state,
                idle: wait.idle,
                count,
                on_cpu_ns: 0,
                run_queue_ns,
                throttled_ns: 0,
                blocked_ns,
            });
        }
        let threads = wait.tids.len() as u64;
        let total_ns = (blocked_ns + run_queue_ns) * threads;
        let mean_ns = total_ns / wait.count;
        let waker = |comm: &str, tid: u32| Waker {
            pid: if tid == 0 { 0 } else { pid },
            tid,
            comm: Some(comm.into()),
            interrupt: tid == 0,
        };
        self.window.gaps.push(Gap {
            pid,
            class: wait.class,
            idle: wait.idle,
            count: wait.count,
            total_ns,
            run_queue_ns: run_queue_ns * threads,
            p50_ns: mean_ns * 9 / 10,
            p99_ns: (mean_ns * 3).min(wait.max_ms * MS),
            max_ns: wait.max_ms * MS,
            stack,
            kernel_function,
            tids: wait.tids.to_vec(),
            wakers: wait.wakers.iter().map(|(comm, tid, ms)| (waker(comm, *tid), ms * MS)).collect(),
        });
    }

    pub(super) fn function(&mut self, frame: Frame, self_ms: u64, total_ms: u64) {
        let (self_ns, total_ns) = (self_ms * MS, total_ms * MS);
        self.window.on_cpu.push(FunctionTime { frame: frame.into(), self_ns, total_ns });
    }

    /// Fills each thread up with idle time at one place for each of the stacks given, in turn.
    pub(super) fn idle(&mut self, class: WaitClass, stack: Vec<Frame>, tids: &[u32]) {
        for tid in tids {
            let thread = self.window.threads.iter().find(|thread| thread.tid == *tid);
            let (pid, ledger) = thread.map(|thread| (thread.pid, &thread.ledger)).unwrap_or_else(|| panic!("no {tid}"));
            let free_ns = ledger.residual_ns().unsigned_abs();
            let stack = stack.clone();
            let blocked_ms = free_ns / MS;
            self.wait(
                pid,
                Wait {
                    class,
                    idle: true,
                    tids: &[*tid],
                    count: 40,
                    blocked_ms,
                    run_queue_ms: 0,
                    max_ms: 900,
                    stack,
                    wakers: &[],
                },
            );
        }
        self.merge_idle_gaps();
    }

    /// `aggregate` makes one gap of waits at equal stacks; so must we.
    fn merge_idle_gaps(&mut self) {
        let window = &mut self.window;
        let mut merged: Vec<Gap> = Vec::new();
        for gap in std::mem::take(&mut window.gaps) {
            let same = |other: &&mut Gap| {
                let frames = |id| window.stacks.get(id).collect::<Vec<_>>();
                gap.idle && other.idle && other.pid == gap.pid && frames(other.stack) == frames(gap.stack)
            };
            match merged.iter_mut().find(same) {
                Some(other) => {
                    other.total_ns += gap.total_ns;
                    other.count += gap.count;
                    other.tids.extend(gap.tids);
                }
                None => merged.push(gap),
            }
        }
        window.gaps = merged;
    }

    /// Sums processes.
    pub(super) fn finish(mut self) -> Window {
        let window = &mut self.window;
        for thread in &window.threads {
            let process = match window.processes.iter_mut().find(|process| process.pid == thread.pid) {
                Some(process) => process,
                None => {
                    let (pid, comm) = (thread.pid, Arc::clone(&thread.comm));
                    window.processes.push(Process { pid, comm, ..Process::default() });
                    window.processes.last_mut().unwrap_or_else(|| unreachable!("just pushed"))
                }
            };
            process.threads += 1;
            process.ledger.add(&thread.ledger);
        }
        self.window
    }
}

/// A service with a contended lock, a slow peer, a journal, and threads with nothing to do.
pub(super) fn service() -> Builder {
    let mut service = Builder::new("checkout-api (pid 4242)", 10);
    service.thread(4242, 4242, "checkout-api", 20);
    for worker in 1..=8 {
        service.thread(4242, 4242 + worker, &format!("worker-{worker}"), 1_300);
    }
    service.thread(4242, 4260, "journal", 310);
    service.thread(4242, 4261, "timer", 4);
    service.thread(4242, 4262, "metrics", 460);
    let workers: Vec<u32> = (4243..=4250).collect();
    let start = || [libc("start_thread"), libc("clone3")];
    let handler = || [own("Handler::lookup", "/src/handler.cpp", 66), own("Handler::run", "/src/handler.cpp", 31)];
    let lock = [
        kernel("futex_wait_queue"),
        kernel("do_futex"),
        libc("__lll_lock_wait"),
        libc("pthread_mutex_lock@@GLIBC_2.2.5"),
        own("Cache::get", "/src/cache.cpp", 118),
    ];
    service.wait(
        4242,
        Wait {
            class: WaitClass::Lock,
            idle: false,
            tids: &workers,
            count: 4_032,
            blocked_ms: 2_015,
            run_queue_ms: 60,
            max_ms: 31,
            stack: lock.into_iter().chain(handler()).chain(start()).collect(),
            wakers: &[("worker-3", 4245, 11_400), ("worker-1", 4243, 3_000), ("", 0, 200)],
        },
    );
    let recv = [kernel("sk_wait_data"), libc("recv"), own("Pricing::ask", "/src/pricing.cpp", 88)];
    service.wait(
        4242,
        Wait {
            class: WaitClass::SocketRecv,
            idle: false,
            tids: &workers[..4],
            count: 312,
            blocked_ms: 1_575,
            run_queue_ms: 5,
            max_ms: 41,
            stack: recv.into_iter().chain(handler()).chain(start()).collect(),
            wakers: &[],
        },
    );
    let sync = [
        kernel("jbd2_log_wait_commit"),
        kernel("ext4_sync_file"),
        libc("fdatasync"),
        own("Journal::append<std::basic_string_view<char, std::char_traits<char>>, Checksum>", "/src/journal.cpp", 51),
    ];
    service.wait(
        4242,
        Wait {
            class: WaitClass::DiskIo,
            idle: false,
            tids: &[4260],
            count: 97,
            blocked_ms: 4_000,
            run_queue_ms: 500,
            max_ms: 66,
            stack: sync.into_iter().chain(start()).collect(),
            wakers: &[],
        },
    );
    service.wait(
        4242,
        Wait {
            class: WaitClass::Preempted,
            idle: false,
            tids: &workers,
            count: 812,
            blocked_ms: 0,
            run_queue_ms: 262,
            max_ms: 14,
            stack: vec![own("Json::parse", "/src/json.cpp", 88)],
            wakers: &[],
        },
    );
    let park = [
        kernel("futex_wait_queue"),
        libc("__futex_abstimed_wait_common"),
        libc("pthread_cond_wait@@GLIBC_2.3.2"),
        own("Pool::next", "/src/pool.cpp", 40),
    ];
    service.idle(WaitClass::Lock, park.into_iter().chain(start()).collect(), &workers);
    let poll = [kernel("ep_poll"), libc("epoll_wait"), own("Loop::run", "/src/loop.cpp", 12)];
    service.idle(WaitClass::PollIdle, poll.into_iter().chain(start()).collect(), &[4242, 4260, 4261, 4262]);
    service.function(native("sha256_block_data_order", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"), 4_100, 4_100);
    service.function(own("Json::parse", "/src/json.cpp", 88), 1_900, 2_600);
    service.function(kernel("copy_user_enhanced_fast_string"), 900, 900);
    service.function(own("Handler::run", "/src/handler.cpp", 31), 40, 8_700);
    service.function(libc("malloc"), 30, 31);
    service.function(own("main", "/src/main.cpp", 9), 0, 500);
    service
}
