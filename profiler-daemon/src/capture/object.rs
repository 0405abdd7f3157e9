//! The kernel programs inside this program.

/// There is nothing to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKernelPrograms {
    /// This program was built without the kernel programs, as plain `cargo build` does.
    #[error("built without kernel programs")]
    AtAll,
    /// They need more than this kernel has, and there are none for less.
    #[error("on this processor kernels before Linux 6.1 are not supported")]
    ForOlderKernels,
    /// The kernel has no types of its own, and there are none that do without.
    #[error("on this processor kernels built without CONFIG_DEBUG_INFO_BTF are not supported")]
    WithoutTypes,
}

impl NoKernelPrograms {
    /// What a person can do about it.
    pub fn remedy(self) -> &'static str {
        match self {
            NoKernelPrograms::AtAll => "build with `cargo xtask build`",
            NoKernelPrograms::ForOlderKernels => "use a newer kernel",
            NoKernelPrograms::WithoutTypes => "use a kernel built with it",
        }
    }
}

/// The object as the BPF linker wrote it, aligned for reading as ELF; `None` if this program was
/// built without, which whoever wants to load it reports as [`NoKernelPrograms`].
pub fn object() -> Option<&'static [u8]> {
    EMBEDDED
}

/// The variant that keeps thread state in a hash, for kernels without task storage (before 5.11). There is none for
/// aarch64.
pub fn hashed_object() -> Option<&'static [u8]> {
    EMBEDDED_HASHED
}

/// The variant for kernels without types of their own, which keeps thread state in a hash as well. There is none for aarch64.
pub fn untyped_object() -> Option<&'static [u8]> {
    EMBEDDED_UNTYPED
}

#[cfg(all(kernel_programs, not(target_arch = "aarch64")))]
static EMBEDDED_UNTYPED: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profilerd-untyped.o")));

#[cfg(not(all(kernel_programs, not(target_arch = "aarch64"))))]
static EMBEDDED_UNTYPED: Option<&[u8]> = None;

#[cfg(all(kernel_programs, not(target_arch = "aarch64")))]
static EMBEDDED_HASHED: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profilerd-hashed.o")));

#[cfg(not(all(kernel_programs, not(target_arch = "aarch64"))))]
static EMBEDDED_HASHED: Option<&[u8]> = None;

#[cfg(kernel_programs)]
static EMBEDDED: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/profilerd.o")));

#[cfg(not(kernel_programs))]
static EMBEDDED: Option<&[u8]> = None;
