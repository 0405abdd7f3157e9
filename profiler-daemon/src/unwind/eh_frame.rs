use std::collections::HashMap;

use gimli::{
    BaseAddresses, CieOrFde, EndianSlice, LittleEndian, Register, RegisterRule, UnwindContextStorage, UnwindOffset,
    UnwindSection, UnwindTableRow,
};

use super::machine::Machine;
use super::rows::Rows;
use super::rule::{Translator, UNSUPPORTED};
use super::{BuildError, Counts, Segment};

/// Bytes of a section.
pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Cie<'a> = gimli::CommonInformationEntry<Bytes<'a>>;

/// Working memory for carrying out call frame instructions.
pub(super) type Context = gimli::UnwindContext<usize, Storage>;

/// How large that is. gimli moves all of it for each description, so it is as small as real files
/// allow: signal returns name all 17 columns of x86-64, aarch64 has 20 registers to save, and compilers
/// remember one state at a time.
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 32];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

/// Most frame descriptions of one file; the largest known programs have some 500,000.
const MOST_DESCRIPTIONS: usize = 4 << 20;
/// Most bytes of call frame instructions that are carried out for one section, and for each of its bytes.
/// A description carries out those of the entry that it shares with others, too; in real files
/// that makes two for each byte.
const MOST_WORK: u64 = 512 << 20;
const WORK_A_BYTE: u64 = 8;

/// The code that one frame description is about, and where the description is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// First ELF address, and the first one after it.
    pub(super) start: u64,
    pub(super) end: u64,
    /// Offset in its section.
    offset: usize,
    /// Which section it is in.
    pub(super) section: usize,
}

impl Description {
    /// Code that no section describes, but whose form is known.
    pub(super) fn of_stubs(start: u64, end: u64) -> Description {
        Description { start, end, offset: 0, section: STUBS }
    }
}

/// Stands for the section that stubs do not have.
pub(super) const STUBS: usize = 2;

/// A section of frame descriptions: `.eh_frame` or `.debug_frame`.
pub(super) struct Frames<'a, S> {
    section: S,
    bytes: u64,
    bases: BaseAddresses,
    machine: &'static Machine,
    shared: Shared<'a>,
    /// Bytes of call frame instructions that may still be carried out.
    work: u64,
}

impl<'a, S: UnwindSection<Bytes<'a>>> Frames<'a, S> {
    /// `bytes` is the length of the section.
    pub(super) fn new(section: S, bytes: u64, bases: BaseAddresses, machine: &'static Machine) -> Frames<'a, S> {
        let work = bytes.saturating_mul(WORK_A_BYTE).min(MOST_WORK);
        Frames { section, bytes, bases, machine, shared: Shared::default(), work }
    }

    /// Adds the descriptions of code in `code`, in the section's order, as number `section`.
    pub(super) fn list(
        &mut self,
        code: &[Segment],
        section: usize,
        counts: &mut Counts,
        found: &mut Vec<Description>,
    ) -> Result<(), BuildError> {
        counts.frame_bytes += self.bytes;
        let bases = self.bases.clone();
        let mut entries = self.section.clone().entries(&bases);
        loop {
            let partial = match entries.next() {
                Ok(Some(CieOrFde::Fde(partial))) => partial,
                Ok(Some(CieOrFde::Cie(_))) => continue,
                Ok(None) => return Ok(()),
                Err(_) => {
                    counts.broken += 1;
                    return Ok(());
                }
            };
            counts.descriptions += 1;
            if counts.descriptions > MOST_DESCRIPTIONS as u64 {
                return Err(BuildError::TooLarge { what: "frame descriptions", most: MOST_DESCRIPTIONS as u64 });
            }
            let offset = partial.offset();
            let Ok(description) = partial.parse(|section, bases, at| self.shared.get(section, bases, at)) else {
                counts.broken += 1;
                continue;
            };
            let start = description.initial_address();
            let inside = |segment: &&Segment| (segment.address..segment.end()).contains(&start);
            match code.iter().find(inside) {
                // A linker leaves descriptions of code that it has dropped at addresses that are none.
                None => counts.outside += 1,
                Some(_) if description.len() == 0 => counts.outside += 1,
                Some(segment) => {
                    let end = start.saturating_add(description.len()).min(segment.end());
                    found.push(Description { start, end, offset, section });
                }
            }
        }
    }

    /// Adds the rows of one description, which lie within its bounds.
    pub(super) fn rows(
        &mut self,
        context: &mut Context,
        of: &Description,
        counts: &mut Counts,
        rows: &mut Rows,
    ) -> Result<(), BuildError> {
        let known = &mut self.shared;
        let partial = self
            .section
            .fde_from_offset(&self.bases, of.offset.into(), |section, bases, at| known.get(section, bases, at));
        // It could be read when it was listed.
        let Ok(description) = partial else { return Ok(()) };
        let cie = description.cie();
        let work = (description.entry_len() as u64).saturating_add(cie.entry_len() as u64);
        self.work = self.work.checked_sub(work).ok_or(BuildError::TooLarge {
            what: "bytes of call frame instructions to carry out",
            most: self.bytes.saturating_mul(WORK_A_BYTE).min(MOST_WORK),
        })?;
        let translator = Translator {
            section: &self.section,
            machine: self.machine,
            encoding: cie.encoding(),
            signal: description.is_signal_trampoline(),
        };
        let usable = cie.return_address_register() == self.machine.return_address;
        let table = usable.then(|| description.rows(&self.section, &self.bases, context).ok()).flatten();
        // What was read so far reaches up to here.
        let mut until = of.start;
        let mut whole = false;
        if let Some(mut table) = table {
            loop {
                let row = match table.next_row() {
                    Ok(Some(row)) => row,
                    Ok(None) => {
                        whole = true;
                        break;
                    }
                    Err(_) => break,
                };
                let (start, end) = (row.start_address().max(until), row.end_address().min(of.end));
                if start < end {
                    let translated = translator.row(row);
                    counts.unsupported += u64::from(translated.rule == UNSUPPORTED);
                    counts.frame_pointer_lost += u64::from(translated.frame_pointer_lost);
                    rows.start(start, translated.rule)?;
                    until = end;
                }
            }
        }
        if !whole {
            counts.broken += 1;
            if until < of.end {
                rows.start(until, UNSUPPORTED)?;
            }
        }
        rows.end(of.end)
    }
}

/// Most entries that descriptions share: linkers write some dozens. What refers to further ones counts as broken.
const MOST_SHARED: usize = 65_536;

/// The entries that descriptions share, by offset. Each is read once, even if a hostile file makes one of
/// its whole section, or writes it so that it cannot be read.
#[derive(Default)]
struct Shared<'a> {
    all: HashMap<usize, gimli::Result<Cie<'a>>>,
    last: Option<(usize, Cie<'a>)>,
}

impl<'a> Shared<'a> {
    fn get<S: UnwindSection<Bytes<'a>>>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        at: S::Offset,
    ) -> gimli::Result<Cie<'a>> {
        let offset = UnwindOffset::into(at);
        if let Some((last, entry)) = &self.last
            && *last == offset
        {
            return Ok(entry.clone());
        }
        if self.all.len() >= MOST_SHARED && !self.all.contains_key(&offset) {
            return Err(gimli::Error::NoEntryAtGivenOffset(offset as u64));
        }
        let entry = self.all.entry(offset).or_insert_with(|| section.cie_from_offset(bases, at)).clone()?;
        self.last = Some((offset, entry.clone()));
        Ok(entry)
    }
}

/// Sorts descriptions and removes overlaps, so that each address belongs to one of them. A
/// description ends where the next one begins: an unwinder that searches the sorted index
/// finds the last one that begins at or below an address. The first of those that begin
/// at one address counts.
pub(super) fn untangle(descriptions: &mut Vec<Description>, counts: &mut Counts) {
    // Stable, and fast for what linkers sorted already.
    descriptions.sort_by_key(|description| description.start);
    let before = descriptions.len();
    descriptions.dedup_by_key(|description| description.start);
    counts.overlapping += (before - descriptions.len()) as u64;
    for index in 1..descriptions.len() {
        let next = descriptions[index].start;
        let description = &mut descriptions[index - 1];
        counts.overlapping += u64::from(description.end > next);
        description.end = description.end.min(next);
    }
}

/// Adds those of `others` that describe what `descriptions` do not touch. Both are sorted and
/// without overlaps, and so is the result.
pub(super) fn add_missing(descriptions: &mut Vec<Description>, others: Vec<Description>, counts: &mut Counts) {
    let mut merged = Vec::with_capacity(descriptions.len() + others.len());
    let mut first = descriptions.iter().copied().peekable();
    let mut end = 0;
    for other in others {
        while let Some(description) = first.next_if(|description| description.start <= other.start) {
            end = description.end;
            merged.push(description);
        }
        let free = end <= other.start && first.peek().is_none_or(|next| other.end <= next.start);
        if free {
            merged.push(other);
        } else {
            counts.overlapping += 1;
        }
    }
    merged.extend(first);
    *descriptions = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ranges: &[(u64, u64)], section: usize) -> Vec<Description> {
        let description =
            |(offset, (start, end)): (usize, &(u64, u64))| Description { start: *start, end: *end, offset, section };
        ranges.iter().enumerate().map(description).collect()
    }

    fn ranges(list: &[Description]) -> Vec<(u64, u64)> {
        list.iter().map(|description| (description.start, description.end)).collect()
    }

    #[test]
    fn a_description_ends_where_the_next_begins() {
        let check = |input: &[(u64, u64)], expected: &[(u64, u64)], overlapping| {
            let mut counts = Counts::default();
            let mut found = list(input, 0);
            untangle(&mut found, &mut counts);
            assert_eq!((ranges(&found).as_slice(), counts.overlapping), (expected, overlapping), "{input:?}");
        };
        check(&[(5, 9), (1, 5)], &[(1, 5), (5, 9)], 0);
        check(&[(1, 9), (3, 5)], &[(1, 3), (3, 5)], 1);
        check(&[(1, 9), (1, 5), (3, 9)], &[(1, 3), (3, 9)], 2);
        check(&[], &[], 0);
    }

    #[test]
    fn debug_information_fills_what_the_program_does_not_describe() {
        let mut counts = Counts::default();
        let mut found = list(&[(10, 20), (30, 40)], 0);
        let others = list(&[(0, 5), (5, 12), (12, 15), (20, 25), (25, 31), (40, 50)], 1);
        add_missing(&mut found, others, &mut counts);
        assert_eq!(ranges(&found), [(0, 5), (10, 20), (20, 25), (30, 40), (40, 50)]);
        assert_eq!(counts.overlapping, 3);
    }
}
