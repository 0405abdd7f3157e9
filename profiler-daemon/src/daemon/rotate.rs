//! The end of a window that another one follows.

use std::collections::{BTreeMap, HashSet};

use super::cost::ProgramCost;
use super::pipeline::{Pipeline, PipelineError, cpus, waker_names};
use super::programs::Programs;
use crate::model::{Capture, Context, Detail, DetailLevels, MonoNs, Overhead, Program};
use crate::symbolize::{Located, Locator};

/// A window as the kernel told it, and all that is needed to name its stacks later, elsewhere.
#[derive(Debug)]
pub struct RawWindow {
    /// Times, samples, sums and waits.
    pub capture: Capture,
    /// The stacks that no window had before, located.
    pub new_stacks: Vec<(u64, Located)>,
    /// Stacks that no window will have again unless they are new in it.
    pub forgotten: Vec<u64>,
    /// The programs whose threads were seen.
    pub programs: Vec<Program>,
    /// What goes with it; its losses lack those of naming.
    pub context: Context,
}

/// What lasts from window to window beside the accounts.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    pub(super) programs: Programs,
    /// How often stacks were forgotten.
    pub(super) forgettings: u32,
    pub(super) detail: Detail,
    lost: BTreeMap<&'static str, u64>,
    overhead: Overhead,
}

impl Pipeline {
    /// Ends the window that runs and begins the next one, without a gap between them.
    ///
    /// # Errors
    /// The kernel refused something that it did before. What was counted until now is told by the next window.
    pub fn rotate(&mut self) -> Result<RawWindow, PipelineError> {
        self.look_at_mappings();
        self.programs.close(self.kernel.run_stats());
        let end = MonoNs::now();
        self.kernel.begin_window()?;
        self.read_threads()?;
        self.drain_ring();
        let (accounts, mut late) = (&mut self.accounts, Vec::new());
        self.kernel.drain_off_cpu(|key, value, is_late| match is_late {
            true => late.push((key, value)),
            false => accounts.off_cpu(key, &value),
        })?;
        let counts = self.kernel.faults()?;
        let overhead = self.overhead(&counts, end);
        let mut lost = self.lost(&counts);

        let (capture, mut losses) = self.accounts.rotate(end, late);
        let mut locator = Locator::new(&mut self.processes);
        let new = capture.stacks.iter().filter(|(_, stack)| !stack.addresses.is_empty());
        let new_stacks = new.map(|(id, stack)| (*id, locator.locate(stack))).collect();
        lost.extend(self.processes.failures());
        losses.by_cause.extend(since(&lost, &self.rotation.lost));

        let context = Context {
            target: self.plan.target.clone(),
            cpus: cpus(),
            rate_hz: self.plan.rate_hz / self.rotation.detail.rate_divisor,
            min_wait_ns: self.plan.min_wait_ns,
            detail: DetailLevels::one(self.rotation.detail.level()),
            losses,
            overhead: of_window(&overhead, &self.rotation.overhead),
            start: self.start.to_unix(),
            waker_names: waker_names(&capture),
        };
        // Both turns of those that began just now.
        (0..2).for_each(|_| self.rotation.programs.turn(&self.processes));
        let programs = self.rotation.programs.of(&capture.threads);
        let forgotten = self.forget()?;
        (self.rotation.lost, self.rotation.overhead) = (lost, overhead);
        self.programs = ProgramCost::default();
        self.start = end;
        Ok(RawWindow { capture, new_stacks, forgotten, programs, context })
    }

    /// Lets go of what no window needs any more.
    fn forget(&mut self) -> Result<Vec<u64>, PipelineError> {
        let gone = self.processes.turn();
        let gone: HashSet<u32> = gone.into_iter().collect();
        let is_gone = |pid: &u32| gone.contains(pid);
        self.known.retain(|(pid, _)| !is_gone(pid));
        self.rotation.programs.forget(is_gone);
        let forgotten = self.accounts.evict_stacks();
        if !forgotten.is_empty() {
            self.kernel.forget_sent(forgotten.iter().copied())?;
            self.rotation.forgettings += 1;
            self.set_epoch()?;
        }
        Ok(forgotten)
    }

    /// From now on as much is taken as `detail` says.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn set_detail(&mut self, detail: Detail) -> Result<(), PipelineError> {
        self.kernel.set_detail(detail)?;
        if detail.rate_divisor != self.rotation.detail.rate_divisor {
            self.kernel.stop_sampling()?;
            self.kernel.start_sampling(u64::from((self.plan.rate_hz / detail.rate_divisor).max(1)))?;
        }
        self.rotation.detail = detail;
        Ok(())
    }
}

/// What was counted since.
fn since(now: &BTreeMap<&'static str, u64>, before: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    let new = |cause: &&'static str, count: &u64| count.saturating_sub(before.get(cause).copied().unwrap_or(0));
    now.iter().map(|(cause, count)| (*cause, new(cause, count))).collect()
}

/// The cost of a window, where `now` and `before` count since the start. Run times of programs are the window's already.
fn of_window(now: &Overhead, before: &Overhead) -> Overhead {
    let both = |now: (u64, u64), before: (u64, u64)| (now.0 - before.0, now.1 - before.1);
    Overhead {
        daemon_ns: now.daemon_ns - before.daemon_ns,
        user_memo: both(now.user_memo, before.user_memo),
        kernel_memo: both(now.kernel_memo, before.kernel_memo),
        user_skipped: now.user_skipped - before.user_skipped,
        peak_rss_bytes: super::cost::peak_rss_bytes(),
        ..now.clone()
    }
}
