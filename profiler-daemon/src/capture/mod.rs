//! Preflight, load, attach, read the rings: everything that talks to the kernel.

pub mod btf;
pub mod features;
mod hooks;
pub mod kernel;
pub mod mappings;
pub mod object;
mod pod;
pub mod preflight;
pub mod settings;
mod sums;
pub mod tables;
