//! The pure rules: what a switch does to a thread's time, what a wait waits for, how a stack is
//! walked, how a stack is recognised, how many are walked that are not, where waits are summed, and which of them a quota
//! made.

pub mod budget;
pub mod class;
pub mod ledger;
pub mod memo;
pub mod sums;
pub mod throttle;
pub mod unwind;
