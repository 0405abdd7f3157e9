//! Whole stacks out of the two halves that the kernel programs send, each distinct one kept once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::FastMap;
use crate::model::{Frame, StackId, Stacks, is_plumbing, note};
use profiler_common::wire::{OffCpuKey, sampling};

/// Frame indices of each half, leaf first, by its kernel-side id.
pub(super) type Halves = FastMap<u64, Arc<[u32]>>;

/// Whose stack it is: a sample's; a wait's; or that of a wait that was not walked.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
enum Kind {
    Sample,
    Wait,
    Skipped,
}

/// Gives out [`StackId`]s.
pub(super) struct Interner<'a> {
    symbolized: &'a HashMap<u64, Arc<[Arc<Frame>]>>,
    /// By address: stacks share most of their frames, which then need not be compared.
    shared: FastMap<*const Frame, u32>,
    frames: FastMap<Place<'a>, u32>,
    notes: HashMap<&'static str, u32>,
    halves: Halves,
    joined: FastMap<(u64, u64, Kind), StackId>,
    known: FastMap<Arc<[u32]>, StackId>,
    stacks: Stacks,
}

impl<'a> Interner<'a> {
    pub(super) fn new(symbolized: &'a HashMap<u64, Arc<[Arc<Frame>]>>) -> Interner<'a> {
        Interner {
            symbolized,
            shared: FastMap::default(),
            frames: FastMap::default(),
            notes: HashMap::new(),
            halves: with_room(symbolized.len()),
            joined: with_room(symbolized.len()),
            known: with_room(symbolized.len()),
            stacks: Stacks::default(),
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
            Some(user) if kernel == 0 => user,
            user_half => self.both(kernel, user, user_half.as_deref(), kind),
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
                    let named = |index: &u32| self.stacks.frames[*index as usize].function.as_deref();
                    let is_way = |index: &u32| named(index).is_some_and(is_plumbing);
                    let start = match kind {
                        Kind::Sample => None,
                        Kind::Wait | Kind::Skipped => half.iter().position(|index| !is_way(index)),
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

    /// All stacks, and the frames of each half.
    pub(super) fn finish(self) -> (Stacks, Halves) {
        (self.stacks, self.halves)
    }

    /// The frames of one half; `None` if there are none.
    fn half(&mut self, id: u64) -> Option<Arc<[u32]>> {
        if let Some(half) = self.halves.get(&id) {
            return Some(half.clone());
        }
        let symbolized: &'a [Arc<Frame>] = self.symbolized.get(&id).filter(|frames| !frames.is_empty())?;
        let half: Arc<[u32]> = symbolized.iter().map(|frame| self.frame(frame)).collect();
        self.halves.insert(id, half.clone());
        Some(half)
    }

    fn frame(&mut self, frame: &'a Arc<Frame>) -> u32 {
        *self.shared.entry(Arc::as_ptr(frame)).or_insert_with(|| {
            let push = || push(&mut self.stacks.frames, frame.clone());
            *self.frames.entry(Place::of(frame)).or_insert_with(push)
        })
    }

    fn note_frame(&mut self, text: &'static str) -> u32 {
        *self.notes.entry(text).or_insert_with(|| push(&mut self.stacks.frames, Frame::note(text).into()))
    }

    fn keep(&mut self, frames: Arc<[u32]>) -> StackId {
        let stacks = &mut self.stacks.stacks;
        *self.known.entry(frames).or_insert_with_key(|frames| StackId(push(stacks, frames.clone())))
    }
}

/// Appends and tells where. Bounds on stacks and on frames of a stack keep both lists far below 2^32.
fn push<T>(list: &mut Vec<T>, item: T) -> u32 {
    list.push(item);
    (list.len() - 1) as u32
}

/// A map that need not grow soon: to hash a stack again is to fetch it.
fn with_room<K, V>(stacks: usize) -> FastMap<K, V> {
    FastMap::with_capacity_and_hasher(stacks, RandomState::default())
}

/// A frame to look up. Equality is that of the frame; the hash reads its address only, where there
/// is one, since names are long and one address has few frames: those inlined there.
#[derive(PartialEq, Eq)]
struct Place<'a> {
    offset: Option<u64>,
    line: Option<u32>,
    frame: &'a Frame,
}

impl<'a> Place<'a> {
    fn of(frame: &'a Frame) -> Place<'a> {
        Place { offset: frame.offset, line: frame.line, frame }
    }
}

impl Hash for Place<'_> {
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
    use crate::model::FrameKind;

    fn native(name: &str, offset: u64) -> Frame {
        Frame { kind: FrameKind::Native, offset: Some(offset), ..Frame::note(name) }
    }

    fn symbolized(stacks: impl IntoIterator<Item = (u64, Vec<Frame>)>) -> HashMap<u64, Arc<[Arc<Frame>]>> {
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
        let (stacks, _) = interner.finish();
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
        let (stacks, _) = interner.finish();
        assert_eq!((stacks.stacks.len(), stacks.frames.len()), (2, 2));
    }

    #[test]
    fn functions_inlined_at_one_address_stay_apart() {
        let inlined = Frame { inlined: true, ..native("get", 20) };
        let symbolized = symbolized([(1, vec![inlined, native("main", 20)])]);
        let mut interner = Interner::new(&symbolized);
        let id = interner.stack(0, 1);
        let names: Vec<String> = interner.finish().0.get(id).map(Frame::name).collect();
        assert_eq!(names, ["get", "main"]);
    }
}
