//! Stacks by their kernel-side ids: of one capture, or of windows that follow each other.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::model::RawStack;

/// Stacks as they arrive, at most `limit` of them.
#[derive(Debug)]
pub(super) struct Stacks {
    known: HashMap<u64, Known>,
    limit: usize,
    /// How many did not fit.
    pub(super) over: u64,
}

#[derive(Debug)]
struct Known {
    stack: RawStack,
    /// The last window that it was used in.
    used: u64,
    /// Whether its addresses were handed out already.
    is_told: bool,
}

impl Stacks {
    pub(super) fn new(limit: usize) -> Stacks {
        Stacks { known: HashMap::new(), limit, over: 0 }
    }

    /// Keeps a stack; one that is sent again changes nothing. `window` is the number of the window.
    pub(super) fn add(&mut self, id: u64, stack: RawStack, window: u64) {
        let room = self.known.len() < self.limit;
        if let Entry::Vacant(entry) = self.known.entry(id) {
            if room {
                entry.insert(Known { stack, used: window, is_told: false });
            } else {
                self.over += 1;
            }
        }
    }

    /// All of them, when no other window follows.
    pub(super) fn into_all(self) -> HashMap<u64, RawStack> {
        self.known.into_iter().map(|(id, known)| (id, known.stack)).collect()
    }

    /// Those that a window uses, by their ids. Addresses are handed out once: later windows have a stack without any,
    /// whose names are known by then.
    pub(super) fn used(&mut self, ids: impl IntoIterator<Item = u64>, window: u64) -> HashMap<u64, RawStack> {
        let mut used = HashMap::new();
        for id in ids {
            if let Some(known) = self.known.get_mut(&id) {
                known.used = window;
                if !known.is_told {
                    known.is_told = true;
                    let emptied = RawStack { addresses: Vec::new(), ..known.stack };
                    used.insert(id, std::mem::replace(&mut known.stack, emptied));
                } else {
                    used.entry(id).or_insert_with(|| known.stack.clone());
                }
            }
        }
        used
    }

    /// Forgets user stacks that no window has used for a while, if many are kept: those unused for longest. Returns their ids.
    /// Kernel stacks stay, since nobody would send them again.
    pub(super) fn evict(&mut self, window: u64) -> Vec<u64> {
        if self.known.len() < self.limit / 2 {
            return Vec::new();
        }
        let mut idle: Vec<(u64, u64)> = self
            .known
            .iter()
            .filter(|(_, known)| !known.stack.kernel && known.used + KEPT_WINDOWS < window)
            .map(|(id, known)| (known.used, *id))
            .collect();
        idle.sort_unstable();
        idle.truncate(self.limit / 4);
        idle.iter().for_each(|(_, id)| drop(self.known.remove(id)));
        idle.into_iter().map(|(_, id)| id).collect()
    }
}

/// Windows that a stack stays known after its last use.
const KEPT_WINDOWS: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(kernel: bool) -> RawStack {
        RawStack { kernel, addresses: vec![1, 2], ..RawStack::default() }
    }

    #[test]
    fn addresses_are_handed_out_once() {
        let mut stacks = Stacks::new(10);
        stacks.add(7, stack(false), 0);
        assert_eq!(stacks.used([7, 7, 8], 0)[&7].addresses, [1, 2]);
        stacks.add(7, stack(false), 1);
        let again = stacks.used([7], 1);
        assert_eq!((again.len(), again[&7].addresses.len()), (1, 0));
    }

    #[test]
    fn those_unused_for_longest_make_room() {
        let mut stacks = Stacks::new(8);
        for id in 0..4 {
            stacks.add(id, stack(id == 0), id);
        }
        assert_eq!(stacks.evict(3 + KEPT_WINDOWS), [1, 2], "no kernel stack, and not what was used lately");
        assert_eq!(stacks.evict(100), Vec::<u64>::new(), "there is room");
        (10..20).for_each(|id| stacks.add(id, stack(false), 100));
        assert_eq!(stacks.over, 4);
    }
}
