use super::WaitClass;
use profiler_common::class;

/// Where wall time went, for one thread or summed over several. All in nanoseconds.
///
/// wall = on-CPU + stolen + run-queue wait + blocked + unseen + rounding: `residual_ns` says how far
/// the parts are from the wall time, which is measured on its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Time that the thread existed inside the window; of a process, the sum over its threads.
    pub wall_ns: u64,
    /// Time executed, by the scheduler's own count.
    pub on_cpu_ns: u64,
    /// The part of `on_cpu_ns` in the program.
    pub user_ns: u64,
    /// The part of `on_cpu_ns` in the kernel.
    pub kernel_ns: u64,
    /// On a CPU by the clock, yet not executed: taken by the hypervisor or interrupts.
    pub stolen_ns: u64,
    /// Runnable but not executing.
    pub run_queue_ns: u64,
    /// The part of `run_queue_ns` without a block before it.
    pub preempted_ns: u64,
    /// The part of `run_queue_ns` in which a CPU quota kept it from running. A window that was stored before this was measured has 0.
    pub throttled_ns: u64,
    /// Not runnable.
    pub blocked_ns: u64,
    /// Off-CPU time by class number: blocked plus the wake-up wait. Slot 0 (`Preempted`) equals
    /// `preempted_ns`.
    pub off_cpu_ns: [u64; class::COUNT],
    /// Wall time without a record.
    pub unseen_ns: u64,
}

impl Ledger {
    /// Sum of the parts minus wall time.
    pub fn residual_ns(&self) -> i64 {
        let parts = self.on_cpu_ns + self.stolen_ns + self.run_queue_ns + self.blocked_ns + self.unseen_ns;
        parts as i64 - self.wall_ns as i64
    }

    /// Off-CPU time of one class.
    pub fn off_cpu(&self, class: WaitClass) -> u64 {
        self.off_cpu_ns[class as usize]
    }

    /// Adds another thread's or process' time.
    pub fn add(&mut self, other: &Ledger) {
        self.wall_ns += other.wall_ns;
        self.on_cpu_ns += other.on_cpu_ns;
        self.user_ns += other.user_ns;
        self.kernel_ns += other.kernel_ns;
        self.stolen_ns += other.stolen_ns;
        self.run_queue_ns += other.run_queue_ns;
        self.preempted_ns += other.preempted_ns;
        self.throttled_ns += other.throttled_ns;
        self.blocked_ns += other.blocked_ns;
        self.unseen_ns += other.unseen_ns;
        for (sum, part) in self.off_cpu_ns.iter_mut().zip(other.off_cpu_ns) {
            *sum += part;
        }
    }
}
