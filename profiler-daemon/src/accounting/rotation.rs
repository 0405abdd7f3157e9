//! Windows that follow each other without a gap, while the kernel's sums go on growing.

use std::collections::{HashMap, HashSet};

use super::{Accounts, Longest, Over, WAITS, carry, sums, threads};
use crate::model::{Capture, Losses, MonoNs};
use profiler_common::wire::{OffCpuKey, OffCpuValue, ThreadTotals};

/// Most different stacks known at a time while windows follow each other.
const WINDOW_STACKS: usize = 40_000;

impl Accounts {
    /// Opens the accounts of the first of many windows, each of which keeps so many single waits: the longest.
    pub fn start_windows(at: MonoNs, most_waits: usize) -> Accounts {
        let mut accounts = Accounts::start(at);
        accounts.stacks = super::Stacks::new(WINDOW_STACKS);
        accounts.waits = Longest::new(most_waits.min(WAITS));
        accounts
    }

    /// Ends a window at `end` and begins the next one. To be called after all threads were read, the ring was drained and
    /// the off-CPU map was drained, in this order; `late` is what left its thread after that thread had been read.
    ///
    /// Each thread's time reaches to when it was read, a moment after `end`, and goes on from there in the next window.
    /// Stacks have addresses in the first window that uses them only. Waits that are still open have time, and count
    /// when they end. The losses are those of this window.
    pub fn rotate(&mut self, end: MonoNs, late: Vec<(OffCpuKey, OffCpuValue)>) -> (Capture, Losses) {
        let latest = std::mem::take(&mut self.threads).latest();
        let time: Vec<_> = latest.iter().map(|totals| self.told.tell(totals, self.start)).collect();
        self.told.turn();

        // What left its thread late is of the next window, but for a thread that ended: its totals are its last ones, and
        // all that it held when it was read has gone to the map.
        let ended: HashSet<(u32, u32)> =
            latest.iter().filter(|totals| threads::ended(totals)).map(|totals| (totals.pid, totals.tid)).collect();
        let has_ended = |key: &OffCpuKey| ended.contains(&(key.pid, key.tid));
        let (last, next): (Vec<_>, Vec<_>) = late.into_iter().partition(|(key, _)| has_ended(key));
        last.into_iter().for_each(|(key, value)| self.off_cpu(key, &value));
        let mut off_cpu = std::mem::take(&mut self.off_cpu);
        // An exec by a thread that is not the first one gives it the first one's id.
        let renamed = self.told.renamed();
        carry::rename(&mut off_cpu, &renamed);
        self.carry.rename(&renamed);
        let mut sums = std::mem::take(&mut self.last_sums);
        sums.retain(|key, _| !has_ended(key));
        let held = held(sums, &latest);
        let living = self.told.living();
        self.carry.settle(&mut off_cpu, held, |key| living.contains(&(key.pid, key.tid)));
        next.into_iter().for_each(|(key, value)| self.off_cpu(key, &value));
        self.keep_strays(&mut off_cpu, &latest);

        let (cpu_samples, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.cpu_samples).into_iter().partition(|sample| sample.header.at_ns < end.0);
        self.cpu_samples = later;
        let limit = self.waits.limit();
        let (waits, waits_over) = std::mem::replace(&mut self.waits, Longest::new(limit)).into_parts();

        let halves = cpu_samples.iter().flat_map(|sample| [sample.user_stack, sample.kernel_stack]);
        let halves = halves.chain(off_cpu.keys().chain(waits.iter().map(|wait| &wait.key)).flat_map(both));
        let open = latest.iter().map(|totals| &totals.open).flat_map(both);
        let stacks = self.stacks.used(halves.chain(open), self.windows);

        let over = std::mem::take(&mut self.over);
        let losses = losses(&over, std::mem::take(&mut self.stacks.over), waits_over);
        let capture = Capture { start: self.start, end, threads: time, stacks, cpu_samples, off_cpu, waits };
        self.start = end;
        self.windows += 1;
        (capture, losses)
    }

    /// Keeps sums of threads that have no totals in this window for the next one. A thread near its end is in no list of
    /// the kernel's any more, and may send its sums before, and its totals after the window was closed. If they do not
    /// come then, they are lost, and the sums are told without them.
    fn keep_strays(&mut self, off_cpu: &mut HashMap<OffCpuKey, OffCpuValue>, latest: &[ThreadTotals]) {
        let told: HashSet<(u32, u32)> = latest.iter().map(|totals| (totals.pid, totals.tid)).collect();
        let before = std::mem::take(&mut self.strays);
        let is_stray = |key: &OffCpuKey| !told.contains(&(key.pid, key.tid)) && !before.contains(&(key.pid, key.tid));
        let strays: Vec<_> = off_cpu.extract_if(|key, _| is_stray(key)).collect();
        for (key, value) in strays {
            self.strays.insert((key.pid, key.tid));
            self.off_cpu(key, &value);
        }
    }

    /// Forgets stacks that no window has used for a while, if many are kept, and returns their ids: the kernel
    /// programs have to forget them as well.
    pub fn evict_stacks(&mut self) -> Vec<u64> {
        self.stacks.evict(self.windows)
    }
}

fn both(key: &OffCpuKey) -> [u64; 2] {
    [key.user_stack, key.kernel_stack]
}

/// What threads hold: their sums, and the time of the interval that each of them is in.
fn held(
    mut sums_of_threads: HashMap<OffCpuKey, OffCpuValue>,
    latest: &[ThreadTotals],
) -> HashMap<OffCpuKey, OffCpuValue> {
    for totals in latest.iter().filter(|totals| totals.open_ns > 0) {
        sums::merge(sums_of_threads.entry(totals.open).or_insert(OffCpuValue::NOTHING), &sums::open_time(totals));
    }
    sums_of_threads
}

pub(super) fn losses(over: &Over, stacks: u64, waits: u64) -> Losses {
    let by_cause = [
        ("cpu_samples_over_bound", over.cpu_samples),
        ("off_cpu_over_bound", over.off_cpu),
        ("stacks_over_bound", stacks),
        ("waits_over_bound", waits),
    ];
    Losses { by_cause: by_cause.into() }
}
