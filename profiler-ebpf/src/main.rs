//! The kernel programs of profilerd.
//!
//! Entry points live in `programs`, one file a family of hooks. They read the task in `task`, take
//! stacks in `stack`, ask the pure rules of the library part what it all means, and hand records to
//! the daemon by `emit`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(not(target_arch = "bpf"), allow(dead_code, reason = "the host only type-checks the programs"))]

mod emit;
mod filter;
mod hook;
mod lend;
mod machine;
mod maps;
mod memory;
mod programs;
mod regs;
mod stack;
mod task;
mod threads;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends some helpers to GPL-compatible programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
