use profiler_common::class;

/// Why a thread was off the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum WaitClass {
    /// Runnable all the time: switched out for another thread.
    Preempted = class::PREEMPTED,
    /// Futex: mutex, condition variable, semaphore, join.
    Lock = class::LOCK,
    /// Bytes from a socket.
    SocketRecv = class::SOCKET_RECV,
    /// Room in a socket.
    SocketSend = class::SOCKET_SEND,
    /// A connection: accept or connect.
    SocketAccept = class::SOCKET_ACCEPT,
    /// poll, select, epoll.
    PollIdle = class::POLL_IDLE,
    /// A block device.
    DiskIo = class::DISK_IO,
    /// The file system itself.
    FsSync = class::FS_SYNC,
    /// A pipe.
    Pipe = class::PIPE,
    /// A time that the program chose.
    Sleep = class::SLEEP,
    /// A page fault.
    PageFault = class::PAGE_FAULT,
    /// A child process.
    WaitChild = class::WAIT_CHILD,
    /// Anything else.
    Other = class::OTHER,
}

impl WaitClass {
    /// All classes in the order of their numbers.
    pub const ALL: [WaitClass; class::COUNT] = [
        WaitClass::Preempted,
        WaitClass::Lock,
        WaitClass::SocketRecv,
        WaitClass::SocketSend,
        WaitClass::SocketAccept,
        WaitClass::PollIdle,
        WaitClass::DiskIo,
        WaitClass::FsSync,
        WaitClass::Pipe,
        WaitClass::Sleep,
        WaitClass::PageFault,
        WaitClass::WaitChild,
        WaitClass::Other,
    ];

    /// The class of a number from the kernel; an unknown number is `Other`.
    pub fn from_number(number: u32) -> WaitClass {
        WaitClass::ALL.get(number as usize).copied().unwrap_or(WaitClass::Other)
    }

    /// The word that every output uses.
    pub fn name(self) -> &'static str {
        class::NAMES[self as usize]
    }
}
