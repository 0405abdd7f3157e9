use profiler_common::wire::{CpuSample, Exec, Header, OffCpu, StackRecord, ThreadTotals, Wait};

/// A wire type: `repr(C)`, made of integers only and without padding, so any bytes are a valid value.
///
/// # Safety
/// Every bit pattern of `size_of::<Self>()` bytes must be a value of the type.
pub(super) unsafe trait Plain: Copy {}

// SAFETY: the wire types are `repr(C)` structs of integers and integer arrays; profiler-common
// asserts their sizes, which rules out padding.
unsafe impl Plain for Header {}
// SAFETY: as for `Header`.
unsafe impl Plain for CpuSample {}
// SAFETY: as for `Header`.
unsafe impl Plain for Wait {}
// SAFETY: as for `Header`.
unsafe impl Plain for ThreadTotals {}
// SAFETY: as for `Header`.
unsafe impl Plain for Exec {}
// SAFETY: as for `Header`.
unsafe impl Plain for OffCpu {}
// SAFETY: as for `Header`.
unsafe impl Plain for StackRecord {}

/// The value at the start of `bytes`, at any alignment; `None` if there are too few of them.
pub(super) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: `bytes` holds `size_of::<T>()` readable bytes, `read_unaligned` asks for no alignment,
    // and `Plain` says that any bytes are a `T`.
    Some(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
