//! What /proc says: mappings, names, cgroups.

mod address;
mod cgroup;
mod elf;
mod labels;
mod maps;
mod module;
mod proc;
mod space;
mod vdso;

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

pub use address::{FileOffset, ProcessAddress};
pub use cgroup::{CgroupError, cgroup_ids};
pub use elf::Layout;
pub use labels::Labels;
pub use module::{Identity, Image, Module};
pub use proc::{all, children, comm, exists, has_ended, is_kernel_thread, thread_comm, threads};
pub use space::{Backing, Mapping};

use crate::model::{Mapped, text};
use module::Modules;
use space::Space;

/// Most bytes read of one maps file.
const MOST_MAPS_BYTES: u64 = 64 << 20;
/// Bytes of most maps files.
const MAPS_BYTES: usize = 32 << 10;
/// Most programs (processes, counted again at each exec) whose mappings are kept.
const MOST_SPACES: usize = 32_768;

/// The mappings of every process that was seen, by process and number of execs. They stay known
/// after the process has ended.
#[derive(Debug)]
pub struct Processes {
    modules: Modules,
    histories: HashMap<u32, History>,
    spaces: usize,
    /// Lists so far, read or told: each has a version of its own.
    readings: u64,
    epochs: u32,
    /// Holds a maps file while it is read.
    buffer: Vec<u8>,
    maps_unreadable: u64,
    maps_read_late: u64,
    over_limit: u64,
}

/// All programs that one process ran while it was watched.
#[derive(Debug, Default)]
struct History {
    /// The newest generation that was asked for: the only one that /proc can still tell about.
    newest: u32,
    /// Whether that one has ended.
    has_ended: bool,
    /// Whether it had ended at the last turn.
    is_old: bool,
    /// The newest generation at the last turn.
    told: u32,
    spaces: HashMap<u32, Arc<Space>>,
    /// What it had of its parent, until its first exec of its own.
    at_birth: Option<(u32, Arc<Space>)>,
}

/// Where an address of a process leads.
#[derive(Clone, Debug)]
pub enum Location {
    /// Into a file, or the vDSO.
    Module {
        /// The file.
        module: Arc<Module>,
        /// Position in it.
        file_offset: FileOffset,
    },
    /// Into executable memory without a file.
    Anonymous {
        /// Its name, such as `[heap]`, if the kernel gives it one.
        name: Option<Arc<str>>,
    },
    /// Nothing executable was ever seen there.
    Unmapped,
    /// The process ended, or called exec again, before its mappings could be read.
    ProcessGone,
}

impl Processes {
    /// Knows nothing yet. Raises this process' soft limit of open files: one descriptor is kept
    /// for each distinct executable and library seen, up to 4,096.
    pub fn new() -> Processes {
        Processes {
            modules: Modules::new(),
            histories: HashMap::new(),
            spaces: 0,
            readings: 0,
            epochs: 0,
            buffer: Vec::with_capacity(MAPS_BYTES),
            maps_unreadable: 0,
            maps_read_late: 0,
            over_limit: 0,
        }
    }

    /// Reads a process' mappings if they are not known for this generation: to be called as soon as
    /// a process is seen and after each exec. Returns whether they are known now.
    pub fn observe(&mut self, pid: u32, generation: u32) -> bool {
        self.space(pid, generation).is_some() || self.refresh(pid, generation)
    }

    /// Reads a process' mappings again, for what was loaded since. Mappings that are gone stay
    /// known; where old and new overlap, the new ones count. Returns whether that worked: it does
    /// not for a process that ended or for a generation that is no longer the newest, be it that the
    /// record of its exec is still to come.
    pub fn refresh(&mut self, pid: u32, generation: u32) -> bool {
        if !self.may_be(pid, generation) {
            return false;
        }
        let Some(space) = self.read(pid) else {
            // One that ended after it was read cost nothing.
            self.maps_unreadable += u64::from(self.space(pid, generation).is_none());
            return false;
        };
        self.settle(pid, generation, space)
    }

    /// Takes the kernel's word for what a process has mapped, instead of reading it, which costs far more and cannot be done
    /// once the process is gone. `mapped` is all that its program mapped since its exec, or, if `is_more`, what it
    /// mapped since its mappings were last known; both in the order of time.
    /// Returns whether they are known now. They are not if a reading says more, as of a file that no process had mapped before,
    /// and of memory without a file.
    pub fn told(&mut self, pid: u32, generation: u32, mapped: &[Mapped], is_more: bool) -> bool {
        if mapped.is_empty() || !self.may_be(pid, generation) {
            return false;
        }
        let (mut new, mut vdso) = (Vec::with_capacity(mapped.len()), None);
        for mapped in mapped {
            // As in a reading: below 4 GiB it is another vDSO than ours.
            let module = if mapped.is_vdso && mapped.start >> 32 != 0 {
                vdso = Some(mapped.start);
                self.modules.vdso()
            } else {
                self.modules.opened(mapped.device, mapped.inode)
            };
            let Some(module) = module else { return false };
            let (start, end, file_offset) = (mapped.start, mapped.end, mapped.file_offset);
            new.push(Mapping { start, end, file_offset, backing: Backing::File(module) });
        }
        self.readings += 1;
        let version = self.readings;
        let nothing = Space::default();
        let before = if is_more { self.current(pid, generation) } else { Some(&nothing) };
        let Some(space) = before.map(|before| before.with(new, vdso, version)) else { return false };
        self.settle(pid, generation, space)
    }

    /// Whether a process can still be that of a generation, which is noted.
    fn may_be(&mut self, pid: u32, generation: u32) -> bool {
        let history = self.histories.entry(pid).or_default();
        if generation < history.newest || (generation == history.newest && history.has_ended) {
            return false;
        }
        history.reach(generation);
        true
    }

    /// Takes what a process has mapped now.
    fn settle(&mut self, pid: u32, generation: u32, space: Space) -> bool {
        let history = self.histories.entry(pid).or_default();
        if history.space(generation).is_some_and(|known| known.is_other_program(&space)) {
            return false;
        }
        // An older generation with the very same mappings was read after this exec already.
        let before = history.spaces.len();
        history.spaces.retain(|older, known| *older >= generation || !known.is_same_program(&space));
        let late = before - history.spaces.len();
        self.maps_read_late += late as u64;
        self.spaces -= late;
        match history.spaces.get_mut(&generation) {
            // Nothing new: what a fork shares is not copied for it.
            Some(known) if known.is_current(&space) && space.perf_map.is_none() => {}
            Some(known) => {
                let known = Arc::make_mut(known);
                known.update(space, self.epochs + 1);
                self.epochs = self.epochs.max(known.epoch());
            }
            None if self.spaces >= MOST_SPACES => {
                self.over_limit += 1;
                return false;
            }
            None => {
                self.spaces += 1;
                // What it had of its parent goes on to count where nothing else is.
                let at_birth = history.space(generation);
                let mut known = at_birth.map_or_else(Space::default, |space| (**space).clone());
                known.update(space, self.epochs + 1);
                self.epochs = self.epochs.max(known.epoch());
                history.spaces.insert(generation, Arc::new(known));
            }
        }
        true
    }

    /// A process was born: the mappings that its parent has now count for it, under `generation`, its
    /// number of execs at birth. Its own are read only if its parent is not known: most newborns
    /// end soon or call exec. Returns whether any are known.
    pub fn forked(&mut self, parent: u32, child: u32, generation: u32) -> bool {
        if let Some(history) = self.histories.get(&parent)
            && let Some(space) = history.space(history.newest).cloned()
        {
            let history = self.histories.entry(child).or_default();
            history.reach(generation);
            history.at_birth = Some((generation, space));
            return true;
        }
        self.refresh(child, generation)
    }

    /// The executable mappings that a process has now, in ascending order and without overlaps: those of
    /// the last reading. Empty if none were read, if the process has ended, or if `generation` is not
    /// its newest.
    pub fn mappings(&self, pid: u32, generation: u32) -> &[Mapping] {
        self.current(pid, generation).map_or(&[], |space| space.current())
    }

    /// Which list [`Processes::mappings`] is: another number for each other list, of whatever process.
    /// A fork's list is its parent's, so both have one number. `None` where nothing is known now.
    pub fn version(&self, pid: u32, generation: u32) -> Option<u64> {
        Some(self.current(pid, generation)?.version())
    }

    /// The files that a process runs code from now, without taking note of it.
    pub fn modules(&mut self, pid: u32) -> Vec<Arc<Module>> {
        let space = self.read(pid);
        let mappings = space.as_ref().map_or(&[][..], |space| space.current());
        let module = |mapping: &Mapping| match &mapping.backing {
            Backing::File(module) => Some(module.clone()),
            Backing::Anonymous(_) => None,
        };
        mappings.iter().filter_map(module).collect()
    }

    /// A process has ended: it has no mappings any more, but addresses of it keep their meaning.
    pub fn ended(&mut self, pid: u32) {
        if let Some(history) = self.histories.get_mut(&pid) {
            history.has_ended = true;
        }
    }

    /// One window follows another: forgets what had ended before the window that ends now, and programs that gave way to
    /// another one then. Returns the processes that are gone.
    pub fn turn(&mut self) -> Vec<u32> {
        let mut gone = Vec::new();
        self.histories.retain(|pid, history| {
            if history.is_old && history.has_ended {
                gone.push(*pid);
                return false;
            }
            history.is_old = history.has_ended;
            let (newest, told) = (history.newest, history.told);
            history.spaces.retain(|generation, _| *generation >= told);
            history.told = newest;
            true
        });
        self.spaces = self.histories.values().map(|history| history.spaces.len()).sum();
        self.modules.release();
        gone
    }

    /// The epoch of that list: it rises when code is mapped where other code was. 0 if nothing is known.
    pub fn epoch(&self, pid: u32, generation: u32) -> u32 {
        self.current(pid, generation).map_or(0, |space| space.epoch())
    }

    /// The newest epoch of all processes.
    pub fn newest_epoch(&self) -> u32 {
        self.epochs
    }

    /// What lies at an address of a process that had called exec `generation` times.
    pub fn locate(&self, pid: u32, generation: u32, address: ProcessAddress) -> Location {
        let Some(space) = self.space(pid, generation) else { return Location::ProcessGone };
        location(space.at(address), address)
    }

    /// What lay there in an epoch of its mappings.
    pub fn locate_at(&self, pid: u32, generation: u32, epoch: u32, address: ProcessAddress) -> Location {
        let Some(space) = self.space(pid, generation) else { return Location::ProcessGone };
        location(space.at_epoch(epoch, address), address)
    }

    /// The file in which the process' JIT compiler names its code, `/tmp/perf-PID.map`, if it runs
    /// code from anonymous memory and had such a file when its mappings were read.
    pub fn perf_map(&self, pid: u32, generation: u32) -> Option<&Arc<File>> {
        self.space(pid, generation)?.perf_map.as_ref()
    }

    /// What could not be had, by cause; a cause that did not happen is there with 0.
    pub fn failures(&self) -> [(&'static str, u64); 5] {
        [
            ("process_maps_unreadable", self.maps_unreadable),
            ("process_maps_read_after_exec", self.maps_read_late),
            ("process_limit_reached", self.over_limit),
            ("module_not_opened", self.modules.not_opened),
            ("module_limit_reached", self.modules.over_limit),
        ]
    }

    fn space(&self, pid: u32, generation: u32) -> Option<&Arc<Space>> {
        self.histories.get(&pid)?.space(generation)
    }

    fn current(&self, pid: u32, generation: u32) -> Option<&Space> {
        let history = self.histories.get(&pid)?;
        let is_current = history.newest == generation && !history.has_ended;
        if is_current { history.space(generation).map(|space| &**space) } else { None }
    }

    /// What /proc says now; `None` if the process is gone or has no memory of its own.
    fn read(&mut self, pid: u32) -> Option<Space> {
        // Each reading of a piece costs a lock of the process: few large ones.
        let mut maps = std::mem::take(&mut self.buffer);
        maps.clear();
        let space = self.read_into(pid, &mut maps);
        maps.shrink_to(MAPS_BYTES);
        self.buffer = maps;
        space
    }

    fn read_into(&mut self, pid: u32, maps: &mut Vec<u8>) -> Option<Space> {
        File::open(format!("/proc/{pid}/maps")).ok()?.take(MOST_MAPS_BYTES).read_to_end(maps).ok()?;
        let mut vdso = None;
        let mut mappings = Vec::new();
        for entry in maps::executable(maps) {
            let backing = if entry.has_file() {
                Backing::File(self.modules.of_mapping(pid, &entry))
            } else {
                // Below 4 GiB it is a 32-bit process' vDSO, which is another one than ours.
                let own = if entry.is_vdso() && entry.start >> 32 != 0 { self.modules.vdso() } else { None };
                if entry.is_vdso() {
                    vdso = Some(entry.start);
                }
                let name = Some(&entry.path).filter(|path| !path.is_empty());
                own.map_or_else(|| Backing::Anonymous(name.map(|name| text::from_bytes(name).into())), Backing::File)
            };
            mappings.push(Mapping { start: entry.start, end: entry.end, file_offset: entry.file_offset, backing });
        }
        if mappings.is_empty() {
            return None;
        }
        self.readings += 1;
        let mut space = Space::new(mappings, vdso, self.readings);
        if space.has_generated_code() {
            space.perf_map = proc::perf_map(pid).map(Arc::new);
        }
        Some(space)
    }
}

/// How many executable mappings a maps file tells of: the reader's way in for fuzzing.
#[cfg(fuzzing)]
pub fn executable_mappings(maps: &[u8]) -> usize {
    maps::executable(maps).filter(|entry| entry.start < entry.end).count()
}

fn location(mapping: Option<&Mapping>, address: ProcessAddress) -> Location {
    match mapping {
        None => Location::Unmapped,
        Some(mapping) => match &mapping.backing {
            Backing::File(module) => {
                Location::Module { module: module.clone(), file_offset: mapping.file_offset(address) }
            }
            Backing::Anonymous(name) => Location::Anonymous { name: name.clone() },
        },
    }
}

impl Default for Processes {
    fn default() -> Processes {
        Processes::new()
    }
}

impl History {
    /// From now on this generation is what runs, if it is newer than what ran.
    fn reach(&mut self, generation: u32) {
        if generation > self.newest {
            (self.newest, self.has_ended) = (generation, false);
        }
    }

    fn space(&self, generation: u32) -> Option<&Arc<Space>> {
        let at_birth = self.at_birth.as_ref().filter(|(birth, _)| *birth == generation).map(|(_, space)| space);
        self.spaces.get(&generation).or(at_birth)
    }
}

#[cfg(test)]
mod tests;
