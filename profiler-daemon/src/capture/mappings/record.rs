//! The records of a `perf_event` ring. Layout: `perf_event_open(2)`; native endian, sizes in bytes.
//!
//! ```text
//! header         type u32, misc u16, size u16 (of the whole record)
//! MMAP2    (10)  pid u32, tid u32, start u64, length u64, …, path
//! EXIT     (4)   pid u32, parent's pid u32, tid u32, …
//! LOST     (2)   id u64, count u64
//! ```

const LOST: u32 = 2;
const EXIT: u32 = 4;
const MMAP2: u32 = 10;
const HEADER_BYTES: usize = 8;

/// What happened to a process. Ids are those of our pid namespace; strangers to it have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// The range `[start, end)` became executable.
    Mapped {
        /// Process.
        pid: u32,
        /// First address.
        start: u64,
        /// First address after it.
        end: u64,
    },
    /// A thread ended; with the last one, its process.
    Ended {
        /// Process.
        pid: u32,
        /// Thread.
        tid: u32,
    },
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Event(MappingEvent),
    /// So many could not be written.
    Lost(u64),
    /// Nothing that is asked for, such as a fork.
    Other,
}

/// The records that lie back to back in `bytes`. What makes no sense counts as one that was lost; if it
/// is the length, nothing after it can be read.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = Record> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let size = u16_at(bytes, 6).map_or(0, usize::from);
        if size < HEADER_BYTES || size > bytes.len() {
            bytes = &[];
            return Some(Record::Lost(1));
        }
        let (record, rest) = bytes.split_at(size);
        bytes = rest;
        Some(self::record(record).unwrap_or(Record::Lost(1)))
    })
}

/// `None` if it is shorter than its type has to be.
fn record(bytes: &[u8]) -> Option<Record> {
    Some(match u32_at(bytes, 0)? {
        MMAP2 => {
            let (pid, start, length) = (u32_at(bytes, 8)?, u64_at(bytes, 16)?, u64_at(bytes, 24)?);
            Record::Event(MappingEvent::Mapped { pid, start, end: start.saturating_add(length) })
        }
        EXIT => Record::Event(MappingEvent::Ended { pid: u32_at(bytes, 8)?, tid: u32_at(bytes, 16)? }),
        LOST => Record::Lost(u64_at(bytes, 16)?),
        _ => Record::Other,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of 32-bit words, with a header of this type and its true size.
    fn words(kind: u32, words: &[u32]) -> Vec<u8> {
        let size = (HEADER_BYTES + 4 * words.len()) as u16;
        let header = [kind.to_ne_bytes(), [0; 4]].concat();
        let mut bytes: Vec<u8> = header.into_iter().chain(words.iter().flat_map(|word| word.to_ne_bytes())).collect();
        bytes[6..8].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    fn halves(value: u64) -> [u32; 2] {
        let bytes = value.to_ne_bytes();
        [0, 4].map(|at| u32_at(&bytes, at).unwrap_or_default())
    }

    fn mapped(start: u64, length: u64) -> Vec<u8> {
        words(MMAP2, &[&[42, 43], &halves(start)[..], &halves(length), &[0; 12], &[0x2f2f_2f2f; 3]].concat())
    }

    fn check(bytes: &[u8], expected: &[Record]) {
        assert_eq!(records(bytes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn records_follow_each_other() {
        let ring = [mapped(0x7f00_1234_5000, 0x2000), words(7, &[1; 6]), words(EXIT, &[5, 1, 6, 1, 0, 0])].concat();
        let ring = [ring, words(LOST, &[&halves(9)[..], &halves(3 << 32)].concat())].concat();
        check(
            &ring,
            &[
                Record::Event(MappingEvent::Mapped { pid: 42, start: 0x7f00_1234_5000, end: 0x7f00_1234_7000 }),
                Record::Other,
                Record::Event(MappingEvent::Ended { pid: 5, tid: 6 }),
                Record::Lost(3 << 32),
            ],
        );
        check(&[], &[]);
    }

    #[test]
    fn a_range_ends_where_addresses_do() {
        let end = u64::MAX;
        check(&mapped(end - 5, 100), &[Record::Event(MappingEvent::Mapped { pid: 42, start: end - 5, end })]);
    }

    #[test]
    fn nonsense_costs_only_itself_unless_it_is_a_length() {
        let good = words(EXIT, &[5, 1, 6, 1]);
        let ended = Record::Event(MappingEvent::Ended { pid: 5, tid: 6 });
        for short in [words(EXIT, &[5]), words(MMAP2, &[1, 2, 3, 4]), words(LOST, &[])] {
            check(&[short, good.clone()].concat(), &[Record::Lost(1), ended]);
        }
        for size in [0, 7, 25, u16::MAX] {
            let mut wrong = good.clone();
            wrong[6..8].copy_from_slice(&size.to_ne_bytes());
            check(&[good.clone(), wrong].concat(), &[ended, Record::Lost(1)]);
        }
        for length in 1..good.len() {
            check(&good[..length], &[Record::Lost(1)]);
        }
    }

    #[test]
    fn any_bytes_end() {
        // A simple generator is enough to try lengths and types of all kinds.
        let mut state = 1u32;
        for length in 0..2_000 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8 & 31
                })
                .collect();
            assert!(records(&bytes).count() <= length);
        }
    }
}
