//! What processors differ in: where registers lie, what tells of a system call, what an address of code looks like.

#[cfg(bpf_target_arch = "aarch64")]
mod aarch64;
#[cfg(not(bpf_target_arch = "aarch64"))]
mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
pub(crate) use aarch64::*;
#[cfg(not(bpf_target_arch = "aarch64"))]
pub(crate) use x86_64::*;

use profiler_common::wire::frame;

use crate::regs::Regs;

/// The registers that a memo compares. `ip` carries the bit `frame::EXACT`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub(crate) ip: u64,
    pub(crate) sp: u64,
    pub(crate) bp: u64,
    /// Where a leaf returns to; 0 on machines that keep it on the stack.
    pub(crate) link: u64,
}

/// Reads registers that were saved in this system call, negative if in none.
#[inline(always)]
pub(crate) fn registers(regs: Regs, syscall: i32) -> Registers {
    let exact = if is_exact(regs, syscall) { frame::EXACT } else { 0 };
    let mut registers = main_registers(regs);
    registers.ip |= exact;
    registers
}
