//! The kernel programs: the tools that make them, the objects, and what must hold for these.

pub(crate) mod build;
pub(crate) mod check;
mod linker;
pub(crate) mod packages;
pub(crate) mod toolchain;
