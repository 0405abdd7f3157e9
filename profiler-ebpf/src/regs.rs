//! The saved user registers of a task: by typed loads, or, for kernels before 5.15, which have no helper that finds
//! them, by reads of kernel memory at the place where they always lie. Where those are forbidden, all of them are 0.

#[cfg(not(feature = "hashed-threads"))]
mod by {
    use aya_ebpf::bindings::bpf_perf_event_data;
    use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
    use core::ffi::c_void;

    use crate::machine::UserRegisters;
    use crate::maps::Thread;
    use crate::task::{self, Task};
    use crate::threads;

    /// Where the registers lie.
    pub(crate) type Regs = *const UserRegisters;

    /// Whether their values can be had.
    #[inline(always)]
    pub(crate) fn are_readable() -> bool {
        true
    }

    /// The registers of a task, at the top of its kernel stack.
    #[inline(always)]
    pub(crate) fn of(task: Task) -> Regs {
        // SAFETY: the helper accepts any typed task.
        unsafe { bpf_task_pt_regs(task) as Regs }
    }

    /// How far above a program's context they lie.
    #[inline(always)]
    pub(crate) fn distance(regs: Regs, context: *const c_void, _: u32) -> u64 {
        // The verifier lets pointers be subtracted, but not masked.
        (regs as u64).wrapping_sub(context as u64)
    }

    /// The registers that an interrupt found.
    #[inline(always)]
    pub(crate) fn interrupted(context: *const bpf_perf_event_data) -> Regs {
        // SAFETY: the context of a perf event program starts with them.
        unsafe { &raw const (*context).regs }
    }

    macro_rules! reg {
        ($regs:expr, $($register:tt)+) => {
            (&raw const (*$regs).$($register)+).read_volatile()
        };
    }
    pub(crate) use reg;

    /// The task that this CPU executes.
    #[derive(Clone, Copy)]
    pub(crate) struct Current(Task);

    impl Current {
        #[inline(always)]
        pub(crate) fn get() -> Current {
            // SAFETY: no arguments.
            Current(unsafe { bpf_get_current_task_btf() })
        }

        /// Its state, if it is accounted.
        #[inline(always)]
        pub(crate) fn thread(self) -> Option<*mut Thread> {
            threads::get(self.0)
        }

        #[inline(always)]
        pub(crate) fn pid(self) -> u32 {
            task::pid(self.0)
        }

        #[inline(always)]
        pub(crate) fn tid(self) -> u32 {
            task::tid(self.0)
        }

        #[inline(always)]
        pub(crate) fn regs(self) -> Regs {
            of(self.0)
        }

        /// As [`task::syscall`].
        #[inline(always)]
        pub(crate) fn syscall(self, regs: Regs) -> i32 {
            task::syscall(self.0, regs)
        }
    }
}

#[cfg(feature = "hashed-threads")]
mod by {
    use aya_ebpf::bindings::bpf_perf_event_data;
    use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_task_pt_regs};
    use core::ffi::c_void;

    use crate::machine::{self, KERNEL_STACK_BYTES, UserRegisters};
    use profiler_ebpf::rules::class;

    use crate::maps::{self, Thread, setting};
    use crate::memory::{self, probe};
    use crate::task::{self, Task};
    use crate::threads;

    /// Where the registers lie: an address without a type.
    pub(crate) type Regs = u64;

    /// Whether their values can be had.
    #[inline(always)]
    pub(crate) fn are_readable() -> bool {
        memory::of_kernel()
    }

    /// The registers of a task, at the top of its kernel stack.
    #[inline(always)]
    pub(crate) fn of(task: Task) -> Regs {
        if setting!(has_task_pt_regs) != 0 {
            // SAFETY: the helper accepts any typed task.
            return unsafe { bpf_task_pt_regs(task) as u64 };
        }
        top(task::kernel_stack(task))
    }

    #[inline(always)]
    fn top(stack: u64) -> Regs {
        let top = stack + KERNEL_STACK_BYTES - size_of::<UserRegisters>() as u64;
        if setting!(pads_registers) != 0 { machine::below_padding(top) } else { top }
    }

    /// How far above a program's context they lie. The verifier takes no pointer from a number, so that both become
    /// numbers by way of working memory, of which no other program that may interrupt uses this member.
    #[inline(always)]
    pub(crate) fn distance(regs: Regs, context: *const c_void, memory: u32) -> u64 {
        let Some(memory) = maps::scratch_numbered(memory) else { return u64::MAX };
        // SAFETY: this CPU's working memory.
        let number = |value: u64| unsafe {
            let room = &raw mut (*memory).any;
            room.write_volatile(value);
            room.read_volatile()
        };
        number(regs).wrapping_sub(number(context as u64))
    }

    /// The registers that an interrupt found: the kernel's own form of the context starts with their address.
    #[inline(always)]
    pub(crate) fn interrupted(context: *const bpf_perf_event_data) -> Regs {
        // SAFETY: any bit pattern is a number.
        unsafe { probe(context as u64) }
    }

    macro_rules! reg {
        ($regs:expr, $register:ident) => {
            $crate::memory::probe::<u64>(
                $regs + core::mem::offset_of!($crate::machine::UserRegisters, $register) as u64,
            )
        };
    }
    pub(crate) use reg;

    /// The task that this CPU executes.
    #[derive(Clone, Copy)]
    pub(crate) struct Current(u64);

    impl Current {
        #[inline(always)]
        pub(crate) fn get() -> Current {
            // SAFETY: no arguments.
            Current(unsafe { bpf_get_current_pid_tgid() })
        }

        /// Its state, if it is accounted.
        #[inline(always)]
        pub(crate) fn thread(self) -> Option<*mut Thread> {
            threads::by_tid(self.tid())
        }

        #[inline(always)]
        pub(crate) fn pid(self) -> u32 {
            (self.0 >> 32) as u32
        }

        #[inline(always)]
        pub(crate) fn tid(self) -> u32 {
            self.0 as u32
        }

        #[inline(always)]
        pub(crate) fn regs(self) -> Regs {
            // SAFETY: no arguments; any bit pattern is a number.
            top(unsafe { probe(bpf_get_current_task() + u64::from(setting!(offsets.task_stack))) })
        }

        /// As [`task::syscall`].
        #[inline(always)]
        pub(crate) fn syscall(self, regs: Regs) -> i32 {
            if !are_readable() {
                return class::UNKNOWN;
            }
            let number = machine::system_call(regs);
            // SAFETY: no arguments; any bit pattern is a number.
            let status = unsafe { probe(bpf_get_current_task() + u64::from(setting!(offsets.task_status))) };
            task::call(number, status)
        }
    }
}

pub(crate) use by::*;
