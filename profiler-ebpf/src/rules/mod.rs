//! The pure rules: what a switch does to a thread's time, what a wait waits for, how a stack is
//! walked, and how a stack is recognised.

pub mod class;
pub mod ledger;
pub mod memo;
pub mod unwind;
