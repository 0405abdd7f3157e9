//! Entry points, one file a family of hooks.

mod cpu;
mod sched;
mod sums;
mod task;
mod visit;
