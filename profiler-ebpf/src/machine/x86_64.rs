//! x86-64.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_perf_event_data;
use aya_ebpf::programs::PerfEventContext;

use super::Registers;
use crate::regs::{Regs, reg};

/// The saved user registers.
pub(crate) use aya_ebpf::bindings::pt_regs as UserRegisters;

/// Size of a kernel stack, on whose top the user registers lie. Source: `THREAD_SIZE`.
pub(crate) const KERNEL_STACK_BYTES: u64 = 16 << 10;
/// Bit of `thread_info.status` in a 32-bit system call. Source: `TS_COMPAT`, arch/x86/include/asm/thread_info.h.
pub(crate) const COMPAT: u32 = 2;
/// Whether a leaf's return address is in a register.
pub(crate) const LINKS: bool = false;

#[inline(always)]
pub(super) fn main_registers(regs: Regs) -> Registers {
    // SAFETY: `regs` comes from `regs::of` or `regs::interrupted`.
    unsafe { Registers { ip: reg!(regs, rip), sp: reg!(regs, rsp), bp: reg!(regs, rbp), link: 0 } }
}

/// Reads the general registers into `all`, by their DWARF numbers. Source: System V ABI for x86-64,
/// figure 3.36.
#[inline(always)]
pub(crate) fn all_registers(regs: Regs, all: &mut [u64; 16]) {
    macro_rules! copy {
        ($($number:literal $register:ident),*) => {
            // SAFETY: as in `main_registers`.
            unsafe { $(all[$number] = reg!(regs, $register);)* }
        };
    }
    copy!(0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi, 6 rbp, 7 rsp);
    copy!(8 r8, 9 r9, 10 r10, 11 r11, 12 r12, 13 r13, 14 r14, 15 r15);
}

/// Whether execution was interrupted right at the saved `rip`, so that it is no return address. The
/// instruction `syscall` leaves the address behind itself in rcx; a signal's handler, or a call that
/// is begun again, has another `rip`.
#[inline(always)]
pub(super) fn is_exact(regs: Regs, syscall: i32) -> bool {
    // SAFETY: as in `main_registers`.
    syscall < 0 || unsafe { reg!(regs, rip) != reg!(regs, rcx) }
}

/// Where the registers lie that seem to lie at `regs`: a kernel for processors with FRED leaves room above them. The
/// selector of their code tells, whose lowest bits are set in user mode, where a stack pointer's are not.
/// Source: `TOP_OF_KERNEL_STACK_PADDING`, arch/x86/include/asm/thread_info.h.
#[cfg(feature = "hashed-threads")]
#[inline(always)]
pub(crate) fn below_padding(regs: Regs) -> Regs {
    const USER: u64 = 3;
    const PADDING: u64 = 16;
    // SAFETY: as in `main_registers`.
    if unsafe { reg!(regs, cs) } & USER == USER { regs } else { regs - PADDING }
}

/// The saved number of the system call, negative outside of one.
#[inline(always)]
pub(crate) fn system_call(regs: Regs) -> i64 {
    // SAFETY: as in `main_registers`.
    unsafe { reg!(regs, orig_rax) as i64 }
}

/// First argument of the system call.
#[inline(always)]
pub(crate) fn argument(regs: Regs) -> u64 {
    // SAFETY: as in `main_registers`.
    unsafe { reg!(regs, rdi) }
}

/// Where execution was when the sampling clock fired.
#[inline(always)]
pub(crate) fn interrupted_at(context: &PerfEventContext) -> u64 {
    let context: *const bpf_perf_event_data = context.as_ptr().cast();
    // SAFETY: the context of a perf event program starts with the interrupted registers.
    unsafe { (&raw const (*context).regs.rip).read_volatile() }
}

/// The address of user code in a return address.
#[inline(always)]
pub(crate) fn user_code(address: u64) -> u64 {
    address
}

/// The address of kernel code in a word of a kernel stack.
#[inline(always)]
pub(crate) fn kernel_code(word: u64) -> u64 {
    word
}
