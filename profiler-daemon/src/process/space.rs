use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::module::{Identity, Image, Module};
use super::{FileOffset, ProcessAddress};

/// Most mappings kept of one process; the kernel's own default limit is 65,530.
const MOST_MAPPINGS: usize = 65_536;
/// Most earlier states kept of one process: who loads and unloads more libraries in turn gets the names of the
/// next one for the oldest.
const MOST_EPOCHS: usize = 64;

/// What lies behind a mapping.
#[derive(Clone, Debug)]
pub enum Backing {
    /// A file, or the vDSO.
    File(Arc<Module>),
    /// No file; the name such as `[heap]`, if it has one.
    Anonymous(Option<Arc<str>>),
}

/// An executable range `[start, end)` of a process.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// First process address.
    pub start: u64,
    /// First process address after it.
    pub end: u64,
    /// Position of `start` in the file; meaningless without one.
    pub file_offset: u64,
    /// What is mapped there.
    pub backing: Backing,
}

impl Mapping {
    /// Whether both say the same. Of one file there is one module, so its address stands for it.
    fn is(&self, other: &Mapping) -> bool {
        let is_same = match (&self.backing, &other.backing) {
            (Backing::File(one), Backing::File(other)) => Arc::ptr_eq(one, other),
            (Backing::Anonymous(one), Backing::Anonymous(other)) => one == other,
            _ => false,
        };
        is_same && (self.start, self.end, self.file_offset) == (other.start, other.end, other.file_offset)
    }

    pub(super) fn file_offset(&self, address: ProcessAddress) -> FileOffset {
        FileOffset(self.file_offset.wrapping_add(address.0 - self.start))
    }

    /// The part of it in `[start, end)`, which lies inside.
    fn part(&self, start: u64, end: u64) -> Mapping {
        let file_offset = self.file_offset.wrapping_add(start - self.start);
        Mapping { start, end, file_offset, backing: self.backing.clone() }
    }
}

/// The executable mappings of one program in one process: those of now, and earlier ones for
/// addresses that are no longer mapped.
#[derive(Clone, Debug, Default)]
pub(super) struct Space {
    /// By start, without overlaps.
    mappings: BTreeMap<u64, Mapping>,
    /// Those of the last reading, in ascending order.
    current: Vec<Mapping>,
    /// Another number for each other `current`.
    version: u64,
    /// When code was last mapped where other code was.
    epoch: u32,
    /// What was mapped before, by the epoch that it belongs to, in ascending order.
    earlier: Vec<(u32, BTreeMap<u64, Mapping>)>,
    /// Start of the vDSO, which every exec places anew.
    vdso: Option<u64>,
    /// Names of code that a JIT compiler wrote.
    pub(super) perf_map: Option<Arc<File>>,
}

impl Space {
    /// What one reading found, in ascending order. `version` is a number that no other reading has.
    pub(super) fn new(mut current: Vec<Mapping>, vdso: Option<u64>, version: u64) -> Space {
        current.truncate(MOST_MAPPINGS);
        let mappings = current.iter().map(|mapping| (mapping.start, mapping.clone())).collect();
        Space { mappings, current, version, epoch: 0, earlier: Vec::new(), vdso, perf_map: None }
    }

    /// What is there once these are mapped, one after the other, over what the last reading found. `version` is a number that
    /// no other reading has.
    pub(super) fn with(&self, new: Vec<Mapping>, vdso: Option<u64>, version: u64) -> Space {
        let mut space = Space::new(self.current.clone(), None, version);
        for mapping in new {
            space.insert(mapping);
        }
        Space::new(space.mappings.into_values().collect(), vdso.or(self.vdso), version)
    }

    /// The mappings of the last reading, in ascending order.
    pub(super) fn current(&self) -> &[Mapping] {
        &self.current
    }

    /// Which list [`Space::current`] is: it changes when that does, and only then.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// When code was last mapped where other code was.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What lies there now, or lay there at last.
    pub(super) fn at(&self, address: ProcessAddress) -> Option<&Mapping> {
        find(&self.mappings, address)
    }

    /// What lay there in an epoch.
    pub(super) fn at_epoch(&self, epoch: u32, address: ProcessAddress) -> Option<&Mapping> {
        let then = self.earlier.iter().find(|(last, _)| epoch <= *last);
        find(then.map_or(&self.mappings, |(_, mappings)| mappings), address)
    }

    /// Takes a later reading of the same program: where both know an address, `newer` is right. If it has
    /// other code where some was, what was before stays known, and `next_epoch` begins.
    pub(super) fn update(&mut self, newer: Space, next_epoch: u32) {
        if !self.is_current(&newer) {
            if newer.current.iter().any(|mapping| self.is_replaced_by(mapping)) {
                if self.earlier.len() == MOST_EPOCHS {
                    self.earlier.remove(0);
                }
                self.earlier.push((self.epoch, self.mappings.clone()));
                self.epoch = next_epoch;
            }
            for mapping in &newer.current {
                self.insert(mapping.clone());
            }
            if self.mappings.len() > MOST_MAPPINGS {
                self.mappings = newer.mappings;
            }
            (self.current, self.version) = (newer.current, newer.version);
        }
        self.vdso = newer.vdso.or(self.vdso);
        self.perf_map = newer.perf_map.or(self.perf_map.take());
    }

    /// Whether a later reading found what the last one had found.
    pub(super) fn is_current(&self, newer: &Space) -> bool {
        self.current.len() == newer.current.len()
            && self.current.iter().zip(&newer.current).all(|(old, new)| old.is(new))
    }

    /// Whether a later reading is of another program for sure: every exec places the vDSO anew.
    pub(super) fn is_other_program(&self, newer: &Space) -> bool {
        self.vdso.is_some() && newer.vdso.is_some() && self.vdso != newer.vdso
    }

    /// Whether both are readings of one program: the vDSO and the lowest mapping are where they
    /// were. Two execs agree in that only if addresses are not randomized.
    pub(super) fn is_same_program(&self, other: &Space) -> bool {
        let lowest = |space: &Space| {
            let mapping = space.mappings.values().next()?;
            Some((mapping.start, identity(mapping)))
        };
        self.vdso.is_some() && self.vdso == other.vdso && lowest(self) == lowest(other)
    }

    /// Whether code runs from memory that no ELF file describes.
    pub(super) fn has_generated_code(&self) -> bool {
        self.mappings.values().any(|mapping| match &mapping.backing {
            Backing::File(module) => matches!(module.image, Image::NotElf),
            Backing::Anonymous(name) => name.as_deref().is_none_or(|name| name.starts_with("[anon")),
        })
    }

    /// Whether files lie behind both this new mapping and one that it takes the place of, and not the same ones.
    fn is_replaced_by(&self, new: &Mapping) -> bool {
        let Backing::File(file) = &new.backing else { return false };
        let overlapped = self.mappings.range(..new.end).rev().take_while(|(_, old)| old.end > new.start);
        overlapped.into_iter().any(|(_, old)| match &old.backing {
            Backing::File(other) => {
                let shift = |mapping: &Mapping| mapping.start.wrapping_sub(mapping.file_offset);
                !Arc::ptr_eq(file, other) || shift(new) != shift(old)
            }
            Backing::Anonymous(_) => false,
        })
    }

    fn insert(&mut self, new: Mapping) {
        let mut overlapped = Vec::new();
        for (start, old) in self.mappings.range(..new.end).rev() {
            if old.end <= new.start {
                break;
            }
            overlapped.push(*start);
        }
        for start in overlapped {
            let Some(old) = self.mappings.remove(&start) else { continue };
            if old.start < new.start {
                self.mappings.insert(old.start, old.part(old.start, new.start));
            }
            if old.end > new.end {
                self.mappings.insert(new.end, old.part(new.end, old.end));
            }
        }
        self.mappings.insert(new.start, new);
    }
}

fn find(mappings: &BTreeMap<u64, Mapping>, address: ProcessAddress) -> Option<&Mapping> {
    let (_, mapping) = mappings.range(..=address.0).next_back()?;
    (address.0 < mapping.end).then_some(mapping)
}

fn identity(mapping: &Mapping) -> Option<Identity> {
    match &mapping.backing {
        Backing::File(module) => match &module.image {
            Image::Elf { identity, .. } => Some(*identity),
            _ => None,
        },
        Backing::Anonymous(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(mappings: &[(u64, u64, u64, &str)]) -> Space {
        let mapping = |(start, end, file_offset, name): &(u64, u64, u64, &str)| Mapping {
            start: *start,
            end: *end,
            file_offset: *file_offset,
            backing: Backing::Anonymous(Some(Arc::from(*name))),
        };
        Space::new(mappings.iter().map(mapping).collect(), None, next_version())
    }

    /// Versions only have to differ.
    fn next_version() -> u64 {
        static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn name(space: &Space, address: u64) -> String {
        match space.at(ProcessAddress(address)) {
            None => "-".to_owned(),
            Some(mapping) => match &mapping.backing {
                Backing::Anonymous(Some(name)) => format!("{name}+{}", mapping.file_offset(ProcessAddress(address)).0),
                _ => "?".to_owned(),
            },
        }
    }

    #[test]
    fn a_range_is_half_open() {
        let space = space(&[(10, 20, 100, "a"), (20, 30, 0, "b")]);
        let seen: Vec<_> = [9, 10, 19, 20, 29, 30, u64::MAX].map(|address| name(&space, address)).into();
        assert_eq!(seen, ["-", "a+100", "a+109", "b+0", "b+9", "-", "-"]);
    }

    #[test]
    fn newer_mappings_win_and_older_ones_stay_where_nothing_is() {
        for (newer, expected) in [
            // addresses 10, 14, 19, 25
            (&[][..], ["a+0", "a+4", "a+9", "b+5"]),
            (&[(10, 20, 0, "n")][..], ["n+0", "n+4", "n+9", "b+5"]),
            (&[(12, 16, 0, "n")], ["a+0", "n+2", "a+9", "b+5"]),
            (&[(5, 12, 0, "n")], ["n+5", "a+4", "a+9", "b+5"]),
            (&[(18, 22, 0, "n")], ["a+0", "a+4", "n+1", "b+5"]),
            (&[(0, 100, 0, "n")], ["n+10", "n+14", "n+19", "n+25"]),
            (&[(14, 15, 0, "n"), (25, 26, 0, "m")], ["a+0", "n+0", "a+9", "m+0"]),
        ] {
            let mut merged = space(&[(10, 20, 0, "a"), (20, 30, 0, "b")]);
            merged.update(space(newer), 1);
            assert_eq!([10, 14, 19, 25].map(|address| name(&merged, address)), expected, "{newer:?}");
        }
    }

    #[test]
    fn only_the_last_reading_is_current_and_only_a_change_has_a_new_version() {
        let now =
            |space: &Space| space.current().iter().map(|mapping| (mapping.start, mapping.end)).collect::<Vec<_>>();
        let (a, b) = ((10, 20, 0, "a"), (20, 30, 0, "b"));
        let mut merged = space(&[a, b]);
        let first = merged.version();
        merged.update(space(&[a, b]), 1);
        assert_eq!(merged.version(), first);
        for changed in [(20, 30, 0, "c"), (20, 30, 8, "c"), (20, 29, 8, "c"), (21, 29, 8, "c")] {
            let before = merged.version();
            merged.update(space(&[a, changed]), 1);
            assert_ne!(merged.version(), before, "{changed:?}");
        }
        merged.update(space(&[b]), 1);
        assert_eq!(now(&merged), [(20, 30)]);
        assert_eq!([name(&merged, 10), name(&merged, 25)], ["a+0", "b+5"], "what is gone still has its name");
    }

    #[test]
    fn code_in_the_place_of_other_code_begins_an_epoch() {
        let module = |name: &str| {
            let path = Arc::from(name);
            Arc::new(Module { path, build_id: None, image: Image::Unavailable })
        };
        let (one, other) = (module("one"), module("other"));
        let reading = |module: &Arc<Module>, start, version| {
            let backing = Backing::File(module.clone());
            Space::new(vec![Mapping { start, end: start + 10, file_offset: 0, backing }], None, version)
        };
        let mut space = reading(&one, 10, 0);
        space.update(reading(&one, 10, 1), 7);
        assert_eq!(space.epoch(), 0, "the same again");
        space.update(reading(&other, 30, 2), 7);
        assert_eq!(space.epoch(), 0, "beside it");
        space.update(reading(&other, 12, 3), 7);
        assert_eq!(space.epoch(), 7);
        let path = |epoch| match space.at_epoch(epoch, ProcessAddress(15)).map(|mapping| &mapping.backing) {
            Some(Backing::File(module)) => module.path.to_string(),
            _ => "-".to_owned(),
        };
        assert_eq!([path(0), path(7)], ["one", "other"]);
    }
}
