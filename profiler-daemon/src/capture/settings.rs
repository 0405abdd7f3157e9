//! What the kernel programs must know of this kernel before they are loaded.

use nix::time::{ClockId, clock_getres};
use profiler_common::limits::WALK_BUDGET_NS;
use profiler_common::settings::{Offsets, Settings};

use super::btf::{Btf, BtfError};

/// Reads the offsets of every member that the programs touch, and what this kernel's hooks pass.
pub fn of_kernel(btf: &Btf) -> Result<Settings, BtfError> {
    let byte = |path: &[&str]| btf.member(path).map(|member| member.byte());
    let task = |member: &str| byte(&["task_struct", member]);
    let in_iowait = btf.member(&["task_struct", "in_iowait"])?;
    let offsets = Offsets {
        task_tid: task("pid")?,
        task_pid: task("tgid")?,
        task_flags: task("flags")?,
        task_comm: task("comm")?,
        // Renamed in Linux 5.14.
        task_state: task("__state").or_else(|_| task("state"))?,
        task_on_cpu: task("on_cpu")?,
        task_start_time: task("start_time")?,
        task_group_leader: task("group_leader")?,
        task_files: task("files")?,
        task_cgroups: task("cgroups")?,
        task_sum_exec: byte(&["task_struct", "se", "sum_exec_runtime"])?,
        task_utime: task("utime")?,
        task_stime: task("stime")?,
        task_in_iowait: in_iowait.byte(),
        in_iowait_mask: 1 << (in_iowait.bit % 8),
        files_fdt: byte(&["files_struct", "fdt"])?,
        fdtable_fd: byte(&["fdtable", "fd"])?,
        fdtable_max_fds: byte(&["fdtable", "max_fds"])?,
        file_inode: byte(&["file", "f_inode"])?,
        inode_mode: byte(&["inode", "i_mode"])?,
        css_set_dfl_cgrp: byte(&["css_set", "dfl_cgrp"])?,
        cgroup_kn: byte(&["cgroup", "kn"])?,
        kernfs_id: byte(&["kernfs_node", "id"])?,
        task_status: byte(&["task_struct", "thread_info", machine::THREAD_STATUS])?,
        task_stack: task("stack")?,
        regs_syscall: byte(&["pt_regs", machine::SYSTEM_CALL])?,
        // Of use where the kernel has no iterator alone.
        task_tasks: task("tasks").unwrap_or(Offsets::ABSENT),
        task_signal: task("signal").unwrap_or(Offsets::ABSENT),
        signal_threads: byte(&["signal_struct", "thread_head"]).unwrap_or(Offsets::ABSENT),
        task_node: task("thread_node").unwrap_or(Offsets::ABSENT),
        ..throttling(&byte)
    };
    Ok(Settings {
        own_pid: std::process::id(),
        user_addresses: user_addresses(),
        // The context counts as the first parameter.
        switch_has_state: u32::from(btf.parameters("btf_trace_sched_switch") == Some(5)),
        kernel_reads: memory_reads().into(),
        // As above, though the kernel itself never forbids them: the loader does.
        user_reads: memory_reads().into(),
        user_stacks: 1,
        kernel_stacks: 1,
        walk_budget_ns: WALK_BUDGET_NS,
        tick_ns: tick_ns(),
        // It takes a task by its type.
        has_task_pt_regs: (btf.has_helper("BPF_FUNC_task_pt_regs") && btf.source().is_none()).into(),
        pads_registers: btf.has_struct("fred_cs").into(),
        offsets,
        ..Settings::default()
    })
}

/// What kernels call the same on different processors. Source: arch/x86/include/asm and arch/arm64/include/asm,
/// ptrace.h and thread_info.h.
#[cfg(not(target_arch = "aarch64"))]
mod machine {
    pub(super) const THREAD_STATUS: &str = "status";
    pub(super) const SYSTEM_CALL: &str = "orig_ax";
}
#[cfg(target_arch = "aarch64")]
mod machine {
    pub(super) const THREAD_STATUS: &str = "flags";
    pub(super) const SYSTEM_CALL: &str = "syscallno";
}

/// Bits of addresses in user space: stacks lie at its very top, as far as programs get to without asking for more.
fn user_addresses() -> u64 {
    let on_stack = 0_u8;
    u64::MAX >> (&raw const on_stack as u64).leading_zeros()
}

/// Where the kernel counts how long quotas kept threads from running. No member is needed for anything else: a kernel that lacks
/// one throttles nothing, or says it in a way that we do not know.
fn throttling(byte: &impl Fn(&[&str]) -> Result<u32, BtfError>) -> Offsets {
    let member = |path: &[&str]| byte(path).unwrap_or(Offsets::ABSENT);
    let exact = member(&["cfs_rq", "throttled_clock_self_time"]);
    let queue_past = if exact == Offsets::ABSENT { member(&["cfs_rq", "throttled_clock_pelt_time"]) } else { exact };
    let queue_throttles = member(&["cfs_rq", "throttle_count"]);
    let (queue_group, group_queues) = (member(&["cfs_rq", "tg"]), member(&["task_group", "cfs_rq"]));
    let (queue_cpu, cpu_clock) = (member(&["cfs_rq", "rq"]), member(&["rq", "clock"]));
    let is_known = [queue_past, queue_throttles, queue_group, group_queues, queue_cpu, cpu_clock]
        .iter()
        .all(|it| *it != Offsets::ABSENT);
    Offsets {
        task_queue: if is_known { member(&["task_struct", "se", "cfs_rq"]) } else { Offsets::ABSENT },
        task_throttled: member(&["task_struct", "throttled"]),
        queue_past,
        queue_since: member(&["cfs_rq", "throttled_clock_self"]),
        queue_throttles,
        queue_cpu,
        cpu_clock,
        queue_group,
        group_queues,
        ..Offsets::default()
    }
}

/// The scheduler tick: what the coarse clock advances by.
fn tick_ns() -> u32 {
    const SLOWEST_NS: u32 = 10_000_000;
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .ok()
        .and_then(|tick| u32::try_from(std::time::Duration::from(tick).as_nanos()).ok())
        .unwrap_or(SLOWEST_NS)
}

/// Whether programs may read memory by its address. Under lockdown=confidentiality the kernel takes none that read its own
/// memory so. Those that read memory of processes it takes, but the loader does not hand them over: where it finds
/// `bpf_probe_read_kernel` refused, it takes the kernel for one before 5.5 and makes the older `bpf_probe_read` of that call and of
/// `bpf_probe_read_user`, which this lockdown forbids, too. So what counts is what the loader found. Source:
/// `sanitize_functions`, aya-obj 0.3.
pub fn memory_reads() -> bool {
    aya::features().bpf_probe_read_kernel()
}
