use super::{Optional, Signal, Unit, Value};

/// Waits, by class and place.
pub static OFF_CPU: Signal = Signal {
    name: "off-cpu",
    about: "time blocked: by what, at which stack, ended by whom",
    values: &[Value { name: "off_cpu", unit: Unit::Nanoseconds }],
    programs: &["sched_switch", "sched_waking", "sched_wakeup_new", "sched_process_exec", "threads"],
    optional: &[Optional {
        program: "sleepers",
        without: "threads that sleep all the time have no stack (Linux 5.18 can tell)",
    }],
    needs: &[],
};
