//! What a blocked thread waits for, told by its system call, its descriptor's kind and the
//! scheduler's I/O flag. Each processor has its own numbers of system calls.

use profiler_common::class;

pub mod aarch64;
pub mod x86_64;

#[cfg(bpf_target_arch = "aarch64")]
use aarch64 as machine;
#[cfg(not(bpf_target_arch = "aarch64"))]
use x86_64 as machine;

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

/// In place of the number of a system call: it is not known whether the thread is in one. No call has this number, so that
/// the class is `OTHER` unless the I/O flag says more.
pub const UNKNOWN: i32 = COMPAT - 1;

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

/// Sorts a system call of this machine. `syscall` is negative outside of system calls, that is in an exception.
#[inline(always)]
pub fn call(syscall: i32) -> Call {
    machine::call(syscall)
}

/// The class of a wait. `file_mode` is the mode of the inode behind the descriptor of a read or a
/// write, 0 if unknown or without an inode of its own.
#[inline(always)]
pub fn wait(syscall: i32, in_iowait: bool, file_mode: u32) -> u32 {
    wait_in(call(syscall), syscall, in_iowait, file_mode)
}

#[inline(always)]
fn wait_in(call: Call, syscall: i32, in_iowait: bool, file_mode: u32) -> u32 {
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
            ("nobody knows", UNKNOWN, false, 0, class::OTHER),
            ("nobody knows, I/O flag set", UNKNOWN, true, 0, class::DISK_IO),
            ("a 32-bit nanosleep, not sync", 162 | COMPAT, false, 0, class::OTHER),
            ("a 32-bit read from the disk", 3 | COMPAT, true, 0, class::DISK_IO),
        ];
        for (name, syscall, in_iowait, file_mode, expected) in cases {
            let call = x86_64::call(*syscall);
            assert_eq!(wait_in(call, *syscall, *in_iowait, *file_mode), *expected, "{name}");
        }
    }

    #[test]
    fn both_machines_sort_the_same_calls_alike() {
        // Numbers of x86-64 and of aarch64.
        let pairs: &[(&str, i32, i32)] = &[
            ("read", 0, 63),
            ("preadv2", 327, 286),
            ("splice", 275, 76),
            ("write", 1, 64),
            ("sendfile", 40, 71),
            ("vmsplice", 278, 75),
            ("futex", 202, 98),
            ("futex_waitv", 449, 449),
            ("nanosleep", 35, 101),
            ("clock_nanosleep", 230, 115),
            ("pselect6", 270, 72),
            ("ppoll", 271, 73),
            ("epoll_pwait", 281, 22),
            ("recvfrom", 45, 207),
            ("recvmmsg", 299, 243),
            ("sendto", 44, 206),
            ("sendmmsg", 307, 269),
            ("connect", 42, 203),
            ("accept", 43, 202),
            ("accept4", 288, 242),
            ("wait4", 61, 260),
            ("waitid", 247, 95),
            ("clone", 56, 220),
            ("clone3", 435, 435),
            ("msync", 26, 227),
            ("fsync", 74, 82),
            ("sync_file_range", 277, 84),
            ("sync", 162, 81),
            ("syncfs", 306, 267),
            ("openat", 257, 56),
            ("openat2", 437, 437),
            ("getdents64", 217, 61),
            ("ftruncate", 77, 46),
            ("fallocate", 285, 47),
            ("renameat2", 316, 276),
            ("statx", 332, 291),
            ("a fault", -1, -1),
            ("getpid", 39, 172),
            ("a call of the future", 9_999, 9_999),
            ("nobody knows", UNKNOWN, UNKNOWN),
        ];
        for (name, x86, arm) in pairs {
            assert_eq!(aarch64::call(*arm), x86_64::call(*x86), "{name}");
        }
    }
}
