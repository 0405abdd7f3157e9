//! The kernel programs inside this program.

/// This program was built without the kernel programs, as plain `cargo build` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("built without kernel programs")]
pub struct NoKernelPrograms;

impl NoKernelPrograms {
    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        "build with `cargo xtask build`"
    }
}

/// The object as the BPF linker wrote it, aligned for reading as ELF; `None` if this program was
/// built without, which whoever wants to load it reports as [`NoKernelPrograms`].
pub fn object() -> Option<&'static [u8]> {
    EMBEDDED
}

/// The variant that keeps thread state in a hash, for kernels without task storage (before 5.11).
pub fn hashed_object() -> Option<&'static [u8]> {
    EMBEDDED_HASHED
}

#[cfg(kernel_programs)]
static EMBEDDED_HASHED: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profilerd-hashed.o")));

#[cfg(not(kernel_programs))]
static EMBEDDED_HASHED: Option<&[u8]> = None;

#[cfg(kernel_programs)]
static EMBEDDED: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profilerd.o")));

#[cfg(not(kernel_programs))]
static EMBEDDED: Option<&[u8]> = None;
