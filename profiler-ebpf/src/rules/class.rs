//! What a blocked thread waits for, told by its system call, its descriptor's kind and the
//! scheduler's I/O flag. System call numbers are those of x86-64.
//! Source: arch/x86/entry/syscalls/syscall_64.tbl.

use profiler_common::class;

/// File type bits of an inode's mode, as in `stat(2)`.
pub mod mode {
    /// Mask of the type bits.
    pub const TYPE: u32 = 0o170000;
    /// Socket.
    pub const SOCKET: u32 = 0o140000;
    /// Regular file.
    pub const REGULAR: u32 = 0o100000;
    /// Block device.
    pub const BLOCK: u32 = 0o060000;
    /// Directory.
    pub const DIRECTORY: u32 = 0o040000;
    /// Pipe.
    pub const PIPE: u32 = 0o010000;
}

/// Marks the number of a 32-bit system call, which has a table of its own: its class is `OTHER` unless
/// the I/O flag says more.
pub const COMPAT: i32 = 1 << 30;

/// What a system call says about a wait, before its descriptor is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The class is clear.
    Class(u32),
    /// It takes bytes out of the descriptor in its first argument.
    Read,
    /// It puts bytes into the descriptor in its first argument.
    Write,
}

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

/// The class of a wait. `file_mode` is the mode of the inode behind the descriptor of a read or a
/// write, 0 if unknown or without an inode of its own.
#[inline(always)]
pub fn wait(syscall: i32, in_iowait: bool, file_mode: u32) -> u32 {
    let call = call(syscall);
    // A file-backed fault raises the I/O flag too, but it is the fault that a person can find.
    if in_iowait && syscall >= 0 {
        return class::DISK_IO;
    }
    let socket = match call {
        Call::Class(class) => return class,
        Call::Read => class::SOCKET_RECV,
        Call::Write => class::SOCKET_SEND,
    };
    match file_mode & mode::TYPE {
        mode::SOCKET => socket,
        mode::PIPE => class::PIPE,
        mode::REGULAR | mode::BLOCK | mode::DIRECTORY => class::FS_SYNC,
        _ => class::OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_named_by_call_descriptor_and_io_flag() {
        let cases: &[(&str, i32, bool, u32, u32)] = &[
            ("mutex", 202, false, 0, class::LOCK),
            ("nanosleep", 230, false, 0, class::SLEEP),
            ("epoll_wait", 232, false, 0, class::POLL_IDLE),
            ("recv", 45, false, 0, class::SOCKET_RECV),
            ("send", 44, false, 0, class::SOCKET_SEND),
            ("accept", 43, false, 0, class::SOCKET_ACCEPT),
            ("read of a socket", 0, false, mode::SOCKET | 0o777, class::SOCKET_RECV),
            ("write to a socket", 1, false, mode::SOCKET, class::SOCKET_SEND),
            ("read of a pipe", 0, false, mode::PIPE, class::PIPE),
            ("write to a pipe", 1, false, mode::PIPE, class::PIPE),
            ("buffered read that misses", 0, true, mode::REGULAR, class::DISK_IO),
            ("write that waits for the journal", 1, false, mode::REGULAR, class::FS_SYNC),
            ("fsync on the device", 74, true, 0, class::DISK_IO),
            ("fsync on the journal", 74, false, 0, class::DISK_IO),
            ("sync of everything", 162, false, 0, class::FS_SYNC),
            ("fault on a file, I/O flag set", -1, true, 0, class::PAGE_FAULT),
            ("fault on a lock", -1, false, 0, class::PAGE_FAULT),
            ("read of an eventfd", 0, false, 0, class::OTHER),
            ("wait4", 61, false, 0, class::WAIT_CHILD),
            ("vfork", 58, false, 0, class::WAIT_CHILD),
            ("futex with a foreign I/O flag", 202, true, 0, class::DISK_IO),
            ("a call of the future", 9_999, false, 0, class::OTHER),
            ("a 32-bit nanosleep, not sync", 162 | COMPAT, false, 0, class::OTHER),
            ("a 32-bit read from the disk", 3 | COMPAT, true, 0, class::DISK_IO),
        ];
        for (name, syscall, in_iowait, file_mode, expected) in cases {
            assert_eq!(wait(*syscall, *in_iowait, *file_mode), *expected, "{name}");
        }
    }
}
