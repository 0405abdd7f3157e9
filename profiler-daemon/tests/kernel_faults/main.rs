//! Faults of a machine, made on purpose, and the right answer to each.
//!
//! They stop CPUs, set the clock and take disks away, so they run on no machine that anybody needs: they are ignored unless
//! asked for, and refuse to begin but in the guests of `cargo xtask vm`, which asks for them. Each says what was expected and
//! what came, for the table that is printed there.

#![expect(clippy::unwrap_used, reason = "tests")]

mod clock;
mod cpu;
mod disk;
mod guest;
mod memory;
mod network;
mod outputs;
mod processes;
#[path = "../kernel_service/serve.rs"]
mod serve;
#[path = "../support/mod.rs"]
mod support;
