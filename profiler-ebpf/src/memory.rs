//! Reads of memory by its address alone: each of them by one of these doors, which lockdown=confidentiality shuts.
//!
//! Behind a door that is shut the verifier sees no call, so that it takes the program. Whoever goes by one has to do without
//! what it reads.

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use core::ffi::c_void;

use crate::maps::setting;

/// Whether kernel memory may be read.
#[inline(always)]
pub(crate) fn of_kernel() -> bool {
    setting!(kernel_reads) != 0
}

/// Whether memory of the current process may be read.
#[inline(always)]
pub(crate) fn of_user() -> bool {
    setting!(user_reads) != 0
}

/// Reads `bytes` bytes of the current process at `from`. Returns whether it could.
///
/// # Safety
/// `into` has room for the bytes.
#[inline(always)]
pub(crate) unsafe fn read_user(into: *mut c_void, bytes: u32, from: u64) -> bool {
    // SAFETY: the caller vouches for the room; the helper fails on memory that cannot be read.
    of_user() && unsafe { bpf_probe_read_user(into, bytes, from as *const c_void) == 0 }
}

/// Reads `bytes` bytes of the kernel at `from`. Returns whether it could.
///
/// # Safety
/// As for [`read_user`].
#[inline(always)]
pub(crate) unsafe fn read_kernel(into: *mut c_void, bytes: u32, from: u64) -> bool {
    // SAFETY: as above.
    of_kernel() && unsafe { bpf_probe_read_kernel(into, bytes, from as *const c_void) == 0 }
}

/// A value in kernel memory; zero if it cannot be read.
///
/// # Safety
/// Any bit pattern is a valid `T`.
#[inline(always)]
pub(crate) unsafe fn probe<T: Copy>(address: u64) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: room for a `T`, which the helper zeroes on failure.
    unsafe {
        read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address);
        value.assume_init()
    }
}
