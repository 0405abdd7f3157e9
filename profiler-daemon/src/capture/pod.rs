//! Wire types as map keys and values. The contract crate has no dependencies, so it cannot say
//! itself that its types are plain bytes.

use profiler_common::settings::{Control, Settings, Visit};
use profiler_common::unwind::{ProcessMappings, Rule, SLAB_WORDS};
use profiler_common::wire::{OffCpuMapKey, OffCpuValue};

/// A wire type in an eBPF map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<T: Copy>(pub(super) T);

macro_rules! plain {
    ($($wire:ty),+) => {
        $(
            // SAFETY: `repr(C)` integers without padding: every byte is initialised, every bit
            // pattern is valid.
            unsafe impl aya::Pod for Plain<$wire> {}
        )+
    };
}

plain!(Settings, Control, Visit, OffCpuMapKey, OffCpuValue, Rule, ProcessMappings, [u32; SLAB_WORDS]);
