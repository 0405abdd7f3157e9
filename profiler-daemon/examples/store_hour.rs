//! Stores one hour that is hard on purpose, and asks for parts of it. Prints one line `name value unit` a figure;
//! times are CPU time of all threads unless they say something else.
//!
//! `store_hour DIRECTORY`: 360 windows of 10 s, 200 processes of cubic popularity with 3 threads each; in each window 1,900
//! on-CPU samples and 815 sums of waits, which hardly repeat; 40,683 stacks of 23 frames in the mean, of 60,000 functions
//! with names of about 40 characters; and a ledger of each of the 600 threads.
//! A store that is there already is only asked, with a second argument only the questions that contain it.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use profiler_common::histogram::bucket;
use profiler_common::wire::{CpuSample, Header, OffCpuKey, OffCpuValue, Wait, tag, waker_flag};
use profilerd::aggregate;
use profilerd::model::{
    Capture, Context, Frame, FrameKind, Ledger, MonoNs, Program, RawStack, Recording, ThreadTime, UnixNs,
};
use profilerd::store::{Filter, Follower, Limits, Reader, Store, TimeRange};

const WINDOWS: u64 = 360;
const WINDOW_NS: u64 = 10_000_000_000;
const PROCESSES: u64 = 200;
const THREADS: u64 = 3;
const CPU_SAMPLES: u64 = 1_900;
const OFF_CPU: u64 = 815;
const WAITS: u64 = 40;
const FUNCTIONS: u64 = 60_000;
const STACKS: usize = 40_683;
const KERNEL_STACKS: u64 = 400;
/// 2026-03-14T14:00:00Z.
const START_NS: u64 = 1_773_496_800_000_000_000;
const MONO_NS: u64 = 987_654_321_000;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: store_hour DIRECTORY")?;
    let folder = Path::new(&folder);
    if folder.join("recent").is_dir() {
        return ask("stored before", folder);
    }
    let mut hour = Hour::new();
    let mut store = Store::open(folder, Limits::default())?;
    let (mut appended, mut computed, mut joined) = (Vec::new(), Vec::new(), 0.0);
    for number in 0..WINDOWS {
        let window = hour.window(number);
        let (start, cpu) = (Instant::now(), cpu_ms()?);
        store.append(&window)?;
        computed.push(cpu_ms()? - cpu);
        let cpu = cpu_ms()?;
        store.maintain(UnixNs(START_NS + (number + 1) * WINDOW_NS), None)?;
        joined += cpu_ms()? - cpu;
        appended.push(start.elapsed().as_secs_f64() * 1e3);
    }
    appended.sort_by(f64::total_cmp);
    computed.sort_by(f64::total_cmp);
    figure("append, CPU, median", computed[computed.len() / 2], "ms");
    figure("append, wall clock, median", appended[appended.len() / 2], "ms");
    figure("append, wall clock, longest", appended[appended.len() - 1], "ms");
    figure("joining each five minutes, sum", joined / 1e3, "s");
    figure("stacks seen", hour.next_stack as f64, "");
    figure("hour before it is sealed", store.counters().bytes as f64 / 1e6, "MB");
    ask("not sealed", folder)?;

    let before = memory("VmHWM");
    // Makes the highest mark of resident memory start anew.
    fs::write("/proc/self/clear_refs", "5")?;
    let resident = memory("VmRSS");
    let start = cpu_ms()?;
    store.maintain(UnixNs(START_NS + 2 * WINDOWS * WINDOW_NS), None)?;
    figure("sealing", (cpu_ms()? - start) / 1e3, "s");
    figure("sealing, memory", (memory("VmHWM") - resident) / 1e3, "MB");
    figure("memory before", before / 1e3, "MB");
    figure("sealed hour", store.counters().bytes as f64 / 1e6, "MB");
    tables(folder)?;
    ask("sealed", folder)
}

/// Asks for parts of the hour.
fn ask(what: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let minutes = |from: u64, to: u64| TimeRange {
        since: UnixNs(START_NS + from * 60_000_000_000),
        until: UnixNs(START_NS + to * 60_000_000_000),
    };
    let one = Filter { pids: vec![1_003], ..Filter::default() };
    let questions = [
        ("5 min of all processes", minutes(20, 25), Filter::default()),
        ("5 min of all processes, across row groups", minutes(22, 27), Filter::default()),
        ("5 min of one process", minutes(20, 25), one.clone()),
        ("1 h of one process", minutes(0, 60), one),
        ("1 h of all processes", minutes(0, 60), Filter::default()),
    ];
    let reader = Reader::open(folder)?;
    let part = std::env::args().nth(2).unwrap_or_default();
    for (question, range, filter) in questions.into_iter().filter(|(question, ..)| question.contains(&part)) {
        let mut best = (f64::MAX, 0.0);
        let mut wall = (f64::MAX, 0.0);
        for _ in 0..5 {
            let (start, began) = (cpu_ms()?, Instant::now());
            let recording = reader.read(range, &filter)?.recording.ok_or("nothing was found")?;
            let (read, read_wall) = (cpu_ms()? - start, began.elapsed().as_secs_f64() * 1e3);
            let window = aggregate::window(recording);
            let (all, all_wall) = (cpu_ms()? - start, began.elapsed().as_secs_f64() * 1e3);
            assert!(!window.gaps.is_empty());
            if all < best.0 {
                best = (all, read);
            }
            if all_wall < wall.0 {
                wall = (all_wall, read_wall);
            }
        }
        figure(&format!("{what}: {question}"), best.0, "ms");
        figure(&format!("{what}: {question}, reading"), best.1, "ms");
        figure(&format!("{what}: {question}, wall clock"), wall.0, "ms");
        figure(&format!("{what}: {question}, reading, wall clock"), wall.1, "ms");
    }
    let start = cpu_ms()?;
    let mut count = 0;
    let mut sequence = 0;
    let mut follower = Follower::new(reader);
    while let Some((window, _)) = follower.after(sequence)?.filter(|_| count < 30) {
        sequence = window.sequence;
        count += 1;
    }
    figure(&format!("{what}: next window for an exporter"), (cpu_ms()? - start) / 30.0, "ms");
    Ok(())
}

/// The size of each table.
fn tables(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut todo = vec![folder.join("sealed")];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else {
                let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                figure(&format!("table {name}"), fs::metadata(&path)?.len() as f64 / 1e6, "MB");
            }
        }
    }
    Ok(())
}

/// CPU time of this program: others may run.
fn cpu_ms() -> Result<f64, Box<dyn Error>> {
    Ok(Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?).as_secs_f64() * 1e3)
}

fn figure(name: &str, value: f64, unit: &str) {
    println!("{name}\t{value:.2}\t{unit}");
}

/// A line of `/proc/self/status` in kB.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// Source: xorshift64, Marsaglia 2003.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// From 0 to 1.
    fn part(&mut self) -> f64 {
        self.below(1 << 40) as f64 / (1u64 << 40) as f64
    }

    /// A number below `end`, small ones far more often.
    fn popular(&mut self, end: u64) -> u64 {
        ((end as f64 * self.part().powi(3)) as u64).min(end.saturating_sub(1))
    }

    /// As many of each order of magnitude.
    fn spread(&mut self, end: u64) -> u64 {
        (end as f64).powf(self.part()) as u64
    }
}

struct Stack {
    id: u64,
    frames: Arc<[Arc<Frame>]>,
}

struct Hour {
    random: Random,
    functions: Vec<Arc<str>>,
    modules: Vec<(Arc<str>, Arc<str>)>,
    kernel: Vec<Stack>,
    /// By process, in the order in which they are met.
    stacks: Vec<Vec<Stack>>,
    next_stack: usize,
}

impl Hour {
    fn new() -> Hour {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        const WORDS: [&str; 24] = [
            "http",
            "parse",
            "buffer",
            "connection",
            "pool",
            "acquire",
            "release",
            "tokio",
            "runtime",
            "worker",
            "poll",
            "serde",
            "json",
            "value",
            "hash",
            "table",
            "insert",
            "query",
            "planner",
            "execute",
            "index",
            "scan",
            "cache",
            "get",
        ];
        let mut name = |number: u64| {
            let word = |random: &mut Random| WORDS[random.below(24) as usize];
            let path: Vec<&str> = (0..4).map(|_| word(&mut random)).collect();
            Arc::from(format!("{}::{}::{}_{}{number:05}", path[0], path[1], path[2], path[3]))
        };
        let functions = (0..FUNCTIONS).map(&mut name).collect();
        let modules = (0..60u64)
            .map(|number| {
                let build_id = (0..5).map(|_| format!("{:08x}", random.next() as u32)).collect::<String>();
                (Arc::from(format!("/usr/lib/x86_64-linux-gnu/libservice{number}.so.1.2")), Arc::from(build_id))
            })
            .collect();
        let mut hour = Hour {
            random,
            functions,
            modules,
            kernel: Vec::new(),
            stacks: (0..PROCESSES).map(|_| Vec::new()).collect(),
            next_stack: 0,
        };
        hour.kernel = (0..KERNEL_STACKS).map(|_| hour.kernel_stack()).collect();
        hour
    }

    fn kernel_stack(&mut self) -> Stack {
        let depth = 5 + self.random.below(8);
        let frames = (0..depth).map(|_| {
            let number = self.random.popular(2_000);
            Arc::new(Frame {
                kind: FrameKind::Kernel,
                module: Some("[kernel]".into()),
                ..Frame::note(format!("do_kernel_function_{number}"))
            })
        });
        let frames = frames.collect();
        Stack { id: self.random.next() | 1, frames }
    }

    /// A stack of this process that begins like one of its others.
    fn new_stack(&mut self, process: u64) -> Stack {
        let known = &self.stacks[process as usize];
        let depth = 8 + self.random.below(31);
        let mut frames: Vec<Arc<Frame>> = Vec::new();
        if !known.is_empty() {
            let like = &known[self.random.below(known.len() as u64) as usize].frames;
            let shared = self.random.below(depth.min(like.len() as u64));
            frames = like[like.len() - shared as usize..].to_vec();
            frames.reverse();
        }
        while (frames.len() as u64) < depth {
            // A tenth of the code is everybody's.
            let shared = self.random.below(10) == 0;
            let own = FUNCTIONS / PROCESSES;
            let function = if shared { self.random.popular(FUNCTIONS) } else { process * own + self.random.below(own) };
            let module = if shared { function % 20 } else { 20 + process % 40 };
            let (path, build_id) = &self.modules[module as usize];
            let call = self.random.popular(4);
            let frame = Frame {
                kind: FrameKind::Native,
                function: Some(self.functions[function as usize].clone()),
                module: Some(path.clone()),
                build_id: Some(build_id.clone()),
                offset: Some(0x1000 + function * 416 + call * 37),
                ..Frame::note("")
            };
            frames.push(frame.into());
        }
        frames.reverse();
        self.next_stack += 1;
        Stack { id: self.random.next() | 1, frames: frames.into() }
    }

    /// A process and one of its stacks: a new one now and then, most often one of the popular.
    fn pick(&mut self, recording: &mut Recording) -> (u64, u64) {
        let process = self.random.popular(PROCESSES);
        let count = self.stacks[process as usize].len();
        let is_new = count < 10 || self.random.below(100) < 4;
        let index = if is_new && self.next_stack < STACKS {
            let stack = self.new_stack(process);
            self.stacks[process as usize].push(stack);
            count
        } else {
            self.random.popular(count as u64) as usize
        };
        let stack = &self.stacks[process as usize][index];
        keep(recording, stack, (1_000 + process) as u32, false);
        (process, stack.id)
    }

    fn window(&mut self, number: u64) -> Recording {
        let start = MonoNs(MONO_NS + number * WINDOW_NS);
        let mut recording = Recording {
            capture: Capture { start, end: MonoNs(start.0 + WINDOW_NS), ..Capture::default() },
            context: Context {
                target: "all processes".to_owned(),
                cpus: 16,
                rate_hz: 19,
                min_wait_ns: 10_000_000,
                start: UnixNs(START_NS + number * WINDOW_NS),
                ..Context::default()
            },
            ..Recording::default()
        };
        let mut ledgers: HashMap<(u64, u64), Ledger> = HashMap::new();
        for sample in 0..CPU_SAMPLES {
            let (process, user_stack) = self.pick(&mut recording);
            let thread = self.random.popular(THREADS);
            let in_kernel = self.random.below(5) == 0;
            let kernel_stack = if in_kernel { self.kernel_id(&mut recording, user_stack) } else { 0 };
            let at_ns = start.0 + sample * (WINDOW_NS / CPU_SAMPLES) + self.random.below(5_000_000);
            ledgers.entry((process, thread)).or_default().on_cpu_ns += 50_000_000 + self.random.below(5_000_000);
            recording.capture.cpu_samples.push(CpuSample {
                header: Header { tag: tag::CPU_SAMPLE, cpu: self.random.below(16) as u32, at_ns },
                pid: (1_000 + process) as u32,
                tid: (10_000 + process * THREADS + thread) as u32,
                generation: (7_000 + process) as u32,
                mode: u32::from(kernel_stack != 0),
                user_stack,
                kernel_stack,
            });
        }
        for wait in 0..OFF_CPU {
            let (process, user_stack) = self.pick(&mut recording);
            let thread = self.random.popular(THREADS);
            // One place waits for one thing.
            let class = Random(user_stack).popular(13) as u32;
            let key = OffCpuKey {
                pid: (1_000 + process) as u32,
                tid: (10_000 + process * THREADS + thread) as u32,
                user_stack,
                kernel_stack: if class == 0 { 0 } else { self.kernel_id(&mut recording, user_stack) },
                class,
                syscall: [0, 1, 202, 232, 271, 35][class as usize % 6],
                generation: (7_000 + process) as u32,
                sampling: 0,
            };
            let value = self.sum(class);
            if recording.capture.off_cpu.insert(key, value).is_none() {
                let ledger = ledgers.entry((process, thread)).or_default();
                ledger.run_queue_ns += value.run_queue_ns;
                ledger.blocked_ns += value.blocked_ns;
                ledger.off_cpu_ns[class as usize] += value.blocked_ns + value.run_queue_ns;
            }
            if wait < WAITS {
                let start_ns = start.0 + self.random.below(WINDOW_NS);
                recording.capture.waits.push(Wait {
                    header: Header { tag: tag::WAIT, cpu: 0, at_ns: start_ns + value.max_ns },
                    key,
                    start_ns,
                    wake_ns: start_ns + value.max_ns * 9 / 10,
                    waker_pid: 1_001,
                    waker_tid: 10_003,
                    waker_flags: waker_flag::SEEN,
                    reserved: 0,
                });
            }
        }
        for process in 0..PROCESSES {
            recording.programs.push(program(process));
            for thread in 0..THREADS {
                let mut ledger = ledgers.remove(&(process, thread)).unwrap_or_default();
                let slept = ledger == Ledger::default();
                self.complete(&mut ledger, slept);
                recording.capture.threads.push(ThreadTime {
                    pid: (1_000 + process) as u32,
                    tid: (10_000 + process * THREADS + thread) as u32,
                    born_ns: 5_000_000_000 + process * 1_234_567_891 + thread,
                    generation: (7_000 + process) as u32,
                    comm: format!("worker-{}", process % 50).into(),
                    ledger,
                    blocks: if slept { 0 } else { self.random.spread(100_000) },
                    preemptions: if slept { 0 } else { self.random.spread(1_000) },
                    ..ThreadTime::default()
                });
            }
        }
        recording
    }

    /// What a ledger needs to be one: the parts that samples and sums do not say.
    fn complete(&mut self, ledger: &mut Ledger, slept: bool) {
        ledger.user_ns = ledger.on_cpu_ns / 10 * self.random.below(10);
        ledger.kernel_ns = ledger.on_cpu_ns - ledger.user_ns;
        ledger.stolen_ns = if slept { 0 } else { self.random.below(100_000) };
        ledger.preempted_ns = ledger.off_cpu_ns[0];
        let known = ledger.on_cpu_ns + ledger.stolen_ns + ledger.run_queue_ns + ledger.blocked_ns;
        ledger.wall_ns = WINDOW_NS.max(known);
        ledger.blocked_ns += ledger.wall_ns - known;
        ledger.off_cpu_ns[5] += ledger.wall_ns - known;
    }

    /// Where this stack goes on in the kernel: always the same way.
    fn kernel_id(&mut self, recording: &mut Recording, user_stack: u64) -> u64 {
        let stack = &self.kernel[Random(user_stack >> 8 | 1).popular(KERNEL_STACKS) as usize];
        keep(recording, stack, 0, true);
        stack.id
    }

    fn sum(&mut self, class: u32) -> OffCpuValue {
        let count = self.random.spread(100);
        let mut value = OffCpuValue { count, ..OffCpuValue::NOTHING };
        let typical = 1_000 + self.random.spread(100_000_000);
        for _ in 0..count {
            let ns = typical + self.random.below(typical);
            let blocked = if class == 0 { 0 } else { ns / 10 * 9 };
            value.blocked_ns += blocked;
            value.run_queue_ns += ns - blocked;
            value.max_ns = value.max_ns.max(ns);
            value.histogram[bucket(ns)] += 1;
        }
        value
    }
}

fn keep(recording: &mut Recording, stack: &Stack, pid: u32, kernel: bool) {
    if !recording.frames.has(stack.id) {
        recording.frames.insert(stack.id, stack.frames.clone());
        let generation = if kernel { 0 } else { 6_000 + pid };
        let raw = RawStack { pid, generation, kernel, ..RawStack::default() };
        recording.capture.stacks.insert(stack.id, raw);
    }
}

fn program(process: u64) -> Program {
    Program {
        pid: (1_000 + process) as u32,
        generation: (7_000 + process) as u32,
        parent: 1,
        born: UnixNs(START_NS - process * 1_000_000_007),
        comm: format!("service-{process}").into(),
        executable: Some(format!("/usr/bin/service-{process}").into()),
        build_id: Some(format!("{process:040x}").into()),
        cgroup: Some(format!("/system.slice/service-{process}.service").into()),
        container_id: None,
        unit: Some(format!("service-{process}.service").into()),
        service: format!("service-{process}").into(),
    }
}
