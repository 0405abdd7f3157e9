use std::fmt;

use profiler_common::unwind::Rule;

/// Pages are at least this large, and mapped file offsets are multiples of it.
pub(super) const PAGE_BYTES: u64 = 4096;

/// How every stretch of code in one ELF file is unwound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileTable {
    /// The file's distinct rules. The first is [`Rule::default`]: no rule.
    pub rules: Vec<Rule>,
    /// Where rules begin, ascending by address, no address twice. A row holds up to the next one;
    /// before the first there is no rule.
    pub rows: Vec<Row>,
    /// The executable segments, ascending by address, without overlaps.
    pub segments: Vec<Segment>,
    /// The GNU build id, if the file has one.
    pub build_id: Option<BuildId>,
    /// What was read, and what could not be.
    pub counts: Counts,
}

/// The start of a stretch of code with one rule: 48 bits of ELF address, 16 bits of the rule's index
/// in [`FileTable::rules`]. Packed, since large files have millions of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row(u64);

/// An executable segment, as far as it lies in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes lie in the file.
    pub file_offset: u64,
    /// ELF address of its first byte.
    pub address: u64,
    /// Its length.
    pub bytes: u64,
}

/// The GNU build id: 1 to 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct BuildId(pub Box<[u8]>);

/// What a table was made of, and what is not in it, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bytes of `.eh_frame` and, uncompressed, `.debug_frame`.
    pub frame_bytes: u64,
    /// Frame descriptions in them.
    pub descriptions: u64,
    /// Descriptions of no code in this file.
    pub outside: u64,
    /// Descriptions of code that another one describes: cut short or left out.
    pub overlapping: u64,
    /// Descriptions that could not be read, or not to their end. The rest of a section whose entries
    /// cannot be told apart counts as one.
    pub broken: u64,
    /// Rows whose rule the format cannot say.
    pub unsupported: u64,
    /// Rows that lose the caller's frame pointer because the format cannot say where it is.
    pub frame_pointer_lost: u64,
}

impl Row {
    /// First ELF address that a row cannot have.
    pub(super) const MOST_ADDRESS: u64 = 1 << 48;

    /// A row; `address` is below 2^48.
    pub(super) fn new(address: u64, rule: u16) -> Row {
        debug_assert!(address < Row::MOST_ADDRESS);
        Row(address << 16 | u64::from(rule))
    }

    /// First ELF address of the stretch.
    pub fn address(self) -> u64 {
        self.0 >> 16
    }

    /// Index of its rule.
    pub fn rule(self) -> u16 {
        self.0 as u16
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    pub(super) fn from_bits(bits: u64) -> Row {
        Row(bits)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}: {}", self.address(), self.rule())
    }
}

impl BuildId {
    /// As hexadecimal digits, the usual way of writing one.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl Segment {
    /// First ELF address after it.
    pub fn end(&self) -> u64 {
        self.address + self.bytes
    }

    /// What a process address must be lowered by to get the ELF address, for a mapping of this
    /// segment that begins at process address `start` with file offset `file_offset`. Wraps for
    /// files that are linked above where they are loaded.
    pub fn bias(&self, start: u64, file_offset: u64) -> u64 {
        start.wrapping_sub(self.address.wrapping_add(file_offset).wrapping_sub(self.file_offset))
    }
}

impl FileTable {
    /// The rule in force at an ELF address.
    pub fn rule_at(&self, address: u64) -> Rule {
        let after = self.rows.partition_point(|row| row.address() <= address);
        let row = after.checked_sub(1).and_then(|before| self.rows.get(before));
        row.and_then(|row| self.rules.get(usize::from(row.rule()))).copied().unwrap_or_default()
    }

    /// The segment that an executable mapping of `bytes` bytes from `file_offset` shows: the one that
    /// most of its bytes belong to. Mappings are whole pages, so a segment may begin or end
    /// within a page that its neighbour shares.
    pub fn segment_of(&self, file_offset: u64, bytes: u64) -> Option<&Segment> {
        segment_of(&self.segments, file_offset, bytes)
    }
}

/// See [`FileTable::segment_of`].
pub(super) fn segment_of(segments: &[Segment], file_offset: u64, bytes: u64) -> Option<&Segment> {
    let shown = |segment: &Segment| {
        let end = file_offset.saturating_add(bytes).min(segment.file_offset.saturating_add(segment.bytes));
        end.saturating_sub(file_offset.max(segment.file_offset))
    };
    segments.iter().filter(|segment| shown(segment) > 0).max_by_key(|segment| shown(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_belongs_to_the_segment_that_it_shows_most_of() {
        // Two segments meet within the page at 0x2000, as lld lays them out.
        let one = Segment { file_offset: 0x1000, address: 0x1000, bytes: 0x1800 };
        let other = Segment { file_offset: 0x2800, address: 0x3800, bytes: 0x2000 };
        let table = FileTable { segments: vec![one, other], ..FileTable::default() };
        let check = |offset, bytes, expected| assert_eq!(table.segment_of(offset, bytes), expected, "{offset:#x}");
        check(0x1000, 0x2000, Some(&one));
        check(0x2000, 0x3000, Some(&other));
        check(0x3000, 0x1000, Some(&other));
        check(0x5000, 0x1000, None);
        check(u64::MAX, u64::MAX, None);
        assert_eq!(other.bias(0x7f00_0000_3000, 0x2000), 0x7f00_0000_0000);
    }
}
