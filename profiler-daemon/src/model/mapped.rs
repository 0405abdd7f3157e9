use super::MonoNs;

/// Executable memory of a process, as the kernel told of it when it was mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Process.
    pub pid: u32,
    /// When.
    pub at: MonoNs,
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Where in the file `start` lies, in bytes; meaningless without a file.
    pub file_offset: u64,
    /// Device of the file, as in /proc/PID/maps; 0 without one.
    pub device: u64,
    /// Inode of the file; 0 without one.
    pub inode: u64,
    /// The vDSO, which has no file.
    pub is_vdso: bool,
}
