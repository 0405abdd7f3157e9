//! Several windows as one.
//!
//! Times add up to the nanosecond, counts and losses add, the longest is the longest of all. Stacks and programs go by the
//! kernel's ids, which stay what they are while the daemon runs; threads by pid, tid and birth. Windows from before a
//! restart may have another clock, so all times are moved to the first window's by what the wall clock says.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::FastMap;
use crate::model::{Capture, Context, Frame, MonoNs, Overhead, Program, RawStack, Recording, ThreadTime};
use profiler_common::wire::{CpuSample, OffCpuKey, OffCpuValue, Wait};

/// Collects windows, or their parts.
#[derive(Debug, Default)]
pub struct Merge {
    merged: Recording,
    windows: u32,
    /// By pid, tid and birth: index of the thread, and the window that named it last.
    threads: FastMap<(u32, u32, u64), (usize, u32)>,
    /// By pid, generation and birth, the same.
    programs: FastMap<(u32, u32, u64), (usize, u32)>,
}

/// A window of a merge: says where its parts belong.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Place among the windows.
    number: u32,
    /// Added to its times on the kernel's clock, wrapping, gives those of the first window.
    shift_ns: u64,
    /// Its start after the first one's.
    offset_ns: u64,
}

impl Merge {
    /// Begins a window from `start` to `end` on the kernel's clock. The first one must be the earliest; of what can only be
    /// known once, such as the name of a thread, the window that was begun last decides.
    pub fn window(&mut self, start: MonoNs, end: MonoNs, context: Context) -> Part {
        let number = self.windows;
        self.windows += 1;
        let Recording { capture, context: all, .. } = &mut self.merged;
        if number == 0 {
            (capture.start, capture.end) = (start, end);
            *all = context;
            return Part { number, shift_ns: 0, offset_ns: 0 };
        }
        let offset_ns = context.start.0.saturating_sub(all.start.0);
        let shift_ns = capture.start.0.wrapping_add(offset_ns).wrapping_sub(start.0);
        capture.end = capture.end.max(MonoNs(end.0.wrapping_add(shift_ns)));
        all.cpus = all.cpus.max(context.cpus);
        // What holds for all windows: the coarsest.
        all.rate_hz = all.rate_hz.min(context.rate_hz);
        all.min_wait_ns = all.min_wait_ns.max(context.min_wait_ns);
        all.detail.add(&context.detail);
        for (cause, count) in context.losses.by_cause {
            *all.losses.by_cause.entry(cause).or_default() += count;
        }
        add_overhead(&mut all.overhead, &context.overhead);
        all.waker_names.extend(context.waker_names);
        Part { number, shift_ns, offset_ns }
    }

    /// Adds a whole window.
    pub fn add(&mut self, recording: Recording) {
        let Recording { capture, frames, programs, context } = recording;
        let Capture { start, end, threads, stacks, cpu_samples, off_cpu, waits } = capture;
        let part = self.window(start, end, context);
        threads.into_iter().for_each(|thread| self.thread(part, thread));
        programs.into_iter().for_each(|program| self.program(part, program));
        cpu_samples.into_iter().for_each(|sample| self.cpu_sample(part, sample));
        off_cpu.into_iter().for_each(|(key, value)| self.off_cpu(key, &value));
        waits.into_iter().for_each(|wait| self.wait(part, wait));
        stacks.into_iter().for_each(|(id, stack)| self.stack(id, stack));
        let numbers = self.adopt(frames.list().to_vec());
        for (id, stack) in frames.stacks() {
            self.frames(id, || stack.iter().map(|number| numbers[*number as usize]).collect());
        }
    }

    /// Adds the time of a thread.
    pub fn thread(&mut self, part: Part, mut thread: ThreadTime) {
        let threads = &mut self.merged.capture.threads;
        match self.threads.entry((thread.pid, thread.tid, thread.born_ns)) {
            Entry::Vacant(place) => {
                place.insert((threads.len(), part.number));
                thread.start_ns = thread.start_ns.saturating_add(part.offset_ns);
                threads.push(thread);
            }
            Entry::Occupied(mut place) => {
                let (index, last) = place.get_mut();
                let all = &mut threads[*index];
                all.start_ns = all.start_ns.min(thread.start_ns.saturating_add(part.offset_ns));
                all.ledger.add(&thread.ledger);
                all.blocks += thread.blocks;
                all.preemptions += thread.preemptions;
                all.ended |= thread.ended;
                if part.number >= *last {
                    *last = part.number;
                    all.comm = thread.comm;
                    all.generation = thread.generation;
                }
            }
        }
    }

    /// Adds a program.
    pub fn program(&mut self, part: Part, program: Program) {
        let programs = &mut self.merged.programs;
        match self.programs.entry((program.pid, program.generation, program.born.0)) {
            Entry::Vacant(place) => {
                place.insert((programs.len(), part.number));
                programs.push(program);
            }
            Entry::Occupied(mut place) => {
                let (index, last) = place.get_mut();
                if part.number >= *last {
                    *last = part.number;
                    programs[*index] = program;
                }
            }
        }
    }

    /// Adds a sample.
    pub fn cpu_sample(&mut self, part: Part, mut sample: CpuSample) {
        sample.header.at_ns = sample.header.at_ns.wrapping_add(part.shift_ns);
        self.merged.capture.cpu_samples.push(sample);
    }

    /// Adds waits that were summed.
    pub fn off_cpu(&mut self, key: OffCpuKey, value: &OffCpuValue) {
        match self.merged.capture.off_cpu.entry(key) {
            Entry::Vacant(place) => {
                place.insert(*value);
            }
            Entry::Occupied(place) => {
                let all = place.into_mut();
                all.blocked_ns += value.blocked_ns;
                all.run_queue_ns += value.run_queue_ns;
                all.throttled_ns += value.throttled_ns;
                all.max_ns = all.max_ns.max(value.max_ns);
                all.count += value.count;
                for (slot, count) in all.histogram.iter_mut().zip(value.histogram) {
                    *slot = slot.saturating_add(count);
                }
            }
        }
    }

    /// Adds a long wait.
    pub fn wait(&mut self, part: Part, mut wait: Wait) {
        wait.header.at_ns = wait.header.at_ns.wrapping_add(part.shift_ns);
        wait.start_ns = wait.start_ns.wrapping_add(part.shift_ns);
        // 0 says that no wake-up was seen.
        if wait.wake_ns != 0 {
            wait.wake_ns = wait.wake_ns.wrapping_add(part.shift_ns);
        }
        self.merged.capture.waits.push(wait);
    }

    /// Adds a stack by its kernel-side id.
    pub fn stack(&mut self, id: u64, stack: RawStack) {
        self.merged.capture.stacks.entry(id).or_insert(stack);
    }

    /// Adds frames, which must differ from each other, and gives the numbers that [`Self::frames`] takes for them.
    pub fn adopt(&mut self, frames: Vec<Arc<Frame>>) -> Vec<u32> {
        self.merged.frames.adopt(frames)
    }

    /// Adds the frames of a stack by its kernel-side id, unless they are known.
    pub fn frames(&mut self, id: u64, numbers: impl FnOnce() -> Arc<[u32]>) {
        self.merged.frames.insert_numbers(id, numbers);
    }

    /// Whether the frames of a stack are known already.
    pub fn has_frames(&self, id: u64) -> bool {
        self.merged.frames.has(id)
    }

    /// Whether there are no frames yet.
    pub fn is_without_frames(&self) -> bool {
        self.merged.frames.is_empty()
    }

    /// All of it as one window; `None` if there was none. `target` says what it is.
    pub fn finish(mut self, target: String) -> Option<Recording> {
        self.merged.context.target = target;
        (self.windows > 0).then_some(self.merged)
    }
}

/// What was spent adds up; what was held at the end is that of the later one.
fn add_overhead(all: &mut Overhead, later: &Overhead) {
    let sum = |a: Option<u64>, b: Option<u64>| Some(a? + b?);
    let both = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    *all = Overhead {
        kernel_ns: sum(all.kernel_ns, later.kernel_ns),
        kernel_runs: sum(all.kernel_runs, later.kernel_runs),
        daemon_ns: all.daemon_ns + later.daemon_ns,
        finish_ns: all.finish_ns + later.finish_ns,
        peak_rss_bytes: all.peak_rss_bytes.max(later.peak_rss_bytes),
        kernel_memory_bytes: later.kernel_memory_bytes,
        tables_bytes: later.tables_bytes,
        tables_files: later.tables_files,
        user_memo: both(all.user_memo, later.user_memo),
        user_skipped: all.user_skipped + later.user_skipped,
        kernel_memo: both(all.kernel_memo, later.kernel_memo),
    };
}

/// Several windows as one, from the earliest on; `None` if there is none.
pub fn merge(recordings: impl IntoIterator<Item = Recording>, target: String) -> Option<Recording> {
    let mut merge = Merge::default();
    recordings.into_iter().for_each(|recording| merge.add(recording));
    merge.finish(target)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::model::{DetailLevels, Ledger, Losses, UnixNs};
    use profiler_common::histogram::{BUCKETS, bucket};
    use profiler_common::wire::Header;

    const KEY: OffCpuKey = OffCpuKey {
        pid: 7,
        tid: 8,
        user_stack: 1,
        kernel_stack: 2,
        class: 1,
        syscall: 202,
        generation: 3,
        sampling: 0,
    };

    fn sum(waits: &[u64]) -> OffCpuValue {
        let mut histogram = [0; BUCKETS];
        waits.iter().for_each(|ns| histogram[bucket(*ns)] += 1);
        OffCpuValue {
            blocked_ns: waits.iter().sum(),
            run_queue_ns: waits.len() as u64,
            throttled_ns: 0,
            max_ns: waits.iter().copied().max().unwrap_or(0),
            count: waits.len() as u64,
            histogram,
        }
    }

    /// A window of 100 ns at these instants of the wall clock and of the kernel's, with one of everything.
    fn window(unix: u64, mono: u64, comm: &str, waits: &[u64]) -> Recording {
        let thread = ThreadTime {
            pid: 7,
            tid: 8,
            born_ns: 5,
            generation: 3,
            comm: comm.into(),
            ledger: Ledger { wall_ns: 100, on_cpu_ns: 40, ..Ledger::default() },
            blocks: 2,
            ..ThreadTime::default()
        };
        let header = Header { tag: 0, cpu: 0, at_ns: mono + 60 };
        let wait = Wait { header, key: KEY, start_ns: mono + 10, wake_ns: mono + 50, ..Wait::default() };
        Recording {
            capture: Capture {
                start: MonoNs(mono),
                end: MonoNs(mono + 100),
                threads: vec![thread],
                cpu_samples: vec![CpuSample { header, pid: 7, tid: 8, ..CpuSample::default() }],
                off_cpu: [(KEY, sum(waits))].into(),
                waits: vec![wait, Wait { wake_ns: 0, ..wait }],
                ..Capture::default()
            },
            programs: vec![Program { pid: 7, generation: 3, comm: comm.into(), ..Program::default() }],
            context: Context {
                rate_hz: if comm == "early" { 19 } else { 7 },
                start: UnixNs(unix),
                detail: DetailLevels::one(u32::from(comm == "late")),
                losses: Losses { by_cause: [("ring_full", 2)].into() },
                overhead: Overhead {
                    kernel_ns: Some(5),
                    peak_rss_bytes: unix,
                    kernel_memory_bytes: unix,
                    ..Overhead::default()
                },
                ..Context::default()
            },
            ..Recording::default()
        }
    }

    #[test]
    fn sums_add_up_and_the_longest_is_the_longest_of_all() {
        let merged =
            merge([window(1_000, 500, "early", &[9_000, 2_000]), window(1_100, 600, "late", &[70_000])], "both".into());
        let Recording { capture, programs, context, .. } = merged.unwrap();
        assert_eq!(capture.off_cpu[&KEY], sum(&[9_000, 2_000, 70_000]));
        let thread = &capture.threads[0];
        assert_eq!((capture.threads.len(), thread.ledger.wall_ns, thread.ledger.on_cpu_ns), (1, 200, 80));
        assert_eq!((thread.blocks, &*thread.comm, thread.start_ns), (4, "late", 0));
        assert_eq!((programs.len(), &*programs[0].comm), (1, "late"));
        assert_eq!((&*context.target, context.start, context.rate_hz), ("both", UnixNs(1_000), 7));
        assert_eq!(context.losses.by_cause["ring_full"], 4);
        let overhead = context.overhead;
        assert_eq!(
            (overhead.kernel_ns, overhead.peak_rss_bytes, overhead.kernel_memory_bytes),
            (Some(10), 1_100, 1_100)
        );
    }

    #[test]
    fn times_are_on_the_first_windows_clock() {
        // The second window comes after a restart of the machine.
        let merged = merge([window(1_000, 500_000, "early", &[1]), window(1_250, 40, "late", &[1])], String::new());
        let capture = merged.unwrap().capture;
        assert_eq!(capture.end.since(capture.start), 350);
        let samples: Vec<u64> = capture.cpu_samples.iter().map(|it| it.header.at_ns - capture.start.0).collect();
        assert_eq!(samples, [60, 310]);
        let waits: Vec<(u64, u64)> =
            capture.waits.iter().map(|it| (it.start_ns - capture.start.0, it.wake_ns)).collect();
        assert_eq!(waits, [(10, 500_050), (10, 0), (260, 500_300), (260, 0)], "0 is no instant");
    }

    #[test]
    fn what_was_not_measured_throughout_is_not_known() {
        let mut unmeasured = window(1_100, 600, "late", &[1]);
        unmeasured.context.overhead.kernel_ns = None;
        let merged = merge([window(1_000, 500, "early", &[1]), unmeasured], String::new()).unwrap();
        assert_eq!(merged.context.overhead.kernel_ns, None);
        assert!(merge([], String::new()).is_none());
    }
}
