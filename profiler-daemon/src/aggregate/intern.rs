//! Whole stacks out of the two halves that the kernel programs send, each distinct one kept once.

use std::sync::Arc;

use foldhash::fast::RandomState;

use super::FastMap;
use crate::model::{Frame, Frames, StackId, is_plumbing, note};
use profiler_common::wire::{OffCpuKey, sampling};

/// Whose stack it is: a sample's; a wait's; or that of a wait that was not walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Kind {
    Sample,
    Wait,
    Skipped,
}

/// Gives out [`StackId`]s. Frames keep the numbers that they have in the recording; notes from here come after them.
pub(super) struct Interner<'a> {
    symbolized: &'a Frames,
    notes: Vec<&'static str>,
    joined: FastMap<(u64, u64, Kind), StackId>,
    known: FastMap<Arc<[u32]>, StackId>,
    stacks: Vec<Arc<[u32]>>,
}

/// What was given out.
pub(super) struct Interned {
    /// Numbers of the frames of each stack, leaf first.
    pub(super) stacks: Vec<Arc<[u32]>>,
    /// The frames that follow those of the recording.
    pub(super) notes: Vec<Arc<Frame>>,
}

impl<'a> Interner<'a> {
    pub(super) fn new(symbolized: &'a Frames) -> Interner<'a> {
        Interner {
            symbolized,
            notes: Vec::new(),
            joined: with_room(symbolized.len()),
            known: with_room(symbolized.len()),
            stacks: Vec::with_capacity(symbolized.len()),
        }
    }

    /// The stack of a kernel and a user half by their kernel-side ids; 0 says that there is no such
    /// half.
    pub(super) fn stack(&mut self, kernel: u64, user: u64) -> StackId {
        self.join(kernel, user, Kind::Sample)
    }

    /// That of a wait: without the scheduler's way to the switch at the leaf, which is that of
    /// every wait, and has one frame more while another tracer watches switches, too.
    pub(super) fn stack_of_wait(&mut self, key: &OffCpuKey) -> StackId {
        let kind = if key.sampling & sampling::SKIPPED == 0 { Kind::Wait } else { Kind::Skipped };
        self.join(key.kernel_stack, key.user_stack, kind)
    }

    fn join(&mut self, kernel: u64, user: u64, kind: Kind) -> StackId {
        if let Some(id) = self.joined.get(&(kernel, user, kind)) {
            return *id;
        }
        let frames = match self.half(user) {
            // Most samples.
            Some(user) if kernel == 0 => user.clone(),
            user_half => self.both(kernel, user, user_half.map(|half| &**half), kind),
        };
        let id = self.keep(frames);
        self.joined.insert((kernel, user, kind), id);
        id
    }

    /// Both halves, the kernel's first, with a note for each that is missing.
    fn both(&mut self, kernel: u64, user: u64, user_half: Option<&[u32]>, kind: Kind) -> Arc<[u32]> {
        let mut frames = Vec::new();
        if kernel != 0 {
            match self.half(kernel) {
                Some(half) => {
                    let named = |number: &u32| self.symbolized.list()[*number as usize].function.as_deref();
                    let is_way = |number: &u32| named(number).is_some_and(is_plumbing);
                    let start = match kind {
                        Kind::Sample => None,
                        Kind::Wait | Kind::Skipped => half.iter().position(|number| !is_way(number)),
                    };
                    frames.extend_from_slice(&half[start.unwrap_or(0)..]);
                }
                None => frames.push(self.note_frame(note::KERNEL_NOT_SEEN)),
            }
        }
        match user_half {
            Some(half) => frames.extend_from_slice(half),
            None if kind == Kind::Skipped => frames.push(self.note_frame(note::WAIT_NOT_SAMPLED)),
            None if user == 0 && kernel != 0 => frames.push(self.note_frame(note::NO_USER_STACK)),
            None => frames.push(self.note_frame(note::STACK_NOT_SEEN)),
        }
        frames.into()
    }

    /// The stack that consists of one note.
    pub(super) fn note(&mut self, text: &'static str) -> StackId {
        let frame = self.note_frame(text);
        self.keep(Arc::new([frame]))
    }

    pub(super) fn finish(self) -> Interned {
        let notes = self.notes.into_iter().map(|text| Frame::note(text).into());
        Interned { stacks: self.stacks, notes: notes.collect() }
    }

    /// The frames of one half; `None` if there are none.
    fn half(&self, id: u64) -> Option<&'a Arc<[u32]>> {
        self.symbolized.stack(id).filter(|half| !half.is_empty())
    }

    /// The number of a note. There are five.
    fn note_frame(&mut self, text: &'static str) -> u32 {
        let index = self.notes.iter().position(|note| *note == text).unwrap_or_else(|| {
            self.notes.push(text);
            self.notes.len() - 1
        });
        (self.symbolized.list().len() + index) as u32
    }

    fn keep(&mut self, frames: Arc<[u32]>) -> StackId {
        let stacks = &mut self.stacks;
        // Bounds on stacks and on frames of a stack keep both lists far below 2^32.
        *self.known.entry(frames).or_insert_with_key(|frames| {
            stacks.push(frames.clone());
            StackId(stacks.len() as u32 - 1)
        })
    }
}

/// A map that need not grow soon: to hash a stack again is to fetch it.
fn with_room<K, V>(stacks: usize) -> FastMap<K, V> {
    FastMap::with_capacity_and_hasher(stacks, RandomState::default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FrameKind, Stacks};

    fn native(name: &str, offset: u64) -> Frame {
        Frame { kind: FrameKind::Native, offset: Some(offset), ..Frame::note(name) }
    }

    fn symbolized(stacks: impl IntoIterator<Item = (u64, Vec<Frame>)>) -> Frames {
        stacks.into_iter().map(|(id, frames)| (id, frames.into_iter().map(Arc::new).collect())).collect()
    }

    /// Frame names of each stack that `ids` (kernel, user) name, leaf first.
    fn check(ids: &[(u64, u64)], expected: &[&str]) {
        let symbolized = symbolized([
            (1, vec![native("sleep", 10), native("main", 20)]),
            (2, vec![native("sleep", 10), native("main", 20)]),
            (4, vec![Frame { kind: FrameKind::Kernel, ..native("schedule", 99) }]),
            (6, vec![]),
        ]);
        let mut interner = Interner::new(&symbolized);
        let ids: Vec<StackId> = ids.iter().map(|(kernel, user)| interner.stack(*kernel, *user)).collect();
        let interned = interner.finish();
        let frames = [symbolized.list(), &interned.notes].concat();
        let stacks = Stacks { frames, stacks: interned.stacks };
        let drawn: Vec<String> =
            ids.iter().map(|id| stacks.get(*id).map(Frame::name).collect::<Vec<_>>().join(" < ")).collect();
        assert_eq!(drawn, expected);
        assert_eq!(stacks.frames.len(), stacks.frames.iter().collect::<std::collections::HashSet<_>>().len());
    }

    #[test]
    fn the_kernel_half_comes_first() {
        check(&[(0, 1), (4, 1), (4, 0)], &["sleep < main", "schedule < sleep < main", "schedule < [no user stack]"]);
    }

    #[test]
    fn what_is_missing_is_said() {
        check(
            &[(0, 0), (0, 77), (4, 77), (77, 1), (0, 6)],
            &[
                "[stack not seen]",
                "[stack not seen]",
                "schedule < [stack not seen]",
                "[kernel stack not seen] < sleep < main",
                "[stack not seen]",
            ],
        );
    }

    #[test]
    fn equal_stacks_are_one() {
        let symbolized = symbolized([(1, vec![native("main", 20)]), (2, vec![native("main", 20)])]);
        let mut interner = Interner::new(&symbolized);
        assert_eq!(interner.stack(0, 1), interner.stack(0, 2));
        assert_eq!(interner.note(note::STACK_NOT_SEEN), interner.stack(0, 0));
        let interned = interner.finish();
        assert_eq!((interned.stacks.len(), symbolized.list().len(), interned.notes.len()), (2, 1, 1));
    }

    #[test]
    fn functions_inlined_at_one_address_stay_apart() {
        let inlined = Frame { inlined: true, ..native("get", 20) };
        let symbolized = symbolized([(1, vec![inlined, native("main", 20)])]);
        let mut interner = Interner::new(&symbolized);
        let id = interner.stack(0, 1);
        let numbers = &interner.finish().stacks[id.0 as usize];
        let names: Vec<String> = numbers.iter().map(|number| symbolized.list()[*number as usize].name()).collect();
        assert_eq!(names, ["get", "main"]);
    }
}
