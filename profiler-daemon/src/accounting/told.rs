//! Of each thread: what windows have told already, and what the next one has to tell.
//!
//! The kernel's totals of a thread only grow, nearly: what is stolen, and an open interval, may come out smaller a moment
//! later, when the two clocks have settled. So a window tells what is missing to the totals, never less than nothing, and the
//! parts of every window sum to its wall time.

use std::collections::HashMap;

use super::threads::{ended, split};
use crate::model::{Ledger, MonoNs, ThreadTime, text};
use profiler_common::class;
use profiler_common::wire::{ThreadTotals, thread_flag};

/// Windows that a thread may go unread before it counts as gone: its end was lost.
const MOST_UNREAD: u32 = 3;

/// What was told of every thread that lives.
#[derive(Debug, Default)]
pub(super) struct Told {
    threads: HashMap<Identity, Thread>,
    /// Threads that got another id in this window: pid, the id before, the one now.
    renamed: Vec<(u32, u32, u32)>,
}

/// A thread keeps the instant since which it is accounted, even if an exec gives it another id.
type Identity = (u32, u64);

#[derive(Debug, Default)]
struct Thread {
    tid: u32,
    /// Up to when its time was told.
    at_ns: u64,
    sum: Ledger,
    utime_ns: u64,
    stime_ns: u64,
    blocks: u64,
    preemptions: u64,
    unread: u32,
}

impl Told {
    /// What is new of a thread in a window that began at `start`.
    pub(super) fn tell(&mut self, totals: &ThreadTotals, start: MonoNs) -> ThreadTime {
        let identity = (totals.pid, totals.since_ns);
        // A leader that ends gives its id away, too, but there is nothing more to tell of it.
        if let Some(known) = self.threads.get(&identity).filter(|known| known.tid != totals.tid && !ended(totals)) {
            self.renamed.push((totals.pid, known.tid, totals.tid));
        }
        let is_seeded = totals.flags & thread_flag::SEEDED != 0;
        let told = self.threads.entry(identity).or_insert_with(|| {
            let first_ns = if is_seeded { start.0.min(totals.since_ns) } else { totals.since_ns };
            Thread { at_ns: first_ns, ..Thread::default() }
        });
        let at_ns = totals.header.at_ns.max(told.at_ns);
        let wall_ns = at_ns - told.at_ns;
        let mut ledger = missing(totals, &told.sum, wall_ns);
        let new = |now: u64, before: u64| now.saturating_sub(before);
        let ticks = (new(totals.utime_ns, told.utime_ns), new(totals.stime_ns, told.stime_ns));
        (ledger.user_ns, ledger.kernel_ns) = split(ledger.on_cpu_ns, ticks.0, ticks.1);
        let time = ThreadTime {
            pid: totals.pid,
            tid: totals.tid,
            born_ns: totals.start_ns,
            generation: totals.generation,
            comm: text::from_bytes(&totals.comm).into(),
            start_ns: MonoNs(told.at_ns).since(start),
            blocks: new(totals.blocks, told.blocks),
            preemptions: new(totals.preemptions, told.preemptions),
            ended: ended(totals),
            ledger,
        };
        told.sum.add(&time.ledger);
        *told = Thread {
            tid: totals.tid,
            at_ns,
            sum: std::mem::take(&mut told.sum),
            utime_ns: totals.utime_ns,
            stime_ns: totals.stime_ns,
            blocks: totals.blocks,
            preemptions: totals.preemptions,
            unread: 0,
        };
        if ended(totals) {
            self.threads.remove(&identity);
        }
        time
    }

    /// A window ends: forgets threads that have not been read for some windows.
    pub(super) fn turn(&mut self) {
        self.threads.retain(|_, thread| {
            thread.unread += 1;
            thread.unread <= MOST_UNREAD
        });
    }

    /// Threads that got another id since this was asked last: pid, the id before, the one now.
    pub(super) fn renamed(&mut self) -> Vec<(u32, u32, u32)> {
        std::mem::take(&mut self.renamed)
    }

    /// Those that live, by (pid, tid).
    pub(super) fn living(&self) -> std::collections::HashSet<(u32, u32)> {
        self.threads.iter().map(|((pid, _), thread)| (*pid, thread.tid)).collect()
    }
}

/// What is in the totals and was not told, as parts that sum to `wall_ns`.
fn missing(totals: &ThreadTotals, told: &Ledger, wall_ns: u64) -> Ledger {
    // What came out smaller than it was told came to its neighbour: on the CPU to the stolen part or from it, off the CPU
    // from the block to the wait for a CPU or back.
    let on_cpu = new([totals.on_cpu_ns, totals.stolen_ns], [told.on_cpu_ns, told.stolen_ns]);
    let off_cpu = new([totals.blocked_ns, totals.run_queue_ns], [told.blocked_ns, told.run_queue_ns]);
    let mut parts = [off_cpu[0], off_cpu[1], on_cpu[0], on_cpu[1]];
    fit(&mut parts, wall_ns);
    let [blocked_ns, run_queue_ns, on_cpu_ns, stolen_ns] = parts;
    let unseen_ns = wall_ns - parts.iter().sum::<u64>();
    let mut off_cpu_ns = totals.off_cpu_ns;
    for (class, told) in off_cpu_ns.iter_mut().zip(told.off_cpu_ns) {
        *class = class.saturating_sub(told);
    }
    let off_ns = blocked_ns + run_queue_ns;
    fit(&mut off_cpu_ns, off_ns);
    // Without a block there is no more than the wait for a CPU; the rest belongs to waits.
    const PREEMPTED: usize = class::PREEMPTED as usize;
    off_cpu_ns[PREEMPTED] = off_cpu_ns[PREEMPTED].min(run_queue_ns);
    let short_ns = off_ns - off_cpu_ns.iter().sum::<u64>();
    let largest = (0..class::COUNT).filter(|class| *class != PREEMPTED).max_by_key(|class| off_cpu_ns[*class]);
    if let Some(largest) = largest {
        off_cpu_ns[largest] += short_ns;
    }
    Ledger {
        wall_ns,
        on_cpu_ns,
        stolen_ns,
        run_queue_ns,
        preempted_ns: off_cpu_ns[PREEMPTED],
        throttled_ns: totals.throttled_ns.saturating_sub(told.throttled_ns).min(run_queue_ns),
        blocked_ns,
        off_cpu_ns,
        unseen_ns,
        ..Ledger::default()
    }
}

/// What is new of two parts that time may move between: together what they grew by together.
fn new(now: [u64; 2], told: [u64; 2]) -> [u64; 2] {
    let mut parts = [now[0].saturating_sub(told[0]), now[1].saturating_sub(told[1])];
    fit(&mut parts, (now[0] + now[1]).saturating_sub(told[0] + told[1]));
    parts
}

/// Lowers the largest parts until their sum is at most `most`.
fn fit(parts: &mut [u64], most: u64) {
    let mut over = parts.iter().sum::<u64>().saturating_sub(most);
    while over > 0 {
        let Some(largest) = parts.iter_mut().max() else { return };
        let less = over.min(*largest);
        *largest -= less;
        over -= less;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::wire::Header;

    /// Totals of a thread accounted since 1,000 that has these parts at `at_ns`.
    fn totals(at_ns: u64, [on_cpu_ns, stolen_ns, run_queue_ns, blocked_ns]: [u64; 4]) -> ThreadTotals {
        let mut off_cpu_ns = [0; class::COUNT];
        off_cpu_ns[1] = blocked_ns + run_queue_ns;
        ThreadTotals {
            header: Header { at_ns, ..Header::default() },
            pid: 1,
            tid: 2,
            since_ns: 1_000,
            on_cpu_ns,
            stolen_ns,
            run_queue_ns,
            blocked_ns,
            off_cpu_ns,
            ..ThreadTotals::default()
        }
    }

    fn parts(ledger: &Ledger) -> [u64; 5] {
        assert_eq!(ledger.residual_ns(), 0);
        assert_eq!(ledger.off_cpu_ns.iter().sum::<u64>(), ledger.blocked_ns + ledger.run_queue_ns);
        assert_eq!(ledger.off_cpu_ns[0], ledger.preempted_ns);
        assert!(ledger.preempted_ns <= ledger.run_queue_ns);
        [ledger.on_cpu_ns, ledger.stolen_ns, ledger.run_queue_ns, ledger.blocked_ns, ledger.unseen_ns]
    }

    #[test]
    fn windows_sum_to_the_totals() {
        let mut told = Told::default();
        let mut tell = |at_ns, of| parts(&told.tell(&totals(at_ns, of), MonoNs(900)).ledger);
        assert_eq!(tell(1_100, [60, 10, 10, 20]), [60, 10, 10, 20, 0]);
        assert_eq!(tell(1_200, [60, 10, 10, 120]), [0, 0, 0, 100, 0]);
        // What was thought to be stolen was a wait for a CPU.
        assert_eq!(tell(1_300, [130, 0, 30, 140]), [60, 0, 20, 20, 0]);
        assert_eq!(tell(1_400, [230, 0, 30, 140]), [100, 0, 0, 0, 0], "and is made up for");
    }

    #[test]
    fn what_only_seemed_stolen_comes_off_the_run_and_no_wait() {
        let mut told = Told::default();
        let mut tell = |at_ns, of| parts(&told.tell(&totals(at_ns, of), MonoNs(1_000)).ledger);
        // Read while it ran, before the scheduler counted the run.
        assert_eq!(tell(2_000, [90, 10, 0, 900]), [90, 10, 0, 900, 0]);
        assert_eq!(tell(3_000, [200, 0, 0, 1_800]), [100, 0, 0, 900, 0]);
        // The other way: a tick was taken for a run, and was none.
        assert_eq!(tell(4_000, [210, 0, 0, 2_790]), [10, 0, 0, 990, 0]);
        assert_eq!(tell(5_000, [205, 5, 0, 3_790]), [0, 0, 0, 1_000, 0]);
    }

    #[test]
    fn a_wait_that_nobody_saw_end_comes_off_the_run_that_it_hid() {
        let mut told = Told::default();
        let mut tell = |at_ns, of| parts(&told.tell(&totals(at_ns, of), MonoNs(1_000)).ledger);
        assert_eq!(tell(1_100, [0, 0, 0, 100]), [0, 0, 0, 100, 0]);
        assert_eq!(tell(1_200, [130, 0, 0, 70]), [100, 0, 0, 0, 0]);
        assert_eq!(tell(1_300, [130, 0, 0, 170]), [30, 0, 0, 70, 0], "all of them together are the totals");
    }

    #[test]
    fn a_thread_begins_with_the_window_or_in_it() {
        for (flags, start_ns, wall_ns, unseen_ns) in [(0, 100, 100, 0), (thread_flag::SEEDED, 0, 200, 100)] {
            let time = Told::default().tell(&ThreadTotals { flags, ..totals(1_100, [100, 0, 0, 0]) }, MonoNs(900));
            assert_eq!((time.start_ns, time.ledger.wall_ns, time.ledger.unseen_ns), (start_ns, wall_ns, unseen_ns));
        }
    }

    #[test]
    fn who_ended_or_was_never_read_again_is_forgotten() {
        let mut told = Told::default();
        told.tell(&totals(1_100, [100, 0, 0, 0]), MonoNs(900));
        assert_eq!(told.living().len(), 1);
        for _ in 0..=MOST_UNREAD {
            told.turn();
        }
        assert!(told.living().is_empty());
        told.tell(&ThreadTotals { flags: thread_flag::ENDED, ..totals(1_100, [100, 0, 0, 0]) }, MonoNs(900));
        assert!(told.living().is_empty());
    }
}
