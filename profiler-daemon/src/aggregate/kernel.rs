//! The kernel function that a thread slept in, out of its kernel stack.

use std::sync::Arc;

use crate::model::{Frame, FrameKind, is_plumbing};

/// The first kernel function from the leaf that is more than scheduler plumbing; if there is nothing
/// else, the outermost piece of it. `None` without a named kernel frame.
pub(super) fn slept_in<'a>(frames: impl Iterator<Item = &'a Frame>) -> Option<Arc<str>> {
    let mut last = None;
    for function in frames.filter(|frame| frame.kind == FrameKind::Kernel).filter_map(|frame| frame.function.as_ref()) {
        if !is_plumbing(function) {
            return Some(function.clone());
        }
        last = Some(function);
    }
    last.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stack: &str, expected: Option<&str>) {
        let frames: Vec<Frame> = stack
            .split_whitespace()
            .map(|name| Frame {
                kind: if name.starts_with('@') { FrameKind::Native } else { FrameKind::Kernel },
                ..Frame::note(name.trim_start_matches('@'))
            })
            .collect();
        assert_eq!(slept_in(frames.iter()).as_deref(), expected, "{stack}");
    }

    #[test]
    fn plumbing_is_skipped_and_the_reason_stays() {
        check("__schedule schedule futex_wait_queue futex_wait do_futex @main", Some("futex_wait_queue"));
        check("__schedule schedule schedule_timeout unix_stream_data_wait", Some("unix_stream_data_wait"));
        check("__schedule schedule schedule_hrtimeout_range_clock ep_poll", Some("ep_poll"));
        check("__schedule io_schedule folio_wait_bit_common", Some("folio_wait_bit_common"));
        check(
            "__schedule.constprop.0 schedule_preempt_disabled rwsem_down_read_slowpath",
            Some("rwsem_down_read_slowpath"),
        );
        check(
            "bpf_prog_1f2e_sched_switch bpf_trace_run4 __traceiter_sched_switch __schedule schedule do_nanosleep",
            Some("do_nanosleep"),
        );
        check("__schedule preempt_schedule_common __cond_resched shrink_lruvec", Some("shrink_lruvec"));
    }

    #[test]
    fn names_that_only_begin_alike_are_no_plumbing() {
        check("__schedule scheduler_tick", Some("scheduler_tick"));
        check("__schedule bpfilter_wait", Some("bpfilter_wait"));
    }

    #[test]
    fn without_a_kernel_stack_there_is_no_answer() {
        check("@pthread_cond_wait @main", None);
        check("", None);
        check("__schedule schedule @main", Some("schedule"));
    }
}
