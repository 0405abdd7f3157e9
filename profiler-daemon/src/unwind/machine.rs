use gimli::{Register, Vendor};

/// What unwinding has to know of a processor. Source: the DWARF register numbers of the "System V
/// ABI, AMD64 supplement" and of "DWARF for the Arm 64-bit Architecture".
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) stack_pointer: Register,
    pub(super) frame_pointer: Register,
    /// The column of the return address: a register of its own, or the link register.
    pub(super) return_address: Register,
    /// Register numbers below this one are general registers.
    pub(super) general: u8,
    /// Whether a return address that no rule mentions is still in its register.
    pub(super) links: bool,
    /// Whose call frame instructions a file may contain.
    pub(super) vendor: Vendor,
}

static X86_64: Machine = Machine {
    stack_pointer: Register(7),
    frame_pointer: Register(6),
    return_address: Register(16),
    general: 16,
    links: false,
    vendor: Vendor::Default,
};

static AARCH64: Machine = Machine {
    stack_pointer: Register(31),
    frame_pointer: Register(29),
    return_address: Register(30),
    general: 31,
    links: true,
    vendor: Vendor::AArch64,
};

impl Machine {
    /// By the number in the ELF header.
    pub(super) fn of(e_machine: u16) -> Option<&'static Machine> {
        match e_machine {
            62 => Some(&X86_64),
            183 => Some(&AARCH64),
            _ => None,
        }
    }
}
