//! The records of a `perf_event` ring. Layout: `perf_event_open(2)`; native endian, sizes in bytes.
//!
//! ```text
//! header         type u32, misc u16, size u16 (of the whole record)
//! MMAP2    (10)  pid u32, tid u32, start u64, length u64, offset u64, major u32, minor u32, inode u64,
//!                generation u64, protection u32, flags u32, path
//! COMM     (3)   pid u32, tid u32, name; misc says whether it is by an exec
//! EXIT     (4)   pid u32, parent's pid u32, tid u32, …
//! LOST     (2)   id u64, count u64
//! each           … time u64
//! ```

use crate::model::{Mapped, MonoNs};

const LOST: u32 = 2;
const COMM: u32 = 3;
const EXIT: u32 = 4;
const MMAP2: u32 = 10;
/// Of a COMM record's misc: the name is new because the program is.
const COMM_EXEC: u16 = 1 << 13;
const HEADER_BYTES: usize = 8;
/// Of an MMAP2 record, header included.
const PATH_AT: usize = 72;
/// The time is asked for with each record, and is all that is.
const TIME_BYTES: usize = 8;
const VDSO: &[u8] = b"[vdso]\0";

/// What happened to a process. Ids are those of our pid namespace; strangers to it have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingEvent {
    /// Memory became executable.
    Mapped(Mapped),
    /// A process began another program: nothing of the one before is mapped any more, and what follows is the new one's.
    Exec {
        /// Process.
        pid: u32,
        /// When.
        at: MonoNs,
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
    /// When, and what.
    Event(MonoNs, MappingEvent),
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
    let kind = u32_at(bytes, 0)?;
    let (body, _) = bytes.split_at_checked(bytes.len().checked_sub(TIME_BYTES)?)?;
    let at = MonoNs(u64_at(bytes, body.len())?);
    Some(match kind {
        MMAP2 => {
            let path = body.get(PATH_AT..)?;
            let (start, length, inode) = (u64_at(body, 16)?, u64_at(body, 24)?, u64_at(body, 48)?);
            let mapped = Mapped {
                pid: u32_at(body, 8)?,
                at,
                start,
                end: start.saturating_add(length),
                file_offset: u64_at(body, 32)?,
                device: libc::makedev(u32_at(body, 40)?, u32_at(body, 44)?),
                inode,
                is_vdso: inode == 0 && path.starts_with(VDSO),
            };
            Record::Event(at, MappingEvent::Mapped(mapped))
        }
        COMM if u16_at(bytes, 4)? & COMM_EXEC != 0 => {
            Record::Event(at, MappingEvent::Exec { pid: u32_at(body, 8)?, at })
        }
        EXIT => Record::Event(at, MappingEvent::Ended { pid: u32_at(body, 8)?, tid: u32_at(body, 16)? }),
        LOST => Record::Lost(u64_at(body, 16)?),
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

    const AT: MonoNs = MonoNs(7 << 32 | 5);

    /// A record of 32-bit words, with a header of this type and its true size, at [`AT`].
    fn words(kind: u32, words: &[u32]) -> Vec<u8> {
        let size = (HEADER_BYTES + 4 * words.len() + TIME_BYTES) as u16;
        let header = [kind.to_ne_bytes(), [0; 4]].concat();
        let words = words.iter().chain(&halves(AT.0)).flat_map(|word| word.to_ne_bytes()).collect::<Vec<_>>();
        let mut bytes = [header, words].concat();
        bytes[6..8].copy_from_slice(&size.to_ne_bytes());
        bytes
    }

    fn halves(value: u64) -> [u32; 2] {
        let bytes = value.to_ne_bytes();
        [0, 4].map(|at| u32_at(&bytes, at).unwrap_or_default())
    }

    fn mapped(start: u64, length: u64, inode: u64, path: &[u8; 8]) -> Vec<u8> {
        let path = [0, 4].map(|at| u32_at(path, at).unwrap_or_default());
        let range = [halves(start), halves(length), halves(0x3000)].concat();
        words(MMAP2, &[&[42, 43], &range[..], &[8, 1], &halves(inode), &[0, 0, 5, 2], &path].concat())
    }

    fn event(event: MappingEvent) -> Record {
        Record::Event(AT, event)
    }

    fn check(bytes: &[u8], expected: &[Record]) {
        assert_eq!(records(bytes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn records_follow_each_other() {
        let file = mapped(0x7f00_1234_5000, 0x2000, 1 << 40, b"/a/bc.so");
        let ring = [file, words(7, &[1; 6]), words(EXIT, &[5, 1, 6, 1, 0, 0])].concat();
        let ring = [ring, words(LOST, &[&halves(9)[..], &halves(3 << 32)].concat())].concat();
        let expected = Mapped {
            pid: 42,
            at: AT,
            start: 0x7f00_1234_5000,
            end: 0x7f00_1234_7000,
            file_offset: 0x3000,
            device: libc::makedev(8, 1),
            inode: 1 << 40,
            is_vdso: false,
        };
        check(
            &ring,
            &[
                event(MappingEvent::Mapped(expected)),
                Record::Other,
                event(MappingEvent::Ended { pid: 5, tid: 6 }),
                Record::Lost(3 << 32),
            ],
        );
        check(&[], &[]);
    }

    #[test]
    fn a_name_is_an_exec_only_if_it_says_so() {
        let mut name = words(COMM, &[5, 5, 0x6161_6161, 0]);
        check(&name, &[Record::Other]);
        name[4..6].copy_from_slice(&COMM_EXEC.to_ne_bytes());
        check(&name, &[event(MappingEvent::Exec { pid: 5, at: AT })]);
    }

    /// The first mapping in some bytes: its end, and whether it is the vDSO.
    fn first(bytes: &[u8]) -> (u64, bool) {
        match records(bytes).next() {
            Some(Record::Event(_, MappingEvent::Mapped(mapped))) => (mapped.end, mapped.is_vdso),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_vdso_is_what_has_its_name_and_no_file() {
        for (inode, path, is_vdso) in [(0, b"[vdso]\0\0", true), (1, b"[vdso]\0\0", false), (0, b"//anon\0\0", false)] {
            assert_eq!(first(&mapped(0x1000, 0x1000, inode, path)), (0x2000, is_vdso));
        }
    }

    #[test]
    fn a_range_ends_where_addresses_do() {
        assert_eq!(first(&mapped(u64::MAX - 5, 100, 1, b"/a/bc.so")), (u64::MAX, false));
    }

    #[test]
    fn nonsense_costs_only_itself_unless_it_is_a_length() {
        let good = words(EXIT, &[5, 1, 6, 1]);
        let ended = event(MappingEvent::Ended { pid: 5, tid: 6 });
        for short in [words(EXIT, &[5]), words(MMAP2, &[1; 14]), words(LOST, &[]), words(EXIT, &[])] {
            check(&[short, good.clone()].concat(), &[Record::Lost(1), ended]);
        }
        for size in [0, 7, 33, u16::MAX] {
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
