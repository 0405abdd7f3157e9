use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::Frame;

/// Frames of stacks by the stacks' kernel-side ids. Each distinct frame is there once and has a number, so that whoever
/// goes through the stacks looks up what it found out about a frame in a list.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    list: Vec<Arc<Frame>>,
    /// Numbers in `list`, leaf first.
    stacks: HashMap<u64, Arc<[u32]>, RandomState>,
    index: Index,
}

/// Numbers by frame, of the first ones of the list: what is never looked up is not entered.
#[derive(Clone, Debug, Default)]
struct Index {
    entered: usize,
    /// By address, since stacks share most of their frames, which then need not be compared.
    by_address: HashMap<usize, u32, RandomState>,
    by_place: HashMap<Place, u32, RandomState>,
    /// Frames that are equal to one of the list: while they live, no other one gets their address.
    equals: Vec<Arc<Frame>>,
}

impl Frames {
    /// The distinct frames by their numbers. All of them are in some stack, unless a stack was replaced.
    pub fn list(&self) -> &[Arc<Frame>] {
        &self.list
    }

    /// The list itself, if nothing else is wanted any more.
    pub fn into_list(self) -> Vec<Arc<Frame>> {
        self.list
    }

    /// Numbers of a stack's frames, leaf first.
    pub fn stack(&self, id: u64) -> Option<&Arc<[u32]>> {
        self.stacks.get(&id)
    }

    /// The frames of a stack, leaf first.
    pub fn get(&self, id: &u64) -> Option<Vec<&Arc<Frame>>> {
        let numbers = self.stacks.get(id)?;
        Some(numbers.iter().map(|number| &self.list[*number as usize]).collect())
    }

    /// Whether a stack is known.
    pub fn has(&self, id: u64) -> bool {
        self.stacks.contains_key(&id)
    }

    /// All stacks with the numbers of their frames, in no order.
    pub fn stacks(&self) -> impl Iterator<Item = (u64, &Arc<[u32]>)> {
        self.stacks.iter().map(|(id, numbers)| (*id, numbers))
    }

    /// Number of stacks.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there are no stacks.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Adds a stack, leaf first, or replaces it.
    pub fn insert(&mut self, id: u64, frames: Arc<[Arc<Frame>]>) {
        let numbers = frames.iter().map(|frame| self.number(frame)).collect();
        self.stacks.insert(id, numbers);
    }

    /// Adds a stack by numbers that [`Self::adopt`] gave, unless it is known.
    pub fn insert_numbers(&mut self, id: u64, numbers: impl FnOnce() -> Arc<[u32]>) {
        self.stacks.entry(id).or_insert_with(numbers);
    }

    /// Numbers of frames that differ from each other, in the same order. Here they are the first ones mostly, and then
    /// are not compared with anything.
    pub fn adopt(&mut self, frames: Vec<Arc<Frame>>) -> Vec<u32> {
        if !self.list.is_empty() {
            return frames.iter().map(|frame| self.number(frame)).collect();
        }
        self.list = frames;
        (0..self.list.len() as u32).collect()
    }

    /// The number of a frame, a new one if no frame is equal to it.
    fn number(&mut self, frame: &Arc<Frame>) -> u32 {
        let Index { entered, by_address, by_place, equals } = &mut self.index;
        for (number, frame) in (*entered as u32..).zip(&self.list[*entered..]) {
            by_address.insert(Arc::as_ptr(frame).addr(), number);
            by_place.insert(Place::of(frame), number);
        }
        *entered = self.list.len();
        let next = self.list.len() as u32;
        match by_address.entry(Arc::as_ptr(frame).addr()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => {
                let number = *by_place.entry(Place::of(frame)).or_insert(next);
                let list = if number == next { &mut self.list } else { equals };
                list.push(frame.clone());
                *entered = self.list.len();
                *place.insert(number)
            }
        }
    }
}

impl FromIterator<(u64, Arc<[Arc<Frame>]>)> for Frames {
    fn from_iter<I: IntoIterator<Item = (u64, Arc<[Arc<Frame>]>)>>(stacks: I) -> Frames {
        let mut frames = Frames::default();
        stacks.into_iter().for_each(|(id, stack)| frames.insert(id, stack));
        frames
    }
}

/// A frame to look up. Equality is that of the frame; the hash reads its address only, where there
/// is one, since names are long and one address has few frames: those inlined there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    offset: Option<u64>,
    line: Option<u32>,
    frame: Arc<Frame>,
}

impl Place {
    fn of(frame: &Arc<Frame>) -> Place {
        Place { offset: frame.offset, line: frame.line, frame: frame.clone() }
    }
}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.offset, self.line).hash(state);
        if self.offset.is_none() {
            self.frame.function.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str) -> Arc<Frame> {
        Frame::note(name).into()
    }

    fn drawn(frames: &Frames, id: u64) -> Option<String> {
        Some(frames.get(&id)?.iter().map(|frame| frame.name()).collect::<Vec<_>>().join(" < "))
    }

    #[test]
    fn equal_frames_are_one_wherever_they_lie() {
        let shared = frame("main");
        let mut frames = Frames::default();
        frames.insert(1, [frame("work"), shared.clone()].into());
        frames.insert(2, [shared].into());
        // Twice the same one that is equal to another, and then one that may get its address.
        for id in 3..20 {
            let equal = frame("work");
            frames.insert(id, [equal.clone(), equal].into());
            frames.insert(100 + id, [frame(&format!("f{id}"))].into());
        }
        assert_eq!((frames.list().len(), frames.stack(3).map(|it| &**it)), (2 + 17, Some(&[0, 0][..])));
        assert_eq!(drawn(&frames, 1).as_deref(), Some("work < main"));
        assert_eq!(drawn(&frames, 119).as_deref(), Some("f19"));
        assert_eq!((drawn(&frames, 77), frames.stack(77)), (None, None));
    }

    #[test]
    fn adopted_frames_are_found_again() {
        let mut frames = Frames::default();
        assert_eq!(frames.adopt(vec![frame("a"), frame("b")]), [0, 1]);
        assert_eq!(frames.adopt(vec![frame("c"), frame("a")]), [2, 0]);
        frames.insert(1, [frame("b"), frame("d")].into());
        assert_eq!(frames.stack(1).map(|it| &**it), Some(&[1, 3][..]));
        frames.insert_numbers(1, || [2].into());
        frames.insert_numbers(2, || [2, 0].into());
        assert_eq!((drawn(&frames, 1).as_deref(), drawn(&frames, 2).as_deref()), (Some("b < d"), Some("c < a")));
    }
}
