use super::{Signal, Unit, Value};

/// Runnable, but not executing.
pub static RUN_QUEUE: Signal = Signal {
    name: "run-queue",
    about: "time ready to run while no CPU ran it: preempted, or after a wake-up",
    values: &[Value { name: "run_queue", unit: Unit::Nanoseconds }],
    // Without the wake-up, all of a wait would look like this.
    programs: &[
        "sched_switch",
        "sched_waking",
        "sched_wakeup_new",
        "sched_migrate_task",
        "sched_process_exec",
        "threads",
    ],
    optional: &[],
    needs: &[],
};
