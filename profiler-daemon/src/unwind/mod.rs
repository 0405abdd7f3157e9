//! Tables for unwinding stacks without frame pointers: what an ELF file says of its code, in the form
//! that kernel programs search (`profiler_common::unwind`). A file becomes a [`FileTable`], by reading it
//! or from the [`Cache`]; [`pack`] makes [`Part`]s of it, whose rules are numbered by one [`Dictionary`].

mod build;
mod builders;
mod cache;
mod dictionary;
mod eh_frame;
mod elf;
mod error;
mod expression;
mod machine;
mod mappings;
mod memory;
mod part;
mod rows;
mod rule;
mod stored;
mod stubs;
mod table;
mod unwinder;

pub use build::{build, build_from_bytes};
pub use cache::{Cache, CacheCounts, CacheError};
pub use dictionary::Dictionary;
pub use error::BuildError;
pub use part::{Part, pack};
pub use table::{BuildId, Counts, FileTable, Row, Segment};
pub use unwinder::{KernelTables, Unwinder, Usage};

#[cfg(test)]
mod tests;
