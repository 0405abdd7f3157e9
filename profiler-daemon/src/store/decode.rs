//! The tables of a segment to parts of a merged recording.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::encode::{Clock, full_histogram};
use super::filter::Picked;
use super::rows;
use super::segment::Segment;
use super::table::Text;
use crate::aggregate::merge::{Merge, Part};
use crate::model::{
    Context, Frame, FrameKind, Ledger, Losses, MonoNs, Overhead, Program, RawStack, ThreadTime, UnixNs, WaitClass,
};
use profiler_common::wire::{CpuSample, Header, OffCpuKey, OffCpuValue, Wait, cpu_mode, tag};

/// A window that is read: where its parts go, and what its times are relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) window: u64,
    pub(super) part: Part,
    pub(super) clock: Clock,
}

/// Reads windows of one segment into `merge`: `wanted` in the order of their numbers, of them what `picked` has.
///
/// # Errors
/// The segment is damaged or could not be read. What was merged by then is to be thrown away.
pub(super) fn read(segment: &Segment, wanted: &[Wanted], picked: &Picked, merge: &mut Merge) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(()) };
    let range = first.window..=last.window;
    let find = |window: u64| wanted.binary_search_by_key(&window, |it| it.window).ok().map(|index| wanted[index]);
    let mut stacks = Stacks::open(segment)?;

    for row in segment.windows::<rows::Program>(&(0..=*range.end()))? {
        // It is in the windows from one to another: the last of those decides where it belongs.
        let is_in = |it: &&Wanted| (row.window..=row.last_window).contains(&it.window);
        if let Some(wanted) = wanted.iter().rev().find(is_in).filter(|_| picked.has(row.pid, row.generation)) {
            merge.program(wanted.part, program(&row));
        }
    }
    let mut names = Names::default();
    for row in segment.windows::<rows::Thread>(&range)? {
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            merge.thread(wanted.part, thread(row, &mut names));
        }
    }
    for row in segment.windows::<rows::CpuSample>(&range)? {
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            let sample = CpuSample {
                header: Header { tag: tag::CPU_SAMPLE, cpu: row.cpu, at_ns: wanted.clock.mono_ns(row.time) },
                pid: row.pid,
                tid: row.tid,
                generation: row.generation,
                mode: if row.in_kernel { cpu_mode::KERNEL } else { cpu_mode::USER },
                user_stack: stacks.id(row.user_stack)?,
                kernel_stack: stacks.id(row.kernel_stack)?,
            };
            merge.cpu_sample(wanted.part, sample);
        }
    }
    let classes = Classes::new();
    for row in segment.windows::<rows::OffCpu>(&range)? {
        if find(row.window).is_some() && picked.has(row.pid, row.generation) {
            let key = OffCpuKey {
                pid: row.pid,
                tid: row.tid,
                user_stack: stacks.id(row.user_stack)?,
                kernel_stack: stacks.id(row.kernel_stack)?,
                class: classes.number(&row.class.text()),
                syscall: row.syscall,
                generation: row.generation,
                sampling: row.sampling,
            };
            let value = OffCpuValue {
                blocked_ns: row.blocked_ns,
                run_queue_ns: row.run_queue_ns,
                max_ns: row.max_ns,
                count: row.count,
                histogram: full_histogram(&row),
            };
            merge.off_cpu(key, &value);
        }
    }
    for row in segment.windows::<rows::Wait>(&range)? {
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            let start_ns = wanted.clock.mono_ns(row.start);
            let wait = Wait {
                header: Header { tag: tag::WAIT, cpu: row.cpu, at_ns: start_ns.wrapping_add(row.duration_ns) },
                key: OffCpuKey {
                    pid: row.pid,
                    tid: row.tid,
                    user_stack: stacks.id(row.user_stack)?,
                    kernel_stack: stacks.id(row.kernel_stack)?,
                    class: classes.number(&row.class.text()),
                    syscall: row.syscall,
                    generation: row.generation,
                    sampling: row.sampling,
                },
                start_ns,
                wake_ns: start_ns.wrapping_add(row.blocked_ns as u64),
                waker_pid: row.waker_pid,
                waker_tid: row.waker_tid,
                waker_flags: row.waker_flags,
                reserved: 0,
            };
            merge.wait(wanted.part, wait);
        }
    }
    stacks.used(merge)
}

/// What a window says beside its rows.
pub(super) fn context(row: &rows::Window) -> (MonoNs, MonoNs, Context) {
    let losses = row.loss_causes.iter().zip(&row.loss_counts);
    let wakers = row.waker_pids.iter().zip(&row.waker_tids).zip(&row.waker_comms);
    let context = Context {
        target: row.target.text().into_owned(),
        cpus: row.cpus,
        rate_hz: row.rate_hz,
        min_wait_ns: row.min_wait_ns,
        losses: Losses {
            by_cause: losses.filter_map(|(cause, count)| Some((known(&cause.text())?, *count))).collect(),
        },
        overhead: Overhead {
            kernel_ns: row.overhead_kernel_ns,
            kernel_runs: row.overhead_kernel_runs,
            daemon_ns: row.overhead_daemon_ns,
            finish_ns: row.overhead_finish_ns,
            peak_rss_bytes: row.overhead_peak_rss_bytes,
            kernel_memory_bytes: row.overhead_kernel_memory_bytes,
            tables_bytes: row.overhead_tables_bytes,
            tables_files: row.overhead_tables_files,
            user_memo: (row.user_stacks_recognised, row.user_stacks_walked),
            user_skipped: row.user_stacks_skipped,
            kernel_memo: (row.kernel_stacks_recognised, row.kernel_stacks_walked),
        },
        start: UnixNs(row.start.0),
        waker_names: wakers.map(|((pid, tid), comm)| ((*pid, *tid), comm.text().into())).collect(),
    };
    let start = MonoNs(row.start_mono_ns);
    (start, MonoNs(row.start_mono_ns.wrapping_add(row.duration_ns)), context)
}

/// The program of a row.
pub(super) fn program(row: &rows::Program) -> Program {
    Program {
        pid: row.pid,
        generation: row.generation,
        parent: row.parent,
        born: UnixNs(row.born.0),
        comm: row.comm.text().into(),
        executable: row.executable.as_ref().map(|text| text.text().into()),
        build_id: row.build_id.as_ref().map(|text| text.text().into()),
        cgroup: row.cgroup.as_ref().map(|text| text.text().into()),
        container_id: row.container_id.as_ref().map(|text| text.text().into()),
        unit: row.unit.as_ref().map(|text| text.text().into()),
        service: row.service.text().into(),
    }
}

fn thread(row: rows::Thread, names: &mut Names) -> ThreadTime {
    ThreadTime {
        pid: row.pid,
        tid: row.tid,
        born_ns: row.born_mono_ns,
        generation: row.generation,
        start_ns: row.start_ns,
        ledger: Ledger {
            wall_ns: row.wall_ns,
            on_cpu_ns: row.on_cpu_ns,
            user_ns: row.user_ns,
            kernel_ns: row.kernel_ns,
            stolen_ns: row.stolen_ns,
            run_queue_ns: row.run_queue_ns,
            preempted_ns: row.preempted_ns,
            blocked_ns: row.blocked_ns,
            off_cpu_ns: row.classes(),
            unseen_ns: row.unseen_ns,
        },
        blocks: row.blocks,
        preemptions: row.preemptions,
        ended: row.ended,
        comm: names.share(row.comm),
    }
}

/// Numbers of classes by their words.
struct Classes(BTreeMap<&'static str, u32>);

impl Classes {
    fn new() -> Classes {
        Classes(WaitClass::ALL.iter().map(|class| (class.name(), *class as u32)).collect())
    }

    fn number(&self, name: &str) -> u32 {
        self.0.get(name).copied().unwrap_or(WaitClass::Other as u32)
    }
}

/// The stacks of a segment, and which of them the rows that were read have.
struct Stacks<'a> {
    segment: &'a Segment,
    rows: Vec<rows::Stack>,
    used: Vec<bool>,
}

impl<'a> Stacks<'a> {
    fn open(segment: &'a Segment) -> Result<Stacks<'a>, StoreError> {
        let rows = segment.all::<rows::Stack>()?;
        let in_order = rows.iter().zip(1..).all(|(row, number)| row.stack == number);
        if !in_order {
            return Err(StoreError::damaged(&segment.path, "its stacks are not in order"));
        }
        let used = vec![false; rows.len()];
        Ok(Stacks { segment, rows, used })
    }

    /// The kernel's id of a stack by its number; 0 is none.
    fn id(&mut self, number: u32) -> Result<u64, StoreError> {
        let Some(index) = number.checked_sub(1) else { return Ok(0) };
        match self.used.get_mut(index as usize) {
            Some(used) => {
                *used = true;
                Ok(self.rows[index as usize].stack_id)
            }
            None => Err(StoreError::damaged(&self.segment.path, format!("there is no stack {number}"))),
        }
    }

    /// Adds the stacks that were used, with their frames, unless they are known from another segment.
    fn used(self, merge: &mut Merge) -> Result<(), StoreError> {
        let Stacks { segment, rows, used } = self;
        let new: Vec<rows::Stack> = rows
            .into_iter()
            .zip(used)
            .filter_map(|(row, used)| (used && !merge.has_frames(row.stack_id)).then_some(row))
            .collect();
        let frames = frames(segment, &new)?;
        for row in new {
            if let Some(outcome) = row.outcome {
                let raw = RawStack {
                    pid: row.pid,
                    generation: row.generation,
                    epoch: row.epoch,
                    kernel: row.in_kernel,
                    outcome,
                    // Frames say more, and addresses of a process that is gone say nothing.
                    addresses: Vec::new(),
                };
                merge.stack(row.stack_id, raw);
            }
            if !row.frames.is_empty() {
                let frame =
                    |number: &u32| frames[*number as usize].clone().expect("all that these stacks have are there");
                merge.frames(row.stack_id, row.frames.iter().map(frame).collect());
            }
        }
        Ok(())
    }
}

/// The frames that stacks have, by number; the others stay absent.
fn frames(segment: &Segment, stacks: &[rows::Stack]) -> Result<Vec<Option<Frame>>, StoreError> {
    if stacks.is_empty() {
        return Ok(Vec::new());
    }
    let rows = segment.all::<rows::Frame>()?;
    let mut needed = vec![false; rows.len()];
    for number in stacks.iter().flat_map(|stack| &stack.frames) {
        match needed.get_mut(*number as usize) {
            Some(needed) => *needed = true,
            None => return Err(StoreError::damaged(&segment.path, format!("there is no frame {number}"))),
        }
    }
    let kinds: BTreeMap<&str, FrameKind> =
        [FrameKind::Native, FrameKind::Kernel, FrameKind::Note].map(|kind| (kind.name(), kind)).into();
    let mut names: [Names; 4] = Default::default();
    let frames = rows.into_iter().zip(needed).map(|(row, needed)| {
        needed.then(|| Frame {
            kind: kinds.get(&*row.kind.text()).copied().unwrap_or(FrameKind::Native),
            function: row.function.map(|text| names[0].share(text)),
            file: row.file.map(|text| names[1].share(text)),
            line: row.line,
            module: row.module.map(|text| names[2].share(text)),
            build_id: row.build_id.map(|text| names[3].share(text)),
            offset: row.offset,
            inlined: row.inlined,
        })
    });
    Ok(frames.collect())
}

/// Shares the text of rows that follow each other: they are sorted so that most have the same.
#[derive(Default)]
struct Names {
    last: Option<(Text, Arc<str>)>,
}

impl Names {
    fn share(&mut self, text: Text) -> Arc<str> {
        match &self.last {
            Some((last, shared)) if *last == text => shared.clone(),
            _ => {
                let shared: Arc<str> = text.text().into();
                self.last = Some((text, shared.clone()));
                shared
            }
        }
    }
}

/// Causes of losses are words of the program, so they live as long as it does. There are some dozens; a store that
/// brings its own has the rest of them left out.
fn known(cause: &str) -> Option<&'static str> {
    const MOST: usize = 512;
    static CAUSES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut causes = CAUSES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = causes.get(cause) {
        return Some(known);
    }
    (causes.len() < MOST).then(|| {
        let cause: &'static str = cause.to_owned().leak();
        causes.insert(cause);
        cause
    })
}
