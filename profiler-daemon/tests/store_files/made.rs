//! Recordings that are made up, the same each time, with names that nobody would choose.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::histogram::bucket;
use profiler_common::wire::{CpuSample, Header, OffCpuKey, OffCpuValue, Wait, tag, waker_flag};
use profilerd::model::{
    Capture, Context, DetailLevels, Frame, FrameKind, Ledger, Losses, MonoNs, Overhead, Program, RawStack, Recording,
    ThreadTime, UnixNs, WaitClass,
};

/// Length of a window.
pub(crate) const WINDOW_NS: u64 = 10_000_000_000;
/// 2026-03-14T14:59:00Z: some windows before an hour is over.
pub(crate) const START: UnixNs = UnixNs(1_773_500_340_000_000_000);

/// What strangers may call a process, a function or a file.
const NAMES: [&str; 10] = [
    "nginx",
    "evil\u{202e}txt",
    "a;b c",
    "new\nline",
    "\u{1b}[31mred",
    "größe::λ<T>",
    "../../etc/passwd",
    "'; DROP TABLE frames; --",
    "",
    "名前",
];

/// Source: xorshift64, Marsaglia 2003.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn name(&mut self) -> Arc<str> {
        NAMES[self.below(NAMES.len() as u64) as usize].into()
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Random) -> T) -> Option<T> {
        (self.below(3) > 0).then(|| value(self))
    }
}

/// Window `number`, from 0: the windows follow each other from [`START`].
pub(crate) fn window(number: u64) -> Recording {
    at(number, UnixNs(START.0 + number * WINDOW_NS))
}

/// Window `number` as if it had begun at `start`.
pub(crate) fn at(number: u64, start: UnixNs) -> Recording {
    let mut random = Random((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mono = MonoNs(1_000_000_000_000 + number * WINDOW_NS);
    let mut recording = Recording {
        capture: Capture { start: mono, end: MonoNs(mono.0 + WINDOW_NS), ..Capture::default() },
        context: Context {
            target: "all processes".to_owned(),
            cpus: 8,
            rate_hz: 19,
            min_wait_ns: 10_000_000,
            detail: DetailLevels::one(if number % 4 == 3 { 2 } else { 0 }),
            losses: Losses { by_cause: [("ring_full", number), ("undecodable_records", 0)].into() },
            overhead: Overhead {
                kernel_ns: Some(1_000 + number),
                kernel_runs: Some(7),
                daemon_ns: 500,
                peak_rss_bytes: 50 << 20,
                user_memo: (90, 10),
                ..Overhead::default()
            },
            start,
            waker_names: HashMap::from([((2, 15), "ksoftirqd/0".into())]),
        },
        ..Recording::default()
    };
    for pid in 100..110 {
        process(&mut recording, &mut random, pid);
    }
    recording
}

/// A process with its programs, threads, samples and waits. Its stacks are the same in all windows.
fn process(recording: &mut Recording, random: &mut Random, pid: u32) {
    let mut own = Random(u64::from(pid) * 77_777);
    let generation = 1_000 + pid;
    recording.programs.push(Program {
        pid,
        generation,
        parent: 1,
        born: UnixNs(START.0 - u64::from(pid) * 1_000_000_000),
        comm: own.name(),
        executable: own.maybe(Random::name),
        build_id: own.maybe(|own| format!("{:040x}", own.next()).into()),
        cgroup: own.maybe(|own| format!("/system.slice/{}", own.name()).into()),
        container_id: own.maybe(|own| format!("{:064x}", own.next()).into()),
        unit: own.maybe(|_| format!("unit-{pid}.service").into()),
        service: own.name(),
    });
    let mut stacks = vec![0];
    for _ in 0..12 {
        let id = own.next() | 1;
        stacks.push(id);
        let depth = own.below(20);
        let frames: Vec<Arc<Frame>> = (0..depth).map(|_| frame(&mut own).into()).collect();
        if !frames.is_empty() {
            recording.frames.insert(id, frames.into());
        }
        if own.below(10) > 0 {
            let stack = RawStack {
                pid,
                generation,
                epoch: own.below(3) as u32,
                kernel: own.below(4) == 0,
                outcome: own.below(8) as u32,
                addresses: Vec::new(),
            };
            recording.capture.stacks.insert(id, stack);
        }
    }
    for tid in pid..pid + 3 {
        thread(recording, random, (pid, tid, generation), &stacks);
    }
}

fn frame(random: &mut Random) -> Frame {
    let kinds = [FrameKind::Native, FrameKind::Kernel, FrameKind::Note];
    Frame {
        kind: kinds[random.below(3) as usize],
        function: random.maybe(|random| format!("{}{}", random.name(), random.below(50)).into()),
        file: random.maybe(Random::name),
        line: random.maybe(|random| random.below(10_000) as u32),
        module: random.maybe(Random::name),
        build_id: random.maybe(|random| format!("{:x}", random.below(5)).into()),
        offset: random.maybe(|random| random.below(1 << 48)),
        inlined: random.below(2) == 0,
    }
}

fn thread(recording: &mut Recording, random: &mut Random, ids: (u32, u32, u32), stacks: &[u64]) {
    let (pid, tid, generation) = ids;
    let Recording { capture, .. } = recording;
    let mut ledger = Ledger { on_cpu_ns: random.below(WINDOW_NS / 3), stolen_ns: 5, unseen_ns: 7, ..Ledger::default() };
    ledger.user_ns = ledger.on_cpu_ns / 3;
    ledger.kernel_ns = ledger.on_cpu_ns - ledger.user_ns;
    let pick = |random: &mut Random| stacks[random.below(stacks.len() as u64) as usize];
    for _ in 0..random.below(20) {
        let header = Header {
            tag: tag::CPU_SAMPLE,
            cpu: random.below(8) as u32,
            at_ns: capture.start.0 + random.below(WINDOW_NS),
        };
        let (user_stack, kernel_stack) = (pick(random), pick(random));
        let mode = random.below(2) as u32;
        capture.cpu_samples.push(CpuSample { header, pid, tid, generation, mode, user_stack, kernel_stack });
    }
    for _ in 0..random.below(12) {
        let class = random.below(13) as u32;
        let (user_stack, kernel_stack) = (pick(random), pick(random));
        let key = OffCpuKey {
            pid,
            tid,
            user_stack,
            kernel_stack,
            class,
            syscall: random.below(300) as i32 - 1,
            generation,
            sampling: 0,
        };
        let mut value = OffCpuValue::NOTHING;
        for _ in 0..random.below(4) + 1 {
            let (blocked, run_queue) = (random.below(50_000_000), random.below(1_000_000));
            let blocked = if class == 0 { 0 } else { blocked };
            value.blocked_ns += blocked;
            value.run_queue_ns += run_queue;
            value.throttled_ns += run_queue / 3;
            value.max_ns = value.max_ns.max(blocked + run_queue);
            value.count += 1;
            value.histogram[bucket(blocked + run_queue)] += 1;
        }
        if capture.off_cpu.insert(key, value).is_some() {
            continue;
        }
        ledger.blocked_ns += value.blocked_ns;
        ledger.run_queue_ns += value.run_queue_ns;
        ledger.off_cpu_ns[class as usize] += value.blocked_ns + value.run_queue_ns;
        if class == WaitClass::Preempted as u32 {
            ledger.preempted_ns += value.run_queue_ns;
        }
        let start_ns = capture.start.0 + random.below(WINDOW_NS);
        // Some wake-ups were not seen.
        let wake_ns = if random.below(5) == 0 { 0 } else { start_ns + value.max_ns / 2 };
        capture.waits.push(Wait {
            header: Header { tag: tag::WAIT, cpu: 3, at_ns: start_ns + value.max_ns },
            key,
            start_ns,
            wake_ns,
            waker_pid: 2,
            waker_tid: 15,
            waker_flags: waker_flag::SEEN,
            reserved: 0,
        });
    }
    ledger.throttled_ns = ledger.run_queue_ns / 3;
    ledger.wall_ns = ledger.on_cpu_ns + ledger.stolen_ns + ledger.run_queue_ns + ledger.blocked_ns + ledger.unseen_ns;
    capture.threads.push(ThreadTime {
        pid,
        tid,
        born_ns: u64::from(tid) * 1_000,
        generation,
        comm: random.name(),
        start_ns: random.below(2) * 1_000,
        ledger,
        blocks: random.below(100),
        preemptions: random.below(100),
        ended: random.below(10) == 0,
    });
}

/// All of a recording as text that does not depend on the order of what has none.
pub(crate) fn text(recording: &Recording) -> String {
    let Recording { capture, frames, programs, context } = recording;
    let mut lines = Vec::new();
    let stacks = capture.cpu_samples.iter().flat_map(|it| [it.user_stack, it.kernel_stack]);
    let waits = capture.off_cpu.keys().flat_map(|it| [it.user_stack, it.kernel_stack]);
    let used: std::collections::BTreeSet<u64> = stacks.chain(waits).collect();
    for id in used {
        lines.push(format!("stack {id} {:?} {:?}", capture.stacks.get(&id), frames.get(&id)));
    }
    lines.extend(capture.threads.iter().map(|it| format!("{it:?}")));
    lines.extend(capture.cpu_samples.iter().map(|it| format!("{it:?}")));
    lines.extend(capture.off_cpu.iter().map(|it| format!("{it:?}")));
    lines.extend(capture.waits.iter().map(|it| format!("{it:?}")));
    lines.extend(programs.iter().map(|it| format!("{it:?}")));
    lines.extend(context.waker_names.iter().map(|it| format!("{it:?}")));
    let bare = Context { waker_names: HashMap::new(), ..context.clone() };
    lines.push(format!("{bare:?} {:?} {:?}", capture.start, capture.end));
    lines.sort();
    lines.join("\n")
}
