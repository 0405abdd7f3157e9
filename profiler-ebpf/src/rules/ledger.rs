//! What a switch does to a thread's time.
//!
//! The state machine of one thread over a plain struct. `sched_switch` calls [`Ledger::switch_out`]
//! and [`Ledger::switch_in`], `sched_waking` calls [`Ledger::wake`], `sched_wakeup_new` and the seeding
//! iterator start it, and [`Ledger::totals`] reads it at any instant.
//!
//! Two clocks meet here. Stamps (CLOCK_MONOTONIC) say when something happened; the scheduler's own
//! `sum_exec_runtime` says how long the thread really executed. Their difference is carried with its
//! sign in `skew_ns`: a positive rest is time stolen from the thread, a negative one is switch path
//! that the scheduler charged to the thread before our stamp, and comes off the next wait. So the
//! parts always sum to the stamps.

use profiler_common::class;

use crate::order::{load_first, store_last};

/// States of [`Ledger::state`]: integers, since the memory is shared with the kernel.
pub mod state {
    /// Nothing is known yet.
    pub const UNKNOWN: u32 = 0;
    /// On a CPU.
    pub const RUNNING: u32 = 1;
    /// Waiting for a CPU.
    pub const RUNNABLE: u32 = 2;
    /// Not runnable.
    pub const BLOCKED: u32 = 3;
}

/// A switch that was never seen: its time was shared out by what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// All switches were seen.
    Nothing,
    /// The thread ran without a switch-in.
    SwitchIn,
    /// The thread was switched in while it was thought to run.
    SwitchOut,
}

/// One finished off-CPU interval; a wait of length zero if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// When the thread was switched out.
    pub start_ns: u64,
    /// Time not runnable.
    pub blocked_ns: u64,
    /// Time runnable but not executing.
    pub run_queue_ns: u64,
    /// The part of it that a CPU quota made. Not of the ledger, which leaves it 0: see `rules::throttle`.
    pub throttled_ns: u64,
}

/// The time of one thread since `since_ns`. Lives in task storage; zeroed memory is a valid start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// One of [`state`].
    pub state: u32,
    /// Class of the open off-CPU interval.
    pub class: u32,
    /// Start of accounting.
    pub since_ns: u64,
    /// Start of the current state.
    pub state_ns: u64,
    /// Start of the open off-CPU interval.
    pub off_ns: u64,
    /// The scheduler's run time of the thread at its last switch-out.
    pub sum_exec_ns: u64,
    /// Stamps minus run time, carried.
    pub skew_ns: i64,
    /// Blocked part of the open interval, known once the thread was woken.
    pub open_blocked_ns: u64,
    /// 1 if it was woken while it ran: a wake-up that overtakes the switch-out. Written by wakers.
    pub woken_early: u64,
    /// Time executed.
    pub on_cpu_ns: u64,
    /// Time runnable but not executing.
    pub run_queue_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time without a record.
    pub unseen_ns: u64,
    /// Off-CPU time by class; slot 0 is the run-queue wait without a block.
    pub off_cpu_ns: [u64; class::COUNT],
    /// Switches that blocked.
    pub blocks: u64,
    /// Switches that did not.
    pub preemptions: u64,
}

/// What [`Ledger::totals`] reads: every part up to one instant, the open interval included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Time executed.
    pub on_cpu_ns: u64,
    /// On a CPU by the stamps, yet not executed.
    pub stolen_ns: u64,
    /// Time runnable but not executing.
    pub run_queue_ns: u64,
    /// Time blocked.
    pub blocked_ns: u64,
    /// Time without a record.
    pub unseen_ns: u64,
    /// The open off-CPU interval; part of `run_queue_ns` and `blocked_ns`.
    pub open: Interval,
}

impl Ledger {
    /// Starts a thread that is executing right now.
    #[inline(always)]
    pub fn start_running(&mut self, now_ns: u64, sum_exec_ns: u64) {
        self.start(now_ns, sum_exec_ns);
        self.state = state::RUNNING;
    }

    /// Starts a thread that waits for a CPU: newborn, or found so.
    #[inline(always)]
    pub fn start_runnable(&mut self, now_ns: u64, sum_exec_ns: u64) {
        self.start(now_ns, sum_exec_ns);
        self.state = state::RUNNABLE;
    }

    /// Starts a thread that is found blocked. What it blocked on before `now_ns` is not ours.
    #[inline(always)]
    pub fn start_blocked(&mut self, now_ns: u64, sum_exec_ns: u64, class: u32) {
        self.start(now_ns, sum_exec_ns);
        self.class = class;
        self.blocks = 1;
        self.state = state::BLOCKED;
    }

    #[inline(always)]
    fn start(&mut self, now_ns: u64, sum_exec_ns: u64) {
        self.since_ns = now_ns;
        self.state_ns = now_ns;
        self.off_ns = now_ns;
        self.sum_exec_ns = sum_exec_ns;
        self.class = class::PREEMPTED;
    }

    /// The thread leaves the CPU. `blocked_class` is the class of its wait, or `PREEMPTED` if it stays
    /// runnable; `sum_exec_ns` is its run time so far.
    #[inline(always)]
    pub fn switch_out(&mut self, now_ns: u64, sum_exec_ns: u64, wait_class: u32) -> Missed {
        let missed = self.leave(now_ns, sum_exec_ns);
        self.off_ns = now_ns;
        self.state_ns = now_ns;
        self.open_blocked_ns = 0;
        self.class = wait_class;
        let state = if wait_class == class::PREEMPTED {
            self.preemptions += 1;
            state::RUNNABLE
        } else {
            self.blocks += 1;
            state::BLOCKED
        };
        // `wake` on another CPU looks at it first.
        store_last(&mut self.state, state);
        missed
    }

    /// The interval that a thread was off the CPU, at its switch-out, if nobody saw its switch-in: all time but what
    /// the scheduler says that it ran. Zero if it was seen.
    ///
    /// When it ran is unknown, not for how long; and what it waited for is known, but if it was blocked not where the
    /// block ended and the wait for a CPU began. All of it is taken for the block then.
    #[inline(always)]
    pub fn missed_interval(&self, now_ns: u64, sum_exec_ns: u64) -> Interval {
        if self.state != state::RUNNABLE && self.state != state::BLOCKED {
            return Interval::default();
        }
        let stamps_ns = now_ns.saturating_sub(self.state_ns);
        let run_ns = sum_exec_ns.saturating_sub(self.sum_exec_ns);
        let rest_ns = stamps_ns.saturating_sub(run_ns);
        if self.state == state::BLOCKED && self.woken_early == 0 {
            Interval { start_ns: self.off_ns, blocked_ns: rest_ns, ..Interval::default() }
        } else {
            Interval { start_ns: self.off_ns, blocked_ns: self.open_blocked_ns, run_queue_ns: rest_ns, throttled_ns: 0 }
        }
    }

    /// Books what the thread did since `state_ns`, at its switch-out.
    #[inline(always)]
    fn leave(&mut self, now_ns: u64, sum_exec_ns: u64) -> Missed {
        if self.state == state::UNKNOWN {
            self.start(now_ns, sum_exec_ns);
            return Missed::Nothing;
        }
        let stamps_ns = now_ns.saturating_sub(self.state_ns);
        let mut run_ns = sum_exec_ns.saturating_sub(self.sum_exec_ns);
        let missed = self.missed_interval(now_ns, sum_exec_ns);
        self.sum_exec_ns = sum_exec_ns;
        if self.state == state::RUNNING {
            // Right after seeding the scheduler's count may hold run time from before.
            if self.state_ns == self.since_ns && run_ns > stamps_ns {
                run_ns = stamps_ns;
            }
            self.on_cpu_ns += run_ns;
            self.skew_ns += stamps_ns as i64 - run_ns as i64;
            return Missed::Nothing;
        }
        // Its switch-in was never seen. It ran what the scheduler says, at most all of the time.
        if run_ns > stamps_ns {
            run_ns = stamps_ns;
        }
        self.on_cpu_ns += run_ns;
        self.close(missed.blocked_ns, missed.run_queue_ns);
        Missed::SwitchIn
    }

    /// Somebody wakes the thread. Anything but a blocked thread was awake already: a wake-up that
    /// overtakes the switch-out finds it running, and [`Ledger::switch_in`] sorts it out.
    /// Returns whether the thread was blocked.
    #[inline(always)]
    pub fn wake(&mut self, now_ns: u64) -> bool {
        if load_first(&self.state) != state::BLOCKED {
            self.woken_early = 1;
            return false;
        }
        self.open_blocked_ns = now_ns.saturating_sub(self.state_ns);
        self.state_ns = now_ns;
        self.state = state::RUNNABLE;
        true
    }

    /// The thread gets the CPU. Returns the interval that this ends.
    #[inline(always)]
    pub fn switch_in(&mut self, now_ns: u64, sum_exec_ns: u64) -> (Interval, Missed) {
        let waited_ns = now_ns.saturating_sub(self.state_ns);
        let mut interval = Interval { start_ns: self.off_ns, run_queue_ns: waited_ns, ..Interval::default() };
        let mut missed = Missed::Nothing;
        match self.state {
            state::RUNNABLE => {
                interval.blocked_ns = self.open_blocked_ns;
                self.settle(&mut interval);
                self.close(interval.blocked_ns, interval.run_queue_ns);
            }
            // No wake-up was seen since the switch-out. Either it came before, and the thread never left the run
            // queue; or it is one that nobody sees, and the thread was blocked for we do not know how much of it.
            state::BLOCKED => {
                if self.woken_early == 0 {
                    interval.blocked_ns = waited_ns;
                    interval.run_queue_ns = 0;
                }
                self.settle(&mut interval);
                self.close(interval.blocked_ns, interval.run_queue_ns);
            }
            state::RUNNING => {
                let mut run_ns = sum_exec_ns.saturating_sub(self.sum_exec_ns);
                if run_ns > waited_ns {
                    run_ns = waited_ns;
                }
                self.on_cpu_ns += run_ns;
                self.unseen_ns += waited_ns - run_ns;
                interval = Interval::default();
                missed = Missed::SwitchOut;
            }
            _ => {
                self.start(now_ns, sum_exec_ns);
                interval = Interval::default();
            }
        }
        self.sum_exec_ns = sum_exec_ns;
        self.open_blocked_ns = 0;
        self.woken_early = 0;
        self.state_ns = now_ns;
        self.state = state::RUNNING;
        (interval, missed)
    }

    /// Takes a negative carry off the interval: first off the run-queue wait, whose end our stamp
    /// saw too late, then off the blocked time.
    #[inline(always)]
    fn settle(&mut self, interval: &mut Interval) {
        if self.skew_ns >= 0 {
            return;
        }
        let owed_ns = (-self.skew_ns) as u64;
        let from_queue = if owed_ns < interval.run_queue_ns { owed_ns } else { interval.run_queue_ns };
        let rest_ns = owed_ns - from_queue;
        let from_block = if rest_ns < interval.blocked_ns { rest_ns } else { interval.blocked_ns };
        interval.run_queue_ns -= from_queue;
        interval.blocked_ns -= from_block;
        self.skew_ns += (from_queue + from_block) as i64;
    }

    #[inline(always)]
    fn close(&mut self, blocked_ns: u64, run_queue_ns: u64) {
        self.blocked_ns += blocked_ns;
        self.run_queue_ns += run_queue_ns;
        if let Some(sum) = self.off_cpu_ns.get_mut(self.class as usize) {
            *sum += blocked_ns + run_queue_ns;
        }
    }

    /// Every part up to `now_ns`. `sum_exec_ns` of a running thread lags by up to `tick_ns`.
    /// `off_cpu_ns` by class is not part of it: add `open` to the slot of `class`.
    #[inline(always)]
    pub fn totals(&self, now_ns: u64, sum_exec_ns: u64, tick_ns: u64) -> Totals {
        let mut totals = Totals {
            on_cpu_ns: self.on_cpu_ns,
            stolen_ns: 0,
            run_queue_ns: self.run_queue_ns,
            blocked_ns: self.blocked_ns,
            unseen_ns: self.unseen_ns,
            open: Interval { start_ns: self.off_ns, ..Interval::default() },
        };
        let mut skew_ns = self.skew_ns;
        let stamps_ns = now_ns.saturating_sub(self.state_ns);
        match self.state {
            state::RUNNING => {
                let run_ns = sum_exec_ns.saturating_sub(self.sum_exec_ns) + tick_ns;
                let run_ns = if run_ns < stamps_ns { run_ns } else { stamps_ns };
                totals.on_cpu_ns += run_ns;
                skew_ns += (stamps_ns - run_ns) as i64;
            }
            state::RUNNABLE => {
                totals.open.blocked_ns = self.open_blocked_ns;
                totals.open.run_queue_ns = stamps_ns;
            }
            state::BLOCKED if self.woken_early != 0 => totals.open.run_queue_ns = stamps_ns,
            state::BLOCKED => totals.open.blocked_ns = stamps_ns,
            _ => {}
        }
        if skew_ns >= 0 {
            totals.stolen_ns = skew_ns as u64;
        } else {
            // What is still owed comes off the open interval, else off the run time that caused it.
            let mut owed = Ledger { skew_ns, ..*self };
            owed.settle(&mut totals.open);
            totals.on_cpu_ns = totals.on_cpu_ns.saturating_sub((-owed.skew_ns) as u64);
        }
        totals.run_queue_ns += totals.open.run_queue_ns;
        totals.blocked_ns += totals.open.blocked_ns;
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[derive(Debug, Default, PartialEq, Eq)]
    struct Split {
        on_cpu: u64,
        run_queue: u64,
        blocked: u64,
        unseen: u64,
        stolen: u64,
    }

    /// Plays a drawing, one character a millisecond, and returns the parts in milliseconds:
    /// `=` on-CPU, `.` run-queue wait, `_` blocked. `~` is on-CPU by the stamps but not executed.
    /// A block begins where `_` follows, a preemption where `.` follows on-CPU.
    fn play(drawing: &str) -> Split {
        split(&run(drawing), drawing)
    }

    fn run(drawing: &str) -> Ledger {
        let mut ledger = Ledger::default();
        let mut exec = 0;
        let mut before = ' ';
        for (at, now) in drawing.chars().enumerate() {
            let at_ns = at as u64 * MS;
            let (was_on, is_on) = ("=~".contains(before), "=~".contains(now));
            match (before, now) {
                (' ', '_') => ledger.start_blocked(at_ns, exec, class::LOCK),
                (' ', '.') => ledger.start_runnable(at_ns, exec),
                (' ', _) => ledger.start_running(at_ns, exec),
                (_, '_') if was_on => drop(ledger.switch_out(at_ns, exec, class::LOCK)),
                (_, '.') if was_on => drop(ledger.switch_out(at_ns, exec, class::PREEMPTED)),
                ('_', '.') => drop(ledger.wake(at_ns)),
                ('_', _) if is_on => {
                    ledger.wake(at_ns);
                    ledger.switch_in(at_ns, exec);
                }
                ('.', _) if is_on => drop(ledger.switch_in(at_ns, exec)),
                _ => {}
            }
            exec += if now == '=' { MS } else { 0 };
            before = now;
        }
        // The scheduler's count is exact when the last character is drawn.
        ledger.sum_exec_ns -= 0;
        LAST_EXEC.with(|last| last.set(exec));
        ledger
    }

    thread_local! { static LAST_EXEC: std::cell::Cell<u64> = const { std::cell::Cell::new(0) }; }

    fn split(ledger: &Ledger, drawing: &str) -> Split {
        let end_ns = drawing.chars().count() as u64 * MS;
        let totals = ledger.totals(end_ns, LAST_EXEC.with(|last| last.get()), 0);
        let sum = totals.on_cpu_ns + totals.stolen_ns + totals.run_queue_ns + totals.blocked_ns + totals.unseen_ns;
        assert_eq!(sum, end_ns - ledger.since_ns, "the parts sum to wall: {drawing}");
        Split {
            on_cpu: totals.on_cpu_ns / MS,
            run_queue: totals.run_queue_ns / MS,
            blocked: totals.blocked_ns / MS,
            unseen: totals.unseen_ns / MS,
            stolen: totals.stolen_ns / MS,
        }
    }

    #[test]
    fn waiting_for_a_cpu_is_neither_sleep_nor_work() {
        assert_eq!(play("===..==____.=="), Split { on_cpu: 7, run_queue: 3, blocked: 4, ..Split::default() });
    }

    #[test]
    fn a_thread_that_sleeps_throughout_is_blocked_throughout() {
        assert_eq!(play("__________"), Split { blocked: 10, ..Split::default() });
    }

    #[test]
    fn a_newborn_waits_for_a_cpu_first() {
        assert_eq!(play("..==__"), Split { run_queue: 2, on_cpu: 2, blocked: 2, ..Split::default() });
    }

    #[test]
    fn intervals_open_at_the_end_count() {
        assert_eq!(play("==___.."), Split { on_cpu: 2, blocked: 3, run_queue: 2, ..Split::default() });
    }

    #[test]
    fn time_taken_by_the_hypervisor_is_stolen() {
        assert_eq!(play("==~~=="), Split { on_cpu: 4, stolen: 2, ..Split::default() });
        assert_eq!(play("==~~==__=="), Split { on_cpu: 6, stolen: 2, blocked: 2, ..Split::default() });
    }

    #[test]
    fn off_cpu_time_of_a_class_is_its_block_and_its_wake_up() {
        let ledger = run("==____..===..==");
        assert_eq!(ledger.off_cpu_ns[class::LOCK as usize], 6 * MS);
        assert_eq!(ledger.off_cpu_ns[class::PREEMPTED as usize], 2 * MS);
        assert_eq!((ledger.blocks, ledger.preemptions), (1, 1));
    }

    #[test]
    fn a_wake_up_that_overtakes_the_switch_out_means_it_never_left_the_queue() {
        let mut ledger = Ledger::default();
        ledger.start_running(0, 0);
        assert!(!ledger.wake(9 * MS), "still running");
        ledger.switch_out(10 * MS, 10 * MS, class::LOCK);
        let (interval, missed) = ledger.switch_in(12 * MS, 10 * MS);
        assert_eq!(interval, Interval { start_ns: 10 * MS, run_queue_ns: 2 * MS, ..Interval::default() });
        assert_eq!(missed, Missed::Nothing);
    }

    #[test]
    fn run_time_charged_before_our_stamp_comes_off_the_wait() {
        let mut ledger = Ledger::default();
        ledger.start_runnable(0, 0);
        ledger.switch_in(MS, 0);
        // 2 ms by the stamps, 3 ms by the scheduler: it started the clock 1 ms before we did.
        ledger.switch_out(3 * MS, 3 * MS, class::SLEEP);
        ledger.wake(10 * MS);
        let (interval, _) = ledger.switch_in(14 * MS, 3 * MS);
        assert_eq!(interval, Interval { start_ns: 3 * MS, blocked_ns: 7 * MS, run_queue_ns: 3 * MS, throttled_ns: 0 });
        let totals = ledger.totals(14 * MS, 3 * MS, 0);
        assert_eq!((totals.on_cpu_ns, totals.stolen_ns), (3 * MS, 0));
        assert_eq!(totals.on_cpu_ns + totals.run_queue_ns + totals.blocked_ns, 14 * MS);
    }

    #[test]
    fn a_missed_switch_in_is_shared_out_by_run_time() {
        let mut ledger = Ledger::default();
        ledger.start_runnable(0, 0);
        assert_eq!(ledger.switch_out(10 * MS, 4 * MS, class::SLEEP), Missed::SwitchIn);
        assert_eq!((ledger.on_cpu_ns, ledger.run_queue_ns), (4 * MS, 6 * MS));
    }

    #[test]
    fn a_missed_switch_in_of_a_blocked_thread_leaves_the_rest_to_its_class() {
        let mut ledger = Ledger::default();
        ledger.start_blocked(0, 0, class::PIPE);
        let missed = ledger.missed_interval(10 * MS, 4 * MS);
        assert_eq!(missed, Interval { blocked_ns: 6 * MS, ..Interval::default() });
        assert_eq!(ledger.switch_out(10 * MS, 4 * MS, class::SLEEP), Missed::SwitchIn);
        assert_eq!((ledger.on_cpu_ns, ledger.blocked_ns, ledger.unseen_ns), (4 * MS, 6 * MS, 0));
        assert_eq!(ledger.off_cpu_ns[class::PIPE as usize], 6 * MS);
    }

    #[test]
    fn a_wake_up_that_nobody_saw_leaves_the_wait_blocked() {
        let mut ledger = Ledger::default();
        ledger.start_running(0, 0);
        ledger.wake(MS);
        ledger.switch_out(2 * MS, 2 * MS, class::LOCK);
        ledger.wake(3 * MS);
        ledger.switch_in(4 * MS, 2 * MS);
        ledger.switch_out(5 * MS, 3 * MS, class::LOCK);
        let (interval, missed) = ledger.switch_in(9 * MS, 3 * MS);
        assert_eq!(interval, Interval { start_ns: 5 * MS, blocked_ns: 4 * MS, ..Interval::default() });
        assert_eq!(missed, Missed::Nothing);
    }

    #[test]
    fn a_missed_switch_out_leaves_time_unseen() {
        let mut ledger = Ledger::default();
        ledger.start_running(0, 0);
        let (interval, missed) = ledger.switch_in(10 * MS, 3 * MS);
        assert_eq!((interval, missed), (Interval::default(), Missed::SwitchOut));
        assert_eq!((ledger.on_cpu_ns, ledger.unseen_ns), (3 * MS, 7 * MS));
    }

    #[test]
    fn run_time_from_before_the_seed_is_not_ours() {
        let mut ledger = Ledger::default();
        ledger.start_running(100 * MS, 50 * MS);
        // The tick had not yet booked 3 ms when we started.
        ledger.switch_out(101 * MS, 54 * MS, class::SLEEP);
        assert_eq!((ledger.on_cpu_ns, ledger.skew_ns), (MS, 0));
    }

    #[test]
    fn any_order_of_events_sums_to_wall() {
        // A small deterministic generator: every event at any time, run time never decreasing.
        let mut seed = 1u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..2_000 {
            let mut ledger = Ledger::default();
            let (mut now, mut exec) = (1_000, 0);
            ledger.start_runnable(now, exec);
            for _ in 0..30 {
                let step = next(1_000);
                now += step;
                match next(3) {
                    0 => {
                        exec += next(step + 50);
                        ledger.switch_out(now, exec, next(class::COUNT as u64) as u32);
                    }
                    1 => drop(ledger.switch_in(now, exec)),
                    _ => drop(ledger.wake(now)),
                }
                let totals = ledger.totals(now, exec, 0);
                let sum =
                    totals.on_cpu_ns + totals.stolen_ns + totals.run_queue_ns + totals.blocked_ns + totals.unseen_ns;
                assert_eq!(sum, now - ledger.since_ns);
            }
        }
    }
}
