//! Preflight, load, attach, read the rings: everything that talks to the kernel.

pub mod preflight;
