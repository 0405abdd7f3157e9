//! What a CPU is doing when its sampling clock fires.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::bpf_perf_event_data;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::perf_event;
use aya_ebpf::programs::PerfEventContext;
use core::ffi::c_void;
use profiler_common::fault;
use profiler_common::wire::{CpuSample, Header, cpu_mode, tag};

use crate::maps::{Scratch, scratch, setting};
use crate::regs::{self, Current, Regs};
use crate::stack::{self, Owner};
use crate::{emit, machine};

/// Addresses of the kernel have the highest bit set.
const KERNEL_ADDRESS: u64 = 1 << 63;

/// What [`crate::task::syscall`] says outside of one.
const NO_SYSCALL: i32 = -1;

/// Takes both stacks of the current thread, if it is accounted.
#[perf_event]
pub(crate) fn cpu_sample(ctx: PerfEventContext) -> u32 {
    let current = Current::get();
    let Some(thread) = current.thread() else { return 0 };
    let Some(scratch) = scratch(scratch::SAMPLE) else { return 0 };
    // SAFETY: this CPU's working memory for samples; the generation only changes at exec.
    let (scratch, generation) = unsafe { (&mut *scratch, (*thread).generation) };
    let pid = current.pid();
    let interrupted: *const bpf_perf_event_data = ctx.as_ptr().cast();
    let in_kernel = machine::interrupted_at(&ctx) & KERNEL_ADDRESS != 0;
    let owner = Owner { pid, generation };
    let user_stack = if in_kernel {
        let regs = current.regs();
        sample_user(scratch, ctx.as_ptr(), regs, current.syscall(regs), owner)
    } else {
        sample_user(scratch, ctx.as_ptr(), regs::interrupted(interrupted), NO_SYSCALL, owner)
    };
    let sample = CpuSample {
        // SAFETY: no arguments.
        header: unsafe { Header { tag: tag::CPU_SAMPLE, cpu: bpf_get_smp_processor_id(), at_ns: bpf_ktime_get_ns() } },
        pid,
        tid: current.tid(),
        generation,
        mode: if in_kernel { cpu_mode::KERNEL } else { cpu_mode::USER },
        user_stack,
        kernel_stack: if in_kernel { stack::kernel(scratch, ctx.as_ptr()) } else { 0 },
    };
    // SAFETY: a whole record.
    unsafe { emit::record(&raw const sample, size_of::<CpuSample>(), fault::RING_FULL_SAMPLE) };
    0
}

#[inline(always)]
fn sample_user(scratch: &mut Scratch, context: *mut c_void, regs: Regs, syscall: i32, owner: Owner) -> u64 {
    if setting!(compare_walks) != 0 {
        stack::compare(scratch, regs, syscall, owner);
    }
    stack::user(scratch, context, regs, syscall, owner)
}
