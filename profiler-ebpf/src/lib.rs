//! The part of the kernel programs that the host can compile, check and test: the pure rules.
#![cfg_attr(target_arch = "bpf", no_std)]
