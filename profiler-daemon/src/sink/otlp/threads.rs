use std::collections::HashMap;

use crate::model::ThreadTime;

/// The threads of a recording, with a way to find whose a sample or a wait is.
pub(super) struct Threads<'a> {
    list: &'a [ThreadTime],
    /// Last generation and index of each that bore the pid and tid.
    index: HashMap<(u32, u32), Vec<(u32, usize)>>,
}

impl<'a> Threads<'a> {
    pub(super) fn new(list: &'a [ThreadTime]) -> Threads<'a> {
        let mut index: HashMap<_, Vec<_>> = HashMap::with_capacity(list.len());
        for (at, thread) in list.iter().enumerate() {
            index.entry((thread.pid, thread.tid)).or_default().push((thread.generation, at));
        }
        Threads { list, index }
    }

    pub(super) fn list(&self) -> &'a [ThreadTime] {
        self.list
    }

    /// Index of the thread that bore these ids at this generation: the one that took the fewest execs more until it
    /// ended. Generations may wrap.
    pub(super) fn find(&self, pid: u32, tid: u32, generation: u32) -> Option<usize> {
        let bearers = self.index.get(&(pid, tid))?;
        bearers.iter().min_by_key(|(last, _)| last.wrapping_sub(generation)).map(|(_, at)| *at)
    }
}
