//! The tables of a segment to parts of a merged recording.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::StoreError;
use super::encode::{Clock, full_histogram};
use super::filter::Picked;
use super::rows;
use super::segment::Segment;
use super::table::Text;
use crate::aggregate::beside::both;
use crate::aggregate::merge::{Merge, Part};
use crate::model::{
    Context, DetailLevels, Frame, FrameKind, Ledger, Losses, MonoNs, Overhead, Program, RawStack, ThreadTime, UnixNs,
    WaitClass,
};
use profiler_common::wire::{CpuSample, Header, OffCpuKey, OffCpuValue, Wait, cpu_mode, tag};

/// A window that is read: where its parts go, and what its times are relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    window: u64,
    /// Index of its merge.
    merge: usize,
    part: Part,
    clock: Clock,
}

impl Wanted {
    /// Begins a window in the merge of this index.
    pub(super) fn begin(row: &rows::Window, merge: usize, merges: &mut [Merge]) -> Wanted {
        let (start, end, context) = context(row);
        let clock = Clock { unix: context.start, mono: start };
        Wanted { window: row.window, merge, part: merges[merge].window(start, end, context), clock }
    }

    /// Its number.
    pub(super) fn window(&self) -> u64 {
        self.window
    }
}

/// Reads windows of one segment into their merges: `wanted` in the order of their numbers, of them what `picked` has.
///
/// # Errors
/// The segment is damaged or could not be read. What was merged by then is to be thrown away.
pub(super) fn read(
    segment: &Segment,
    wanted: &[Wanted],
    picked: &Picked,
    merges: &mut [Merge],
) -> Result<(), StoreError> {
    // Of many windows most frames are needed, so they are read while it is found out which. If some are known from
    // another segment, most of this one's may be.
    if matches!(picked, Picked::All) && merges.len() == 1 && merges[0].is_without_frames() {
        let (frames, stacks) =
            both(|| frames(segment, usize::MAX, |_| true), || all_but_frames(segment, wanted, picked, merges));
        return stacks?.merge(&frames?, merges);
    }
    let stacks = all_but_frames(segment, wanted, picked, merges)?;
    let needed = stacks.needed(merges);
    let frames = frames(segment, needed.len(), |number| needed[number])?;
    stacks.merge(&frames, merges)
}

/// Reads all but frames into the merges, and tells which stacks are used.
fn all_but_frames<'a>(
    segment: &'a Segment,
    wanted: &[Wanted],
    picked: &Picked,
    merges: &mut [Merge],
) -> Result<Stacks<'a>, StoreError> {
    let mut stacks = Stacks::open(segment, merges.len())?;
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else { return Ok(stacks) };
    let range = first.window..=last.window;
    let find = |window: u64| wanted.binary_search_by_key(&window, |it| it.window).ok().map(|index| wanted[index]);

    for row in segment.windows::<rows::Program>(&(0..=*range.end()))? {
        let row = row?;
        if !picked.has(row.pid, row.generation) {
            continue;
        }
        // It is in the windows from one to another: in each merge the last of those decides where it belongs.
        let is_in = |it: &&Wanted| (row.window..=row.last_window).contains(&it.window);
        let windows: Vec<&Wanted> = wanted.iter().filter(is_in).collect();
        for same in windows.chunk_by(|a, b| a.merge == b.merge) {
            let last = same[same.len() - 1];
            merges[last.merge].program(last.part, program(&row));
        }
    }
    let mut names = Names::default();
    for row in segment.windows::<rows::Thread>(&range)? {
        let row = row?;
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            merges[wanted.merge].thread(wanted.part, thread(row, &mut names));
        }
    }
    for row in segment.windows::<rows::CpuSample>(&range)? {
        let row = row?;
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            let sample = CpuSample {
                header: Header { tag: tag::CPU_SAMPLE, cpu: row.cpu, at_ns: wanted.clock.mono_ns(row.time) },
                pid: row.pid,
                tid: row.tid,
                generation: row.generation,
                mode: if row.in_kernel { cpu_mode::KERNEL } else { cpu_mode::USER },
                user_stack: stacks.id(row.user_stack, wanted.merge)?,
                kernel_stack: stacks.id(row.kernel_stack, wanted.merge)?,
            };
            merges[wanted.merge].cpu_sample(wanted.part, sample);
        }
    }
    let classes = Classes::new();
    for row in segment.windows::<rows::OffCpu>(&range)? {
        let row = row?;
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            let key = OffCpuKey {
                pid: row.pid,
                tid: row.tid,
                user_stack: stacks.id(row.user_stack, wanted.merge)?,
                kernel_stack: stacks.id(row.kernel_stack, wanted.merge)?,
                class: classes.number(&row.class.text()),
                syscall: row.syscall,
                generation: row.generation,
                sampling: row.sampling,
            };
            let value = OffCpuValue {
                blocked_ns: row.blocked_ns,
                run_queue_ns: row.run_queue_ns,
                throttled_ns: row.throttled_ns.unwrap_or(0),
                max_ns: row.max_ns,
                count: row.count,
                histogram: full_histogram(&row),
            };
            merges[wanted.merge].off_cpu(key, &value);
        }
    }
    for row in segment.windows::<rows::Wait>(&range)? {
        let row = row?;
        if let Some(wanted) = find(row.window).filter(|_| picked.has(row.pid, row.generation)) {
            let start_ns = wanted.clock.mono_ns(row.start);
            let wait = Wait {
                header: Header { tag: tag::WAIT, cpu: row.cpu, at_ns: start_ns.wrapping_add(row.duration_ns) },
                key: OffCpuKey {
                    pid: row.pid,
                    tid: row.tid,
                    user_stack: stacks.id(row.user_stack, wanted.merge)?,
                    kernel_stack: stacks.id(row.kernel_stack, wanted.merge)?,
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
            merges[wanted.merge].wait(wanted.part, wait);
        }
    }
    Ok(stacks)
}

/// What a window says beside its rows.
fn context(row: &rows::Window) -> (MonoNs, MonoNs, Context) {
    let losses = row.loss_causes.iter().zip(&row.loss_counts);
    let wakers = row.waker_pids.iter().zip(&row.waker_tids).zip(&row.waker_comms);
    let context = Context {
        target: row.target.text().into_owned(),
        cpus: row.cpus,
        rate_hz: row.rate_hz,
        min_wait_ns: row.min_wait_ns,
        detail: row.detail_level.map(DetailLevels::one).unwrap_or_default(),
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
            throttled_ns: row.throttled_ns.unwrap_or(0),
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
    /// Without their frames.
    rows: Vec<rows::Stack>,
    /// Those of all, and where each stack's end.
    frames: Vec<u32>,
    ends: Vec<usize>,
    /// By merge.
    used: Vec<Vec<bool>>,
}

impl<'a> Stacks<'a> {
    fn open(segment: &'a Segment, merges: usize) -> Result<Stacks<'a>, StoreError> {
        let (mut rows, mut frames, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for (row, number) in segment.windows::<rows::Stack>(&(0..=u64::MAX))?.zip(1..) {
            let mut row = row?;
            if row.stack != number {
                return Err(StoreError::damaged(&segment.path, "its stacks are not in order"));
            }
            frames.append(&mut row.frames);
            ends.push(frames.len());
            rows.push(rows::Stack { frames: Vec::new(), ..row });
        }
        let used = vec![vec![false; rows.len()]; merges];
        Ok(Stacks { segment, rows, frames, ends, used })
    }

    /// The kernel's id of a stack by its number, for a row of this merge; 0 is none.
    fn id(&mut self, number: u32, merge: usize) -> Result<u64, StoreError> {
        let Some(index) = number.checked_sub(1) else { return Ok(0) };
        match self.used[merge].get_mut(index as usize) {
            Some(used) => {
                *used = true;
                Ok(self.rows[index as usize].stack_id)
            }
            None => Err(StoreError::damaged(&self.segment.path, format!("there is no stack {number}"))),
        }
    }

    /// The numbers of a stack's frames.
    fn frames(&self, index: usize) -> &[u32] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.frames[start..self.ends[index]]
    }

    /// Which frames the stacks have that were used and are not known from another segment, by their numbers.
    fn needed(&self, merges: &[Merge]) -> Vec<bool> {
        let is_new = |index: usize| self.used.iter().zip(merges).any(|(used, merge)| self.is_new(used, merge, index));
        self.marked((0..self.rows.len()).filter(|index| is_new(*index)))
    }

    fn is_new(&self, used: &[bool], merge: &Merge, index: usize) -> bool {
        used[index] && !merge.has_frames(self.rows[index].stack_id)
    }

    /// The frames that some stacks have, by their numbers.
    fn marked(&self, stacks: impl Iterator<Item = usize>) -> Vec<bool> {
        let mut marked: Vec<bool> = Vec::new();
        for number in stacks.flat_map(|index| self.frames(index)).map(|number| *number as usize) {
            if number >= marked.len() {
                marked.resize(number + 1, false);
            }
            marked[number] = true;
        }
        marked
    }

    /// Adds the stacks that were used, with their frames, unless they are known from another segment.
    fn merge(self, frames: &[Option<Arc<Frame>>], merges: &mut [Merge]) -> Result<(), StoreError> {
        for (used, merge) in self.used.iter().zip(merges) {
            let new: Vec<usize> = (0..self.rows.len()).filter(|index| self.is_new(used, merge, *index)).collect();
            // In the order of their numbers, so that frames of one function stay neighbours.
            let marked = self.marked(new.iter().copied());
            let chosen: Vec<usize> = (0..marked.len()).filter(|number| marked[*number]).collect();
            let frame = |number: &usize| {
                let frame = frames.get(*number).cloned().flatten();
                frame.ok_or_else(|| StoreError::damaged(&self.segment.path, format!("there is no frame {number}")))
            };
            let adopted = merge.adopt(chosen.iter().map(frame).collect::<Result<_, _>>()?);
            let mut numbers = vec![0; marked.len()];
            chosen.iter().zip(adopted).for_each(|(number, adopted)| numbers[*number] = adopted);
            for index in new {
                let row = &self.rows[index];
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
                let frames = self.frames(index);
                if !frames.is_empty() {
                    merge.frames(row.stack_id, || frames.iter().map(|number| numbers[*number as usize]).collect());
                }
            }
        }
        Ok(())
    }
}

/// Of the first `most` frames those that `needed` picks, by number; the others stay absent.
fn frames(
    segment: &Segment,
    most: usize,
    needed: impl Fn(usize) -> bool,
) -> Result<Vec<Option<Arc<Frame>>>, StoreError> {
    let kinds: BTreeMap<&str, FrameKind> =
        [FrameKind::Native, FrameKind::Kernel, FrameKind::Note].map(|kind| (kind.name(), kind)).into();
    let mut names: [Names; 4] = Default::default();
    let mut frames = Vec::new();
    for (number, row) in segment.windows::<rows::Frame>(&(0..=u64::MAX))?.take(most).enumerate() {
        let row = row?;
        let frame = || Frame {
            kind: kinds.get(&*row.kind.text()).copied().unwrap_or(FrameKind::Native),
            function: row.function.map(|text| names[0].share(text)),
            file: row.file.map(|text| names[1].share(text)),
            line: row.line,
            module: row.module.map(|text| names[2].share(text)),
            build_id: row.build_id.map(|text| names[3].share(text)),
            offset: row.offset,
            inlined: row.inlined,
        };
        frames.push(needed(number).then(frame).map(Arc::new));
    }
    Ok(frames)
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
