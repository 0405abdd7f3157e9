//! A recording to the tables of its window.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::rows::{self, Tables};
use super::table::{Text, Time};
use crate::model::{self, Capture, Frame, MonoNs, Recording, ThreadTime, UnixNs, WaitClass};
use profiler_common::histogram::{BUCKETS, bucket};
use profiler_common::wire::{OffCpuKey, OffCpuValue, cpu_mode};

/// The tables of one window. Only what its samples, sums and waits refer to is kept of stacks.
pub(super) fn tables(recording: &Recording, window: u64) -> Tables {
    let Recording { capture, frames: _, programs, context } = recording;
    let mut stacks = Stacks::new(recording);
    let clock = Clock { unix: context.start, mono: capture.start };
    let classes: Vec<Text> = WaitClass::ALL.iter().map(|class| class.name().into()).collect();
    let class = |number: u32| classes[WaitClass::from_number(number) as usize].clone();

    let cpu_samples = capture.cpu_samples.iter().map(|sample| rows::CpuSample {
        window,
        time: clock.time(sample.header.at_ns),
        cpu: sample.header.cpu,
        pid: sample.pid,
        tid: sample.tid,
        generation: sample.generation,
        in_kernel: sample.mode == cpu_mode::KERNEL,
        user_stack: stacks.number(sample.user_stack),
        kernel_stack: stacks.number(sample.kernel_stack),
    });
    let cpu_samples: Vec<_> = cpu_samples.collect();
    let mut sums: Vec<(&OffCpuKey, &OffCpuValue)> = capture.off_cpu.iter().collect();
    sums.sort_unstable_by_key(|(key, _)| **key);
    let off_cpu = sums.into_iter().map(|(key, value)| {
        let (first_bucket, bucket_counts) = histogram(value);
        rows::OffCpu {
            window,
            pid: key.pid,
            tid: key.tid,
            generation: key.generation,
            class: class(key.class),
            syscall: key.syscall,
            sampling: key.sampling,
            user_stack: stacks.number(key.user_stack),
            kernel_stack: stacks.number(key.kernel_stack),
            count: value.count,
            blocked_ns: value.blocked_ns,
            run_queue_ns: value.run_queue_ns,
            max_ns: value.max_ns,
            first_bucket,
            bucket_counts,
            throttled_ns: Some(value.throttled_ns),
        }
    });
    let off_cpu: Vec<_> = off_cpu.collect();
    let waits = capture.waits.iter().map(|wait| rows::Wait {
        window,
        start: clock.time(wait.start_ns),
        duration_ns: wait.header.at_ns.wrapping_sub(wait.start_ns),
        blocked_ns: wait.wake_ns.wrapping_sub(wait.start_ns) as i64,
        cpu: wait.header.cpu,
        pid: wait.key.pid,
        tid: wait.key.tid,
        generation: wait.key.generation,
        class: class(wait.key.class),
        syscall: wait.key.syscall,
        sampling: wait.key.sampling,
        user_stack: stacks.number(wait.key.user_stack),
        kernel_stack: stacks.number(wait.key.kernel_stack),
        waker_pid: wait.waker_pid,
        waker_tid: wait.waker_tid,
        waker_flags: wait.waker_flags,
    });
    let waits = waits.collect();
    let (stacks, frames) = stacks.finish();
    let mut tables = Tables {
        windows: Vec::new(),
        programs: programs.iter().map(|it| program(it, window)).collect(),
        threads: capture.threads.iter().map(|it| thread(it, window)).collect(),
        cpu_samples,
        off_cpu,
        waits,
        stacks,
        frames,
    };
    tables.windows.push(self::window(recording, window, &tables));
    tables
}

/// One instant on both clocks: the start of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    pub(super) unix: UnixNs,
    pub(super) mono: MonoNs,
}

impl Clock {
    /// An instant of the kernel's clock on the wall clock. It may lie before the window, and what makes no sense still
    /// comes back as it was.
    fn time(self, mono_ns: u64) -> Time {
        Time(self.unix.0.wrapping_add(mono_ns.wrapping_sub(self.mono.0)))
    }

    /// And back.
    pub(super) fn mono_ns(self, time: Time) -> u64 {
        self.mono.0.wrapping_add(time.0.wrapping_sub(self.unix.0))
    }
}

fn window(recording: &Recording, window: u64, tables: &Tables) -> rows::Window {
    let context = &recording.context;
    let Capture { start, end, .. } = recording.capture;
    let overhead = &context.overhead;
    let mut wakers: Vec<_> = context.waker_names.iter().collect();
    wakers.sort_unstable();
    let processes: HashSet<u32> = tables.threads.iter().map(|thread| thread.pid).collect();
    rows::Window {
        window,
        start: Time(context.start.0),
        duration_ns: end.since(start),
        start_mono_ns: start.0,
        target: context.target.as_str().into(),
        cpus: context.cpus,
        rate_hz: context.rate_hz,
        min_wait_ns: context.min_wait_ns,
        detail_level: context.detail.highest(),
        overhead_kernel_ns: overhead.kernel_ns,
        overhead_kernel_runs: overhead.kernel_runs,
        overhead_daemon_ns: overhead.daemon_ns,
        overhead_finish_ns: overhead.finish_ns,
        overhead_peak_rss_bytes: overhead.peak_rss_bytes,
        overhead_kernel_memory_bytes: overhead.kernel_memory_bytes,
        overhead_tables_bytes: overhead.tables_bytes,
        overhead_tables_files: overhead.tables_files,
        user_stacks_recognised: overhead.user_memo.0,
        user_stacks_walked: overhead.user_memo.1,
        user_stacks_skipped: overhead.user_skipped,
        kernel_stacks_recognised: overhead.kernel_memo.0,
        kernel_stacks_walked: overhead.kernel_memo.1,
        loss_causes: context.losses.by_cause.keys().map(|cause| (*cause).into()).collect(),
        loss_counts: context.losses.by_cause.values().copied().collect(),
        waker_pids: wakers.iter().map(|((pid, _), _)| *pid).collect(),
        waker_tids: wakers.iter().map(|((_, tid), _)| *tid).collect(),
        waker_comms: wakers.iter().map(|(_, comm)| text(comm)).collect(),
        processes: processes.len() as u32,
        threads: tables.threads.len() as u32,
        cpu_samples: tables.cpu_samples.len() as u64,
        off_cpu: tables.off_cpu.len() as u64,
        waits: tables.waits.len() as u64,
    }
}

fn text(text: &Arc<str>) -> Text {
    (&**text).into()
}

fn program(program: &model::Program, window: u64) -> rows::Program {
    rows::Program {
        window,
        last_window: window,
        pid: program.pid,
        generation: program.generation,
        parent: program.parent,
        born: Time(program.born.0),
        comm: text(&program.comm),
        executable: program.executable.as_ref().map(text),
        build_id: program.build_id.as_ref().map(text),
        cgroup: program.cgroup.as_ref().map(text),
        container_id: program.container_id.as_ref().map(text),
        unit: program.unit.as_ref().map(text),
        service: text(&program.service),
    }
}

fn thread(thread: &ThreadTime, window: u64) -> rows::Thread {
    let ledger = &thread.ledger;
    let class = |class: WaitClass| ledger.off_cpu(class);
    rows::Thread {
        window,
        pid: thread.pid,
        tid: thread.tid,
        born_mono_ns: thread.born_ns,
        generation: thread.generation,
        comm: text(&thread.comm),
        start_ns: thread.start_ns,
        ended: thread.ended,
        blocks: thread.blocks,
        preemptions: thread.preemptions,
        wall_ns: ledger.wall_ns,
        on_cpu_ns: ledger.on_cpu_ns,
        user_ns: ledger.user_ns,
        kernel_ns: ledger.kernel_ns,
        stolen_ns: ledger.stolen_ns,
        run_queue_ns: ledger.run_queue_ns,
        blocked_ns: ledger.blocked_ns,
        unseen_ns: ledger.unseen_ns,
        preempted_ns: ledger.preempted_ns,
        lock_ns: class(WaitClass::Lock),
        socket_recv_ns: class(WaitClass::SocketRecv),
        socket_send_ns: class(WaitClass::SocketSend),
        socket_accept_ns: class(WaitClass::SocketAccept),
        poll_idle_ns: class(WaitClass::PollIdle),
        disk_io_ns: class(WaitClass::DiskIo),
        fs_sync_ns: class(WaitClass::FsSync),
        pipe_ns: class(WaitClass::Pipe),
        sleep_ns: class(WaitClass::Sleep),
        page_fault_ns: class(WaitClass::PageFault),
        wait_child_ns: class(WaitClass::WaitChild),
        other_ns: class(WaitClass::Other),
        throttled_ns: Some(ledger.throttled_ns),
    }
}

/// The first bucket and the counts from there on. One bucket with all waits is left to be found from the longest of them.
fn histogram(value: &OffCpuValue) -> (u32, Vec<u32>) {
    let filled = |count: &u32| *count > 0;
    let first = value.histogram.iter().position(filled).unwrap_or(0);
    let end = value.histogram.iter().rposition(filled).map_or(first, |last| last + 1);
    let counts = &value.histogram[first..end];
    let implied = first == bucket(value.max_ns) && counts.len() == 1 && u64::from(counts[0]) == value.count;
    (first as u32, if implied { Vec::new() } else { counts.to_vec() })
}

/// The histogram of these two columns.
pub(super) fn full_histogram(row: &rows::OffCpu) -> [u32; BUCKETS] {
    let mut histogram = [0; BUCKETS];
    if row.bucket_counts.is_empty() {
        histogram[bucket(row.max_ns)] = u32::try_from(row.count).unwrap_or(u32::MAX);
    }
    for (slot, count) in histogram.iter_mut().skip(row.first_bucket as usize).zip(&row.bucket_counts) {
        *slot = *count;
    }
    histogram
}

/// Gives out numbers of stacks and frames.
struct Stacks<'a> {
    recording: &'a Recording,
    numbers: HashMap<u64, u32>,
    rows: Vec<rows::Stack>,
    /// By number in the recording.
    frame_numbers: Vec<Option<u32>>,
    frames: Vec<&'a Frame>,
}

impl<'a> Stacks<'a> {
    fn new(recording: &'a Recording) -> Stacks<'a> {
        Stacks {
            recording,
            numbers: HashMap::new(),
            rows: Vec::new(),
            frame_numbers: vec![None; recording.frames.list().len()],
            frames: Vec::new(),
        }
    }

    /// The number of a stack by its kernel-side id; 0 is no stack.
    fn number(&mut self, id: u64) -> u32 {
        if id == 0 {
            return 0;
        }
        if let Some(number) = self.numbers.get(&id) {
            return *number;
        }
        let number = self.rows.len() as u32 + 1;
        self.numbers.insert(id, number);
        let frames = self
            .recording
            .frames
            .stack(id)
            .into_iter()
            .flat_map(|numbers| numbers.iter())
            .map(|frame| self.frame(*frame))
            .collect();
        let raw = self.recording.capture.stacks.get(&id);
        self.rows.push(rows::Stack {
            stack: number,
            stack_id: id,
            pid: raw.map_or(0, |raw| raw.pid),
            generation: raw.map_or(0, |raw| raw.generation),
            epoch: raw.map_or(0, |raw| raw.epoch),
            in_kernel: raw.is_some_and(|raw| raw.kernel),
            outcome: raw.map(|raw| raw.outcome),
            frames,
        });
        number
    }

    fn frame(&mut self, number: u32) -> u32 {
        let next = self.frames.len() as u32;
        *self.frame_numbers[number as usize].get_or_insert_with(|| {
            self.frames.push(&self.recording.frames.list()[number as usize]);
            next
        })
    }

    fn finish(self) -> (Vec<rows::Stack>, Vec<rows::Frame>) {
        let row = |(number, frame): (u32, &Frame)| rows::Frame {
            frame: number,
            kind: frame.kind.name().into(),
            function: frame.function.as_ref().map(text),
            file: frame.file.as_ref().map(text),
            line: frame.line,
            module: frame.module.as_ref().map(text),
            build_id: frame.build_id.as_ref().map(text),
            offset: frame.offset,
            inlined: frame.inlined,
        };
        (self.rows, (0..).zip(self.frames).map(row).collect())
    }
}
