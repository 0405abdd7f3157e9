//! A table as a file of the cache: all numbers little-endian.
//! ```text
//! magic (8 bytes), version (4), CRC-32 of all that follows (4)
//! counts (7 × 8), number of rules (8), number of rows (8)
//! rules (20 bytes each, as the fields lie), rows (8 bytes each)
//! ```
//! Segments and build id are not in it: they come from the ELF file, which is at hand.

use profiler_common::unwind::{Rule, cfa, saved};

use super::{Counts, Row};

const MAGIC: [u8; 8] = *b"pdunwind";
/// To be raised with every change of this form, and of what the builder makes of a file.
const VERSION: u32 = 1;
const COUNTS: usize = 7;
const HEAD_BYTES: usize = 16;
const BODY_AT: usize = HEAD_BYTES + 8 * (COUNTS + 2);
const RULE_BYTES: usize = 20;
const ROW_BYTES: usize = 8;

/// What is kept of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) rules: Vec<Rule>,
    pub(super) rows: Vec<Row>,
    pub(super) counts: Counts,
}

/// How many bytes a table takes.
pub(super) fn bytes(rules: &[Rule], rows: &[Row]) -> usize {
    BODY_AT + rules.len() * RULE_BYTES + rows.len() * ROW_BYTES
}

pub(super) fn encode(rules: &[Rule], rows: &[Row], counts: &Counts) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes(rules, rows));
    out.extend(MAGIC);
    out.extend(VERSION.to_le_bytes());
    out.extend([0; 4]);
    for number in counts.to_array().into_iter().chain([rules.len() as u64, rows.len() as u64]) {
        out.extend(number.to_le_bytes());
    }
    for rule in rules {
        out.extend([rule.cfa, rule.frame_pointer, rule.return_address, rule.register]);
        for offset in [rule.cfa_offset, rule.cfa_add, rule.frame_pointer_offset, rule.return_address_offset] {
            out.extend(offset.to_le_bytes());
        }
    }
    out.extend(rows.iter().flat_map(|row| row.bits().to_le_bytes()));
    let sum = crc32fast::hash(&out[HEAD_BYTES..]);
    out[12..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads what [`encode`] wrote. Nothing is taken on trust: rows ascend, rules exist and have kinds that
/// there are.
pub(super) fn decode(bytes: &[u8]) -> Option<Stored> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES)?;
    let sum = crc32fast::hash(body).to_le_bytes();
    if head[..8] != MAGIC || head[8..12] != VERSION.to_le_bytes() || head[12..] != sum {
        return None;
    }
    let (numbers, body) = body.split_at_checked(BODY_AT - HEAD_BYTES)?;
    let mut numbers = numbers.chunks_exact(8).map(|number| number.first_chunk().map_or(0, |n| u64::from_le_bytes(*n)));
    let counts = Counts::from_array(std::array::from_fn(|_| numbers.next().unwrap_or_default()));
    let mut length = || usize::try_from(numbers.next()?).ok();
    let rule_bytes = length()?.checked_mul(RULE_BYTES)?;
    let row_bytes = length()?.checked_mul(ROW_BYTES)?;
    let (rules, rows) = body.split_at_checked(rule_bytes)?;
    if rows.len() != row_bytes {
        return None;
    }
    let rules = rules.chunks_exact(RULE_BYTES).map(rule).collect::<Option<Vec<_>>>()?;
    let rows: Vec<_> = rows
        .chunks_exact(ROW_BYTES)
        .map(|row| Row::from_bits(row.first_chunk().map_or(0, |bits| u64::from_le_bytes(*bits))))
        .collect();
    let ascend = rows.windows(2).all(|pair| pair[0].address() < pair[1].address());
    let known = rows.iter().all(|row| usize::from(row.rule()) < rules.len());
    (ascend && known && rules.first() == Some(&Rule::default())).then_some(Stored { rules, rows, counts })
}

fn rule(bytes: &[u8]) -> Option<Rule> {
    let (kinds, mut rest) = bytes.split_first_chunk::<4>()?;
    let mut offset = || {
        let (offset, later) = rest.split_first_chunk()?;
        rest = later;
        Some(i32::from_le_bytes(*offset))
    };
    let [cfa, frame_pointer, return_address, register] = *kinds;
    let known = cfa <= cfa::UNSUPPORTED && frame_pointer.max(return_address) <= saved::LOST;
    let rule = Rule {
        cfa,
        frame_pointer,
        return_address,
        register,
        cfa_offset: offset()?,
        cfa_add: offset()?,
        frame_pointer_offset: offset()?,
        return_address_offset: offset()?,
    };
    known.then_some(rule)
}

impl Counts {
    fn to_array(self) -> [u64; COUNTS] {
        let Counts { frame_bytes, descriptions, outside, overlapping, broken, unsupported, frame_pointer_lost } = self;
        [frame_bytes, descriptions, outside, overlapping, broken, unsupported, frame_pointer_lost]
    }

    fn from_array(numbers: [u64; COUNTS]) -> Counts {
        let [frame_bytes, descriptions, outside, overlapping, broken, unsupported, frame_pointer_lost] = numbers;
        Counts { frame_bytes, descriptions, outside, overlapping, broken, unsupported, frame_pointer_lost }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn sample() -> Stored {
        let rule = |offset| Rule { cfa: cfa::SP, cfa_offset: offset, return_address: saved::AT_CFA, ..Rule::default() };
        Stored {
            rules: [Rule::default()].into_iter().chain((1..9).map(|n| rule(-n * 1_000_000))).collect(),
            rows: (0..1_000).map(|n| Row::new(0x7fff_0000_0000 + n * 3, (n % 9) as u16)).collect(),
            counts: Counts::from_array([1, 2, 3, 4, 5, 6, 7]),
        }
    }

    fn encoded(stored: &Stored) -> Vec<u8> {
        encode(&stored.rules, &stored.rows, &stored.counts)
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let bytes = encoded(&sample());
        assert_eq!(bytes.len(), super::bytes(&sample().rules, &sample().rows));
        assert_eq!(decode(&bytes), Some(sample()));
    }

    #[test]
    fn a_changed_byte_is_noticed_everywhere() {
        let good = encoded(&sample());
        for at in (0..good.len()).step_by(97).chain(0..BODY_AT) {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                assert_eq!(decode(&bad), None, "byte {at}");
            }
            assert_eq!(decode(&good[..at]), None, "cut at {at}");
        }
        assert_eq!(decode(&[good.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn a_right_checksum_does_not_make_a_table_right() {
        let check = |change: fn(&mut Stored), expected: bool| {
            let mut stored = sample();
            change(&mut stored);
            assert_eq!(decode(&encoded(&stored)).is_some(), expected);
        };
        check(|_| (), true);
        check(|stored| stored.rows.swap(3, 4), false);
        check(|stored| stored.rows[5] = stored.rows[4], false);
        check(|stored| stored.rows[5] = Row::new(stored.rows[5].address(), 9), false);
        check(|stored| stored.rules[0].cfa = cfa::SP, false);
        check(|stored| stored.rules[1].cfa = cfa::UNSUPPORTED + 1, false);
        check(|stored| stored.rules[1].return_address = saved::LOST + 1, false);
        check(|stored| stored.rules.clear(), false);
        // Lengths that promise what is not there.
        for huge in [u64::MAX, u64::MAX / 20, 1 << 40] {
            for at in [BODY_AT - 16, BODY_AT - 8] {
                let mut bad = encoded(&sample());
                bad[at..at + 8].copy_from_slice(&huge.to_le_bytes());
                let sum = crc32fast::hash(&bad[HEAD_BYTES..]);
                bad[12..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
                assert_eq!(decode(&bad), None);
            }
        }
        assert_eq!(decode(encoded(&sample()).get(..20).unwrap()), None);
    }
}
