//! The part of the kernel programs that the host can compile, check and test: the pure rules. They
//! know no map, no clock and no task; the programs hand them plain values.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod rules;
