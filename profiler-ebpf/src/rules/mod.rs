//! The pure rules: what a switch does to a thread's time, what a wait waits for, how a stack is
//! walked, how a stack is recognised, how many are walked that are not, and where waits are summed.

pub mod budget;
pub mod class;
pub mod ledger;
pub mod memo;
pub mod sums;
pub mod unwind;
