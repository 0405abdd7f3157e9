#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::ThreadTime;
use profiler_common::class;
use profiler_common::histogram::{BUCKETS, bucket};
use profiler_common::wire::{Header, OffCpu, tag, thread_flag};

const MS: u64 = 1_000_000;

/// Totals of thread 42/43 between two instants, all of it on CPU.
fn totals(since_ns: u64, at_ns: u64, flags: u32) -> ThreadTotals {
    let header = Header { at_ns, ..Header::default() };
    let on_cpu_ns = at_ns - since_ns;
    ThreadTotals { header, pid: 42, tid: 43, flags, start_ns: 7, since_ns, on_cpu_ns, ..ThreadTotals::default() }
}

fn threads_of(window: (u64, u64), all: &[ThreadTotals]) -> Vec<ThreadTime> {
    let mut accounts = Accounts::start(MonoNs(window.0));
    all.iter().for_each(|totals| accounts.thread(totals));
    accounts.finish(MonoNs(window.1), MS).0.threads
}

fn value(blocked_ns: u64, run_queue_ns: u64) -> OffCpuValue {
    let mut histogram = [0; BUCKETS];
    histogram[bucket(blocked_ns + run_queue_ns)] = 1;
    let max_ns = blocked_ns + run_queue_ns;
    OffCpuValue { blocked_ns, run_queue_ns, max_ns, count: 1, histogram, ..OffCpuValue::NOTHING }
}

/// One character a millisecond of the window: `=` accounted, `?` unseen, space: not there.
fn picture(window: (u64, u64), totals: ThreadTotals) -> String {
    let thread = threads_of(window, &[totals]).remove(0);
    assert_eq!(thread.ledger.residual_ns(), 0);
    let before = totals.since_ns.saturating_sub(window.0 + thread.start_ns);
    let after = thread.ledger.unseen_ns - before;
    let part = |c: &str, ns: u64| c.repeat((ns / MS) as usize);
    part(" ", thread.start_ns) + &part("?", before) + &part("=", thread.ledger.on_cpu_ns) + &part("?", after)
}

#[test]
fn wall_time_begins_and_ends_with_the_window_or_the_thread() {
    let (seeded, ended) = (thread_flag::SEEDED, thread_flag::ENDED);
    let window = (100 * MS, 110 * MS);
    for (since, at, flags, expected) in [
        (102, 109, seeded, "??=======?"),
        (102, 109, 0, "  =======?"),
        (102, 106, seeded | ended, "??===="),
        (103, 106, ended, "   ==="),
        (100, 110, seeded, "=========="),
        // Read a moment before the window was said to start, and after it was said to end.
        (99, 111, seeded, "============"),
    ] {
        assert_eq!(picture(window, totals(since * MS, at * MS, flags)), expected);
    }
}

#[test]
fn a_thread_without_any_time_is_kept() {
    let threads = threads_of((100, 200), &[totals(150, 150, thread_flag::ENDED)]);
    assert_eq!((threads.len(), threads[0].ledger.wall_ns, threads[0].ended), (1, 0, true));
}

#[test]
fn later_totals_replace_earlier_ones_and_an_end_is_final() {
    let (first, second) = (totals(100, 120, 0), totals(100, 150, 0));
    let end = totals(100, 140, thread_flag::ENDED);
    for (order, on_cpu) in
        [(vec![first, second], 50), (vec![second, first], 50), (vec![end, second], 40), (vec![second, end], 40)]
    {
        let threads = threads_of((100, 200), &order);
        assert_eq!((threads.len(), threads[0].ledger.on_cpu_ns), (1, on_cpu));
    }
}

#[test]
fn a_reused_tid_is_another_thread() {
    let first = totals(100, 120, thread_flag::ENDED);
    let second = ThreadTotals { start_ns: 8, ..totals(130, 150, thread_flag::ENDED) };
    let on_cpu: Vec<u64> = threads_of((100, 200), &[second, first]).iter().map(|t| t.ledger.on_cpu_ns).collect();
    assert_eq!(on_cpu, [20, 20]);
}

/// The leader ends, and the thread that called exec goes on as 42/42 with its time so far.
#[test]
fn exec_by_another_thread_counts_no_time_twice() {
    let leader = |totals| ThreadTotals { tid: 42, start_ns: 1, ..totals };
    let all = [
        leader(totals(100, 140, thread_flag::ENDED | thread_flag::SEEDED)),
        totals(110, 130, 0),
        leader(ThreadTotals { generation: 1, ..totals(110, 190, 0) }),
    ];
    let on_cpu: Vec<(u32, u64)> =
        threads_of((100, 190), &all).iter().map(|thread| (thread.tid, thread.ledger.on_cpu_ns)).collect();
    assert_eq!(on_cpu, [(42, 40), (42, 80)]);
}

#[test]
fn drained_entries_add_up() {
    let mut accounts = Accounts::start(MonoNs(0));
    let key = OffCpuKey { pid: 42, tid: 43, class: class::LOCK, ..OffCpuKey::default() };
    accounts.off_cpu(key, &value(3_000, 100));
    accounts.off_cpu(key, &value(9_000, 0));
    accounts.off_cpu(OffCpuKey { class: class::PIPE, ..key }, &value(5, 0));
    let (capture, _) = accounts.finish(MonoNs(1), MS);
    let sum = capture.off_cpu[&key];
    assert_eq!((sum.blocked_ns, sum.run_queue_ns, sum.max_ns, sum.count), (12_000, 100, 9_000, 2));
    assert_eq!((sum.histogram[bucket(3_100)], sum.histogram[bucket(9_000)]), (1, 1));
    assert_eq!(capture.off_cpu.len(), 2);
}

#[test]
fn last_sums_are_added_once_to_what_was_drained() {
    let key = OffCpuKey { pid: 42, tid: 43, class: class::LOCK, ..OffCpuKey::default() };
    let header = Header { tag: tag::OFF_CPU, ..Header::default() };
    let last = OffCpu { header, key, value: value(3_000, 100) };
    let other = OffCpu { key: OffCpuKey { tid: 44, ..key }, ..last };
    let mut accounts = Accounts::start(MonoNs(0));
    accounts.off_cpu(key, &value(9_000, 0));
    // Thread 43 is read, and then it ends.
    [last, other, last].iter().for_each(|sum| accounts.last_sum(sum));
    let (capture, _) = accounts.finish(MonoNs(1), MS);
    let sums = [key, other.key].map(|key| (capture.off_cpu[&key].blocked_ns, capture.off_cpu[&key].count));
    assert_eq!(sums, [(12_000, 2), (3_000, 1)]);
}

#[test]
fn sums_that_come_before_their_totals_wait_for_them_one_window() {
    let key = OffCpuKey { pid: 1, tid: 2, class: class::LOCK, ..OffCpuKey::default() };
    for totals_come in [true, false] {
        let mut accounts = Accounts::start_windows(MonoNs(0), 10);
        accounts.off_cpu(key, &value(3_000, 100));
        assert_eq!(accounts.rotate(MonoNs(10), Vec::new()).0.off_cpu, HashMap::new());
        if totals_come {
            accounts.thread(&ThreadTotals { pid: 1, tid: 2, ..totals(5, 15, 0) });
        }
        let (capture, _) = accounts.rotate(MonoNs(20), Vec::new());
        assert_eq!((capture.threads.len(), capture.off_cpu[&key].count), (usize::from(totals_come), 1));
    }
}

#[test]
fn an_open_interval_is_one_more_wait_of_its_key() {
    let key = OffCpuKey { pid: 42, tid: 43, class: class::POLL_IDLE, syscall: 232, ..OffCpuKey::default() };
    let open = ThreadTotals { open_ns: 8 * MS, open_run_queue_ns: MS, open: key, ..totals(0, 20 * MS, 0) };
    let mut accounts = Accounts::start(MonoNs(0));
    accounts.off_cpu(key, &value(2 * MS, 0));
    accounts.thread(&open);
    let (capture, _) = accounts.finish(MonoNs(20 * MS), MS);
    let sum = capture.off_cpu[&key];
    assert_eq!((sum.count, sum.max_ns, sum.blocked_ns, sum.run_queue_ns), (2, 8 * MS, 9 * MS, MS));
    assert_eq!(sum.histogram[bucket(8 * MS)], 1);
    let wait = capture.waits[0];
    assert_eq!((wait.start_ns, wait.wake_ns, wait.header.at_ns, wait.key), (12 * MS, 19 * MS, 20 * MS, key));
}

#[test]
fn only_a_long_open_interval_is_a_single_wait() {
    for (open_ns, waits) in [(0, 0), (MS - 1, 0), (MS, 1)] {
        let mut accounts = Accounts::start(MonoNs(0));
        accounts.thread(&ThreadTotals { open_ns, ..totals(0, 20 * MS, 0) });
        let (capture, _) = accounts.finish(MonoNs(20 * MS), MS);
        assert_eq!((capture.waits.len(), capture.off_cpu.len()), (waits, usize::from(open_ns > 0)));
    }
}

#[test]
fn bounds_hold_and_say_what_they_cut() {
    let mut accounts = Accounts::start(MonoNs(0));
    for n in 0..WAITS as u64 + 5 {
        accounts.wait(Wait { header: Header { at_ns: n, ..Header::default() }, ..Wait::default() });
    }
    for id in 1..=STACKS as u64 + 2 {
        accounts.stack(id, RawStack::default());
    }
    accounts.stack(1, RawStack::default());
    let (capture, losses) = accounts.finish(MonoNs(1), MS);
    assert_eq!(capture.waits.iter().map(|wait| wait.header.at_ns).min(), Some(5));
    assert_eq!((capture.waits.len(), capture.stacks.len()), (WAITS, STACKS));
    let lost: Vec<(&str, u64)> = losses.by_cause.into_iter().collect();
    assert_eq!(
        lost,
        [("cpu_samples_over_bound", 0), ("off_cpu_over_bound", 0), ("stacks_over_bound", 2), ("waits_over_bound", 5)]
    );
}

/// A small generator: repeatable, no dependency. Source: xorshift64, Marsaglia 2003.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}

/// Any totals that the kernel can produce: the parts fill the time from `since` to `at`.
fn any_totals(random: &mut Random, start: u64, end: u64) -> ThreadTotals {
    let since_ns = start - 50 + random.below(end - start);
    let at_ns = since_ns + random.below(end + 50 - since_ns);
    let mut left = at_ns - since_ns;
    let mut part = || {
        let part = random.below(left + 1);
        left -= part;
        part
    };
    let (on_cpu_ns, stolen_ns, preempted_ns, blocked_ns, wake) = (part(), part(), part(), part(), part());
    let unseen_ns = left;
    let mut off_cpu_ns = [0; class::COUNT];
    off_cpu_ns[class::PREEMPTED as usize] = preempted_ns;
    off_cpu_ns[class::LOCK as usize] = blocked_ns + wake;
    ThreadTotals {
        header: Header { at_ns, ..Header::default() },
        pid: 1,
        tid: random.below(u64::from(u32::MAX)) as u32,
        flags: random.below(4) as u32,
        since_ns,
        on_cpu_ns,
        stolen_ns,
        run_queue_ns: preempted_ns + wake,
        preempted_ns,
        blocked_ns,
        unseen_ns,
        off_cpu_ns,
        utime_ns: random.below(1 << 40),
        stime_ns: random.below(1 << 40),
        ..ThreadTotals::default()
    }
}

#[test]
fn parts_sum_to_wall_whatever_the_kernel_says() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        let start = 1_000 + random.below(1 << 50);
        let end = start + 100 + random.below(1 << 45);
        let totals = any_totals(&mut random, start, end);
        let thread = threads_of((start, end), &[totals]).pop().unwrap();
        let ledger = thread.ledger;
        assert_eq!(ledger.residual_ns(), 0, "round {round}: {totals:?}");
        assert_eq!(ledger.user_ns + ledger.kernel_ns, ledger.on_cpu_ns);
        assert_eq!(ledger.off_cpu_ns.iter().sum::<u64>(), ledger.run_queue_ns + ledger.blocked_ns);
    }
}
