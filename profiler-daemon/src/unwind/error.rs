use std::io;

/// Why a file gets no table.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Reading failed, or the file ends early.
    #[error("cannot read the {what}")]
    Read {
        /// Which part of the file.
        what: &'static str,
        /// The system's word for it.
        source: io::Error,
    },
    /// Not a program or library in ELF.
    #[error("not an ELF program or library")]
    NotElf,
    /// An ELF file of another word size, byte order or processor than those that can be unwound.
    #[error("unwinding is not supported for ELF class {class}, machine {machine}")]
    Unsupported {
        /// `EI_CLASS`: 1 for 32 bits, 2 for 64 bits.
        class: u8,
        /// `e_machine`.
        machine: u16,
    },
    /// It has more of something than any real file: a guard against hostile files.
    #[error("more than {most} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The limit.
        most: u64,
    },
    /// A compressed section does not expand.
    #[error("cannot expand section `.debug_frame`")]
    Compressed {
        /// What the decoder said.
        source: io::Error,
    },
}
