//! A process' mappings in the form that kernel programs search.

use profiler_common::unwind::{self, table};

use super::memory::Place;
use super::table::Segment;

/// A part of a file's table, placed in kernel memory. ELF addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) shift: u8,
    pub(super) place: Place,
}

/// What is known of the code behind a mapping.
#[derive(Clone, Copy, Debug)]
pub(super) enum Known<'a> {
    /// Its table is not here yet.
    Pending,
    /// Nothing describes it.
    Nothing,
    /// The parts of its file, ascending, and the segment that the mapping shows.
    Parts(&'a [Placed], &'a Segment),
}

/// Appends the mapping `[start, end)` of a file from `file_offset`: one entry a part, and entries without
/// a table for what the parts leave out, so that a walk can tell code from data.
pub(super) fn append(list: &mut Vec<unwind::Mapping>, start: u64, end: u64, file_offset: u64, known: Known<'_>) {
    let plain = |start, end, table| unwind::Mapping { start, end, table, ..unwind::Mapping::default() };
    let (parts, segment) = match known {
        Known::Pending => return list.push(plain(start, end, table::PENDING)),
        Known::Nothing => return list.push(plain(start, end, table::NONE)),
        Known::Parts(parts, segment) => (parts, segment),
    };
    let bias = segment.bias(start, file_offset);
    let mut covered = start;
    for part in parts {
        let (from, to) = (part.start.wrapping_add(bias), part.end.wrapping_add(bias));
        let (from_here, to_here) = (from.max(covered), to.min(end));
        if from > to || from_here >= to_here {
            continue;
        }
        if covered < from_here {
            list.push(plain(covered, from_here, table::NONE));
        }
        list.push(unwind::Mapping {
            start: from_here,
            end: to_here,
            origin: from,
            word: part.place.word,
            slab: part.place.slab as u16,
            shift: part.shift,
            table: table::READY,
        });
        covered = to_here;
    }
    if covered < end {
        list.push(plain(covered, end, table::NONE));
    }
}

/// The words of a list, as they lie in a slab.
pub(super) fn words(list: &[unwind::Mapping]) -> Vec<u32> {
    let halves = |value: u64| [value as u32, (value >> 32) as u32];
    let words = |mapping: &unwind::Mapping| {
        let kind = u32::from(mapping.slab) | u32::from(mapping.shift) << 16 | u32::from(mapping.table) << 24;
        let [a, b] = halves(mapping.start);
        let [c, d] = halves(mapping.end);
        let [e, f] = halves(mapping.origin);
        [a, b, c, d, e, f, mapping.word, kind]
    };
    list.iter().flat_map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(start: u64, end: u64, word: u32) -> Placed {
        Placed { start, end, shift: 9, place: Place { slab: 3, word, words: 100 } }
    }

    /// Ranges with the word of their part, `-` for code without a table.
    fn drawn(parts: &[Placed], segment: Segment, start: u64, end: u64, file_offset: u64) -> Vec<String> {
        let mut list = Vec::new();
        append(&mut list, start, end, file_offset, Known::Parts(parts, &segment));
        let entry = |it: &unwind::Mapping| {
            let table = if it.table == table::READY { format!("{}@{:x}", it.word, it.origin) } else { "-".to_owned() };
            format!("{:x}-{:x} {table}", it.start, it.end)
        };
        list.iter().map(entry).collect()
    }

    #[test]
    fn a_mapping_has_an_entry_for_each_part_that_it_shows() {
        let segment = Segment { file_offset: 0x1000, address: 0x401000, bytes: 0x5000 };
        let parts = [placed(0x401000, 0x403000, 8), placed(0x403000, 0x405000, 80)];
        let whole = drawn(&parts, segment, 0x1_0000, 0x1_5000, 0x1000);
        assert_eq!(whole, ["10000-12000 8@10000", "12000-14000 80@12000", "14000-15000 -"]);
        let tail = drawn(&parts, segment, 0x1_0000, 0x1_2000, 0x2000);
        assert_eq!(tail, ["10000-11000 8@f000", "11000-12000 80@11000"], "a mapping of the file's middle");
        let other = Segment { file_offset: 0x1000, address: 0x8000_0000, bytes: 0x1000 };
        assert_eq!(drawn(&parts, other, 0x1_0000, 0x1_1000, 0x1000), ["10000-11000 -"]);
    }

    #[test]
    fn words_are_those_of_the_wire_type() {
        let mapping = unwind::Mapping {
            start: 0x7f12_3456_7000,
            end: 0x7f12_3456_9000,
            origin: 0x7f12_3450_0000,
            word: 123_456,
            slab: 300,
            shift: 11,
            table: table::PENDING,
        };
        // SAFETY: plain integers without padding.
        let bytes: [u8; size_of::<unwind::Mapping>()] = unsafe { std::mem::transmute(mapping) };
        let written: Vec<u8> = words(&[mapping]).into_iter().flat_map(u32::to_ne_bytes).collect();
        assert_eq!(written, bytes);
    }
}
