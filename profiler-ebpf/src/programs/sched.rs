//! Switches and wake-ups: where all time comes from.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::task_struct;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
#[cfg(not(feature = "untyped"))]
use aya_ebpf::macros::btf_tracepoint;
#[cfg(feature = "untyped")]
use aya_ebpf::macros::raw_tracepoint;
use profiler_common::settings::Control;
use profiler_common::wire::{Wait, sampling, tag, thread_flag, waker_flag};
use profiler_common::{class, fault};
use profiler_ebpf::order::raise;
use profiler_ebpf::rules::class::{self as calls, Call};
use profiler_ebpf::rules::ledger::Missed;
use profiler_ebpf::rules::memo::NO_DESCRIPTOR;
use profiler_ebpf::rules::sums::Place;

use crate::hook::Hook;
use crate::maps::{Scratch, Thread, control, scratch, setting};
use crate::programs::sums;
use crate::programs::task::write_totals;
use crate::regs::{self, Current};
use crate::stack::{self, KernelPlace, Owner};
use crate::task::{self, TASK_DEAD, Task};
use crate::{emit, lend, machine, threads};

/// A CPU goes from one thread to another: the one's run ends, the other's wait ends.
#[cfg_attr(not(feature = "untyped"), btf_tracepoint(function = "sched_switch"))]
#[cfg_attr(feature = "untyped", raw_tracepoint(tracepoint = "sched_switch"))]
pub(crate) fn sched_switch(ctx: Hook) -> i32 {
    let prev: Task = ctx.arg::<*const task_struct>(1).cast_mut();
    let next: Task = ctx.arg::<*const task_struct>(2).cast_mut();
    let (Some(control), Some(scratch)) = (control(), scratch(scratch::SWITCH)) else { return 0 };
    // SAFETY: this CPU's working memory for switches, which nothing else on this CPU uses now.
    let scratch = unsafe { &mut *scratch };
    if control.stop_ns != 0 {
        // The window is over, but a thread that ends before it was read still owes its totals.
        if prev_state(&ctx, prev) & TASK_DEAD != 0
            && let Some(thread) = threads::get(prev)
        {
            // SAFETY: the thread's run-queue lock is held: nobody else books its switches.
            let thread = unsafe { &mut *thread };
            // A switch that was under way when the window closed was booked a moment after its end.
            let booked_ns = thread.ledger.state_ns;
            let end_ns = if booked_ns > control.stop_ns { booked_ns } else { control.stop_ns };
            end_thread(scratch, prev, thread, end_ns, control);
        }
        return 0;
    }
    scratch.epoch = control.epoch;
    scratch.wait_level = control.wait_level;
    let mut now_ns = 0;
    if let Some(thread) = threads::get(prev) {
        // SAFETY: no arguments; the thread's run-queue lock is held: nobody else books its switches.
        unsafe {
            now_ns = bpf_ktime_get_ns();
            switch_out(&ctx, scratch, prev, &mut *thread, now_ns, control);
        }
    }
    if let Some(thread) = threads::get(next) {
        // SAFETY: as above.
        unsafe {
            if now_ns == 0 {
                now_ns = bpf_ktime_get_ns();
            }
            switch_in(scratch, next, &mut *thread, now_ns, control.active);
        }
    }
    0
}

#[inline(always)]
fn switch_out(ctx: &Hook, scratch: &mut Scratch, prev: Task, thread: &mut Thread, now_ns: u64, control: Control) {
    let preempted: bool = ctx.arg::<u64>(0) & 1 != 0;
    let state = prev_state(ctx, prev);
    let regs = regs::of(prev);
    let blocks = !preempted && state != 0;
    let ended = state & TASK_DEAD != 0;

    let mut wait_class = class::PREEMPTED;
    let call = task::syscall(prev, regs);
    // What is learnt of the one by comparing it does not hold for the other.
    let syscall = launder(&mut scratch.any, call as u64) as i32;
    let (mut user_stack, mut kernel_stack, mut sampling) = (0, 0, sampling::EXACT);
    if blocks && !ended {
        let descriptor = match calls::call(call) {
            Call::Class(_) => NO_DESCRIPTOR,
            Call::Read | Call::Write => machine::argument(regs),
        };
        let descriptor = launder(&mut scratch.any, descriptor);
        let read_mode = || if descriptor == NO_DESCRIPTOR { 0 } else { task::file_mode(prev, descriptor) };
        let file_mode = if setting!(kernel_stacks) != 0 && control.no_kernel_stacks == 0 {
            let place = KernelPlace { context: ctx.as_ptr(), regs, syscall, state, descriptor };
            let (stack, file_mode) = stack::kernel_of_wait(scratch, thread, place, read_mode);
            kernel_stack = stack;
            file_mode
        } else {
            read_mode()
        };
        wait_class = launder(&mut scratch.any, calls::wait(call, task::in_iowait(prev), file_mode).into()) as u32;
    }
    if setting!(user_stacks) != 0 && !ended {
        let owner = Owner { pid: task::pid(prev), generation: thread.generation };
        (user_stack, sampling) = stack::user_of_wait(scratch, thread, ctx.as_ptr(), regs, syscall, owner, now_ns);
    }
    let generation = thread.generation;
    raise(&mut thread.switch_seq);
    let before = thread.ledger.missed_interval(now_ns, task::sum_exec_ns(prev));
    if before.start_ns != 0 {
        // Nobody saw its switch-in: the wait that this ended belongs to the place before this one.
        sums::name(scratch, prev);
        scratch.interval = before;
        sums::add_anywhere(lend::scratch(scratch), lend::thread(thread), control.active);
    }
    thread.place = Place { user_stack, kernel_stack, class: wait_class, syscall, generation, sampling };
    // Before the ledger says that the thread waits: then the mark is a waker's to make.
    thread.throttle.begin(task::queue(prev));
    let missed = thread.ledger.switch_out(now_ns, task::sum_exec_ns(prev), wait_class);
    raise(&mut thread.switch_seq);
    count_missed(missed);

    if ended {
        end_thread(scratch, prev, thread, now_ns, control);
    }
}

/// The same value by way of memory, so that the verifier forgets which branch it came from and follows what comes
/// after once, not once for each of them.
#[inline(always)]
fn launder(room: &mut u64, value: u64) -> u64 {
    let room: *mut u64 = &raw mut *room;
    // SAFETY: from a reference.
    unsafe {
        room.write_volatile(value);
        room.read_volatile()
    }
}

/// The scheduler state that the leaving thread has.
#[inline(always)]
fn prev_state(ctx: &Hook, prev: Task) -> u32 {
    if setting!(switch_has_state) != 0 { ctx.arg::<u64>(3) as u32 } else { task::state(prev) }
}

/// Sends the totals of a thread that runs no more.
#[inline(always)]
fn end_thread(scratch: &mut Scratch, task: Task, thread: &mut Thread, end_ns: u64, control: Control) {
    thread.flags |= thread_flag::ENDED;
    sums::name(scratch, task);
    if control.stop_ns == 0 {
        sums::to_map(lend::scratch(scratch), lend::thread(thread), control.active)
    } else {
        sums::to_ring(lend::scratch(scratch), lend::thread(thread))
    };
    write_totals(&mut scratch.totals, task, thread, end_ns);
    // SAFETY: a whole record.
    unsafe { emit::record(&raw const scratch.totals, size_of_val(&scratch.totals), fault::RING_FULL_THREAD) };
    threads::end(task);
}

#[inline(always)]
fn switch_in(scratch: &mut Scratch, next: Task, thread: &mut Thread, now_ns: u64, active: u32) {
    raise(&mut thread.switch_seq);
    let (mut interval, missed) = thread.ledger.switch_in(now_ns, task::sum_exec_ns(next));
    let total_ns = interval.blocked_ns + interval.run_queue_ns;
    if thread.throttle.is_open() {
        let past_ns = task::past_of(next, thread.throttle.address);
        interval.throttled_ns = thread.throttle.end(past_ns, interval.run_queue_ns);
    }
    // Before the end: whoever reads the thread finds a wait either open or summed.
    if total_ns != 0 && !thread.sums.add(&thread.place, &interval) {
        sums::name(scratch, next);
        scratch.interval = interval;
        sums::add_elsewhere(lend::scratch(scratch), lend::thread(thread), active);
    }
    raise(&mut thread.switch_seq);
    count_missed(missed);
    if total_ns == 0 {
        return;
    }
    if total_ns >= setting!(min_wait_ns) {
        sums::name(scratch, next);
        sums::place(&mut scratch.sum.key, &thread.place);
        // Built in working memory: the BPF stack has no room for it.
        let wait = &mut scratch.wait;
        wait.key = scratch.sum.key;
        wait.header.tag = tag::WAIT;
        // SAFETY: no arguments.
        wait.header.cpu = unsafe { bpf_get_smp_processor_id() };
        wait.header.at_ns = now_ns;
        wait.start_ns = interval.start_ns;
        wait.wake_ns = interval.start_ns + interval.blocked_ns;
        wait.waker_pid = (thread.waker >> 32) as u32;
        wait.waker_tid = thread.waker as u32;
        wait.waker_flags = thread.waker_flags;
        wait.reserved = 0;
        // SAFETY: a whole record.
        unsafe { emit::record(&raw const *wait, size_of::<Wait>(), fault::RING_FULL_WAIT) };
    }
    thread.waker_flags = 0;
    thread.waker = 0;
}

/// A thread is being woken. This hook, not `sched_wakeup`, since it always runs where the waker is: a
/// remote wake-up completes in an interrupt on the sleeper's CPU. It may overtake the sleeper's own
/// switch-out, which the ledger knows.
#[cfg_attr(not(feature = "untyped"), btf_tracepoint(function = "sched_waking"))]
#[cfg_attr(feature = "untyped", raw_tracepoint(tracepoint = "sched_waking"))]
pub(crate) fn sched_waking(ctx: Hook) -> i32 {
    let woken: Task = ctx.arg::<*const task_struct>(0).cast_mut();
    let Some(thread) = threads::get(woken) else { return 0 };
    if control().is_none_or(|control| control.stop_ns != 0) {
        return 0;
    }
    // SAFETY: the kernel serialises wake-ups of one thread by its pi_lock. The switch programs write
    // other members, and the state last.
    let thread = unsafe { &mut *thread };
    // SAFETY: no arguments.
    let now_ns = unsafe { bpf_ktime_get_ns() };
    raise(&mut thread.wake_seq);
    let was_blocked = thread.ledger.wake(now_ns);
    if was_blocked {
        thread.throttle.begin(task::queue(woken));
    }
    raise(&mut thread.wake_seq);
    // A wait that is short so far is hardly one that is sent by itself: most wake-ups are spared this.
    // Who wakes is said only where its registers tell whether it does, or an interrupt beside it.
    if was_blocked && thread.ledger.open_blocked_ns >= setting!(min_wait_ns) / 2 && regs::are_readable() {
        let current = Current::get();
        // Whether the context lies on the task's own stack: from kernel mode an interrupt goes to a stack of its own; from user mode it uses the task's,
        // which then holds the registers of no system call.
        let regs = current.regs();
        let in_task = regs::distance(regs, ctx.as_ptr(), scratch::TASK) < machine::KERNEL_STACK_BYTES
            && current.syscall(regs) >= 0;
        thread.waker = u64::from(current.pid()) << 32 | u64::from(current.tid());
        thread.waker_flags = waker_flag::SEEN | if in_task { 0 } else { waker_flag::INTERRUPT };
    }
    0
}

/// A thread that waits for a CPU, or is about to since it is being woken, goes to another one: to a queue that is throttled by
/// itself.
#[cfg_attr(not(feature = "untyped"), btf_tracepoint(function = "sched_migrate_task"))]
#[cfg_attr(feature = "untyped", raw_tracepoint(tracepoint = "sched_migrate_task"))]
pub(crate) fn sched_migrate_task(ctx: Hook) -> i32 {
    let task: Task = ctx.arg::<*const task_struct>(0).cast_mut();
    let cpu: u32 = ctx.arg(1);
    let Some(thread) = threads::get(task) else { return 0 };
    if control().is_none_or(|control| control.stop_ns != 0) {
        return 0;
    }
    // SAFETY: a thread migrates while it does not run, under its pi_lock or its run-queue lock: whoever wakes it or switches to it
    // comes before or after.
    let thread = unsafe { &mut *thread };
    if !thread.throttle.is_open() {
        return 0;
    }
    let before = task::queue(task);
    raise(&mut thread.wake_seq);
    thread.throttle.migrate(before, task::queue_on(task, cpu));
    raise(&mut thread.wake_seq);
    0
}

#[inline(always)]
fn count_missed(missed: Missed) {
    match missed {
        Missed::Nothing => {}
        Missed::SwitchIn => emit::count(fault::MISSED_SWITCH_IN),
        Missed::SwitchOut => emit::count(fault::MISSED_SWITCH_OUT),
    }
}
