//! Drained sums and records to time per thread and window. No I/O, no clock of its own.
//!
//! The kernel programs have added up every interval already; what is left is to keep the latest
//! totals of each thread, to sum the drained waits, to book what nobody saw as unseen, and to bound
//! what could grow without end. Totals and classes are exact whatever the bounds cut: those cost
//! only places (a stack, a sample, a single wait), and each has a counter.

mod carry;
mod longest;
mod rotation;
mod stacks;
mod sums;
mod threads;
mod told;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::model::{Capture, Losses, MonoNs, RawStack};
use carry::Carry;
use longest::Longest;
use profiler_common::wire::{CpuSample, OffCpu, OffCpuKey, OffCpuValue, ThreadTotals, Wait};
use stacks::Stacks;
use threads::Threads;
use told::Told;

/// Most on-CPU samples kept: 5 hours of one CPU at 99 Hz, 96 MB.
pub const CPU_SAMPLES: usize = 2_000_000;
/// Most single waits kept; the longest stay.
pub const WAITS: usize = 10_000;
/// Most different stacks kept.
pub const STACKS: usize = 200_000;
/// Most different keys of summed waits kept.
pub const OFF_CPU_KEYS: usize = 500_000;

/// Everything that a capture collects before it becomes a [`Capture`].
#[derive(Debug)]
pub struct Accounts {
    start: MonoNs,
    threads: Threads,
    stacks: Stacks,
    /// What windows before this one told.
    told: Told,
    carry: Carry,
    /// Number of windows before this one.
    windows: u64,
    cpu_samples: Vec<CpuSample>,
    off_cpu: HashMap<OffCpuKey, OffCpuValue>,
    /// Threads whose sums came before their totals, by (pid, tid).
    strays: HashSet<(u32, u32)>,
    /// What threads had summed when the window closed.
    last_sums: HashMap<OffCpuKey, OffCpuValue>,
    waits: Longest,
    over: Over,
}

/// What the bounds cut.
#[derive(Debug, Default)]
struct Over {
    cpu_samples: u64,
    off_cpu: u64,
}

impl Accounts {
    /// Opens the accounts of a window that starts at `at`.
    pub fn start(at: MonoNs) -> Accounts {
        Accounts {
            start: at,
            threads: Threads::default(),
            stacks: Stacks::new(STACKS),
            told: Told::default(),
            carry: Carry::default(),
            windows: 0,
            cpu_samples: Vec::new(),
            off_cpu: HashMap::new(),
            strays: HashSet::new(),
            last_sums: HashMap::new(),
            waits: Longest::new(WAITS),
            over: Over::default(),
        }
    }

    /// Takes totals of a thread. They count from the start of its accounting, so later ones replace
    /// earlier ones; those of an ended thread are final.
    pub fn thread(&mut self, totals: &ThreadTotals) {
        self.threads.add(totals);
    }

    /// Adds a drained entry of summed waits.
    pub fn off_cpu(&mut self, key: OffCpuKey, value: &OffCpuValue) {
        let room = self.off_cpu.len() < OFF_CPU_KEYS;
        match self.off_cpu.entry(key) {
            Entry::Occupied(mut entry) => sums::merge(entry.get_mut(), value),
            Entry::Vacant(entry) if room => {
                entry.insert(*value);
            }
            Entry::Vacant(_) => self.over.off_cpu += value.count,
        }
    }

    /// Takes what a thread had summed when the window closed. A thread that is read and ends before we
    /// are gone says it twice, so a second record of the same key takes the place of the first.
    pub fn last_sum(&mut self, sum: &OffCpu) {
        let room = self.last_sums.len() < OFF_CPU_KEYS;
        match self.last_sums.entry(sum.key) {
            Entry::Vacant(entry) if room => {
                entry.insert(sum.value);
            }
            Entry::Vacant(_) => self.over.off_cpu += sum.value.count,
            // What was read before the window began has grown since.
            Entry::Occupied(mut entry) => {
                entry.insert(sum.value);
            }
        }
    }

    /// Keeps an on-CPU sample.
    pub fn cpu_sample(&mut self, sample: CpuSample) {
        if self.cpu_samples.len() < CPU_SAMPLES {
            self.cpu_samples.push(sample);
        } else {
            self.over.cpu_samples += 1;
        }
    }

    /// Keeps a stack by its kernel-side id; one that is sent again changes nothing.
    pub fn stack(&mut self, id: u64, stack: RawStack) {
        self.stacks.add(id, stack, self.windows);
    }

    /// Keeps a single wait if it is among the longest.
    pub fn wait(&mut self, wait: Wait) {
        self.waits.add(wait);
    }

    /// Closes the accounts at `end`, after the last read of all threads' totals.
    ///
    /// Intervals that are open at that read become waits of their key, counted once, and single waits
    /// if they last `min_wait_ns` or more. The losses are those of the bounds; a bound that held is
    /// there with 0.
    pub fn finish(mut self, end: MonoNs, min_wait_ns: u64) -> (Capture, Losses) {
        for (key, value) in std::mem::take(&mut self.last_sums) {
            self.off_cpu(key, &value);
        }
        let threads = std::mem::take(&mut self.threads).latest();
        for totals in threads.iter().filter(|totals| totals.open_ns > 0) {
            self.off_cpu(totals.open, &sums::open_value(totals));
            if totals.open_ns >= min_wait_ns {
                self.wait(sums::open_wait(totals));
            }
        }
        let (waits, waits_over) = self.waits.into_parts();
        let losses = rotation::losses(&self.over, self.stacks.over, waits_over);
        let capture = Capture {
            start: self.start,
            end,
            threads: threads.iter().map(|totals| threads::time(totals, self.start, end)).collect(),
            stacks: self.stacks.into_all(),
            cpu_samples: self.cpu_samples,
            off_cpu: self.off_cpu,
            waits,
        };
        (capture, losses)
    }
}

#[cfg(test)]
mod tests;
