//! Reads of kernel structures by offsets that the daemon took from BTF.
//!
//! Pointers that come from typed arguments are followed by plain loads, which the verifier turns
//! into loads that survive a bad address. Pointers behind pointers without a type are read by
//! [`memory`], if at all. On kernels without types of their own all are read so.

use aya_ebpf::bindings::task_struct;
use profiler_common::limits::COMM_BYTES;
use profiler_common::settings::Offsets;
use profiler_ebpf::rules::class::{self, Call};
use profiler_ebpf::rules::throttle::Queue;

use crate::machine;
use crate::maps::setting;
use crate::memory::{self, probe};
use crate::regs::{self, Regs};

pub(crate) type Task = *mut task_struct;

/// Bit of a dying task's last `prev_state`. Source: `TASK_DEAD`, include/linux/sched.h.
pub(crate) const TASK_DEAD: u32 = 0x80;
/// Bit of `task_struct.flags`. Source: `PF_KTHREAD`, include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;
/// Loads a member of a typed kernel pointer.
///
/// # Safety
/// `base` is a pointer that the verifier knows by type and `offset` a member of that type of `T`'s size.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
unsafe fn load<T: Copy, B>(base: *const B, offset: u32) -> T {
    // SAFETY: the caller vouches for it; volatile keeps the load as written.
    unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() }
}

/// Loads a member by its address.
///
/// # Safety
/// Any bit pattern is a valid `T`.
#[cfg(feature = "untyped")]
#[inline(always)]
unsafe fn load<T: Copy, B>(base: *const B, offset: u32) -> T {
    // SAFETY: the caller vouches for it.
    unsafe { probe(base as u64 + u64::from(offset)) }
}

macro_rules! member {
    ($name:ident, $offset:ident, $type:ty, $about:literal) => {
        #[doc = $about]
        #[inline(always)]
        pub(crate) fn $name(task: Task) -> $type {
            // SAFETY: a task argument is typed and the offset is that of this member in BTF.
            unsafe { load(task, setting!(offsets.$offset)) }
        }
    };
}

member!(tid, task_tid, u32, "Thread id.");
member!(pid, task_pid, u32, "Process id.");
member!(state, task_state, u32, "Scheduler state; the low half on kernels where it is a long.");
member!(on_cpu, task_on_cpu, u8, "Whether it is executing right now; the low byte on kernels where it is an int.");
member!(start_ns, task_start_time, u64, "When it was born, CLOCK_MONOTONIC ns.");
member!(sum_exec_ns, task_sum_exec, u64, "Run time by the scheduler's count.");
member!(utime_ns, task_utime, u64, "User time by ticks.");
member!(stime_ns, task_stime, u64, "System time by ticks.");

/// Where its kernel stack begins.
#[cfg(feature = "hashed-threads")]
#[inline(always)]
pub(crate) fn kernel_stack(task: Task) -> u64 {
    // SAFETY: as in `member!`.
    unsafe { load(task, setting!(offsets.task_stack)) }
}

#[inline(always)]
pub(crate) fn is_kernel_thread(task: Task) -> bool {
    // SAFETY: as in `member!`.
    let flags: u32 = unsafe { load(task, setting!(offsets.task_flags)) };
    flags & PF_KTHREAD != 0
}

#[inline(always)]
pub(crate) fn in_iowait(task: Task) -> bool {
    // SAFETY: as in `member!`; the bit-field lies in this byte.
    let byte: u8 = unsafe { load(task, setting!(offsets.task_in_iowait)) };
    u32::from(byte) & setting!(offsets.in_iowait_mask) != 0
}

/// Copies the task's name, NUL padded.
#[cfg(feature = "untyped")]
#[inline(always)]
pub(crate) fn comm(task: Task, out: &mut [u8; COMM_BYTES]) {
    let from = task as u64 + u64::from(setting!(offsets.task_comm));
    // SAFETY: `comm` is an array of that many bytes.
    unsafe { memory::read_kernel(out.as_mut_ptr().cast(), COMM_BYTES as u32, from) };
}

/// Copies the task's name, NUL padded.
#[cfg(not(feature = "untyped"))]
#[inline(always)]
pub(crate) fn comm(task: Task, out: &mut [u8; COMM_BYTES]) {
    let mut index = 0;
    while index < COMM_BYTES {
        // SAFETY: `comm` is an array of that many bytes.
        out[index] = unsafe { load(task, setting!(offsets.task_comm) + index as u32) };
        index += 1;
    }
}

/// The task of the process' first thread, which carries the process' name.
#[inline(always)]
pub(crate) fn group_leader(task: Task) -> Task {
    // SAFETY: as in `member!`.
    unsafe { load(task, setting!(offsets.task_group_leader)) }
}

/// Id of the task's cgroup in the unified hierarchy.
#[inline(always)]
pub(crate) fn cgroup_id(task: Task) -> u64 {
    // SAFETY: each step is a typed pointer and a member of its type.
    unsafe {
        let css_set: *const u8 = load(task, setting!(offsets.task_cgroups));
        let cgroup: *const u8 = load(css_set, setting!(offsets.css_set_dfl_cgrp));
        let node: *const u8 = load(cgroup, setting!(offsets.cgroup_kn));
        load(node, setting!(offsets.kernfs_id))
    }
}

/// What the queue of the task's cgroup says now of being throttled. Nothing if the task may run, on kernels that throttle single
/// tasks.
#[inline(always)]
pub(crate) fn queue(task: Task) -> Queue {
    if setting!(offsets.task_queue) == Offsets::ABSENT {
        return Queue::default();
    }
    // SAFETY: as in `member!`; the queue and its CPU are typed.
    unsafe {
        if throttles_tasks() && load::<u8, _>(task, setting!(offsets.task_throttled)) == 0 {
            return Queue::default();
        }
        let queue: *const u8 = load(task, setting!(offsets.task_queue));
        let clock_ns = || load(load::<*const u8, _>(queue, setting!(offsets.queue_cpu)), setting!(offsets.cpu_clock));
        let count = load(queue, setting!(offsets.queue_throttles));
        says(queue as u64, count, |offset| load(queue, offset), clock_ns)
    }
}

/// What the queue of the task's cgroup on another CPU says. Nothing if that memory cannot be read.
#[inline(always)]
pub(crate) fn queue_on(task: Task, cpu: u32) -> Queue {
    if setting!(offsets.task_queue) == Offsets::ABSENT || !memory::of_kernel() {
        return Queue::default();
    }
    // SAFETY: as in `queue`. The array has no type that the verifier follows: it and what it leads to are read by address.
    unsafe {
        let here: *const u8 = load(task, setting!(offsets.task_queue));
        let group: u64 = load(here, setting!(offsets.queue_group));
        let queues: u64 = probe(group + u64::from(setting!(offsets.group_queues)));
        let queue: u64 = probe(queues + u64::from(cpu) * size_of::<u64>() as u64);
        if queue == 0 {
            return Queue::default();
        }
        let clock_ns = || {
            let cpu: u64 = probe(queue + u64::from(setting!(offsets.queue_cpu)));
            probe(cpu + u64::from(setting!(offsets.cpu_clock)))
        };
        let count = probe(queue + u64::from(setting!(offsets.queue_throttles)));
        says(queue, count, |offset| probe(queue + u64::from(offset)), clock_ns)
    }
}

/// Whether this kernel throttles single tasks, not queues.
#[inline(always)]
fn throttles_tasks() -> bool {
    setting!(offsets.task_throttled) != Offsets::ABSENT
}

/// What a queue says that is throttled so many times over, by what its members hold and its CPU's clock.
#[inline(always)]
fn says(address: u64, count: u32, member: impl Fn(u32) -> u64, clock_ns: impl FnOnce() -> u64) -> Queue {
    let mut open_ns = 0;
    if count != 0 && setting!(offsets.queue_since) != Offsets::ABSENT {
        let since_ns = member(setting!(offsets.queue_since));
        let now_ns = clock_ns();
        if since_ns != 0 && now_ns > since_ns {
            open_ns = now_ns - since_ns;
        }
    }
    let throttled = (throttles_tasks() || count != 0).into();
    Queue { address, past_ns: member(setting!(offsets.queue_past)), open_ns, throttled }
}

/// How long the queue at this address was throttled, if the task is on it; else 0: its wait went to another cgroup.
#[inline(always)]
pub(crate) fn past_of(task: Task, address: u64) -> u64 {
    // SAFETY: as in `queue`.
    unsafe {
        let queue: *const u8 = load(task, setting!(offsets.task_queue));
        if queue as u64 == address { load(queue, setting!(offsets.queue_past)) } else { 0 }
    }
}

/// The system call of a task; negative outside of one. A 32-bit one has the bit [`class::COMPAT`]. [`class::UNKNOWN`] where
/// registers cannot be read.
#[inline(always)]
pub(crate) fn syscall(task: Task, regs: Regs) -> i32 {
    if !regs::are_readable() {
        return class::UNKNOWN;
    }
    // SAFETY: as in `member!`.
    let status = unsafe { load(task, setting!(offsets.task_status)) };
    call(machine::system_call(regs), status)
}

/// The system call by the saved number and `thread_info`.
#[inline(always)]
pub(crate) fn call(number: i64, status: u32) -> i32 {
    let compat = if status & machine::COMPAT != 0 { class::COMPAT } else { 0 };
    if number < 0 { -1 } else { (number as i32 & i32::MAX) | compat }
}

/// The class of the wait that a task is in.
#[inline(always)]
pub(crate) fn wait_class(task: Task, regs: Regs, syscall: i32) -> u32 {
    let file_mode = match class::call(syscall) {
        Call::Class(_) => 0,
        Call::Read | Call::Write => file_mode(task, machine::argument(regs)),
    };
    class::wait(syscall, in_iowait(task), file_mode)
}

/// Mode of the inode behind a descriptor of the task; 0 if it has none or may not be read.
#[inline(always)]
pub(crate) fn file_mode(task: Task, descriptor: u64) -> u32 {
    if !memory::of_kernel() {
        return 0;
    }
    // SAFETY: `files` and `fdt` are typed; the array of files and what follows is not, and is read
    // by a helper that fails on a bad address.
    unsafe {
        let files: *const u8 = load(task, setting!(offsets.task_files));
        let table: *const u8 = load(files, setting!(offsets.files_fdt));
        let max: u32 = load(table, setting!(offsets.fdtable_max_fds));
        if descriptor >= u64::from(max) {
            return 0;
        }
        let slots: u64 = load(table, setting!(offsets.fdtable_fd));
        let file: u64 = probe(slots + descriptor * 8);
        if file == 0 {
            return 0;
        }
        let inode: u64 = probe(file + u64::from(setting!(offsets.file_inode)));
        let mode: u16 = probe(inode + u64::from(setting!(offsets.inode_mode)));
        mode.into()
    }
}
