//! Who has which words of the slabs: an allocator that knows places, not contents.

use std::collections::{BTreeMap, VecDeque};

use profiler_common::unwind::{PART_WORDS, SLAB_WORDS, SLABS};

/// Everything begins at a multiple of this many words: mappings are read as pairs of words.
const ALIGN: u32 = 8;
/// Words before each place, for what the kernel programs keep there.
const HEADER: u32 = 8;
const _: () = assert!(PART_WORDS + HEADER as usize == SLAB_WORDS);
/// How many turns a freed place is kept, since a walk may still be reading it. A turn is far longer than a
/// walk; the second one covers a turn that ends at once.
const KEPT_TURNS: u64 = 2;

/// Some words of a slab. The word before the first one belongs to the place, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The slab.
    pub(super) slab: u32,
    /// Index of its first word.
    pub(super) word: u32,
    /// Number of words that were asked for.
    pub(super) words: u32,
}

/// Places in slabs, of which new ones are begun as they are needed.
#[derive(Debug)]
pub(super) struct Memory {
    /// Free words of each slab: start and number.
    free: Vec<BTreeMap<u32, u32>>,
    most_slabs: usize,
    turn: u64,
    /// Freed places, and when.
    waiting: VecDeque<(u64, Place)>,
}

impl Memory {
    /// At most `budget_bytes` in whole slabs, and at least one.
    pub(super) fn new(budget_bytes: u64) -> Memory {
        let slabs = budget_bytes / (SLAB_WORDS as u64 * 4);
        Memory {
            free: Vec::new(),
            most_slabs: slabs.clamp(1, u64::from(SLABS)) as usize,
            turn: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Bytes of all slabs that were begun.
    pub(super) fn bytes(&self) -> u64 {
        self.free.len() as u64 * SLAB_WORDS as u64 * 4
    }

    /// Whether more than three quarters of the budget is begun.
    pub(super) fn may_run_out(&self) -> bool {
        self.free.len() * 4 > self.most_slabs * 3
    }

    /// The first place that has room. `None` if that would take more slabs than the budget has.
    pub(super) fn allocate(&mut self, words: usize) -> Option<Place> {
        if words > PART_WORDS {
            return None;
        }
        let needed = (words as u32 + HEADER).next_multiple_of(ALIGN);
        let found = self.free.iter().enumerate().find_map(|(slab, free)| {
            let (start, length) = free.iter().find(|(_, length)| **length >= needed)?;
            Some((slab, *start, *length))
        });
        let (slab, start, length) = match found {
            Some(found) => found,
            None if self.free.len() < self.most_slabs => {
                self.free.push(BTreeMap::from([(0, SLAB_WORDS as u32)]));
                (self.free.len() - 1, 0, SLAB_WORDS as u32)
            }
            None => return None,
        };
        let free = &mut self.free[slab];
        free.remove(&start);
        if length > needed {
            free.insert(start + needed, length - needed);
        }
        Some(Place { slab: slab as u32, word: start + HEADER, words: words as u32 })
    }

    /// Words that were freed and will be given out again soon.
    pub(super) fn waiting_words(&self) -> usize {
        self.waiting.iter().map(|(_, place)| place.words as usize).sum()
    }

    /// Words that nobody has.
    #[cfg(test)]
    pub(super) fn free_words(&self) -> u32 {
        self.free.iter().flat_map(BTreeMap::values).sum()
    }

    /// Nobody is told of the place any more. Its words are given out again some turns later.
    pub(super) fn free(&mut self, place: Place) {
        self.waiting.push_back((self.turn, place));
    }

    /// Begins the next turn. Turns are at least some milliseconds apart.
    pub(super) fn turn(&mut self) {
        self.turn += 1;
        while let Some((freed, place)) = self.waiting.front().copied() {
            if freed + KEPT_TURNS > self.turn {
                break;
            }
            self.waiting.pop_front();
            self.give_back(place);
        }
    }

    fn give_back(&mut self, place: Place) {
        let (mut start, mut length) = (place.word - HEADER, (place.words + HEADER).next_multiple_of(ALIGN));
        let free = &mut self.free[place.slab as usize];
        if let Some((before, its)) = free.range(..start).next_back().map(|(start, length)| (*start, *length))
            && before + its == start
        {
            free.remove(&before);
            (start, length) = (before, its + length);
        }
        if let Some(after) = free.remove(&(start + length)) {
            length += after;
        }
        free.insert(start, length);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SLAB_BYTES: u64 = SLAB_WORDS as u64 * 4;

    #[test]
    fn places_do_not_meet_and_are_aligned() {
        let mut memory = Memory::new(2 * SLAB_BYTES);
        let places: Vec<Place> = [1, 8, 9, 100_000, 1, PART_WORDS].map(|words| memory.allocate(words).unwrap()).into();
        for (index, place) in places.iter().enumerate() {
            assert_eq!(place.word % ALIGN, 0);
            assert!(place.word >= HEADER && (place.word + place.words) as usize <= SLAB_WORDS);
            for other in &places[..index] {
                let apart = place.slab != other.slab
                    || place.word - HEADER >= other.word + other.words
                    || other.word - HEADER >= place.word + place.words;
                assert!(apart, "{place:?} {other:?}");
            }
        }
        assert_eq!((memory.bytes(), places[5].slab), (2 * SLAB_BYTES, 1));
        assert_eq!(memory.allocate(PART_WORDS), None, "the budget is used up");
        assert!(memory.allocate(100).is_some(), "but there is room in the first slab");
        assert_eq!(memory.allocate(PART_WORDS + 1), None, "more than a slab");
    }

    #[test]
    fn freed_words_come_back_after_some_turns_and_grow_together() {
        let mut memory = Memory::new(SLAB_BYTES);
        let third = PART_WORDS / 3 - 16;
        let places: Vec<Place> = (0..3).map(|_| memory.allocate(third).unwrap()).collect();
        for place in [places[0], places[2], places[1]] {
            memory.free(place);
        }
        for _ in 0..KEPT_TURNS {
            assert_eq!(memory.allocate(PART_WORDS), None, "a walk may still read them");
            memory.turn();
        }
        assert_eq!(memory.allocate(PART_WORDS).unwrap().word, HEADER);
    }
}
