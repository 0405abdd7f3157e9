//! Windows made by hand: all that a capture may hold, and names that try to break out of a format.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::histogram::bucket;
use profiler_common::wire::{CpuSample, Header, OffCpuKey, OffCpuValue, sampling};
use profilerd::model::{
    Capture, Context, DetailLevels, Frame, FrameKind, Ledger, MonoNs, Program, Recording, ThreadTime, UnixNs, WaitClass,
};

const MS: u64 = 1_000_000;
const WINDOW_NS: u64 = 10_000 * MS;
const START_UNIX_NS: u64 = 1_795_000_000_123_456_789;
const START_MONO_NS: u64 = 77_000 * MS;
const KERNEL_WAIT: u64 = 1;
const KERNEL_CALL: u64 = 2;

/// A window of six processes; every number of it depends on the sequence number.
pub(crate) fn window(sequence: u64) -> Recording {
    made(sequence, 6, 5)
}

/// A window with so many processes that have so many stacks each.
pub(crate) fn made(sequence: u64, processes: u32, stacks: u64) -> Recording {
    let start = START_MONO_NS + sequence * WINDOW_NS;
    let mut recording = Recording {
        capture: Capture { start: MonoNs(start), end: MonoNs(start + WINDOW_NS), ..Capture::default() },
        context: Context {
            target: "the whole machine".to_owned(),
            cpus: 2,
            rate_hz: 19,
            detail: DetailLevels::one(0),
            start: UnixNs(START_UNIX_NS + sequence * WINDOW_NS),
            ..Context::default()
        },
        ..Recording::default()
    };
    let kernel = |name: &str, address: u64| {
        Arc::new(Frame {
            kind: FrameKind::Kernel,
            module: Some("[kernel]".into()),
            offset: name.is_empty().then_some(0xffff_ffff_8100_0000 + address),
            function: (!name.is_empty()).then(|| name.into()),
            ..Frame::note("")
        })
    };
    let wait = [kernel("__schedule", 1), kernel("schedule", 2), kernel("futex_wait", 3), kernel("do_syscall_64", 4)];
    recording.frames.insert(KERNEL_WAIT, wait.into());
    recording.frames.insert(KERNEL_CALL, [kernel("vfs_write", 5), kernel("", 6)].into());
    let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ (sequence << 20));
    (0..processes).for_each(|number| add_process(&mut recording, number, stacks, &mut random));
    recording
}

fn add_process(recording: &mut Recording, number: u32, stacks: u64, random: &mut Random) {
    let (pid, generation) = (1_000 + 10 * number, 40 + number);
    let hostile = number % 5 == 3;
    // One in five is known by its samples alone.
    if number % 5 != 4 {
        recording.programs.push(program(pid, generation, hostile));
    }
    for id in 0..stacks {
        recording.frames.insert(stack_id(number, id), user_stack(number, id, hostile));
    }
    for thread in 0..3 {
        let tid = pid + thread;
        let mut ledger =
            Ledger { wall_ns: WINDOW_NS, on_cpu_ns: 700 * MS + 13, stolen_ns: 3 * MS, ..Ledger::default() };
        for id in 0..stacks {
            // The third thread ran between two ticks.
            let times = if thread == 2 { 0 } else { 1 + random.below(3) };
            for _ in 0..times {
                let at_ns = recording.capture.start.0 + random.below(WINDOW_NS);
                recording.capture.cpu_samples.push(CpuSample {
                    header: Header { at_ns, ..Header::default() },
                    pid,
                    tid,
                    generation,
                    user_stack: stack_id(number, id),
                    kernel_stack: if random.below(2) == 0 { KERNEL_CALL } else { 0 },
                    ..CpuSample::default()
                });
            }
            let class = [WaitClass::Lock, WaitClass::Sleep, WaitClass::Preempted][random.below(3) as usize];
            // One in four was not walked, one in eight has a stack that never arrived.
            let skipped = random.below(4) == 0;
            let key = OffCpuKey {
                pid,
                tid,
                generation,
                user_stack: match random.below(8) {
                    _ if skipped => 0,
                    0 => 999_999,
                    _ => stack_id(number, id),
                },
                kernel_stack: if class == WaitClass::Preempted { 0 } else { KERNEL_WAIT },
                class: class as u32,
                // Two calls at one place are one sample.
                syscall: if id % 2 == 0 { 202 } else { 281 },
                sampling: if skipped { sampling::SKIPPED | 2 } else { sampling::EXACT },
            };
            let run_queue_ns = 1 + random.below(MS);
            let blocked_ns = if class == WaitClass::Preempted { 0 } else { 1 + random.below(20 * MS) };
            add_wait(&mut recording.capture.off_cpu, key, blocked_ns, run_queue_ns, &mut ledger);
            if !skipped && id % 2 == 0 {
                add_wait(&mut recording.capture.off_cpu, OffCpuKey { syscall: 0, ..key }, 5, 7, &mut ledger);
            }
        }
        // What the kernel's map had no room for is in the ledger alone.
        ledger.off_cpu_ns[WaitClass::Pipe as usize] += 11 * MS;
        ledger.blocked_ns += 10 * MS;
        ledger.run_queue_ns += MS;
        let parts = ledger.on_cpu_ns + ledger.stolen_ns + ledger.run_queue_ns + ledger.blocked_ns;
        ledger.unseen_ns = WINDOW_NS.saturating_sub(parts);
        recording.capture.threads.push(ThreadTime {
            pid,
            tid,
            generation,
            born_ns: 5,
            comm: if hostile { "new\nline\x1b[31m" } else { ["main", "worker-1", ""][thread as usize] }.into(),
            ledger,
            ..ThreadTime::default()
        });
    }
}

fn add_wait(
    off_cpu: &mut HashMap<OffCpuKey, OffCpuValue>,
    key: OffCpuKey,
    blocked_ns: u64,
    run_queue_ns: u64,
    ledger: &mut Ledger,
) {
    let sum = off_cpu.entry(key).or_insert(OffCpuValue::NOTHING);
    sum.blocked_ns += blocked_ns;
    sum.run_queue_ns += run_queue_ns;
    sum.count += 1;
    sum.histogram[bucket(blocked_ns + run_queue_ns)] += 1;
    ledger.blocked_ns += blocked_ns;
    ledger.run_queue_ns += run_queue_ns;
    ledger.off_cpu_ns[key.class as usize] += blocked_ns + run_queue_ns;
}

fn program(pid: u32, generation: u32, hostile: bool) -> Program {
    let text = |text: &str| Some(Arc::from(text));
    Program {
        pid,
        generation,
        parent: 1,
        born: UnixNs(START_UNIX_NS - 3_600_000_000_000),
        comm: "checkout".into(),
        executable: text(if hostile { "/opt/<b>\u{202e}\n" } else { "/usr/bin/checkout" }),
        build_id: text("0b1e55ed0b1e55ed"),
        cgroup: text("/system.slice/checkout.service"),
        container_id: if hostile { text("") } else { text(&"ab".repeat(32)) },
        unit: text("checkout.service"),
        service: if hostile { "".into() } else { "checkout".into() },
    }
}

fn stack_id(number: u32, id: u64) -> u64 {
    1_000 + u64::from(number) * 1_000_000 + id
}

/// Eight frames: two inlined, one without a symbol, all else with file and line; ends in a note where it is torn.
fn user_stack(number: u32, id: u64, hostile: bool) -> Arc<[Arc<Frame>]> {
    let module = format!("/usr/lib/lib{}.so", number % 3);
    let frame = |depth: u64| Frame {
        kind: FrameKind::Native,
        function: (depth != 3).then(|| format!("service_{number}::handler_{}::step_{depth}", id / 2).into()),
        file: Some(format!("src/handler_{depth}.{}", if number.is_multiple_of(2) { "rs" } else { "c" }).into()),
        line: Some(10 + depth as u32),
        module: Some(module.as_str().into()),
        build_id: (number % 3 != 2).then(|| format!("{:040x}", number % 3).into()),
        offset: Some(0x1000 + id / 2 * 0x100 + depth.min(6) * 0x10),
        inlined: depth == 5 || depth == 6,
    };
    let mut frames: Vec<Frame> = (0..8).map(frame).collect();
    if hostile {
        frames[0].function = Some("semi;colon\n\u{202e}\0".into());
        frames[1].function = Some("".into());
        frames[2].function = Some("x".repeat(100_000).into());
        frames[2].offset = Some(u64::MAX);
        frames.push(Frame::note("[unwinding stopped: read fault]"));
    }
    frames.into_iter().map(Arc::new).collect()
}

/// Source: xorshift64, Marsaglia 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}
