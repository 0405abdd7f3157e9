use super::Header;

/// Which side of the kernel line a stack's addresses belong to.
pub mod stack_kind {
    /// Addresses of the process.
    pub const USER: u32 = 0;
    /// Addresses of the kernel.
    pub const KERNEL: u32 = 1;
}

/// How a walk ended: stable numbers.
pub mod outcome {
    /// The walk reached the root, every step of it by a rule of the unwind tables or, in the kernel,
    /// by the kernel's own.
    pub const COMPLETE: u32 = 0;
    /// The stack was deeper than the limit; the leaf side was kept.
    pub const TRUNCATED: u32 = 1;
    /// The next frame lay in memory that could not be read.
    pub const READ_FAULT: u32 = 2;
    /// No table describes the code, and its frame pointer did not point into the stack.
    pub const NO_INFO: u32 = 3;
    /// The walk met code whose table was not loaded yet, and went on by frame pointers.
    pub const PENDING: u32 = 4;
    /// A rule that cannot be followed, or that led nowhere.
    pub const BAD_RULE: u32 = 5;
    /// What should have been a return address points to no code.
    pub const NOT_CODE: u32 = 6;
    /// The walk reached the root, with steps by frame pointers where no table describes the code.
    pub const APPROXIMATE: u32 = 7;
    /// The kernel walked it, by frame pointers alone, and does not tell whether it came to the root.
    pub const FRAME_POINTERS: u32 = 8;
    /// Number of outcomes.
    pub const COUNT: usize = 9;
    /// The word for each outcome, by its number.
    pub const NAMES: [&str; COUNT] = [
        "complete",
        "truncated",
        "read-fault",
        "no-unwind-info",
        "no-unwind-info-yet",
        "bad-rule",
        "not-code",
        "complete-approximate",
        "frame-pointers-only",
    ];
}

/// Bits of a user address in a [`StackRecord`], which leaves its upper bits free.
pub mod frame {
    /// The address is where execution goes on, not a return address: the leaf, or a frame that a signal
    /// interrupted. To find its function no 1 is taken off.
    pub const EXACT: u64 = 1 << 63;
    /// Found by a frame pointer where no table describes the code: likely right, not proven.
    pub const APPROXIMATE: u64 = 1 << 62;
    /// The address itself.
    pub const ADDRESS: u64 = (1 << 62) - 1;
}

/// The start of a record that carries one stack's addresses: 48 bytes, then `frames` addresses of
/// eight bytes each, leaf first. A stack is sent when it is first met; later only its id travels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StackRecord {
    /// Tag [`super::tag::STACK`].
    pub header: Header,
    /// Hash of the addresses, the process and its generation; never 0.
    pub id: u64,
    /// Process, 0 for kernel stacks.
    pub pid: u32,
    /// Generation of the process, see [`Exec::generation`](super::Exec).
    pub generation: u32,
    /// One of [`stack_kind`].
    pub kind: u32,
    /// One of [`outcome`].
    pub outcome: u32,
    /// Number of addresses that follow.
    pub frames: u32,
    /// Epoch of the process' mappings, see [`ProcessMappings::epoch`](crate::unwind::ProcessMappings); 0 for
    /// kernel stacks, and while its mappings are not known.
    pub epoch: u32,
}
const _: () = assert!(size_of::<StackRecord>() == 48);
