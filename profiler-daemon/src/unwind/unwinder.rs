//! Keeps the kernel's unwind tables in step with the processes.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, PoisonError};

use profiler_common::unwind::{MAPPINGS, ProcessMappings, Rule};

use super::builders::{Builders, Built, Packed};
use super::cache::{Cache, CacheCounts};
use super::mappings::{self, Known, Placed};
use super::memory::{Memory, Place};
use super::table::Segment;
use crate::process::{Backing, Image, Mapping, Module};

/// An evicted table that is needed again is loaded after this many turns at the earliest, so that
/// tables that do not fit together do not chase each other.
const EVICTED_TURNS: u64 = 50;
/// Stamps begin above everything else that the word before a place may hold.
const FIRST_STAMP: u32 = 1 << 31;
/// How often a table is tried that finds no room, a turn apart: freed room comes back some turns later.
const PLACE_TRIES: u32 = 4;
/// Every so many turns it is looked which tables were used, if the budget may run out.
const LOOK_TURNS: u64 = 10;
/// How long a file is kept that no process has mapped, a minute: programs that run again and again need no building.
const UNMAPPED_TURNS: u64 = 600;

/// Where tables are written to: the maps of the kernel programs.
pub trait KernelTables {
    /// Writes words into a slab, which is made if it is not there.
    fn write(&mut self, slab: u32, word: u32, words: &[u32]) -> io::Result<()>;
    /// Reads a word and sets it to 0.
    fn take(&mut self, slab: u32, word: u32) -> u32;
    /// Writes the rules from number `first` on.
    fn rules(&mut self, first: usize, rules: &[Rule]) -> io::Result<()>;
    /// Says where a process' mappings lie, or that they are no longer known.
    fn process(&mut self, pid: u32, mappings: Option<ProcessMappings>) -> io::Result<()>;
}

/// What the tables take, and what could not be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Files whose tables are in kernel memory.
    pub files: u64,
    /// Bytes of kernel memory for tables and mappings, in whole slabs.
    pub bytes: u64,
    /// Tables that made room for others. They are loaded again when they are needed.
    pub evicted: u64,
    /// Tables that found no place even so.
    pub over_budget: u64,
    /// Files that could not be read.
    pub unreadable: u64,
    /// Mappings left out, of processes that have more than are kept.
    pub mappings_left_out: u64,
    /// Kernel maps that could not be written.
    pub not_written: u64,
    /// Rows whose rule has no number, since there are too many rules.
    pub rules_refused: u64,
    /// What the cache on disk did.
    pub cache: CacheCounts,
}

impl Usage {
    /// What could not be had, by cause; a cause that did not happen is there with 0.
    pub fn losses(&self) -> [(&'static str, u64); 8] {
        [
            ("unwind_tables_evicted", self.evicted),
            ("unwind_tables_over_budget", self.over_budget),
            ("unwind_file_unreadable", self.unreadable),
            ("unwind_mappings_left_out", self.mappings_left_out),
            ("unwind_maps_not_written", self.not_written),
            ("unwind_rules_refused", self.rules_refused),
            ("unwind_cache_damaged", self.cache.rejected),
            ("unwind_cache_not_written", self.cache.not_stored),
        ]
    }
}

/// The tables of all files that accounted processes run code from, and the mappings of those processes.
#[derive(Debug)]
pub struct Unwinder {
    builders: Builders,
    memory: Memory,
    rules_written: usize,
    /// By address of the module, which the file keeps alive.
    files: HashMap<usize, File>,
    /// By their version number, which processes share after a fork.
    lists: HashMap<u64, List>,
    /// Generation and version of each process' list.
    processes: HashMap<u32, (u32, u64)>,
    /// Versions to be written anew.
    stale: BTreeSet<u64>,
    /// Those that found no room: tried again at the next turn.
    delayed: BTreeSet<u64>,
    /// Tables that wait for freed room, and how often they were tried.
    unplaced: Vec<(Built, u32)>,
    building: usize,
    stamp: u32,
    turn: u64,
    counts: Usage,
}

#[derive(Debug)]
struct File {
    /// Keeps the address that is its key.
    _module: Arc<Module>,
    state: State,
    /// Versions of the lists that it is in.
    lists: BTreeSet<u64>,
    /// When a walk was last known to use it.
    used_turn: u64,
}

#[derive(Debug)]
enum State {
    Building,
    Ready { parts: Vec<Placed>, segments: Vec<Segment> },
    Nothing,
    Evicted { turn: u64 },
}

#[derive(Debug, Default)]
struct List {
    mappings: Vec<Mapping>,
    processes: BTreeSet<u32>,
    /// Where it was written, and how many entries.
    written: Option<(Place, u32)>,
    stamp: u32,
    epoch: u32,
}

impl Unwinder {
    /// Nothing yet. Tables take at most `budget_bytes` of kernel memory. They come from `cache` where it has
    /// them.
    pub fn start(budget_bytes: u64, cache: Option<Cache>) -> Unwinder {
        Unwinder {
            builders: Builders::start(cache),
            memory: Memory::new(budget_bytes),
            rules_written: 0,
            files: HashMap::new(),
            lists: HashMap::new(),
            processes: HashMap::new(),
            stale: BTreeSet::new(),
            delayed: BTreeSet::new(),
            unplaced: Vec::new(),
            building: 0,
            stamp: FIRST_STAMP,
            turn: 0,
            counts: Usage::default(),
        }
    }

    /// Tables that are being made.
    pub fn building(&self) -> usize {
        self.building
    }

    /// What there is now, and what went wrong so far.
    pub fn usage(&self) -> Usage {
        let ready = self.files.values().filter(|file| matches!(file.state, State::Ready { .. }));
        let refused = self.builders.dictionary.lock().unwrap_or_else(PoisonError::into_inner).refused();
        Usage {
            files: ready.count() as u64,
            bytes: self.memory.bytes(),
            rules_refused: refused,
            cache: self.builders.cache_counts(),
            ..self.counts
        }
    }

    /// Has the table of a file made before a process that maps it is followed.
    pub fn prepare(&mut self, module: &Arc<Module>) {
        let key = key(module);
        if self.files.contains_key(&key) {
            return;
        }
        let state = if matches!(module.image, Image::Elf { .. }) && self.builders.submit(module.clone()) {
            self.building += 1;
            State::Building
        } else {
            State::Nothing
        };
        let file = File { _module: module.clone(), state, lists: BTreeSet::new(), used_turn: self.turn };
        self.files.insert(key, file);
    }

    /// A process has these mappings now. `version` is equal for equal lists, and with it their `epoch`.
    pub fn follow(
        &mut self,
        kernel: &mut impl KernelTables,
        pid: u32,
        generation: u32,
        version: u64,
        epoch: u32,
        mappings: &[Mapping],
    ) {
        let before = self.processes.insert(pid, (generation, version));
        if before == Some((generation, version)) {
            return;
        }
        if let Entry::Vacant(list) = self.lists.entry(version) {
            list.insert(List { mappings: mappings.to_vec(), epoch, ..List::default() });
            for module in mappings.iter().filter_map(module) {
                self.prepare(module);
                if let Some(file) = self.files.get_mut(&key(module)) {
                    file.lists.insert(version);
                }
            }
            self.write(kernel, version);
        }
        if let Some(list) = self.lists.get_mut(&version) {
            list.processes.insert(pid);
        }
        self.tell(kernel, pid);
        if let Some((_, old)) = before.filter(|(_, old)| *old != version) {
            self.leave(pid, old);
        }
    }

    /// A process has ended.
    pub fn forget(&mut self, kernel: &mut impl KernelTables, pid: u32) {
        if let Some((_, version)) = self.processes.remove(&pid) {
            self.counts.not_written += u64::from(kernel.process(pid, None).is_err());
            self.leave(pid, version);
        }
    }

    /// A walk in this process met code without a table: what was evicted is needed again.
    pub fn miss(&mut self, pid: u32) {
        let Some(list) = self.processes.get(&pid).and_then(|(_, version)| self.lists.get(version)) else { return };
        for module in list.mappings.iter().filter_map(module) {
            if let Some(file) = self.files.get_mut(&key(module))
                && let State::Evicted { turn } = file.state
                && turn + EVICTED_TURNS <= self.turn
                && self.builders.submit(module.clone())
            {
                file.state = State::Building;
                file.used_turn = self.turn;
                self.building += 1;
            }
        }
    }

    /// Writes the tables that are finished. To be called ten times a second.
    pub fn turn(&mut self, kernel: &mut impl KernelTables) {
        self.turn += 1;
        self.memory.turn();
        self.stale.append(&mut self.delayed);
        for (built, tries) in std::mem::take(&mut self.unplaced) {
            self.place(kernel, built, tries);
        }
        self.load(kernel);
        if self.turn.is_multiple_of(LOOK_TURNS) {
            if self.memory.may_run_out() {
                self.look(kernel);
            }
            self.let_go();
        }
    }

    /// The same without the passing of time: at the start, to have all that there is.
    pub fn load(&mut self, kernel: &mut impl KernelTables) {
        while let Some(built) = self.builders.take() {
            self.building -= 1;
            self.place(kernel, built, 0);
        }
        while let Some(version) = self.stale.pop_first() {
            self.write(kernel, version);
            let processes = self.lists.get(&version).map(|list| list.processes.clone()).unwrap_or_default();
            for pid in processes {
                self.tell(kernel, pid);
            }
        }
    }

    /// Puts a table into kernel memory.
    fn place(&mut self, kernel: &mut impl KernelTables, built: Built, tries: u32) {
        let file = key(&built.module);
        self.counts.unreadable += u64::from(built.failed);
        let state = match &built.packed {
            None => State::Nothing,
            Some(packed) => {
                self.write_rules(kernel);
                match self.place_parts(kernel, packed, file) {
                    Some(parts) => State::Ready { parts, segments: packed.segments.clone() },
                    None if tries < PLACE_TRIES && self.memory.waiting_words() > 0 => {
                        self.unplaced.push((built, tries + 1));
                        return;
                    }
                    // It is tried again when a walk misses it.
                    None => {
                        self.counts.over_budget += 1;
                        State::Evicted { turn: self.turn }
                    }
                }
            }
        };
        if let Some(file) = self.files.get_mut(&file) {
            file.state = state;
            self.stale.extend(&file.lists);
        }
    }

    fn place_parts(&mut self, kernel: &mut impl KernelTables, packed: &Packed, file: usize) -> Option<Vec<Placed>> {
        let mut parts: Vec<Placed> = Vec::with_capacity(packed.parts.len());
        for part in &packed.parts {
            let Some(place) = self.allocate(part.words.len(), file) else {
                parts.iter().for_each(|part| self.memory.free(part.place));
                return None;
            };
            let unused = kernel.write(place.slab, place.word - 1, &[0]);
            let written = unused.and_then(|()| kernel.write(place.slab, place.word, &part.words));
            parts.push(Placed { start: part.start, end: part.end, shift: part.shift, place });
            if written.is_err() {
                self.counts.not_written += 1;
                parts.iter().for_each(|part| self.memory.free(part.place));
                return None;
            }
        }
        Some(parts)
    }

    fn write_rules(&mut self, kernel: &mut impl KernelTables) {
        let dictionary = self.builders.dictionary.lock().unwrap_or_else(PoisonError::into_inner);
        let new = dictionary.rules().get(self.rules_written..).unwrap_or_default();
        if kernel.rules(self.rules_written, new).is_ok() {
            self.rules_written += new.len();
        } else {
            self.counts.not_written += 1;
        }
    }

    /// Room for some words. If there is none, the tables that were not used for longest, but not `keep`'s, make
    /// room for later: freed words come back some turns from now, when a walk can no longer be reading them.
    fn allocate(&mut self, words: usize, keep: usize) -> Option<Place> {
        let place = self.memory.allocate(words);
        if place.is_none() {
            while self.memory.waiting_words() < words && self.evict(keep) {}
        }
        place
    }

    /// Evicts one table that no walk used for a while.
    fn evict(&mut self, keep: usize) -> bool {
        let candidates = self.files.iter_mut().filter(|(key, file)| {
            let is_idle = file.used_turn + LOOK_TURNS <= self.turn;
            **key != keep && is_idle && matches!(file.state, State::Ready { .. })
        });
        let Some((_, file)) = candidates.min_by_key(|(_, file)| (!file.lists.is_empty(), file.used_turn)) else {
            return false;
        };
        let state = std::mem::replace(&mut file.state, State::Evicted { turn: self.turn });
        if let State::Ready { parts, .. } = state {
            parts.iter().for_each(|part| self.memory.free(part.place));
        }
        self.stale.extend(&file.lists);
        self.counts.evicted += 1;
        true
    }

    /// Closes files that no process has mapped for a while, and frees their tables.
    fn let_go(&mut self) {
        let (turn, memory) = (self.turn, &mut self.memory);
        self.files.retain(|_, file| {
            let may_come_back = file.used_turn + UNMAPPED_TURNS > turn;
            if may_come_back || !file.lists.is_empty() || matches!(file.state, State::Building) {
                return true;
            }
            if let State::Ready { parts, .. } = &file.state {
                parts.iter().for_each(|part| memory.free(part.place));
            }
            false
        });
    }

    /// Notes which tables were used since the last look.
    fn look(&mut self, kernel: &mut impl KernelTables) {
        let mut places = Vec::new();
        for (key, file) in &self.files {
            let State::Ready { parts, .. } = &file.state else { continue };
            places.extend(parts.iter().map(|part| (part.place.slab, part.place.word - 1, *key)));
        }
        // Slab by slab: going to another one may cost mapping it.
        places.sort_unstable_by_key(|(slab, word, _)| (*slab, *word));
        for (slab, word, key) in places {
            if kernel.take(slab, word) != 0
                && let Some(file) = self.files.get_mut(&key)
            {
                file.used_turn = self.turn;
            }
        }
    }

    /// Writes a list to a new place and gives up the old one.
    fn write(&mut self, kernel: &mut impl KernelTables, version: u64) {
        let Some(list) = self.lists.get(&version) else { return };
        let mut entries = Vec::with_capacity(list.mappings.len());
        for mapping in &list.mappings {
            let known = module(mapping).and_then(|module| self.files.get(&key(module)));
            let known = known.map_or(Known::Nothing, |file| file.known(mapping));
            mappings::append(&mut entries, mapping.start, mapping.end, mapping.file_offset, known);
        }
        self.counts.mappings_left_out += entries.len().saturating_sub(MAPPINGS as usize) as u64;
        entries.truncate(MAPPINGS as usize);
        let words = mappings::words(&entries);
        let place = self.allocate(words.len(), 0);
        if place.is_none() {
            // Until then the process' stacks say that nothing is known: the old list may name places given up.
            self.delayed.insert(version);
        }
        self.stamp = self.stamp.wrapping_add(1).max(FIRST_STAMP);
        let stamp = self.stamp;
        let written = place.is_some_and(|place| {
            let head = kernel.write(place.slab, place.word - 1, &[stamp]);
            head.and_then(|()| kernel.write(place.slab, place.word, &words)).is_ok()
        });
        self.counts.not_written += u64::from(place.is_some() && !written);
        let Some(list) = self.lists.get_mut(&version) else { return };
        let old = list.written.take();
        list.stamp = stamp;
        if written {
            list.written = place.map(|place| (place, entries.len() as u32));
        } else if let Some(place) = place {
            self.memory.free(place);
        }
        if let Some((place, _)) = old {
            self.memory.free(place);
        }
    }

    /// Tells the kernel where a process' list lies.
    fn tell(&mut self, kernel: &mut impl KernelTables, pid: u32) {
        let Some((generation, version)) = self.processes.get(&pid) else { return };
        let Some(list) = self.lists.get(version) else { return };
        let mappings = list.written.map(|(place, count)| ProcessMappings {
            generation: *generation,
            count,
            word: place.word,
            slab: place.slab,
            stamp: list.stamp,
            epoch: list.epoch,
        });
        self.counts.not_written += u64::from(kernel.process(pid, mappings).is_err());
    }

    /// A process has another list now, or none.
    fn leave(&mut self, pid: u32, version: u64) {
        let Some(list) = self.lists.get_mut(&version) else { return };
        list.processes.remove(&pid);
        if !list.processes.is_empty() {
            return;
        }
        let Some(list) = self.lists.remove(&version) else { return };
        if let Some((place, _)) = list.written {
            self.memory.free(place);
        }
        for module in list.mappings.iter().filter_map(module) {
            if let Some(file) = self.files.get_mut(&key(module)) {
                file.lists.remove(&version);
                file.used_turn = self.turn;
            }
        }
    }
}

impl File {
    fn known(&self, mapping: &Mapping) -> Known<'_> {
        match &self.state {
            State::Building | State::Evicted { .. } => Known::Pending,
            State::Nothing => Known::Nothing,
            State::Ready { parts, segments } => {
                let bytes = mapping.end.saturating_sub(mapping.start);
                super::table::segment_of(segments, mapping.file_offset, bytes)
                    .map_or(Known::Nothing, |segment| Known::Parts(parts, segment))
            }
        }
    }
}

fn module(mapping: &Mapping) -> Option<&Arc<Module>> {
    match &mapping.backing {
        Backing::File(module) => Some(module),
        Backing::Anonymous(_) => None,
    }
}

fn key(module: &Arc<Module>) -> usize {
    Arc::as_ptr(module) as usize
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::process::Processes;
    use crate::unwind::build;
    use profiler_common::unwind::{MAPPING_WORDS, PART_WORDS, SLAB_WORDS, rule_at, table};
    use std::time::Duration;

    /// What the kernel programs would see.
    #[derive(Default)]
    struct Written {
        slabs: Vec<Vec<u32>>,
        rules: Vec<Rule>,
        processes: HashMap<u32, ProcessMappings>,
    }

    impl KernelTables for Written {
        fn write(&mut self, slab: u32, word: u32, words: &[u32]) -> io::Result<()> {
            if slab as usize == self.slabs.len() {
                self.slabs.push(vec![0; SLAB_WORDS]);
            }
            self.slabs[slab as usize][word as usize..][..words.len()].copy_from_slice(words);
            Ok(())
        }

        fn take(&mut self, slab: u32, word: u32) -> u32 {
            std::mem::take(&mut self.slabs[slab as usize][word as usize])
        }

        fn rules(&mut self, first: usize, rules: &[Rule]) -> io::Result<()> {
            assert_eq!(first, self.rules.len());
            self.rules.extend(rules);
            Ok(())
        }

        fn process(&mut self, pid: u32, mappings: Option<ProcessMappings>) -> io::Result<()> {
            match mappings {
                Some(mappings) => self.processes.insert(pid, mappings),
                None => self.processes.remove(&pid),
            };
            Ok(())
        }
    }

    impl Written {
        /// The word pairs of a process' mappings: start, end, origin, place.
        fn list(&self, pid: u32) -> Vec<[u64; 4]> {
            let of = self.processes[&pid];
            let slab = &self.slabs[of.slab as usize];
            assert_eq!(slab[of.word as usize - 1], of.stamp, "the place is still its own");
            let words = &slab[of.word as usize..][..(of.count * MAPPING_WORDS) as usize];
            let pair = |words: &[u32]| u64::from(words[0]) | u64::from(words[1]) << 32;
            words.chunks(8).map(|entry| std::array::from_fn(|member| pair(&entry[member * 2..]))).collect()
        }

        /// The rule that a walk would find; none in code without a table.
        fn rule(&self, pid: u32, pc: u64) -> Option<Rule> {
            let [_, _, origin, place] =
                self.list(pid).into_iter().find(|[start, end, ..]| (*start..*end).contains(&pc))?;
            let (word, slab, shift) = (place as u32, (place >> 32) as u16, (place >> 48) as u8);
            if (place >> 56) as u8 != table::READY {
                return None;
            }
            let words = &self.slabs[usize::from(slab)];
            let number = rule_at(|at| words.get((word + at) as usize).copied(), shift.into(), pc - origin)?;
            self.rules.get(usize::from(number)).copied()
        }

        fn states(&self, pid: u32) -> BTreeSet<u8> {
            self.list(pid).iter().map(|[.., place]| (place >> 56) as u8).collect()
        }
    }

    /// Our own process, followed as `pids` with all tables that fit.
    fn followed(unwinder: &mut Unwinder, kernel: &mut Written, pids: &[u32]) -> Vec<Mapping> {
        let mut processes = Processes::new();
        let own = std::process::id();
        assert!(processes.observe(own, 0));
        let (version, mappings) = (processes.version(own, 0).unwrap(), processes.mappings(own, 0));
        for pid in pids {
            unwinder.follow(kernel, *pid, 3, version, 0, mappings);
        }
        for _ in 0..30_000 {
            if unwinder.building() == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            unwinder.load(kernel);
        }
        assert_eq!(unwinder.building(), 0);
        unwinder.turn(kernel);
        mappings.to_vec()
    }

    #[test]
    fn a_walk_finds_the_rules_of_the_files() {
        let (mut unwinder, mut kernel) = (Unwinder::start(256 << 20, None), Written::default());
        let mappings = followed(&mut unwinder, &mut kernel, &[7]);
        let mut checked = 0;
        for mapping in &mappings {
            let Some(Image::Elf { file, .. }) = module(mapping).map(|module| &module.image) else { continue };
            let Ok(table) = build(file) else { continue };
            let Some(segment) = table.segment_of(mapping.file_offset, mapping.end - mapping.start) else { continue };
            let bias = segment.bias(mapping.start, mapping.file_offset);
            for pc in (mapping.start..mapping.end).step_by(4_099) {
                let expected = table.rule_at(pc.wrapping_sub(bias));
                assert_eq!(kernel.rule(7, pc).unwrap_or_default(), expected, "{pc:#x}");
                checked += usize::from(expected != Rule::default());
            }
        }
        assert!(checked > 300, "{checked}");
        assert_eq!(kernel.processes[&7].generation, 3);
        assert!(!kernel.states(7).contains(&table::PENDING));
    }

    #[test]
    fn equal_lists_are_shared_and_go_with_their_last_process() {
        let (mut unwinder, mut kernel) = (Unwinder::start(256 << 20, None), Written::default());
        followed(&mut unwinder, &mut kernel, &[7, 8]);
        assert_eq!(kernel.processes[&7], kernel.processes[&8]);
        unwinder.forget(&mut kernel, 7);
        assert!(!kernel.processes.contains_key(&7) && !kernel.list(8).is_empty());
        unwinder.forget(&mut kernel, 8);
        assert!(unwinder.lists.is_empty() && kernel.processes.is_empty());
    }

    #[test]
    fn files_that_nobody_maps_are_closed_after_a_while() {
        let (mut unwinder, mut kernel) = (Unwinder::start(256 << 20, None), Written::default());
        let mappings = followed(&mut unwinder, &mut kernel, &[7]);
        let of_unwinder =
            |mappings: &[Mapping]| mappings.iter().filter_map(module).map(Arc::strong_count).sum::<usize>();
        let (files, held) = (unwinder.files.len(), of_unwinder(&mappings));
        for _ in 0..2 * UNMAPPED_TURNS {
            unwinder.turn(&mut kernel);
        }
        assert_eq!(unwinder.files.len(), files, "a process has them");
        unwinder.forget(&mut kernel, 7);
        for _ in 0..UNMAPPED_TURNS + 2 * LOOK_TURNS {
            unwinder.turn(&mut kernel);
        }
        assert!(files > 0 && unwinder.files.is_empty() && of_unwinder(&mappings) < held);
        let all: u32 = unwinder.memory.free_words();
        assert_eq!(u64::from(all) * 4, unwinder.memory.bytes());
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let (mut unwinder, mut kernel) = (Unwinder::start(1 << 20, None), Written::default());
        followed(&mut unwinder, &mut kernel, &[7]);
        for _ in 0..=PLACE_TRIES {
            unwinder.turn(&mut kernel);
        }
        let first = unwinder.usage();
        // Our own table and those of our libraries are more than one slab holds.
        assert!(first.over_budget > 0, "{first:?}");
        assert_eq!(first.bytes, 1 << 20);
        let [first_ready, ..] = kernel.list(7).into_iter().filter(|entry| entry[3] >> 56 == 0).collect::<Vec<_>>()[..]
        else {
            panic!("something fits")
        };
        // Used, so it stays; the others go when there is need.
        let used = (first_ready[3] >> 32) as u16;
        kernel.slabs[usize::from(used)][first_ready[3] as u32 as usize - 1] = 1;
        for _ in 0..LOOK_TURNS {
            unwinder.turn(&mut kernel);
        }
        assert!(unwinder.allocate(PART_WORDS, 0).is_none(), "not at once");
        let evicted = unwinder.usage().evicted;
        assert!(evicted > 0);
        unwinder.load(&mut kernel);
        assert!(kernel.states(7).contains(&table::PENDING), "what was evicted says so");
        assert!(kernel.rule(7, first_ready[0]).is_some(), "what was used just now stays");
        // Needed again: not at once, but in time.
        unwinder.miss(7);
        assert_eq!(unwinder.building(), 0);
        for _ in 0..EVICTED_TURNS {
            unwinder.turn(&mut kernel);
        }
        unwinder.miss(7);
        assert_eq!(unwinder.building() as u64, evicted + first.over_budget);
    }
}
