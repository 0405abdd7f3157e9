//! The arithmetic of the report: parts that add up to the wall time.
//!
//! `off_cpu_ns[class]` of a ledger holds a wait together with the wait for a CPU after it, and idle
//! waits too. A reader wants each moment once, so here: every wait for a CPU is in `run_queue`, the
//! rest of an idle wait is in `idle` (the thread's `idle_ns`), and the rest of any other wait is in `blocked[class]`.

use profiler_common::class::COUNT;

use crate::model::{State, Thread, WaitClass, Window};

/// Where wall time went, each moment in one part. All in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) wall: u64,
    pub(super) on_cpu: u64,
    pub(super) user: u64,
    pub(super) kernel: u64,
    pub(super) run_queue: u64,
    pub(super) preempted: u64,
    pub(super) throttled: u64,
    /// By class number; slot 0 stays 0.
    pub(super) blocked: [u64; COUNT],
    /// Number of waits behind `blocked`.
    pub(super) waits: [u64; COUNT],
    pub(super) idle: u64,
    pub(super) stolen: u64,
    pub(super) unseen: u64,
}

impl Parts {
    /// Of each thread, in the order of `window.threads`.
    pub(super) fn of_threads(window: &Window) -> Vec<Parts> {
        let mut placed = vec![Placed::default(); window.threads.len()];
        for sample in &window.samples {
            let (State::OffCpu(class), Some(thread)) = (sample.state, placed.get_mut(sample.thread as usize)) else {
                continue;
            };
            let slot = class as usize;
            thread.off_cpu[slot] += sample.run_queue_ns + sample.blocked_ns;
            if !sample.idle && class != WaitClass::Preempted {
                thread.blocked[slot] += sample.blocked_ns;
                thread.waits[slot] += sample.count;
            }
        }
        window.threads.iter().zip(placed).map(|(thread, placed)| placed.with(thread)).collect()
    }

    /// The sum.
    pub(super) fn sum<'a>(parts: impl Iterator<Item = &'a Parts>) -> Parts {
        parts.fold(Parts::default(), |mut sum, part| {
            sum.wall += part.wall;
            sum.on_cpu += part.on_cpu;
            sum.user += part.user;
            sum.kernel += part.kernel;
            sum.run_queue += part.run_queue;
            sum.preempted += part.preempted;
            sum.throttled += part.throttled;
            sum.idle += part.idle;
            sum.stolen += part.stolen;
            sum.unseen += part.unseen;
            for slot in 0..COUNT {
                sum.blocked[slot] += part.blocked[slot];
                sum.waits[slot] += part.waits[slot];
            }
            sum
        })
    }

    /// Blocked in the middle of work, all classes.
    pub(super) fn blocked(&self) -> u64 {
        self.blocked.iter().sum()
    }

    /// What is not idle.
    pub(super) fn busy(&self) -> u64 {
        self.on_cpu + self.run_queue + self.blocked() + self.stolen + self.unseen
    }

    /// Sum of the parts minus wall time.
    pub(super) fn residual(&self) -> i64 {
        (self.busy() + self.idle) as i64 - self.wall as i64
    }

    /// Classes with time, largest first; ties by name.
    pub(super) fn classes(&self) -> Vec<WaitClass> {
        let mut classes: Vec<WaitClass> =
            WaitClass::ALL.into_iter().filter(|class| self.blocked[*class as usize] > 0).collect();
        classes.sort_by(|a, b| {
            let time = |class: WaitClass| self.blocked[class as usize];
            time(*b).cmp(&time(*a)).then_with(|| a.name().cmp(b.name()))
        });
        classes
    }
}

/// What the samples of one thread say; its exact sums come from the ledger.
#[derive(Clone, Debug, Default)]
struct Placed {
    blocked: [u64; COUNT],
    waits: [u64; COUNT],
    off_cpu: [u64; COUNT],
}

impl Placed {
    fn with(mut self, thread: &Thread) -> Parts {
        self.keep_to_ledger(thread);
        self.spread_unplaced(thread);
        let ledger = &thread.ledger;
        Parts {
            wall: ledger.wall_ns,
            on_cpu: ledger.on_cpu_ns,
            user: ledger.user_ns,
            kernel: ledger.kernel_ns,
            run_queue: ledger.run_queue_ns,
            preempted: ledger.preempted_ns,
            throttled: ledger.throttled_ns,
            blocked: self.blocked,
            waits: self.waits,
            idle: thread.idle_ns,
            stolen: ledger.stolen_ns,
            unseen: ledger.unseen_ns,
        }
    }

    /// Places of waits are summed beside the ledger. Where they come out longer by a moment, the ledger is right.
    fn keep_to_ledger(&mut self, thread: &Thread) {
        let placed: u64 = self.blocked.iter().sum::<u64>() + thread.idle_ns;
        let mut over = placed.saturating_sub(thread.ledger.blocked_ns);
        while over > 0 {
            let Some(largest) = self.blocked.iter_mut().max() else { return };
            let less = over.min(*largest);
            if less == 0 {
                return;
            }
            *largest -= less;
            over -= less;
        }
    }

    /// Waits that found no room in the kernel's table are in the ledger but in no sample. Their class
    /// is known exactly, with the wait for a CPU included; the blocked part is shared out by it.
    fn spread_unplaced(&mut self, thread: &Thread) {
        let ledger = &thread.ledger;
        let placed: u64 = self.blocked.iter().sum::<u64>() + thread.idle_ns;
        let mut left = ledger.blocked_ns.saturating_sub(placed);
        let mut unplaced: [u64; COUNT] = std::array::from_fn(|slot| {
            if slot == WaitClass::Preempted as usize {
                0
            } else {
                ledger.off_cpu_ns[slot].saturating_sub(self.off_cpu[slot])
            }
        });
        if unplaced.iter().all(|ns| *ns == 0) {
            unplaced[WaitClass::Other as usize] = 1;
        }
        let mut weight: u64 = unplaced.iter().sum();
        for (slot, ns) in unplaced.into_iter().enumerate().filter(|(_, ns)| *ns > 0) {
            // Of what is left by the weight that is left, so that the last one takes the rest.
            let part = (u128::from(left) * u128::from(ns) / u128::from(weight)) as u64;
            self.blocked[slot] += part;
            left -= part;
            weight -= ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Ledger, Sample, StackId};

    fn wait(class: WaitClass, idle: bool, run_queue_ns: u64, blocked_ns: u64) -> Sample {
        let state = State::OffCpu(class);
        Sample {
            thread: 0,
            stack: StackId(0),
            state,
            idle,
            count: 3,
            on_cpu_ns: 0,
            run_queue_ns,
            throttled_ns: 0,
            blocked_ns,
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger {
            wall_ns: 1_000,
            on_cpu_ns: 100,
            user_ns: 80,
            kernel_ns: 20,
            stolen_ns: 5,
            run_queue_ns: 95,
            preempted_ns: 30,
            blocked_ns: 790,
            unseen_ns: 11,
            ..Ledger::default()
        };
        ledger.off_cpu_ns[WaitClass::Preempted as usize] = 30;
        ledger.off_cpu_ns[WaitClass::Lock as usize] = 225;
        ledger.off_cpu_ns[WaitClass::PollIdle as usize] = 630;
        ledger
    }

    fn parts(samples: Vec<Sample>) -> Parts {
        let ledger = ledger();
        let idle_ns = samples.iter().filter(|sample| sample.idle).map(|sample| sample.blocked_ns).sum();
        let thread = Thread { ledger, idle_ns, ..Thread::default() };
        Parts::of_threads(&Window { threads: vec![thread], samples, ..Window::default() }).remove(0)
    }

    #[test]
    fn every_moment_is_in_one_part_and_the_parts_are_the_wall() {
        let found = parts(vec![
            wait(WaitClass::Preempted, false, 30, 0),
            wait(WaitClass::Lock, false, 25, 200),
            wait(WaitClass::PollIdle, true, 30, 500),
            wait(WaitClass::PollIdle, false, 10, 90),
        ]);
        assert_eq!(found.blocked(), 290, "without the waits for a CPU and without idle");
        assert_eq!(found.blocked[WaitClass::Lock as usize], 200);
        assert_eq!(found.blocked[WaitClass::PollIdle as usize], 90);
        assert_eq!(found.idle, 500);
        assert_eq!(found.run_queue, 95, "all of it, also after idle waits");
        let lines = found.on_cpu + found.run_queue + 200 + 90 + found.idle + found.stolen + found.unseen;
        assert_eq!(lines as i64 - 1_000, found.residual());
        assert_eq!(found.residual(), ledger().residual_ns(), "the report's residual is the ledger's");
        assert_eq!(found.residual(), 1);
    }

    #[test]
    fn waits_without_a_place_keep_their_class_and_the_sum() {
        let found = parts(vec![wait(WaitClass::Lock, false, 25, 200)]);
        assert_eq!(found.blocked[WaitClass::Lock as usize], 200);
        assert_eq!(found.blocked[WaitClass::PollIdle as usize], 590, "all that is missing was of this class");
        assert_eq!(found.residual(), ledger().residual_ns());

        let found = parts(vec![]);
        assert_eq!(found.blocked(), 790);
        assert_eq!(found.blocked[WaitClass::Lock as usize], 790 * 225 / 855);
        assert_eq!(found.residual(), ledger().residual_ns());
    }

    #[test]
    fn places_that_are_longer_than_the_ledger_do_not_make_the_sum_longer() {
        let found = parts(vec![wait(WaitClass::Lock, false, 25, 207), wait(WaitClass::PollIdle, true, 40, 590)]);
        assert_eq!((found.blocked[WaitClass::Lock as usize], found.idle), (200, 590));
        assert_eq!(found.residual(), ledger().residual_ns());
    }

    #[test]
    fn classes_come_largest_first() {
        let found = parts(vec![wait(WaitClass::Lock, false, 25, 200), wait(WaitClass::PollIdle, true, 40, 590)]);
        assert_eq!(found.classes(), [WaitClass::Lock]);
    }

    #[test]
    fn a_sum_closes_like_its_threads() {
        let one = parts(vec![wait(WaitClass::Lock, false, 25, 200)]);
        let sum = Parts::sum([one.clone(), one.clone()].iter());
        assert_eq!(sum.residual(), 2 * one.residual());
        assert_eq!(sum.blocked(), 2 * one.blocked());
    }
}
