use std::collections::VecDeque;

use super::{Reader, StoreError, StoredWindow};
use crate::model::Recording;

/// Reads the windows of a store one after the other. It reads some of a segment at once and keeps them, since the stacks of
/// an hour are read as a whole.
#[derive(Debug)]
pub struct Follower {
    reader: Reader,
    ahead: VecDeque<(StoredWindow, Recording)>,
    /// Number of the window that was given last: whoever goes on elsewhere has it read anew.
    given: u64,
}

impl Follower {
    /// One that has read nothing yet.
    pub fn new(reader: Reader) -> Follower {
        Follower { reader, ahead: VecDeque::new(), given: 0 }
    }

    /// The first window with a higher number than `sequence`, as it was stored: 0 begins with the first one that is there.
    /// `None` if there is none yet. Numbers may be missing: windows that could not be stored, were removed for their age or
    /// the store's size, or are damaged. What was read ahead is given even if it was removed meanwhile.
    ///
    /// # Errors
    /// The store could not be read.
    pub fn after(&mut self, sequence: u64) -> Result<Option<(StoredWindow, Recording)>, StoreError> {
        if sequence != self.given || self.ahead.is_empty() {
            self.ahead = self.reader.after(sequence)?.into();
        }
        let next = self.ahead.pop_front();
        self.given = next.as_ref().map_or(sequence, |(window, _)| window.sequence);
        Ok(next)
    }
}
