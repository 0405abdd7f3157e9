//! The contract between the kernel programs and the daemon: `no_std`, no dependencies.
//!
//! Everything here is plain integers in `repr(C)`, so that both sides read the same bytes and
//! nothing is generated. An unknown number from the other side is a value that the reader checks,
//! never a Rust `enum` made from raw bytes.
#![no_std]

pub mod class;
pub mod fault;
pub mod histogram;
pub mod limits;
pub mod settings;
pub mod unwind;
pub mod wire;
