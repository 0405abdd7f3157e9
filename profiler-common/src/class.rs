//! Why a thread was off the CPU: stable numbers, and the words that every output uses for them.

/// Runnable all the time: switched out for another thread, never blocked.
pub const PREEMPTED: u32 = 0;
/// Waiting in futex: a mutex, a condition variable, a semaphore, a join.
pub const LOCK: u32 = 1;
/// Waiting for bytes from a socket.
pub const SOCKET_RECV: u32 = 2;
/// Waiting for room in a socket.
pub const SOCKET_SEND: u32 = 3;
/// Waiting for a connection: accept or connect.
pub const SOCKET_ACCEPT: u32 = 4;
/// Waiting in poll, select or epoll for any of several descriptors.
pub const POLL_IDLE: u32 = 5;
/// Waiting for a block device.
pub const DISK_IO: u32 = 6;
/// Waiting for the file system itself: journal, inode locks, sync of everything.
pub const FS_SYNC: u32 = 7;
/// Waiting for a pipe to fill or to drain.
pub const PIPE: u32 = 8;
/// Sleeping for a time that the program chose.
pub const SLEEP: u32 = 9;
/// Waiting in a page fault, most often for a file to be read.
pub const PAGE_FAULT: u32 = 10;
/// Waiting for a child process.
pub const WAIT_CHILD: u32 = 11;
/// Blocked in anything else.
pub const OTHER: u32 = 12;
/// Number of classes.
pub const COUNT: usize = 13;

/// The word for each class, by its number.
pub const NAMES: [&str; COUNT] = [
    "preempted",
    "lock/futex",
    "socket-recv",
    "socket-send",
    "socket-accept",
    "poll-idle",
    "disk-io",
    "fs-sync",
    "pipe",
    "sleep",
    "page-fault",
    "wait-child",
    "other",
];
