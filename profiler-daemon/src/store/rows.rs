//! The tables of a segment. `docs/store.md` describes them for those who read the files with other programs: a change
//! here is a change there, and raises [`VERSION`] unless it only adds optional columns.
//!
//! `window` is the number of a window. `user_stack` and `kernel_stack` are numbers in `stacks` of the same segment, 0
//! says that there is none. Times are on the wall clock as the window's own start has it.

use super::table::{Text, Time, table};
use profiler_common::class;

/// Version of the tables and of the manifest.
pub(super) const VERSION: u32 = 1;

table! {
    /// One window.
    Window in "windows" {
        window: u64 = Delta,
        start: Time = Delta,
        duration_ns: u64 = Plain,
        /// `start` on the kernel's clock: what the times of all rows are relative to.
        start_mono_ns: u64 = Delta,
        target: Text = Dictionary,
        cpus: u32 = Dictionary,
        rate_hz: u32 = Dictionary,
        min_wait_ns: u64 = Dictionary,
        /// Step of detail that was shed; absent in files of programs that did not write it.
        detail_level: Option<u32> = Dictionary,
        overhead_kernel_ns: Option<u64> = Plain,
        overhead_kernel_runs: Option<u64> = Plain,
        overhead_daemon_ns: u64 = Plain,
        overhead_finish_ns: u64 = Plain,
        overhead_peak_rss_bytes: u64 = Plain,
        overhead_kernel_memory_bytes: u64 = Plain,
        overhead_tables_bytes: u64 = Plain,
        overhead_tables_files: u64 = Plain,
        user_stacks_recognised: u64 = Plain,
        user_stacks_walked: u64 = Plain,
        user_stacks_skipped: u64 = Plain,
        kernel_stacks_recognised: u64 = Plain,
        kernel_stacks_walked: u64 = Plain,
        loss_causes: Vec<Text> = Dictionary,
        loss_counts: Vec<u64> = Dictionary,
        /// Threads that woke others without being accounted themselves.
        waker_pids: Vec<u32> = Dictionary,
        waker_tids: Vec<u32> = Dictionary,
        waker_comms: Vec<Text> = Dictionary,
        /// Rows of the window in the other tables.
        processes: u32 = Plain,
        threads: u32 = Plain,
        cpu_samples: u64 = Plain,
        off_cpu: u64 = Plain,
        waits: u64 = Plain,
    }
}

table! {
    /// A program with its labels, in each window from `window` to `last_window`.
    Program in "programs" {
        window: u64 = Delta,
        last_window: u64 = Delta,
        pid: u32 = Delta,
        generation: u32 = Plain,
        parent: u32 = Dictionary,
        born: Time = Plain,
        comm: Text = Dictionary,
        executable: Option<Text> = Dictionary,
        build_id: Option<Text> = Dictionary,
        cgroup: Option<Text> = Dictionary,
        container_id: Option<Text> = Dictionary,
        unit: Option<Text> = Dictionary,
        service: Text = Dictionary,
    }
}

table! {
    /// The exact time of one thread in one window.
    Thread in "threads" {
        window: u64 = Dictionary,
        pid: u32 = Dictionary,
        tid: u32 = Dictionary,
        born_mono_ns: u64 = Dictionary,
        generation: u32 = Dictionary,
        comm: Text = Dictionary,
        start_ns: u64 = Dictionary,
        ended: bool = Plain,
        blocks: u64 = Plain,
        preemptions: u64 = Plain,
        wall_ns: u64 = Dictionary,
        on_cpu_ns: u64 = Plain,
        user_ns: u64 = Plain,
        kernel_ns: u64 = Plain,
        stolen_ns: u64 = Plain,
        run_queue_ns: u64 = Plain,
        blocked_ns: u64 = Plain,
        unseen_ns: u64 = Plain,
        preempted_ns: u64 = Plain,
        lock_ns: u64 = Plain,
        socket_recv_ns: u64 = Plain,
        socket_send_ns: u64 = Plain,
        socket_accept_ns: u64 = Plain,
        poll_idle_ns: u64 = Plain,
        disk_io_ns: u64 = Plain,
        fs_sync_ns: u64 = Plain,
        pipe_ns: u64 = Plain,
        sleep_ns: u64 = Plain,
        page_fault_ns: u64 = Plain,
        wait_child_ns: u64 = Plain,
        other_ns: u64 = Plain,
        /// Absent in files of before it was measured.
        throttled_ns: Option<u64> = Plain,
    }
}

table! {
    /// Of a thread's time only where it went at all.
    ThreadSum in "threads" {
        window: u64 = Dictionary,
        pid: u32 = Dictionary,
        generation: u32 = Dictionary,
        wall_ns: u64 = Dictionary,
        on_cpu_ns: u64 = Plain,
        run_queue_ns: u64 = Plain,
    }
}

table! {
    /// One on-CPU sample.
    CpuSample in "cpu_samples" {
        window: u64 = Plain,
        time: Time = Plain,
        cpu: u32 = Dictionary,
        pid: u32 = Dictionary,
        tid: u32 = Dictionary,
        generation: u32 = Dictionary,
        /// Whether it hit the kernel.
        in_kernel: bool = Plain,
        user_stack: u32 = Delta,
        kernel_stack: u32 = Dictionary,
    }
}

table! {
    /// Waits of one window that were summed in the kernel.
    OffCpu in "off_cpu" {
        window: u64 = Plain,
        pid: u32 = Dictionary,
        tid: u32 = Dictionary,
        generation: u32 = Dictionary,
        class: Text = Dictionary,
        syscall: i32 = Dictionary,
        sampling: u32 = Dictionary,
        user_stack: u32 = Plain,
        kernel_stack: u32 = Dictionary,
        count: u64 = Plain,
        blocked_ns: u64 = Plain,
        run_queue_ns: u64 = Plain,
        max_ns: u64 = Plain,
        /// Histogram: the waits of each bucket from the first to the last that is not empty. No counts if all waits are in
        /// the bucket of `max_ns`.
        first_bucket: u32 = Dictionary,
        bucket_counts: Vec<u32> = Plain,
        /// The part of `run_queue_ns` that a CPU quota made; NULL if it was not measured yet.
        throttled_ns: Option<u64> = Plain,
    }
}

table! {
    /// One long wait.
    Wait in "waits" {
        window: u64 = Dictionary,
        /// When the thread was switched out.
        start: Time = Plain,
        duration_ns: u64 = Plain,
        /// From `start` to the wake-up; the rest was spent runnable. Negative if the wake-up was not seen.
        blocked_ns: i64 = Plain,
        cpu: u32 = Dictionary,
        pid: u32 = Dictionary,
        tid: u32 = Dictionary,
        generation: u32 = Dictionary,
        class: Text = Dictionary,
        syscall: i32 = Dictionary,
        sampling: u32 = Dictionary,
        user_stack: u32 = Plain,
        kernel_stack: u32 = Dictionary,
        waker_pid: u32 = Dictionary,
        waker_tid: u32 = Dictionary,
        waker_flags: u32 = Dictionary,
    }
}

table! {
    /// A kernel or user stack that the rows of this segment have.
    Stack in "stacks" {
        /// From 1.
        stack: u32 = Delta,
        /// The kernel's own id of it.
        stack_id: u64 = Plain,
        pid: u32 = Dictionary,
        generation: u32 = Dictionary,
        epoch: u32 = Dictionary,
        in_kernel: bool = Plain,
        /// How the walk ended; absent if the stack never arrived.
        outcome: Option<u32> = Dictionary,
        /// Numbers in `frames`, leaf first. Empty if the stack never arrived.
        frames: Vec<u32> = Plain,
    }
}

table! {
    /// A frame that the stacks of this segment have.
    Frame in "frames" {
        /// From 0.
        frame: u32 = Delta,
        kind: Text = Dictionary,
        function: Option<Text> = Dictionary,
        file: Option<Text> = Dictionary,
        line: Option<u32> = Plain,
        module: Option<Text> = Dictionary,
        build_id: Option<Text> = Dictionary,
        offset: Option<u64> = Plain,
        inlined: bool = Plain,
    }
}

impl Thread {
    /// Off-CPU time by class, in the order of the classes' numbers.
    pub(super) fn classes(&self) -> [u64; class::COUNT] {
        [
            self.preempted_ns,
            self.lock_ns,
            self.socket_recv_ns,
            self.socket_send_ns,
            self.socket_accept_ns,
            self.poll_idle_ns,
            self.disk_io_ns,
            self.fs_sync_ns,
            self.pipe_ns,
            self.sleep_ns,
            self.page_fault_ns,
            self.wait_child_ns,
            self.other_ns,
        ]
    }
}

/// All tables of a segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tables {
    pub(super) windows: Vec<Window>,
    pub(super) programs: Vec<Program>,
    pub(super) threads: Vec<Thread>,
    pub(super) cpu_samples: Vec<CpuSample>,
    pub(super) off_cpu: Vec<OffCpu>,
    pub(super) waits: Vec<Wait>,
    pub(super) stacks: Vec<Stack>,
    pub(super) frames: Vec<Frame>,
}
