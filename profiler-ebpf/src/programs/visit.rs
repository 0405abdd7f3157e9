//! Visits of all threads of the machine: they start those that the filter names, and read those that are accounted.
//!
//! The kernel's iterator visits them, or, on kernels without types of their own, a walk of ours through the kernel's lists.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use core::ffi::c_void;
use profiler_common::fault;
use profiler_common::settings::Control;
use profiler_common::wire::thread_flag;
use profiler_ebpf::order::load_first;
use profiler_ebpf::rules::sums::Sums;

use crate::maps::{Scratch, Thread, control, read, scratch, setting};
use crate::programs::sums;
use crate::programs::task::{first_generation, prepare, write_totals};
use crate::task::{self, Task};
use crate::{emit, filter, regs, threads};

/// Starts a thread if the filter names it and it is not accounted yet, and hands its totals, and whether its sums belong to
/// them, to `write`: both lie in the working memory.
#[inline(always)]
fn visit(scratch: &mut Scratch, task: Task, write: impl Fn(&mut Scratch, bool)) {
    let thread = match threads::get(task) {
        Some(thread) => thread,
        None => {
            let is_over = control().is_none_or(|control| control.stop_ns != 0);
            if is_over || !filter::names(task) || task::state(task) & task::TASK_DEAD != 0 {
                return;
            }
            seed(scratch, task);
            match threads::get(task) {
                Some(thread) => thread,
                None => return,
            }
        }
    };
    // SAFETY: a value of a map, or one that stays with the task that an iterator holds. Others write it meanwhile: the
    // sequence counts tell.
    let thread = unsafe { &mut *thread };
    if thread.flags & thread_flag::ENDED != 0 {
        return;
    }
    let mut tries = 0;
    while tries < 4 {
        tries += 1;
        let before = sequences(thread);
        if (before.0 | before.1) & 1 != 0 {
            continue;
        }
        let Some(Control { stop_ns, window, window_ns, .. }) = control() else { return };
        if window_ns != 0 && thread.ledger.since_ns >= window_ns {
            return;
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
            write(scratch, with_sums);
            return;
        }
        thread.window = window_before;
    }
    emit::count(fault::TORN_READ);
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
        // Read back, so that the verifier forgets by which branch it came.
        initial.ledger.start_blocked(now_ns, sum_exec_ns, read(&initial.place.class));
    }
    if threads::create(task, initial).is_none() {
        emit::no_thread_state(task);
    }
}

/// The kernel's iterators.
#[cfg(not(feature = "untyped"))]
mod by {
    use super::*;
    use aya_ebpf::bindings::{seq_file, task_struct};
    use aya_ebpf::helpers::generated::bpf_seq_write;
    use core::mem::offset_of;
    use profiler_common::wire::{OffCpu, OffCpuValue, ThreadTotals};
    use profiler_ebpf::rules::ledger::state;
    use profiler_ebpf::rules::sums::SLOTS;

    use crate::stack::{self, Owner};

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

    /// Visits every thread of the machine and writes the totals of all that are accounted.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter/task")]
    extern "C" fn threads(ctx: *mut c_void) -> i32 {
        let ctx: *const TaskIterator = ctx.cast();
        // SAFETY: the context of a task iterator; after the last task it has none.
        let (meta, task) =
            unsafe { ((&raw const (*ctx).meta).read_volatile(), (&raw const (*ctx).task).read_volatile()) };
        if task.is_null() {
            return 0;
        }
        let Some(scratch) = scratch(scratch::ITERATOR) else { return 0 };
        // SAFETY: the daemon runs one iterator at a time.
        let scratch = unsafe { &mut *scratch };
        visit(scratch, task, |scratch, with_sums| {
            // SAFETY: `meta` is typed and starts with the file; the record is whole.
            unsafe {
                let seq = (&raw const (*meta).seq).read_volatile();
                bpf_seq_write(seq, (&raw const scratch.totals).cast(), size_of::<ThreadTotals>() as u32);
                if with_sums {
                    sums::name(scratch, task);
                    to_file(scratch, seq);
                }
            }
        });
        0
    }

    /// Visits every thread of the machine and takes the stacks of those that are asleep since before
    /// accounting began: no switch will show them until they wake. Writes the stacks.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "iter.s/task")]
    extern "C" fn sleepers(ctx: *mut c_void) -> i32 {
        let ctx: *const TaskIterator = ctx.cast();
        // SAFETY: as in `threads`.
        let (meta, task) =
            unsafe { ((&raw const (*ctx).meta).read_volatile(), (&raw const (*ctx).task).read_volatile()) };
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

    /// Writes the copy of a thread's sums that is in working memory to an iterator's file.
    #[inline(always)]
    fn to_file(scratch: &mut Scratch, seq: *mut seq_file) {
        const VALUE: usize = offset_of!(OffCpu, value);
        let mut slot = 0;
        while slot < SLOTS {
            let value = &scratch.thread.sums.values[slot];
            if value.count != 0 {
                sums::fill(&mut scratch.sum, &scratch.thread.sums.places[slot]);
                // SAFETY: both parts of the record lie in working memory and stay during the call.
                unsafe {
                    bpf_seq_write(seq, (&raw const scratch.sum).cast(), VALUE as u32);
                    bpf_seq_write(seq, (&raw const *value).cast(), size_of::<OffCpuValue>() as u32);
                }
            }
            slot += 1;
        }
    }
}

/// A walk of ours, part by part, that the daemon runs by itself: nothing is locked meanwhile, so that it may lose its way
/// between two parts. What it reads of what is gone is zero, or what was there.
#[cfg(feature = "untyped")]
mod by {
    use super::*;
    use aya_ebpf::helpers::generated::{bpf_get_current_pid_tgid, bpf_get_current_task};
    use profiler_common::settings::visit as went;

    use crate::lend;
    use crate::maps::VISIT;
    use crate::memory::probe;

    /// Threads and processes visited in one part: what they say has to fit into the ring, which the daemon empties between
    /// two of them.
    const STEPS: u32 = 128;

    /// Visits the next threads of the machine and sends the totals of those that are accounted. Returns one of
    /// `settings::visit`.
    #[unsafe(no_mangle)]
    #[unsafe(link_section = "raw_tp/threads")]
    extern "C" fn threads(_: *mut c_void) -> u32 {
        let mut step = 0;
        while step < STEPS {
            step += 1;
            let went = visit_next();
            if went != went::MORE {
                return went;
            }
        }
        went::MORE
    }

    /// Visits the thread at which the walk stands and goes on to the next one.
    #[unsafe(no_mangle)]
    #[inline(never)]
    extern "C" fn visit_next() -> u32 {
        let Some(walk) = VISIT.get_ptr_mut(0) else { return went::OVER };
        // SAFETY: the daemon writes it between two walks only.
        let walk = unsafe { &mut *walk };
        if walk.thread == 0 {
            if walk.leader == 0 {
                // The list is a ring, so any process begins it: ours, which asks for this and does not go meanwhile.
                // SAFETY: no arguments.
                let (current, id) = unsafe { (bpf_get_current_task(), bpf_get_current_pid_tgid()) };
                walk.first = task::group_leader(current as Task) as u64;
                walk.leader = walk.first;
                // Where members lie as the daemon says, this is the process that the kernel says it is.
                let first = walk.first as Task;
                walk.own = (task::pid(first) == (id >> 32) as u32 && task::tid(first) == (id >> 32) as u32).into();
                task::comm(first, &mut walk.own_comm);
            } else {
                if threads_of(walk.leader) != walk.last {
                    return went::LOST;
                }
                // SAFETY: any bit pattern is a number; here and below.
                let next: u64 = unsafe { probe(walk.leader + u64::from(setting!(offsets.task_tasks))) };
                if next == 0 {
                    return went::LOST;
                }
                walk.leader = next.wrapping_sub(setting!(offsets.task_tasks).into());
                if walk.leader == walk.first {
                    return went::OVER;
                }
            }
            walk.last = threads_of(walk.leader);
            walk.thread = next_thread(walk.last, walk.last);
            return went::MORE;
        }
        // It may have ended since the part before, and its memory may be another process' thread.
        if threads_of(walk.thread) != walk.last {
            emit::count(fault::TORN_READ);
            walk.thread = 0;
            return went::MORE;
        }
        let task = walk.thread as Task;
        let Some(scratch) = scratch(scratch::ITERATOR) else { return went::OVER };
        // SAFETY: the daemon runs one walk at a time.
        visit(unsafe { &mut *scratch }, task, |scratch, with_sums| {
            let totals = &raw const scratch.totals;
            // SAFETY: a whole record.
            unsafe { emit::record(totals, size_of_val(&scratch.totals), fault::RING_FULL_THREAD) };
            if with_sums {
                sums::name(scratch, task);
                sums::copy_to_ring(lend::scratch(scratch));
            }
        });
        walk.thread = next_thread(walk.thread + u64::from(setting!(offsets.task_node)), walk.last);
        went::MORE
    }

    /// The list of all threads of a task's process: where it begins and ends.
    #[inline(always)]
    fn threads_of(task: u64) -> u64 {
        // SAFETY: as above.
        let signal: u64 = unsafe { probe(task + u64::from(setting!(offsets.task_signal))) };
        signal + u64::from(setting!(offsets.signal_threads))
    }

    /// The thread behind a place of the list that ends at `last`; 0 if there is none.
    #[inline(always)]
    fn next_thread(place: u64, last: u64) -> u64 {
        // SAFETY: as above.
        let node: u64 = unsafe { probe(place) };
        if node == 0 {
            emit::count(fault::TORN_READ);
        }
        if node == 0 || node == last { 0 } else { node.wrapping_sub(setting!(offsets.task_node).into()) }
    }
}
