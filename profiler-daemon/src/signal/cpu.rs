use super::{Need, Signal, Unit, Value};

/// What threads execute. Samples say where, the scheduler's run time at each switch says how long.
pub static CPU: Signal = Signal {
    name: "cpu",
    about: "time executed: exact by thread, sampled by function",
    values: &[Value { name: "samples", unit: Unit::Count }, Value { name: "cpu", unit: Unit::Nanoseconds }],
    programs: &["cpu_sample", "sched_switch", "sched_wakeup_new", "sched_process_exec", "threads"],
    optional: &[],
    needs: &[Need::SamplingClock],
};
