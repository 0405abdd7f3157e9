//! aarch64. Return addresses may be signed (pointer authentication): the signature lies in the bits above those of an
//! address, which are all zeros in user space and all ones in the kernel.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_perf_event_data;
use aya_ebpf::programs::PerfEventContext;

use super::Registers;
use crate::maps::setting;
use crate::regs::{Regs, reg};

/// The saved user registers, with which the kernel's own form starts.
pub(crate) use aya_ebpf::bindings::user_pt_regs as UserRegisters;

/// Size of a kernel stack, on whose top the user registers lie; more with pages of 64 KiB, of which no path uses more.
/// Source: `THREAD_SIZE`.
pub(crate) const KERNEL_STACK_BYTES: u64 = 16 << 10;
/// Bit of `thread_info.flags` of a 32-bit task. Source: `TIF_32BIT`, arch/arm64/include/asm/thread_info.h.
pub(crate) const COMPAT: u32 = 1 << 22;
/// Whether a leaf's return address is in a register.
pub(crate) const LINKS: bool = true;

#[inline(always)]
pub(super) fn main_registers(regs: Regs) -> Registers {
    // SAFETY: `regs` comes from `regs::of` or `regs::interrupted`.
    unsafe {
        let link = user_code(reg!(regs, regs[30]));
        Registers { ip: reg!(regs, pc), sp: reg!(regs, sp), bp: reg!(regs, regs[29]), link }
    }
}

/// Reads the first general registers into `all`; their DWARF numbers are their own.
#[inline(always)]
pub(crate) fn all_registers(regs: Regs, all: &mut [u64; 16]) {
    macro_rules! copy {
        ($($number:literal)*) => {
            // SAFETY: as in `main_registers`.
            unsafe { $(all[$number] = reg!(regs, regs[$number]);)* }
        };
    }
    copy!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Whether execution was interrupted right at the saved `pc`, so that it is no return address. The kernel forgets the
/// number of a system call that is begun again, and when a signal's handler is about to run.
#[inline(always)]
pub(super) fn is_exact(_: Regs, syscall: i32) -> bool {
    syscall < 0
}

/// The saved number of the system call, negative outside of one. Source: `syscallno` of `struct pt_regs`.
#[inline(always)]
pub(crate) fn system_call(regs: Regs) -> i64 {
    // SAFETY: `regs` comes from `regs::of`: behind it lie the other members of the kernel's own form.
    let number: i32 = unsafe { regs.byte_add(setting!(offsets.regs_syscall) as usize).cast::<i32>().read_volatile() };
    number.into()
}

/// First argument of the system call: the kernel keeps it where the result will be written.
#[inline(always)]
pub(crate) fn argument(regs: Regs) -> u64 {
    // SAFETY: as in `main_registers`.
    unsafe { reg!(regs, regs[0]) }
}

/// Where execution was when the sampling clock fired.
#[inline(always)]
pub(crate) fn interrupted_at(context: &PerfEventContext) -> u64 {
    let context: *const bpf_perf_event_data = context.as_ptr().cast();
    // SAFETY: the context of a perf event program starts with the interrupted registers.
    unsafe { (&raw const (*context).regs.pc).read_volatile() }
}

/// The address of user code in a return address.
#[inline(always)]
pub(crate) fn user_code(address: u64) -> u64 {
    address & setting!(user_addresses)
}

/// The address of kernel code in a word of a kernel stack.
#[inline(always)]
pub(crate) fn kernel_code(word: u64) -> u64 {
    word | !setting!(user_addresses)
}
