use std::ops::Range;

use profiler_common::unwind::{BUCKET_ROWS, MAX_SHIFT, PART_WORDS};

use super::FileTable;
use super::rows::GAP;
use super::table::{PAGE_BYTES, Row};

/// A bucket covers at least `1 << LEAST_SHIFT` bytes of code.
const LEAST_SHIFT: u32 = 6;
/// Rows that a bucket should hold on average: the index is then a sixteenth of the rows, and a search
/// takes four or five steps.
const ROWS_A_BUCKET: u64 = 16;
// A part always has room for one more bucket, so that packing goes on.
const _: () = assert!(PART_WORDS > BUCKET_ROWS as usize + 3);

/// A stretch of a file's code, and its rows as the kernel programs search them: see
/// `profiler_common::unwind` for the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// First ELF address, that of position 0.
    pub start: u64,
    /// First ELF address after it.
    pub end: u64,
    /// Bucket size: `1 << shift` bytes.
    pub shift: u8,
    /// Index and rows: at most `PART_WORDS`.
    pub words: Vec<u32>,
}

/// Packs a file's table. `ids` are the numbers of the file's rules, in their order. The parts ascend, do
/// not overlap and cover the whole pages of each segment that has rows; one without rows has
/// no part. Large segments have several.
pub fn pack(table: &FileTable, ids: &[u16]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut covered = 0;
    for (index, segment) in table.segments.iter().enumerate() {
        let next = table.segments.get(index + 1).map_or(u64::MAX, |next| next.address);
        let start = (segment.address & !(PAGE_BYTES - 1)).max(covered);
        let end = segment.end().next_multiple_of(PAGE_BYTES).min(next);
        covered = end;
        let rows = rows_in(table, start..end);
        // Where the code before ends there may be a row, which says nothing of this segment.
        if rows.iter().any(|row| row.rule() != GAP) {
            pack_segment(rows, ids, start..end, &mut parts);
        }
    }
    parts
}

/// The rows that begin in a stretch of code.
fn rows_in(table: &FileTable, code: Range<u64>) -> &[Row] {
    let first = table.rows.partition_point(|row| row.address() < code.start);
    let end = table.rows.partition_point(|row| row.address() < code.end);
    &table.rows[first..end.max(first)]
}

fn pack_segment(rows: &[Row], ids: &[u16], code: Range<u64>, parts: &mut Vec<Part>) {
    let wanted = (code.end - code.start).saturating_mul(ROWS_A_BUCKET) / rows.len() as u64;
    let shift = wanted.checked_ilog2().unwrap_or(0).clamp(LEAST_SHIFT, MAX_SHIFT);
    let id = |row: &Row| ids.get(usize::from(row.rule())).copied().unwrap_or_default();
    let (mut start, mut rest, mut in_force) = (code.start, rows, 0);
    while start < code.end {
        // For each bucket, the number of rows before its end.
        let mut ends = Vec::new();
        let mut taken = 0;
        let mut end = start;
        while end < code.end {
            let bucket_end = end + (1 << shift);
            let more = rest[taken..].iter().take_while(|row| row.address() < bucket_end).count();
            // This bucket, the end of the index and the row that is in force at the start.
            if ends.len() + taken + more + 3 > PART_WORDS {
                break;
            }
            taken += more;
            end = bucket_end;
            ends.push(taken);
        }
        let end = end.min(code.end);
        let (own, later) = rest.split_at(taken);
        let leading = own.first().is_none_or(|row| row.address() > start);
        let first = ends.len() + 1;
        let mut words = Vec::with_capacity(first + own.len() + 1);
        words.push(first as u32);
        words.extend(ends.iter().map(|taken| (first + usize::from(leading) + taken) as u32));
        if leading {
            words.push(in_force);
        }
        words.extend(own.iter().map(|row| ((row.address() - start) as u32) << 16 | u32::from(id(row))));
        in_force = own.last().map_or(in_force, |row| u32::from(id(row)));
        parts.push(Part { start, end, shift: shift as u8, words });
        (start, rest) = (end, later);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::Segment;
    use super::*;
    use profiler_common::unwind::rule_at;

    /// Rows by address and rule, in one segment of code.
    fn table(rows: &[(u64, u16)], code: Range<u64>) -> FileTable {
        FileTable {
            rows: rows.iter().map(|(address, rule)| Row::new(*address, *rule)).collect(),
            segments: vec![Segment { file_offset: 0, address: code.start, bytes: code.end - code.start }],
            ..FileTable::default()
        }
    }

    fn found(parts: &[Part], address: u64) -> Option<u16> {
        let part = parts.iter().find(|part| (part.start..part.end).contains(&address))?;
        rule_at(|at| part.words.get(at as usize).copied(), part.shift.into(), address - part.start)
    }

    /// Each address has the rule of the last row at or below it; the numbers are rules plus 100.
    fn check(rows: &[(u64, u16)], code: Range<u64>) -> Vec<Part> {
        let table = table(rows, code.clone());
        let ids: Vec<u16> = (0..500).map(|rule| if rule == 0 { 0 } else { rule + 100 }).collect();
        let parts = pack(&table, &ids);
        let near = rows.iter().flat_map(|(address, _)| [address.saturating_sub(1), *address, address + 1]);
        for address in near.chain(code.clone().step_by(61)).filter(|address| code.contains(address)) {
            let after = rows.partition_point(|row| row.0 <= address);
            let expected = after.checked_sub(1).map_or(0, |before| ids[usize::from(rows[before].1)]);
            assert_eq!(found(&parts, address), Some(expected), "at {address:#x} of {code:x?}");
        }
        assert!(parts.iter().all(|part| part.words.len() <= PART_WORDS));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        parts
    }

    #[test]
    fn the_rule_in_force_is_found() {
        check(&[(0x1000, 1), (0x1001, 2), (0x1fff, 3)], 0x1000..0x3000);
        check(&[(0x1234, 1), (0x2000, 0)], 0x1200..0x2000);
        let parts = check(&[(0x40_1234, 1)], 0x40_1000..0x90_1000);
        assert_eq!((parts.len(), parts[0].shift, parts[0].words.len()), (1, 16, 80 + 1 + 2));
        assert!(pack(&table(&[], 0..0x1000), &[]).is_empty(), "nothing described");
    }

    #[test]
    fn buckets_hold_about_sixteen_rows() {
        let rows: Vec<_> = (0..40_000).map(|number| (0x1000 + number * 40, number as u16 % 400)).collect();
        let parts = check(&rows, 0x1000..0x1000 + 40_000 * 40);
        assert_eq!((parts.len(), parts[0].shift), (1, 9));
        assert!(parts[0].words.len() < 40_000 + 3_300);
    }

    #[test]
    fn a_large_segment_is_several_parts_that_stand_alone() {
        // One row each 1 to 7 bytes, and a stretch without any in the middle.
        let mut address = 0x1000;
        let rows: Vec<_> = (0..600_000u64)
            .map(|number| {
                address += if number == 300_000 { 5_000_000 } else { 1 + number % 7 };
                (address, number as u16 % 499)
            })
            .collect();
        let table = table(&rows, 0x1000..address + 10);
        let parts = pack(&table, &(0..500).collect::<Vec<u16>>());
        assert!(parts.len() > 2);
        for (index, (address, rule)) in rows.iter().enumerate() {
            assert_eq!(found(&parts, *address), Some(*rule));
            let next = rows.get(index + 1).map_or(address + 1, |next| next.0);
            assert_eq!(found(&parts, next - 1), Some(*rule));
        }
        assert!(parts.iter().all(|part| part.words.len() <= PART_WORDS));
    }

    #[test]
    fn a_full_bucket_fits() {
        let rows: Vec<_> = (0..200_000u64).map(|number| (0x10_0000 + number, 1 + number as u16 % 2)).collect();
        let mut sparse = rows.clone();
        sparse.push((0x4000_0000, 3));
        let table = table(&sparse, 0..0x4000_1000);
        let parts = pack(&table, &[0, 1, 2, 3]);
        assert_eq!(parts[0].shift, 16);
        assert_eq!(found(&parts, 0x10_0000 + 70_001), Some(2));
        assert_eq!(found(&parts, 0x4000_0fff), Some(3));
        assert_eq!(parts.iter().map(|part| part.words.len()).max().unwrap() / PART_WORDS, 0);
    }

    #[test]
    fn code_that_ends_within_a_page_ends_there() {
        let table = table(&[(0x1000, 1), (0x1a00, 0)], 0x1000..0x1a00);
        let parts = pack(&table, &[0, 7]);
        assert_eq!([0x19ff, 0x1a00, 0x1fff, 0x2000].map(|at| found(&parts, at)), [Some(7), Some(0), Some(0), None]);
    }

    #[test]
    fn segments_in_one_page_do_not_overlap() {
        let mut table = table(&[(0x1100, 1), (0x1200, 0), (0x1900, 2)], 0x1100..0x1880);
        table.segments.push(Segment { file_offset: 0x1900, address: 0x1900, bytes: 0x100 });
        let parts = pack(&table, &[0, 7, 8]);
        let ranges: Vec<_> = parts.iter().map(|part| (part.start, part.end)).collect();
        assert_eq!(ranges, [(0x1000, 0x1900), (0x1900, 0x2000)]);
        let rules: Vec<_> =
            [0x1000, 0x1100, 0x1200, 0x1900, 0x1fff].map(|address| found(&parts, address).unwrap()).into();
        assert_eq!(rules, [0, 7, 0, 8, 8]);
    }
}
