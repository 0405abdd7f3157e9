//! The part of the kernel programs that the host can compile, check and test: the pure rules. They
//! know no map, no clock and no task; the programs hand them plain values.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(all(target_arch = "bpf", bpf_target_arch = "aarch64"), feature(asm_experimental_arch))]

pub mod order;
pub mod rules;
