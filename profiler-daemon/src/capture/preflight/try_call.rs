//! The two system calls that a capture stands on, tried and undone.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// The first published form of the structure, which every kernel still takes.
/// Source: `struct perf_event_attr`, include/uapi/linux/perf_event.h, `PERF_ATTR_SIZE_VER0`.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    bp_addr: u64,
}
const _: () = assert!(size_of::<PerfEventAttr>() == 64);

/// Opens the kernel's own timer on a whole CPU, as a capture does, and closes it again.
pub(super) fn software_clock() -> io::Result<()> {
    const TYPE_SOFTWARE: u32 = 1;
    const COUNT_SW_CPU_CLOCK: u64 = 0;
    const FLAG_DISABLED: u64 = 1;
    const FLAG_FD_CLOEXEC: libc::c_ulong = 8;
    let size = size_of::<PerfEventAttr>() as u32;
    let attr = PerfEventAttr {
        kind: TYPE_SOFTWARE,
        size,
        config: COUNT_SW_CPU_CLOCK,
        sample_period: 1 << 24,
        flags: FLAG_DISABLED,
        ..Default::default()
    };
    // SAFETY: `sched_getcpu` takes nothing.
    let cpu = unsafe { libc::sched_getcpu() }.max(0);
    let all_processes: libc::pid_t = -1;
    let no_group: libc::c_int = -1;
    let flags = FLAG_FD_CLOEXEC;
    // SAFETY: the kernel reads `attr.size` bytes from `attr`, which lives on this stack and is that long.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, all_processes, cpu, no_group, flags) };
    close(fd)
}

/// The start of `union bpf_attr` for `BPF_MAP_CREATE`.
/// Source: include/uapi/linux/bpf.h.
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// Lets this process lock as much memory as it may, as loading kernel programs does: before Linux 5.11 their maps count
/// as locked. Where that is refused, making a map tells.
pub(super) fn raise_memory_limit() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Bytes that this process may lock; `None` if there is no limit.
pub(super) fn memory_limit() -> Option<u64> {
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
    getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft).filter(|soft| *soft != RLIM_INFINITY)
}

/// Makes an array map of `kib` KiB and drops it again.
pub(super) fn kernel_map(kib: u32) -> io::Result<()> {
    const BPF_MAP_CREATE: libc::c_int = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    let attr = MapCreate { map_type: BPF_MAP_TYPE_ARRAY, key_size: 4, value_size: 1024, max_entries: kib };
    // SAFETY: the kernel reads as many bytes from `attr` as the last argument says, which is its size.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const attr, size_of::<MapCreate>()) };
    close(fd)
}

fn close(fd: libc::c_long) -> io::Result<()> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) });
    Ok(())
}
