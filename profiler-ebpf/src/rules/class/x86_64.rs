//! System calls by their numbers on x86-64. Source: arch/x86/entry/syscalls/syscall_64.tbl.

use profiler_common::class;

use super::Call;

/// Sorts a system call. `syscall` is negative outside of system calls, that is in an exception.
#[inline(always)]
pub fn call(syscall: i32) -> Call {
    match syscall {
        // Exceptions and interrupts store −1: a fault put the thread to sleep.
        i32::MIN..=-1 => Call::Class(class::PAGE_FAULT),
        // read, pread64, readv, preadv, preadv2, splice, tee
        0 | 17 | 19 | 295 | 327 | 275 | 276 => Call::Read,
        // write, pwrite64, writev, sendfile, pwritev, pwritev2, vmsplice
        1 | 18 | 20 | 40 | 296 | 328 | 278 => Call::Write,
        // futex, futex_waitv, futex_wait
        202 | 449 | 455 => Call::Class(class::LOCK),
        // nanosleep, clock_nanosleep
        35 | 230 => Call::Class(class::SLEEP),
        // poll, select, epoll_wait_old, epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2
        7 | 23 | 215 | 232 | 270 | 271 | 281 | 441 => Call::Class(class::POLL_IDLE),
        // recvfrom, recvmsg, recvmmsg
        45 | 47 | 299 => Call::Class(class::SOCKET_RECV),
        // sendto, sendmsg, sendmmsg
        44 | 46 | 307 => Call::Class(class::SOCKET_SEND),
        // connect, accept, accept4
        42 | 43 | 288 => Call::Class(class::SOCKET_ACCEPT),
        // wait4, waitid; clone, vfork and clone3 wait for the child's exec
        61 | 247 | 56 | 58 | 435 => Call::Class(class::WAIT_CHILD),
        // msync, fsync, fdatasync, sync_file_range: bytes on their way to the device
        26 | 74 | 75 | 277 => Call::Class(class::DISK_IO),
        // sync, syncfs; open, openat, openat2, creat, getdents, getdents64, truncate, ftruncate,
        // fallocate, rename(at, at2), mkdir(at), rmdir, link(at), unlink(at), symlink(at),
        // stat, lstat, fstat, newfstatat, statx: the file system's own locks and journal
        162 | 306 => Call::Class(class::FS_SYNC),
        2 | 4 | 5 | 6 | 76 | 77 | 78 | 82 | 83 | 84 | 85 | 86 | 87 | 88 => Call::Class(class::FS_SYNC),
        217 | 257 | 258 | 262 | 263 | 264 | 265 | 266 | 285 | 316 | 332 | 437 => Call::Class(class::FS_SYNC),
        _ => Call::Class(class::OTHER),
    }
}
