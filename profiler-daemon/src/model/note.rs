//! What stands in a stack where frames should be: words that every output uses, so that a profile and a report of
//! the same window can be compared.

/// The stack of time whose place is not known.
pub const STACK_NOT_SEEN: &str = "[stack not seen]";
/// The stack of on-CPU time of a thread that no sample hit.
pub const ON_CPU_NOT_SAMPLED: &str = "[on-CPU, not sampled]";
/// Below the kernel frames of a stack whose user side was not taken.
pub const NO_USER_STACK: &str = "[no user stack]";
/// Below the kernel frames of a wait whose user side was not walked, nor any like it.
pub const WAIT_NOT_SAMPLED: &str = "[stack not sampled]";
/// Above the user frames of a stack whose kernel side was taken but never arrived.
pub const KERNEL_NOT_SEEN: &str = "[kernel stack not seen]";
