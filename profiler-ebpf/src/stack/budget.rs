//! Does the budget pay for a walk? See `rules::budget`.

use aya_ebpf::helpers::generated::bpf_get_prandom_u32;
use profiler_common::wire::sampling;
use profiler_ebpf::rules::budget;

use crate::lend::{self, ThreadArg};
use crate::maps::setting;

/// What is to be done about a new stack of this thread, as a value of `wire::sampling`.
#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn ration(thread: ThreadArg, now_ns: u64) -> u32 {
    // SAFETY: the verifier checks the pointer; the thread is being switched by this program.
    let Some(thread) = (unsafe { lend::thread_of(thread) }) else { return sampling::EXACT };
    let budget_ns = setting!(walk_budget_ns);
    if budget_ns == 0 {
        return sampling::EXACT;
    }
    // SAFETY: no arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    thread.budget.ration(now_ns, budget_ns, random)
}

/// Whether the stack of a wait is taken at all at this `Control::wait_level`, as a value of `wire::sampling`. Chance
/// decides before anything is known of the stack, so those that are taken are a fair sample, and are not rationed again.
#[inline(always)]
pub(super) fn choose(wait_level: u32) -> u32 {
    if wait_level == 0 {
        return sampling::EXACT;
    }
    // SAFETY: no arguments.
    let random = unsafe { bpf_get_prandom_u32() };
    budget::choose(wait_level, random)
}
