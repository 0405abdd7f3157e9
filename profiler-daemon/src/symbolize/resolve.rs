use std::collections::HashMap;
use std::sync::Arc;

use super::Symbolizer;
use super::locate::{Located, Locator, Named, Other, Place};
use super::perf_map::{self, PerfMap};
use crate::model::{Frame, FrameKind, RawStack};
use crate::process::{FileOffset, Module, Processes};

impl Symbolizer {
    /// The frames of one stack. [`Symbolizer::resolve_all`] says how, and is faster for several.
    pub fn resolve(&mut self, processes: &mut Processes, stack: &RawStack) -> Arc<[Arc<Frame>]> {
        self.resolve_all(processes, [(0, stack)]).remove(&0).unwrap_or_default()
    }

    /// Locates many stacks and names them at once.
    pub fn resolve_all<'a>(
        &mut self,
        processes: &mut Processes,
        stacks: impl IntoIterator<Item = (u64, &'a RawStack)>,
    ) -> HashMap<u64, Arc<[Arc<Frame>]>> {
        let mut locator = Locator::new(processes);
        // One after the other: located stacks take several times what they take else.
        self.name_all(stacks.into_iter().map(|(id, stack)| (id, locator.locate(stack))))
    }

    /// The frames of many stacks by their ids, leaf first, inlined functions before those that they
    /// were inlined into. No address is ever left out. A stack that is not whole ends, on the root
    /// side, in a note such as `[unwinding stopped: no unwind info]`.
    pub fn name_all(&mut self, stacks: impl IntoIterator<Item = (u64, Located)>) -> HashMap<u64, Arc<[Arc<Frame>]>> {
        self.refresh_kernel();
        let mut naming = Naming {
            symbolizer: self,
            batches: Vec::new(),
            batch_of: HashMap::new(),
            perf_maps: HashMap::new(),
            perf_map_budget: perf_map::MOST_BYTES,
        };
        let parts: Vec<(u64, Vec<Part>)> = stacks
            .into_iter()
            .map(|(id, located)| (id, located.0.into_iter().map(|place| naming.part(place)).collect()))
            .collect();
        let batches = naming.batches;
        let found: Vec<_> = batches.iter().map(|batch| self.shown(batch)).collect();
        self.release_kernel();
        parts.into_iter().map(|(id, parts)| (id, frames(parts, &found))).collect()
    }

    /// The frames of a batch, which all stacks then share.
    fn shown(&mut self, batch: &Batch) -> Vec<Vec<Arc<Frame>>> {
        let lookups: Vec<FileOffset> = batch.places.iter().map(|(lookup, _)| *lookup).collect();
        let found = self.native(&batch.module, &lookups);
        let shown = found.iter().zip(&batch.places).map(|(frames, (lookup, before))| {
            let offset = Some(lookup.0.wrapping_add(*before));
            frames.iter().map(|frame| Arc::new(Frame { offset, ..frame.clone() })).collect()
        });
        shown.collect()
    }
}

/// One address of a stack on its way to its frames.
enum Part {
    /// Place number `index` of batch number `batch`.
    Code {
        batch: usize,
        index: usize,
    },
    Done(Arc<Frame>),
}

/// All places of one module that some stack needs, each once: the offset to look up, and how far before the one to show it is.
struct Batch {
    module: Arc<Module>,
    places: Vec<(FileOffset, u64)>,
    index_of: HashMap<(FileOffset, u64), usize>,
}

/// Sorts places by what has to be asked about them.
struct Naming<'a> {
    symbolizer: &'a mut Symbolizer,
    batches: Vec<Batch>,
    /// By address of the module, which its batch keeps alive.
    batch_of: HashMap<*const Module, usize>,
    perf_maps: HashMap<(u32, u32), PerfMap>,
    /// Bytes of such files that may still be read.
    perf_map_budget: u64,
}

impl Naming<'_> {
    fn part(&mut self, place: Place) -> Part {
        match place {
            Place::Kernel { lookup, address } => Part::Done(self.symbolizer.kernel_frame(lookup, address).into()),
            Place::Code { module, lookup, before } => self.code(module, lookup, before),
            Place::Other { place, address, named } => self.other(place, address, named.as_ref()),
            Place::Note(frame) => Part::Done(frame.into()),
        }
    }

    fn other(&mut self, place: Other, address: u64, named: Option<&Named>) -> Part {
        let function = named.and_then(|named| self.generated(named));
        let module = match place {
            Other::File { module, lookup, before } if function.is_none() => return self.code(module, lookup, before),
            Other::File { module, .. } => module.path.clone(),
            Other::Anonymous(name) => name.unwrap_or_else(|| self.symbolizer.names.plain("[anonymous code]")),
            Other::Unmapped => {
                self.symbolizer.failures.unmapped += 1;
                self.symbolizer.names.plain("[unmapped]")
            }
            Other::ProcessGone => {
                self.symbolizer.failures.process_gone += 1;
                self.symbolizer.names.plain("[exited process]")
            }
        };
        let frame = Frame {
            kind: FrameKind::Native,
            function,
            file: None,
            line: None,
            module: Some(module),
            build_id: None,
            offset: Some(address),
            inlined: false,
        };
        Part::Done(frame.into())
    }

    /// The name that a JIT compiler gave to its code.
    fn generated(&mut self, named: &Named) -> Option<Arc<str>> {
        let budget = &mut self.perf_map_budget;
        let map = self.perf_maps.entry(named.program).or_insert_with(|| PerfMap::read(&named.file, budget));
        map.at(named.lookup, &mut self.symbolizer.names)
    }

    fn code(&mut self, module: Arc<Module>, lookup: FileOffset, before: u64) -> Part {
        let batch = *self.batch_of.entry(Arc::as_ptr(&module)).or_insert_with(|| {
            self.batches.push(Batch { module, places: Vec::new(), index_of: HashMap::new() });
            self.batches.len() - 1
        });
        let Batch { places, index_of, .. } = &mut self.batches[batch];
        let index = *index_of.entry((lookup, before)).or_insert_with(|| {
            places.push((lookup, before));
            places.len() - 1
        });
        Part::Code { batch, index }
    }
}

fn frames(parts: Vec<Part>, found: &[Vec<Vec<Arc<Frame>>>]) -> Arc<[Arc<Frame>]> {
    let mut frames = Vec::with_capacity(parts.len());
    for part in parts {
        match part {
            Part::Done(frame) => frames.push(frame),
            Part::Code { batch, index } => frames.extend_from_slice(&found[batch][index]),
        }
    }
    frames.into()
}
