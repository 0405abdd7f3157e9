//! Births, exec, and what a thread's state says.

use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
#[cfg(not(feature = "untyped"))]
use aya_ebpf::macros::btf_tracepoint;
#[cfg(feature = "untyped")]
use aya_ebpf::macros::raw_tracepoint;
use profiler_common::wire::{Exec, Header, OffCpuKey, ThreadTotals, tag};
use profiler_common::{class, fault};
use profiler_ebpf::rules::ledger::state;

use crate::hook::Hook;
use crate::maps::{Thread, control, read, scratch, setting};
use crate::programs::sums;
use crate::regs::Current;
use crate::stack;
use crate::task::{self, Task};
use crate::{emit, filter, threads};

/// A newborn thread is made runnable, by its parent. It is accounted if its parent is, or by itself.
#[cfg_attr(not(feature = "untyped"), btf_tracepoint(function = "sched_wakeup_new"))]
#[cfg_attr(feature = "untyped", raw_tracepoint(tracepoint = "sched_wakeup_new"))]
pub(crate) fn sched_wakeup_new(ctx: Hook) -> i32 {
    let child: Task = ctx.arg::<*const task_struct>(0).cast_mut();
    if control().is_none_or(|control| control.stop_ns != 0) {
        return 0;
    }
    let parent = Current::get();
    let is_process = task::pid(child) == task::tid(child);
    let mut generation = first_generation(child);
    match parent.thread() {
        Some(known) => {
            if !is_process {
                // SAFETY: the parent is executing this; its exec cannot run now.
                generation = unsafe { (*known).generation };
            }
        }
        None => {
            if !filter::names(child) {
                return 0;
            }
        }
    }
    let Some(scratch) = scratch(scratch::TASK) else { return 0 };
    // SAFETY: this CPU's working memory; preemption is off in a tracepoint.
    let initial = unsafe { &mut (*scratch).thread };
    prepare(initial, child, generation, 0);
    initial.throttle.begin(task::queue(child));
    // SAFETY: no arguments.
    initial.ledger.start_runnable(unsafe { bpf_ktime_get_ns() }, task::sum_exec_ns(child));
    if threads::create(child, initial).is_none() {
        emit::no_thread_state(child);
    }
    if is_process {
        stack::inherit(parent.pid(), task::pid(child), generation);
        let record = process_record(tag::FORK, child, generation, parent.pid());
        // SAFETY: a whole record.
        unsafe { emit::record(&raw const record, size_of::<Exec>(), fault::RING_FULL_EXEC) };
    }
    0
}

/// A process gets a new program: its mappings and its name are new, and with the name perhaps its
/// being accounted.
#[cfg_attr(not(feature = "untyped"), btf_tracepoint(function = "sched_process_exec"))]
#[cfg_attr(feature = "untyped", raw_tracepoint(tracepoint = "sched_process_exec"))]
pub(crate) fn sched_process_exec(ctx: Hook) -> i32 {
    let Some(control) = control().filter(|control| control.stop_ns == 0) else { return 0 };
    let current: Task = ctx.arg::<*const task_struct>(0).cast_mut();
    let generation = match threads::get(current) {
        // SAFETY: only exec writes the generation, and this thread is executing it.
        Some(thread) => unsafe {
            (*thread).generation += 1;
            (*thread).generation
        },
        None => {
            if !filter::names(current) {
                return 0;
            }
            let Some(scratch) = scratch(scratch::TASK) else { return 0 };
            // SAFETY: as in `sched_wakeup_new`.
            let initial = unsafe { &mut (*scratch).thread };
            prepare(initial, current, first_generation(current), 0);
            // SAFETY: no arguments.
            initial.ledger.start_running(unsafe { bpf_ktime_get_ns() }, task::sum_exec_ns(current));
            if threads::create(current, initial).is_none() {
                emit::no_thread_state(current);
                return 0;
            }
            initial.generation
        }
    };
    aya_log_ebpf::trace!((), "process {} runs another program", task::pid(current));
    let record = process_record(tag::EXEC, current, generation, 0);
    if control.late_programs == 0 {
        // SAFETY: a whole record.
        unsafe { emit::urgent(&raw const record, size_of::<Exec>(), fault::RING_FULL_EXEC) };
    } else {
        // SAFETY: as above.
        unsafe { emit::record(&raw const record, size_of::<Exec>(), fault::RING_FULL_EXEC) };
    }
    0
}

/// The generation of a process that we have seen no exec of: when it was born, in units of 2^20 ns. So
/// the next process with its pid has another one.
#[inline(always)]
pub(super) fn first_generation(task: Task) -> u32 {
    (task::start_ns(task::group_leader(task)) >> 20) as u32
}

#[inline(always)]
fn process_record(tag: u32, task: Task, generation: u32, parent: u32) -> Exec {
    let mut record = Exec {
        // SAFETY: no arguments.
        header: Header { tag, cpu: 0, at_ns: unsafe { bpf_ktime_get_ns() } },
        pid: task::pid(task),
        generation,
        comm: [0; 16],
        parent,
        reserved: 0,
    };
    task::comm(task, &mut record.comm);
    record
}

/// Clears a thread's first state. Members are written singly: a copy would become a byte loop.
#[inline(always)]
pub(super) fn prepare(thread: &mut Thread, task: Task, generation: u32, flags: u32) {
    // SAFETY: a whole value of plain integers; words are within its size, which is a multiple of 8.
    unsafe {
        let words: *mut u64 = (&raw mut *thread).cast();
        let mut index = 0;
        while index < size_of::<Thread>() / 8 {
            words.add(index).write_volatile(0);
            index += 1;
        }
    }
    thread.generation = generation;
    thread.place.generation = generation;
    thread.flags = flags;
    thread.window = control().map_or(0, |control| control.window);
    #[cfg(feature = "hashed-threads")]
    {
        thread.tid = task::tid(task);
    }
    thread.start_ns = task::start_ns(task);
    thread.utime_ns = task::utime_ns(task);
    thread.stime_ns = task::stime_ns(task);
}

/// Writes a thread's totals up to `now_ns`.
#[inline(always)]
pub(crate) fn write_totals(totals: &mut ThreadTotals, task: Task, thread: &Thread, now_ns: u64) {
    let parts = thread.ledger.totals(now_ns, task::sum_exec_ns(task), u64::from(setting!(tick_ns)));
    let is_off = thread.ledger.state == state::BLOCKED || thread.ledger.state == state::RUNNABLE;
    totals.on_cpu_ns = parts.on_cpu_ns;
    totals.stolen_ns = parts.stolen_ns;
    totals.run_queue_ns = parts.run_queue_ns;
    totals.blocked_ns = parts.blocked_ns;
    totals.unseen_ns = parts.unseen_ns;
    totals.open_run_queue_ns = if is_off { parts.open.run_queue_ns } else { 0 };
    totals.open_ns = if is_off { parts.open.blocked_ns + parts.open.run_queue_ns } else { 0 };
    // Read back, so that the verifier forgets by which of many branches they came.
    let (open_ns, wait_ns) = (read(&totals.open_ns), read(&totals.open_run_queue_ns));
    let mut index = 0;
    while index < class::COUNT {
        totals.off_cpu_ns[index] = thread.ledger.off_cpu_ns[index];
        index += 1;
    }
    if let Some(of_class) = totals.off_cpu_ns.get_mut(thread.ledger.class as usize) {
        *of_class += open_ns;
    }
    totals.preempted_ns = totals.off_cpu_ns[class::PREEMPTED as usize];
    totals.header.tag = tag::THREAD;
    totals.header.cpu = 0;
    totals.header.at_ns = now_ns;
    totals.pid = task::pid(task);
    totals.tid = task::tid(task);
    totals.flags = thread.flags;
    totals.generation = thread.generation;
    totals.start_ns = thread.start_ns;
    totals.since_ns = thread.ledger.since_ns;
    totals.throttled_ns = thread.throttle.with_open(task::queue(task), wait_ns);
    totals.utime_ns = task::utime_ns(task).saturating_sub(thread.utime_ns);
    totals.stime_ns = task::stime_ns(task).saturating_sub(thread.stime_ns);
    totals.blocks = thread.ledger.blocks;
    totals.preemptions = thread.ledger.preemptions;
    totals.open_throttled_ns = totals.throttled_ns.saturating_sub(thread.throttle.total_ns);
    let open: &mut OffCpuKey = &mut totals.open;
    open.pid = totals.pid;
    open.tid = totals.tid;
    sums::place(open, &thread.place);
    task::comm(task, &mut totals.comm);
}
