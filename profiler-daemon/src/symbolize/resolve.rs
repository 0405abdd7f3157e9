use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::Symbolizer;
use super::perf_map::{self, PerfMap};
use crate::model::{Frame, FrameKind, RawStack};
use crate::process::{FileOffset, Image, Location, Module, ProcessAddress, Processes};
use profiler_common::wire::{frame, outcome};

impl Symbolizer {
    /// The frames of one stack. [`Symbolizer::resolve_all`] says how, and is faster for several.
    pub fn resolve(&mut self, processes: &mut Processes, stack: &RawStack) -> Arc<[Frame]> {
        self.resolve_all(processes, [(0, stack)]).remove(&0).unwrap_or_default()
    }

    /// The frames of many stacks by their ids, leaf first, inlined functions before those that they
    /// were inlined into. No address is ever left out. A stack that is not whole ends, on the root
    /// side, in a note such as `[unwinding stopped: no unwind info]`.
    ///
    /// Processes that are not known yet, and those with addresses outside of their known mappings,
    /// are read once more if they still run. Kernel symbols are read anew at each call.
    pub fn resolve_all<'a>(
        &mut self,
        processes: &mut Processes,
        stacks: impl IntoIterator<Item = (u64, &'a RawStack)>,
    ) -> HashMap<u64, Arc<[Frame]>> {
        self.kernel = None;
        let mut sorting = Sorting {
            symbolizer: self,
            processes,
            batches: Vec::new(),
            batch_of: HashMap::new(),
            perf_maps: HashMap::new(),
            perf_map_budget: perf_map::MOST_BYTES,
            read_again: HashSet::new(),
        };
        let places: Vec<(u64, Vec<Place>)> =
            stacks.into_iter().map(|(id, stack)| (id, sorting.places(stack))).collect();
        let batches = sorting.batches;
        let found: Vec<_> = batches.iter().map(|batch| self.native(&batch.module, &batch.offsets)).collect();
        self.kernel = None;
        places.into_iter().map(|(id, places)| (id, frames(places, &found).into())).collect()
    }
}

/// One address of a stack on its way to its frames.
enum Place {
    /// Offset number `index` of batch number `batch`. The frames shall carry the offset `shown`.
    Code {
        batch: usize,
        index: usize,
        shown: FileOffset,
    },
    Done(Frame),
}

/// Ends a user stack whose next "return address" is no code: what the walk took for a frame was data,
/// so neither it nor anything further out is a caller.
pub const NOT_CODE: &str = "[unwinding stopped: not code]";

/// Whether nothing executable lies there. Of a process that is gone nobody knows.
fn is_no_code(location: &Location) -> bool {
    matches!(location, Location::Unmapped)
}

/// All offsets of one module that some stack needs, each once.
struct Batch {
    module: Arc<Module>,
    offsets: Vec<FileOffset>,
    index_of: HashMap<FileOffset, usize>,
}

/// Sorts addresses by what has to be asked about them.
struct Sorting<'a> {
    symbolizer: &'a mut Symbolizer,
    processes: &'a mut Processes,
    batches: Vec<Batch>,
    /// By address of the module, which its batch keeps alive.
    batch_of: HashMap<*const Module, usize>,
    perf_maps: HashMap<(u32, u32), PerfMap>,
    /// Bytes of such files that may still be read.
    perf_map_budget: u64,
    read_again: HashSet<(u32, u32)>,
}

impl Sorting<'_> {
    fn places(&mut self, stack: &RawStack) -> Vec<Place> {
        let mut places = Vec::with_capacity(stack.addresses.len() + 1);
        for (depth, address) in stack.addresses.iter().enumerate() {
            // Look up one byte before a return address: a call may be the last instruction of its
            // function, and the address itself would then belong to the next one.
            if stack.kernel {
                let before = u64::from(depth > 0).min(*address);
                places.push(Place::Done(self.symbolizer.kernel_frame(address - before, *address)));
                continue;
            }
            let is_exact = address & frame::EXACT != 0;
            let address = address & frame::ADDRESS;
            let before = u64::from(!is_exact).min(address);
            // A walk by frame pointers cannot tell code from data.
            if depth > 0 && is_no_code(&self.locate(stack, ProcessAddress(address - before))) {
                places.push(Place::Done(Frame::note(NOT_CODE)));
                return places;
            }
            places.push(self.place(stack, address, before));
        }
        if stack.outcome != outcome::COMPLETE && stack.outcome != outcome::APPROXIMATE {
            let reason =
                outcome::NAMES.get(stack.outcome as usize).map_or("unknown".to_owned(), |n| n.replace('-', " "));
            places.push(Place::Done(Frame::note(format!("[unwinding stopped: {reason}]"))));
        }
        places
    }

    fn place(&mut self, stack: &RawStack, address: u64, before: u64) -> Place {
        let lookup = ProcessAddress(address - before);
        let module = match self.locate(stack, lookup) {
            Location::Module { module, file_offset } => {
                if !matches!(module.image, Image::NotElf) {
                    return self.code(module, file_offset, before);
                }
                if self.generated(stack, lookup).is_none() {
                    return self.code(module, file_offset, before);
                }
                module.path.clone()
            }
            Location::Anonymous { name } => name.unwrap_or_else(|| self.symbolizer.names.plain("[anonymous code]")),
            Location::Unmapped => {
                self.symbolizer.failures.unmapped += 1;
                self.symbolizer.names.plain("[unmapped]")
            }
            Location::ProcessGone => {
                self.symbolizer.failures.process_gone += 1;
                self.symbolizer.names.plain("[exited process]")
            }
        };
        Place::Done(Frame {
            kind: FrameKind::Native,
            function: self.generated(stack, lookup),
            file: None,
            line: None,
            module: Some(module),
            build_id: None,
            offset: Some(address),
            inlined: false,
        })
    }

    fn locate(&mut self, stack: &RawStack, address: ProcessAddress) -> Location {
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

    /// The name that a JIT compiler gave to its code.
    fn generated(&mut self, stack: &RawStack, address: ProcessAddress) -> Option<Arc<str>> {
        let key = (stack.pid, stack.generation);
        let file = self.processes.perf_map(key.0, key.1)?;
        let budget = &mut self.perf_map_budget;
        let map = self.perf_maps.entry(key).or_insert_with(|| PerfMap::read(file, budget));
        map.at(address.0, &mut self.symbolizer.names)
    }

    fn code(&mut self, module: Arc<Module>, lookup: FileOffset, before: u64) -> Place {
        let batch = *self.batch_of.entry(Arc::as_ptr(&module)).or_insert_with(|| {
            self.batches.push(Batch { module, offsets: Vec::new(), index_of: HashMap::new() });
            self.batches.len() - 1
        });
        let Batch { offsets, index_of, .. } = &mut self.batches[batch];
        let index = *index_of.entry(lookup).or_insert_with(|| {
            offsets.push(lookup);
            offsets.len() - 1
        });
        Place::Code { batch, index, shown: FileOffset(lookup.0.wrapping_add(before)) }
    }
}

fn frames(places: Vec<Place>, found: &[Vec<Arc<[Frame]>>]) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(places.len());
    for place in places {
        match place {
            Place::Done(frame) => frames.push(frame),
            Place::Code { batch, index, shown } => {
                let code = found[batch][index].iter();
                frames.extend(code.map(|frame| Frame { offset: Some(shown.0), ..frame.clone() }));
            }
        }
    }
    frames
}
