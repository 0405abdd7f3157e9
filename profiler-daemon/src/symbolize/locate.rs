//! Addresses of processes to places in files: what has to be asked while the processes are known.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;

use super::NOT_CODE;
use crate::model::{Frame, RawStack};
use crate::process::{FileOffset, Image, Location, Module, ProcessAddress, Processes};
use profiler_common::wire::{frame, outcome};

/// A stack whose addresses have been located, leaf first: all that naming it needs, without its process.
#[derive(Debug)]
pub struct Located(pub(super) Vec<Place>);

/// One address of a stack.
#[derive(Debug)]
pub(super) enum Place {
    /// In the kernel; its function is looked up at `lookup`.
    Kernel { lookup: u64, address: u64 },
    /// In a file, at `lookup`; the address itself lies `before` bytes behind it.
    Code { module: Arc<Module>, lookup: FileOffset, before: u64 },
    /// In no file that says functions. `named` is who may know its name.
    Other { place: Other, address: u64, named: Option<Named> },
    /// No address.
    Note(Frame),
}

/// What lies at an address that is in no ELF file.
#[derive(Debug)]
pub(super) enum Other {
    /// A file that is no ELF file, in which generated code may lie.
    File { module: Arc<Module>, lookup: FileOffset, before: u64 },
    /// Memory without a file, by the name that the kernel gives it.
    Anonymous(Option<Arc<str>>),
    /// Nothing executable.
    Unmapped,
    /// Nobody knows any more.
    ProcessGone,
}

/// The list in which a JIT compiler names its code.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) program: (u32, u32),
    pub(super) file: Arc<File>,
    pub(super) lookup: u64,
}

/// Locates stacks. Processes that are not known yet, and those with addresses outside of their known mappings, are read
/// once more if they still run.
pub struct Locator<'a> {
    processes: &'a mut Processes,
    read_again: HashSet<(u32, u32)>,
}

impl<'a> Locator<'a> {
    /// Knows what `processes` knows.
    pub fn new(processes: &'a mut Processes) -> Locator<'a> {
        Locator { processes, read_again: HashSet::new() }
    }

    /// Locates the addresses of one stack.
    pub fn locate(&mut self, stack: &RawStack) -> Located {
        let mut places = Vec::with_capacity(stack.addresses.len() + 1);
        for (depth, address) in stack.addresses.iter().enumerate() {
            // Look up one byte before a return address: a call may be the last instruction of its
            // function, and the address itself would then belong to the next one.
            if stack.kernel {
                let before = u64::from(depth > 0).min(*address);
                places.push(Place::Kernel { lookup: address - before, address: *address });
                continue;
            }
            let is_exact = address & frame::EXACT != 0;
            let address = address & frame::ADDRESS;
            let before = u64::from(!is_exact).min(address);
            let location = self.location(stack, ProcessAddress(address - before));
            // A walk by frame pointers cannot tell code from data: what it took for a frame was data, so neither it nor
            // anything further out is a caller. Of a process that is gone nobody knows.
            if depth > 0 && matches!(location, Location::Unmapped) {
                places.push(Place::Note(Frame::note(NOT_CODE)));
                return Located(places);
            }
            places.push(self.place(stack, location, address, before));
        }
        if stack.outcome != outcome::COMPLETE && stack.outcome != outcome::APPROXIMATE {
            let reason =
                outcome::NAMES.get(stack.outcome as usize).map_or("unknown".to_owned(), |n| n.replace('-', " "));
            places.push(Place::Note(Frame::note(format!("[unwinding stopped: {reason}]"))));
        }
        Located(places)
    }

    fn place(&self, stack: &RawStack, location: Location, address: u64, before: u64) -> Place {
        let place = match location {
            Location::Module { module, file_offset: lookup } if matches!(module.image, Image::NotElf) => {
                Other::File { module, lookup, before }
            }
            Location::Module { module, file_offset: lookup } => return Place::Code { module, lookup, before },
            Location::Anonymous { name } => Other::Anonymous(name),
            Location::Unmapped => Other::Unmapped,
            Location::ProcessGone => Other::ProcessGone,
        };
        let program = (stack.pid, stack.generation);
        let file = self.processes.perf_map(program.0, program.1).cloned();
        let named = file.map(|file| Named { program, file, lookup: address - before });
        Place::Other { place, address, named }
    }

    fn location(&mut self, stack: &RawStack, address: ProcessAddress) -> Location {
        let (pid, generation) = (stack.pid, stack.generation);
        let location = self.processes.locate_at(pid, generation, stack.epoch, address);
        // It may have loaded a library since, or never have been read at all.
        if matches!(location, Location::Unmapped | Location::ProcessGone)
            && self.read_again.insert((pid, generation))
            && self.processes.refresh(pid, generation)
        {
            return self.processes.locate_at(pid, generation, stack.epoch, address);
        }
        location
    }
}
