//! System calls by their numbers on aarch64, the generic ones. Source: include/uapi/asm-generic/unistd.h.

use profiler_common::class;

use super::Call;

/// Sorts a system call. `syscall` is negative outside of system calls, that is in an exception.
#[inline(always)]
pub fn call(syscall: i32) -> Call {
    match syscall {
        // Exceptions and interrupts store −1: a fault put the thread to sleep.
        i32::MIN..=-1 => Call::Class(class::PAGE_FAULT),
        // read, readv, pread64, preadv, splice, tee, preadv2
        63 | 65 | 67 | 69 | 76 | 77 | 286 => Call::Read,
        // write, writev, pwrite64, pwritev, sendfile, vmsplice, pwritev2
        64 | 66 | 68 | 70 | 71 | 75 | 287 => Call::Write,
        // futex, futex_waitv, futex_wait
        98 | 449 | 455 => Call::Class(class::LOCK),
        // nanosleep, clock_nanosleep
        101 | 115 => Call::Class(class::SLEEP),
        // epoll_pwait, pselect6, ppoll, epoll_pwait2
        22 | 72 | 73 | 441 => Call::Class(class::POLL_IDLE),
        // recvfrom, recvmsg, recvmmsg
        207 | 212 | 243 => Call::Class(class::SOCKET_RECV),
        // sendto, sendmsg, sendmmsg
        206 | 211 | 269 => Call::Class(class::SOCKET_SEND),
        // accept, connect, accept4
        202 | 203 | 242 => Call::Class(class::SOCKET_ACCEPT),
        // waitid, wait4; clone and clone3 wait for the child's exec
        95 | 260 | 220 | 435 => Call::Class(class::WAIT_CHILD),
        // fsync, fdatasync, sync_file_range, msync: bytes on their way to the device
        82 | 83 | 84 | 227 => Call::Class(class::DISK_IO),
        // sync, syncfs; mkdirat, unlinkat, symlinkat, linkat, renameat, truncate, ftruncate, fallocate,
        // openat, getdents64, newfstatat, fstat, renameat2, statx, openat2: the file system's own locks
        // and journal
        81 | 267 => Call::Class(class::FS_SYNC),
        34..=38 | 45..=47 | 56 | 61 | 79 | 80 | 276 | 291 | 437 => Call::Class(class::FS_SYNC),
        _ => Call::Class(class::OTHER),
    }
}
