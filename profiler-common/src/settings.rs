//! What the daemon sets before it loads the kernel programs. The map that holds it is frozen, so
//! the verifier sees constants and removes what they rule out.

use crate::limits::COMM_BYTES;

/// Byte offsets of kernel structure members, read from BTF of the running kernel.
///
/// A member that this kernel does not have is [`Offsets::ABSENT`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct.pid`: the thread id.
    pub task_tid: u32,
    /// `task_struct.tgid`: the process id.
    pub task_pid: u32,
    /// `task_struct.flags`.
    pub task_flags: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.__state`, or `state` before Linux 5.14.
    pub task_state: u32,
    /// `task_struct.on_cpu`.
    pub task_on_cpu: u32,
    /// `task_struct.start_time`, CLOCK_MONOTONIC ns.
    pub task_start_time: u32,
    /// `task_struct.group_leader`.
    pub task_group_leader: u32,
    /// `task_struct.files`.
    pub task_files: u32,
    /// `task_struct.cgroups`.
    pub task_cgroups: u32,
    /// `task_struct.se.sum_exec_runtime`.
    pub task_sum_exec: u32,
    /// `task_struct.utime`.
    pub task_utime: u32,
    /// `task_struct.stime`.
    pub task_stime: u32,
    /// Byte of `task_struct` that holds the bit `in_iowait`.
    pub task_in_iowait: u32,
    /// Mask of the bit `in_iowait` in that byte.
    pub in_iowait_mask: u32,
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.fd`.
    pub fdtable_fd: u32,
    /// `fdtable.max_fds`.
    pub fdtable_max_fds: u32,
    /// `file.f_inode`.
    pub file_inode: u32,
    /// `inode.i_mode`.
    pub inode_mode: u32,
    /// `css_set.dfl_cgrp`.
    pub css_set_dfl_cgrp: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kernfs_id: u32,
    /// Word of `task_struct.thread_info` that marks a 32-bit system call: `status` on x86-64, `flags` on aarch64.
    pub task_status: u32,
    /// `task_struct.stack`: where the kernel stack begins.
    pub task_stack: u32,
    /// `pt_regs.orig_ax` on x86-64, `pt_regs.syscallno` on aarch64: the system call.
    pub regs_syscall: u32,
    /// `task_struct.se.cfs_rq`: the queue of the thread's cgroup on its CPU. Absent if this kernel does not throttle
    /// cgroups, or not in a way that we know; what else belongs to it means nothing then.
    pub task_queue: u32,
    /// `task_struct.throttled` (Linux 6.18): a thread is throttled by itself, on its way to user space. Before, all of a
    /// queue are.
    pub task_throttled: u32,
    /// `cfs_rq.throttled_clock_self_time` (Linux 6.6), or `throttled_clock_pelt_time`: how long the queue was throttled.
    pub queue_past: u32,
    /// `cfs_rq.throttled_clock_self` (Linux 6.6): since when it is throttled, by `rq.clock`; 0 if it is not.
    pub queue_since: u32,
    /// `cfs_rq.throttle_count`: not 0 while it is throttled.
    pub queue_throttles: u32,
    /// `cfs_rq.rq`.
    pub queue_cpu: u32,
    /// `rq.clock`.
    pub cpu_clock: u32,
    /// `cfs_rq.tg`: the cgroup.
    pub queue_group: u32,
    /// `task_group.cfs_rq`: an array of its queues, one a CPU.
    pub group_queues: u32,
    /// `task_struct.tasks`: the list of all processes.
    pub task_tasks: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `signal_struct.thread_head`: the list of a process' threads.
    pub signal_threads: u32,
    /// `task_struct.thread_node`: a thread's place in it.
    pub task_node: u32,
}

impl Offsets {
    /// Marks a member that this kernel does not have.
    pub const ABSENT: u32 = u32::MAX;
}

/// Which threads are accounted; several rules may hold, and any one of them is enough.
pub mod filter {
    /// Processes listed in the map `FILTER_PIDS`.
    pub const PIDS: u32 = 1;
    /// Processes whose leader's name is in `FILTER_COMMS`.
    pub const COMMS: u32 = 2;
    /// Threads whose cgroup (v2) is in `FILTER_CGROUPS`.
    pub const CGROUPS: u32 = 4;
    /// Every process but our own; kernel threads never.
    pub const ALL: u32 = 8;
}

/// Everything that the kernel programs need to know at load time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Waits at least this long are also sent one by one, in nanoseconds.
    pub min_wait_ns: u64,
    /// Bits that addresses of user space have. Above them aarch64 may sign an address.
    pub user_addresses: u64,
    /// Bits of [`filter`].
    pub filter: u32,
    /// Our own process, never accounted under [`filter::ALL`].
    pub own_pid: u32,
    /// 1 if `sched_switch` passes `prev_state` as its fourth argument (Linux 5.18).
    pub switch_has_state: u32,
    /// 1 if kernel memory may be read by its address (not under lockdown=confidentiality).
    pub kernel_reads: u32,
    /// 1 if memory of processes may be. The kernel lets programs do that under every lockdown, but the loader does not: see
    /// `capture::settings`.
    pub user_reads: u32,
    /// 1 takes the user stack of every wait.
    pub user_stacks: u32,
    /// 1 takes the kernel stack of every blocked wait.
    pub kernel_stacks: u32,
    /// 1 walks fully beside every memo hit and counts differences: a test mode.
    pub verify_memo: u32,
    /// 1 also walks by frame pointers alone at each CPU sample, and counts how that ends: a test mode.
    pub compare_walks: u32,
    /// What new stacks of a thread's waits may cost in one period, see `limits::WALK_BUDGET_NS`; 0 walks all of them.
    pub walk_budget_ns: u32,
    /// 1 if windows follow each other: reading a thread's totals tells its sums of waits as well, while they grow.
    pub windows: u32,
    /// Nanoseconds of one scheduler tick: how far a running thread's run time may lag.
    pub tick_ns: u32,
    /// 1 if the kernel has the helper `bpf_task_pt_regs` (Linux 5.15).
    pub has_task_pt_regs: u32,
    /// 1 if the kernel may leave room above the saved registers, at the top of a kernel stack (FRED, Linux 6.9).
    pub pads_registers: u32,
    /// Structure offsets of this kernel.
    pub offsets: Offsets,
}

/// What the daemon tells the running programs: the one entry of the map `CONTROL`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Which of the two off-CPU maps is written: 0 or 1.
    pub active: u32,
    /// The newest epoch of mappings, see [`ProcessMappings::epoch`](crate::unwind::ProcessMappings). A
    /// remembered stack of another one is walked again.
    pub epoch: u32,
    /// End of the window: from then on nothing is booked, and totals reach to this instant. 0 while
    /// the window is open.
    pub stop_ns: u64,
    /// One wait in 2^level has its user stack taken, by chance; at level 0 all have. See `wire::sampling`.
    pub wait_level: u32,
    /// 1 while no kernel stacks of waits are taken.
    pub no_kernel_stacks: u32,
    /// Number of the window that threads which are read from now on go to. It wraps.
    pub window: u32,
    /// 1 while an exec does not wake the daemon, which hears of it when it looks the next time.
    pub late_programs: u32,
    /// When that number was given; 0 as long as there was no other window. Threads that are accounted since then are of
    /// that window from the start, so nothing of them is read for the one before.
    pub window_ns: u64,
}

/// Where a walk through all threads of the machine stands: the one entry of the map `VISIT`. Addresses of the kernel's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    /// The process at which it began, and ends.
    pub first: u64,
    /// The process that is visited; 0 before the first one.
    pub leader: u64,
    /// Its thread that comes next; 0 if the next process does.
    pub thread: u64,
    /// Where the list of its threads ends.
    pub last: u64,
    /// 1 if the process at which it began has the id of the one that asked for it.
    pub own: u64,
    /// Its name.
    pub own_comm: [u8; COMM_BYTES],
}

/// What a part of such a walk says at its end.
pub mod visit {
    /// All threads were visited.
    pub const OVER: u32 = 0;
    /// There are more.
    pub const MORE: u32 = 1;
    /// The process that it stood at has gone: it has to begin again.
    pub const LOST: u32 = 2;
}
