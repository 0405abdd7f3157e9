//! A recording to rows: what one process did at one place, for one signal.

use std::collections::HashMap;
use std::sync::Arc;

use profiler_common::class;
use profiler_common::wire::{OffCpuKey, OffCpuValue, sampling};

use super::Signal;
use super::programs::Programs;
use super::threads::Threads;
use crate::model::{Capture, Recording, WaitClass, note};

/// The rows of one signal of one program, in the order of their places.
pub(super) struct Profile {
    pub(super) program: usize,
    pub(super) signal: Signal,
    pub(super) rows: Vec<Row>,
}

/// One sample of a profile.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) identity: Identity,
    /// Name of the thread, if it is known.
    pub(super) thread_name: Option<Arc<str>>,
    pub(super) amount: Amount,
}

/// What rows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    pub(super) place: Place,
    pub(super) tid: u32,
    /// Wall time only: what the thread was doing.
    pub(super) state: Option<&'static str>,
    /// Why it was off the CPU.
    pub(super) class: Option<WaitClass>,
}

/// How much of it.
#[derive(Debug)]
pub(super) enum Amount {
    /// Times of samples, nanoseconds of CLOCK_MONOTONIC.
    Times(Vec<u64>),
    /// Nanoseconds in all.
    Sum(u64),
}

/// Where a thread was, by what the kernel side calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// Both halves of a stack by their ids, 0 for none.
    Stack { kernel: u64, user: u64, kind: Kind },
    /// No stack: what is said in its place.
    Note(&'static str),
}

/// Whose stack it is: a sample's; a wait's; or that of a wait that was not walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Sample,
    Wait,
    Skipped,
}

/// Rows in the making.
type Rows = HashMap<(usize, Identity), (Option<Arc<str>>, Amount)>;

/// The profiles of these signals, by program and then in the order of `signals`.
pub(super) fn profiles(
    recording: &Recording,
    programs: &Programs,
    threads: &Threads<'_>,
    signals: &[Signal],
) -> Vec<Profile> {
    let mut collect = Collect { capture: &recording.capture, programs, threads, rows: Rows::new() };
    let mut profiles = Vec::new();
    for (order, signal) in signals.iter().enumerate() {
        match signal {
            Signal::Cpu => collect.samples(),
            Signal::OffCpu => collect.off_cpu(),
            Signal::RunQueue => collect.run_queue(None),
            Signal::Wall => collect.wall(),
        }
        let mut rows: Vec<_> = collect.rows.drain().collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        for ((program, identity), (thread_name, amount)) in rows {
            let row = Row { identity, thread_name, amount };
            match profiles.last_mut() {
                Some((_, Profile { program: last, signal: of, rows })) if *last == program && of == signal => {
                    rows.push(row);
                }
                _ => profiles.push((order, Profile { program, signal: *signal, rows: vec![row] })),
            }
        }
    }
    profiles.sort_by_key(|(order, profile)| (profile.program, *order));
    profiles.into_iter().map(|(_, profile)| profile).collect()
}

struct Collect<'a> {
    capture: &'a Capture,
    programs: &'a Programs,
    threads: &'a Threads<'a>,
    rows: Rows,
}

impl Collect<'_> {
    fn samples(&mut self) {
        for sample in &self.capture.cpu_samples {
            let place = Place::Stack { kernel: sample.kernel_stack, user: sample.user_stack, kind: Kind::Sample };
            let identity = Identity { place, tid: sample.tid, state: None, class: None };
            let ids = (sample.pid, sample.tid, sample.generation);
            let row = self.rows.entry((self.programs.find(sample.pid, sample.generation), identity));
            let (_, amount) = row.or_insert_with(|| (name(self.threads, ids), Amount::Times(Vec::new())));
            if let Amount::Times(times) = amount {
                times.push(sample.header.at_ns);
            }
        }
    }

    /// All waits, and what the ledgers hold beyond them.
    fn off_cpu(&mut self) {
        let mut left: Vec<[u64; class::COUNT]> =
            self.threads.list().iter().map(|thread| thread.ledger.off_cpu_ns).collect();
        for (key, value) in &self.capture.off_cpu {
            let class = WaitClass::from_number(key.class);
            let ns = value.blocked_ns.saturating_add(value.run_queue_ns);
            self.add_wait(key, None, Some(class), ns);
            if let Some(thread) = self.threads.find(key.pid, key.tid, key.generation) {
                let left = &mut left[thread][class as usize];
                *left = left.saturating_sub(ns);
            }
        }
        for (thread, left) in left.into_iter().enumerate() {
            for (class, ns) in WaitClass::ALL.into_iter().zip(left) {
                self.add_note(thread, note::STACK_NOT_SEEN, None, Some(class), ns);
            }
        }
    }

    fn run_queue(&mut self, state: Option<&'static str>) {
        self.waits(state, |value| value.run_queue_ns, |thread| thread.ledger.run_queue_ns, |_| None);
    }

    /// Every state of every thread: sums to the wall time of the ledgers, save for their rounding.
    fn wall(&mut self) {
        self.on_cpu("on-cpu");
        self.run_queue(Some("run-queue"));
        let class = |key: &OffCpuKey| Some(WaitClass::from_number(key.class));
        self.waits(Some("blocked"), |value| value.blocked_ns, |thread| thread.ledger.blocked_ns, class);
        for (at, thread) in self.threads.list().iter().enumerate() {
            self.add_note(at, "[stolen]", Some("stolen"), None, thread.ledger.stolen_ns);
            self.add_note(at, "[unseen]", Some("unseen"), None, thread.ledger.unseen_ns);
        }
    }

    /// One part of all waits, and what the ledgers hold of it beyond them.
    fn waits(
        &mut self,
        state: Option<&'static str>,
        part: impl Fn(&OffCpuValue) -> u64,
        all: impl Fn(&crate::model::ThreadTime) -> u64,
        class: impl Fn(&OffCpuKey) -> Option<WaitClass>,
    ) {
        let mut left: Vec<u64> = self.threads.list().iter().map(all).collect();
        for (key, value) in &self.capture.off_cpu {
            let ns = part(value);
            self.add_wait(key, state, class(key), ns);
            if let Some(thread) = self.threads.find(key.pid, key.tid, key.generation) {
                left[thread] = left[thread].saturating_sub(ns);
            }
        }
        for (thread, ns) in left.into_iter().enumerate() {
            self.add_note(thread, note::STACK_NOT_SEEN, state, None, ns);
        }
    }

    /// The exact run time of each thread, each of its samples standing for the same part of it.
    fn on_cpu(&mut self, state: &'static str) {
        let mut counts: HashMap<usize, Vec<(usize, Place)>> = HashMap::new();
        for sample in &self.capture.cpu_samples {
            let place = Place::Stack { kernel: sample.kernel_stack, user: sample.user_stack, kind: Kind::Sample };
            if let Some(thread) = self.threads.find(sample.pid, sample.tid, sample.generation) {
                let program = self.programs.find(sample.pid, sample.generation);
                counts.entry(thread).or_default().push((program, place));
            }
        }
        for (at, thread) in self.threads.list().iter().enumerate() {
            let all = u128::from(thread.ledger.on_cpu_ns);
            let Some(samples) = counts.get_mut(&at) else {
                self.add_note(at, note::ON_CPU_NOT_SAMPLED, Some(state), None, thread.ledger.on_cpu_ns);
                continue;
            };
            samples.sort_unstable();
            let many = samples.len() as u128;
            // Up to here, so that the last one leaves nothing.
            let up_to = |n: usize| (all * n as u128 / many) as u64;
            for (n, (program, place)) in samples.iter().enumerate() {
                let identity = Identity { place: *place, tid: thread.tid, state: Some(state), class: None };
                self.add(*program, identity, Some(&thread.comm), up_to(n + 1) - up_to(n));
            }
        }
    }

    fn add_wait(&mut self, key: &OffCpuKey, state: Option<&'static str>, class: Option<WaitClass>, ns: u64) {
        let kind = if key.sampling & sampling::SKIPPED == 0 { Kind::Wait } else { Kind::Skipped };
        let place = Place::Stack { kernel: key.kernel_stack, user: key.user_stack, kind };
        let name = name(self.threads, (key.pid, key.tid, key.generation));
        let identity = Identity { place, tid: key.tid, state, class };
        self.add(self.programs.find(key.pid, key.generation), identity, name.as_ref(), ns);
    }

    fn add_note(
        &mut self,
        thread: usize,
        note: &'static str,
        state: Option<&'static str>,
        class: Option<WaitClass>,
        ns: u64,
    ) {
        let thread = &self.threads.list()[thread];
        let identity = Identity { place: Place::Note(note), tid: thread.tid, state, class };
        self.add(self.programs.find(thread.pid, thread.generation), identity, Some(&thread.comm), ns);
    }

    fn add(&mut self, program: usize, identity: Identity, thread_name: Option<&Arc<str>>, ns: u64) {
        if ns == 0 {
            return;
        }
        let row = self.rows.entry((program, identity));
        let (_, amount) = row.or_insert_with(|| (thread_name.cloned(), Amount::Sum(0)));
        if let Amount::Sum(sum) = amount {
            *sum = sum.saturating_add(ns);
        }
    }
}

/// Name of the thread that bore these ids.
fn name(threads: &Threads<'_>, (pid, tid, generation): (u32, u32, u32)) -> Option<Arc<str>> {
    threads.find(pid, tid, generation).map(|thread| threads.list()[thread].comm.clone())
}
