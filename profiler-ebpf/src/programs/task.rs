//! Births, exec, and the iterators that seed and read the state of all threads.

use aya_ebpf::bindings::{seq_file, task_struct};
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_seq_write};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use profiler_common::settings::Control;
use profiler_common::wire::{Exec, Header, OffCpuKey, ThreadTotals, tag, thread_flag};
use profiler_common::{class, fault};
use profiler_ebpf::order::load_first;
use profiler_ebpf::rules::ledger::state;
use profiler_ebpf::rules::sums::Sums;

use crate::maps::{Scratch, Thread, control, scratch, setting};
use crate::programs::sums;
use crate::regs::{self, Current};
use crate::stack::{self, Owner};
use crate::task::{self, Task};
use crate::{emit, filter, threads};

/// A newborn thread is made runnable, by its parent. It is accounted if its parent is, or by itself.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub(crate) fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
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
#[btf_tracepoint(function = "sched_process_exec")]
pub(crate) fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
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
fn first_generation(task: Task) -> u32 {
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

/// What the kernel passes to a task iterator. Source: `bpf_iter__task`, kernel/bpf/task_iter.c.
#[repr(C)]
struct TaskIterator {
    meta: *const IteratorMeta,
    task: *mut task_struct,
}

/// Start of `bpf_iter_meta`, include/linux/bpf.h.
#[repr(C)]
struct IteratorMeta {
    seq: *mut seq_file,
}

/// Visits every thread of the machine: starts those that the filter names, and writes the totals of
/// all that are accounted.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
extern "C" fn threads(ctx: *mut c_void) -> i32 {
    let ctx: *const TaskIterator = ctx.cast();
    // SAFETY: the context of a task iterator; after the last task it has none.
    let (meta, task) = unsafe { ((&raw const (*ctx).meta).read_volatile(), (&raw const (*ctx).task).read_volatile()) };
    if task.is_null() {
        return 0;
    }
    let Some(scratch) = scratch(scratch::ITERATOR) else { return 0 };
    // SAFETY: the daemon runs one iterator at a time.
    let scratch = unsafe { &mut *scratch };
    let thread = match threads::get(task) {
        Some(thread) => thread,
        None => {
            let is_over = control().is_none_or(|control| control.stop_ns != 0);
            if is_over || !filter::names(task) || task::state(task) & task::TASK_DEAD != 0 {
                return 0;
            }
            seed(scratch, task);
            match threads::get(task) {
                Some(thread) => thread,
                None => return 0,
            }
        }
    };
    // SAFETY: the value stays while the iterator holds the task. Others write it meanwhile: the
    // sequence counts tell.
    let thread = unsafe { &mut *thread };
    if thread.flags & thread_flag::ENDED != 0 {
        return 0;
    }
    let mut tries = 0;
    while tries < 4 {
        tries += 1;
        let before = sequences(thread);
        if (before.0 | before.1) & 1 != 0 {
            continue;
        }
        let Some(Control { stop_ns, window, window_ns, .. }) = control() else { return 0 };
        if window_ns != 0 && thread.ledger.since_ns >= window_ns {
            return 0;
        }
        // SAFETY: no arguments.
        let mut now_ns = if stop_ns != 0 { stop_ns } else { unsafe { bpf_ktime_get_ns() } };
        // A switch that was under way when the window closed is booked a moment after its end.
        if now_ns < thread.ledger.state_ns {
            now_ns = thread.ledger.state_ns;
        }
        write_totals(&mut scratch.totals, task, thread, now_ns);
        let with_sums = stop_ns != 0 || setting!(windows) != 0;
        if with_sums {
            copy_sums(&mut scratch.thread.sums, &thread.sums);
        }
        if sequences(thread) != before {
            continue;
        }
        // What leaves the thread from now on is of the next window, unless it has changed at this very moment.
        let window_before = thread.window;
        // SAFETY: a plain member, which nobody else writes; volatile keeps it between the two looks.
        unsafe { (&raw mut thread.window).write_volatile(window) };
        if sequences(thread) == before {
            // SAFETY: `meta` is typed and starts with the file; the record is whole.
            unsafe {
                let seq = (&raw const (*meta).seq).read_volatile();
                bpf_seq_write(seq, (&raw const scratch.totals).cast(), size_of::<ThreadTotals>() as u32);
                if with_sums {
                    sums::name(scratch, task);
                    sums::to_file(scratch, seq);
                }
            }
            return 0;
        }
        thread.window = window_before;
    }
    emit::count(fault::TORN_READ);
    0
}

/// Visits every thread of the machine and takes the stacks of those that are asleep since before
/// accounting began: no switch will show them until they wake. Writes the stacks.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter.s/task")]
extern "C" fn sleepers(ctx: *mut c_void) -> i32 {
    let ctx: *const TaskIterator = ctx.cast();
    // SAFETY: as in `threads`.
    let (meta, task) = unsafe { ((&raw const (*ctx).meta).read_volatile(), (&raw const (*ctx).task).read_volatile()) };
    if task.is_null() {
        return 0;
    }
    let (Some(thread), Some(scratch)) = (threads::get(task), scratch(scratch::ITERATOR)) else { return 0 };
    // SAFETY: as in `threads`; of the thread only what the open interval began with is written, and
    // only while it is open.
    let (thread, scratch) = unsafe { (&mut *thread, &mut *scratch) };
    let began_ns = thread.ledger.off_ns;
    let state = thread.ledger.state;
    if (state != state::BLOCKED && state != state::RUNNABLE)
        || thread.place.user_stack != 0
        || thread.place.sampling != 0
    {
        return 0;
    }
    let owner = Owner { pid: task::pid(task), generation: thread.generation };
    let regs = regs::of(task);
    // SAFETY: `meta` is typed and starts with the file.
    let seq = unsafe { (&raw const (*meta).seq).read_volatile() };
    let (user_stack, kernel_stack) = stack::of_sleeper(scratch, task, regs, thread.place.syscall, owner, seq);
    // A thread that ran meanwhile was read in the midst of things.
    if thread.ledger.off_ns == began_ns && thread.ledger.state == state {
        thread.place.user_stack = user_stack;
        if state == state::BLOCKED {
            thread.place.kernel_stack = kernel_stack;
        }
    }
    0
}

#[inline(always)]
fn sequences(thread: &Thread) -> (u32, u32) {
    (load_first(&thread.switch_seq), load_first(&thread.wake_seq))
}

/// Copies sums that may change meanwhile; word by word, since a plain copy would become a byte loop.
#[inline(always)]
fn copy_sums(to: &mut Sums, from: &Sums) {
    // SAFETY: whole values of plain integers; words are within their size, which is a multiple of 8.
    unsafe {
        let (to, from): (*mut u64, *const u64) = ((&raw mut *to).cast(), (&raw const *from).cast());
        let mut index = 0;
        while index < size_of::<Sums>() / 8 {
            to.add(index).write_volatile(from.add(index).read_volatile());
            index += 1;
        }
    }
}

/// Starts a thread in the state that it is found in.
#[inline(always)]
fn seed(scratch: &mut Scratch, task: Task) {
    let initial = &mut scratch.thread;
    prepare(initial, task, first_generation(task), thread_flag::SEEDED);
    let (on_cpu, state) = (task::on_cpu(task), task::state(task));
    let sum_exec_ns = task::sum_exec_ns(task);
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    let regs = regs::of(task);
    initial.place.syscall = task::syscall(task, regs);
    if on_cpu != 0 {
        initial.ledger.start_running(now_ns, sum_exec_ns);
    } else if state == 0 {
        initial.ledger.start_runnable(now_ns, sum_exec_ns);
    } else {
        initial.place.class = task::wait_class(task, regs, initial.place.syscall);
        initial.ledger.start_blocked(now_ns, sum_exec_ns, initial.place.class);
    }
    if threads::create(task, initial).is_none() {
        emit::no_thread_state(task);
    }
}

/// Clears a thread's first state. Members are written singly: a copy would become a byte loop.
#[inline(always)]
fn prepare(thread: &mut Thread, task: Task, generation: u32, flags: u32) {
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
    let open_ns = parts.open.blocked_ns + parts.open.run_queue_ns;
    totals.header.tag = tag::THREAD;
    totals.header.cpu = 0;
    totals.header.at_ns = now_ns;
    totals.pid = task::pid(task);
    totals.tid = task::tid(task);
    totals.flags = thread.flags;
    totals.generation = thread.generation;
    totals.start_ns = thread.start_ns;
    totals.since_ns = thread.ledger.since_ns;
    totals.on_cpu_ns = parts.on_cpu_ns;
    totals.stolen_ns = parts.stolen_ns;
    totals.run_queue_ns = parts.run_queue_ns;
    totals.blocked_ns = parts.blocked_ns;
    totals.unseen_ns = parts.unseen_ns;
    let mut index = 0;
    while index < class::COUNT {
        let open = if index as u32 == thread.ledger.class && is_off { open_ns } else { 0 };
        totals.off_cpu_ns[index] = thread.ledger.off_cpu_ns[index] + open;
        index += 1;
    }
    totals.preempted_ns = totals.off_cpu_ns[class::PREEMPTED as usize];
    let wait_ns = if is_off { parts.open.run_queue_ns } else { 0 };
    totals.throttled_ns = thread.throttle.with_open(task::queue(task), wait_ns);
    totals.utime_ns = task::utime_ns(task).saturating_sub(thread.utime_ns);
    totals.stime_ns = task::stime_ns(task).saturating_sub(thread.stime_ns);
    totals.blocks = thread.ledger.blocks;
    totals.preemptions = thread.ledger.preemptions;
    totals.open_ns = if is_off { open_ns } else { 0 };
    totals.open_run_queue_ns = wait_ns;
    totals.open_throttled_ns = totals.throttled_ns.saturating_sub(thread.throttle.total_ns);
    let open: &mut OffCpuKey = &mut totals.open;
    open.pid = totals.pid;
    open.tid = totals.tid;
    sums::place(open, &thread.place);
    task::comm(task, &mut totals.comm);
}
