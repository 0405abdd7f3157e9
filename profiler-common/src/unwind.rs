//! Unwind tables as the kernel programs read them: the daemon writes them, a walk looks up one rule a
//! frame.
//!
//! All of it lies in slabs of 32-bit words. A *part* describes a stretch of one ELF file's code:
//! ```text
//! word 0             index of bucket 0's first row, counted from word 0
//!  …                 one such word a bucket, in order
//! word n             index of the end of the rows
//! word n+1 …         rows, ascending: low 16 bits of the position in the upper half, rule in the lower
//! ```
//! A position is `pc − origin`; bucket `b` covers positions `[b << shift, (b + 1) << shift)`. A row holds
//! from its position to the next row's, also across buckets. Bucket 0 is never empty and its first
//! row has position 0. A bucket is at most 64 KiB, so that the low 16 bits order its rows.
//!
//! The word before a part is 0 until a walk uses the part, which sets it to 1.
//!
//! A process' *mappings* are [`Mapping`]s of eight words each, sorted by start, without overlaps. The
//! word before them holds the stamp that [`ProcessMappings`] names; while it holds another one, the
//! place was given to something else.

/// 32-bit words of one slab; a power of two. Nothing crosses from one slab into the next.
pub const SLAB_WORDS: usize = 1 << 18;
/// Most words of one part, so that there is room for what precedes it.
pub const PART_WORDS: usize = SLAB_WORDS - 8;
/// Most slabs; a power of two. Slabs are made as they are needed.
pub const SLABS: u32 = 512;
/// Most distinct rules over all files.
pub const RULES: u32 = 16_384;
/// Most processes whose mappings are known.
pub const PROCESSES: u32 = 4_096;
/// Most mappings of one process; a power of two.
pub const MAPPINGS: u32 = 16_384;
/// Words that one [`Mapping`] takes.
pub const MAPPING_WORDS: u32 = (size_of::<Mapping>() / 4) as u32;
/// A bucket covers at most `1 << MAX_SHIFT` bytes of code.
pub const MAX_SHIFT: u32 = 16;
/// Most rows that one bucket may hold; the search is bounded by it.
pub const BUCKET_ROWS: u32 = 1 << 16;

/// How one frame's caller is found: 20 bytes. Offsets are bytes.
///
/// The canonical frame address (CFA) is the stack pointer that the caller had before its call.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rule {
    /// One of [`cfa`].
    pub cfa: u8,
    /// One of [`saved`]: where the caller's frame pointer is.
    pub frame_pointer: u8,
    /// One of [`saved`]: where the return address is.
    pub return_address: u8,
    /// DWARF number of the register that [`cfa::REGISTER`] names.
    pub register: u8,
    /// Added to the register that the CFA starts from.
    pub cfa_offset: i32,
    /// Added to the word read by [`cfa::DEREF_SP`] and [`cfa::DEREF_FP`]; the threshold of [`cfa::PLT`].
    pub cfa_add: i32,
    /// Where the frame pointer is saved, see [`saved`].
    pub frame_pointer_offset: i32,
    /// Where the return address is saved, see [`saved`].
    pub return_address_offset: i32,
}
const _: () = assert!(size_of::<Rule>() == 20);

/// How the CFA is computed. A walk ends at anything that it does not know.
pub mod cfa {
    /// No rule: code that no table describes.
    pub const GAP: u8 = 0;
    /// `sp + cfa_offset`.
    pub const SP: u8 = 1;
    /// `fp + cfa_offset`.
    pub const FP: u8 = 2;
    /// Register number `register` `+ cfa_offset`. Known for the leaf only.
    pub const REGISTER: u8 = 3;
    /// A stub of the procedure linkage table: `sp + cfa_offset + (8 if (pc & 15) >= cfa_add)`.
    pub const PLT: u8 = 4;
    /// `*(fp + cfa_offset) + cfa_add`: a realigned stack.
    pub const DEREF_FP: u8 = 5;
    /// `*(sp + cfa_offset) + cfa_add`.
    pub const DEREF_SP: u8 = 6;
    /// Return from a signal handler: the interrupted `pc`, `sp` and `fp` lie at `sp + return_address_offset`,
    /// `sp + cfa_offset` and `sp + frame_pointer_offset`; the interrupted pc is exact.
    pub const SIGNAL: u8 = 7;
    /// The outermost frame: it has no caller.
    pub const END: u8 = 8;
    /// A rule that this format cannot say.
    pub const UNSUPPORTED: u8 = 9;
}

/// Where a caller's register is.
pub mod saved {
    /// Unchanged. For the return address: in the link register (aarch64), leaf only.
    pub const SAME: u8 = 0;
    /// In memory at `CFA + offset`.
    pub const AT_CFA: u8 = 1;
    /// In memory at `fp + offset`, with the frame pointer before the step.
    pub const AT_FP: u8 = 2;
    /// In memory at `sp + offset`, with the stack pointer before the step.
    pub const AT_SP: u8 = 3;
    /// Not to be had. Its value counts as 0 from here on.
    pub const LOST: u8 = 4;
}

/// An executable range of a process, or a stretch of one: 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// First process address.
    pub start: u64,
    /// First process address after it.
    pub end: u64,
    /// Process address of position 0 of its part.
    pub origin: u64,
    /// Index of the part's word 0 in its slab.
    pub word: u32,
    /// Number of the slab.
    pub slab: u16,
    /// Bucket size of the part, see [`MAX_SHIFT`].
    pub shift: u8,
    /// One of [`table`].
    pub table: u8,
}
const _: () = assert!(size_of::<Mapping>() == 32);

/// What is known of the code in a mapping.
pub mod table {
    /// It has a part.
    pub const READY: u8 = 0;
    /// Its table is being built.
    pub const PENDING: u8 = 1;
    /// Nothing describes it: generated code, a file without tables. Walked by frame pointers.
    pub const NONE: u8 = 2;
}

/// Where a process' mappings lie: the value of the map `PROCESSES`, by pid. 24 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessMappings {
    /// Generation of the process that they belong to, see `wire::Exec`.
    pub generation: u32,
    /// Number of mappings.
    pub count: u32,
    /// Index of the first mapping's first word in its slab; a multiple of [`MAPPING_WORDS`].
    pub word: u32,
    /// Number of the slab.
    pub slab: u32,
    /// What the word before them holds; never 0.
    pub stamp: u32,
    /// Rises when code is mapped where other code was before, in any process: addresses mean something only
    /// together with it.
    pub epoch: u32,
}
const _: () = assert!(size_of::<ProcessMappings>() == 24);

/// The number of the rule in force at a position of a part. `word` reads a word of the part. Nothing
/// is found beyond the part's end, and in words that are none.
pub fn rule_at(word: impl Fn(u32) -> Option<u32>, shift: u32, position: u64) -> Option<u16> {
    let buckets = word(0)?.checked_sub(1)?;
    let bucket = u32::try_from(position.checked_shr(shift)?).ok()?;
    if bucket >= buckets {
        return None;
    }
    let low_half = (position & 0xffff) as u32;
    let (mut first, mut end) = (word(bucket)?, word(bucket + 1)?);
    while first < end {
        let middle = first + (end - first) / 2;
        if word(middle)? >> 16 <= low_half {
            first = middle + 1;
        } else {
            end = middle;
        }
    }
    // Now the first row above the position; if that is the bucket's first, the one before holds.
    Some(word(first.checked_sub(1)?)? as u16)
}
