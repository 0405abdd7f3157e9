/// How the scheduler gets from "this must wait" to the switch, and how our own program got onto the
/// stack: every wait has these on top, so they say nothing about it. A name fits if it is one of
/// these or goes on with `_`.
const PLUMBING: [&str; 13] = [
    "schedule",
    "__schedule",
    "io_schedule",
    "preempt_schedule",
    "__preempt_schedule",
    "__cond_resched",
    "_cond_resched",
    "dynamic_cond_resched",
    "bpf",
    "__bpf",
    "trace",
    "__traceiter",
    "perf_trace",
];

/// Whether a kernel function only leads to the switch, or is a tracer's.
pub fn is_plumbing(function: &str) -> bool {
    // Compilers split functions: `__schedule.constprop.0`.
    let name = function.split('.').next().unwrap_or(function);
    PLUMBING
        .iter()
        .any(|plumbing| name.strip_prefix(plumbing).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
}
