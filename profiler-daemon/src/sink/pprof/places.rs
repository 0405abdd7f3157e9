//! Frames as pprof's mappings, locations and functions, each once.

use std::collections::HashMap;

use super::proto::{Function, Line, Location, Mapping};
use crate::model::text::printable;
use crate::model::{Frame, FrameKind, StackId, Stacks};

/// Strings by index; the first one is empty.
pub(super) struct Strings {
    pub(super) table: Vec<String>,
    index: HashMap<String, i64>,
}

impl Strings {
    pub(super) fn new() -> Strings {
        Strings { table: vec![String::new()], index: HashMap::from([(String::new(), 0)]) }
    }

    /// The index of a name, escaped.
    pub(super) fn get(&mut self, name: &str) -> i64 {
        let name = printable(name);
        if let Some(index) = self.index.get(name.as_ref()) {
            return *index;
        }
        let index = self.table.len() as i64;
        self.table.push(name.to_string());
        self.index.insert(name.into_owned(), index);
        index
    }
}

/// All places of a profile so far.
pub(super) struct Places<'a> {
    stacks: &'a Stacks,
    pub(super) strings: Strings,
    pub(super) mappings: Vec<Mapping>,
    pub(super) locations: Vec<Location>,
    pub(super) functions: Vec<Function>,
    mapping_ids: HashMap<(i64, i64), u64>,
    /// By the frames of one address.
    location_ids: HashMap<&'a [u32], u64>,
    function_ids: HashMap<(i64, i64), u64>,
    notes: HashMap<&'static str, u64>,
}

impl<'a> Places<'a> {
    pub(super) fn new(stacks: &'a Stacks) -> Places<'a> {
        Places {
            stacks,
            strings: Strings::new(),
            mappings: Vec::new(),
            locations: Vec::new(),
            functions: Vec::new(),
            mapping_ids: HashMap::new(),
            location_ids: HashMap::new(),
            function_ids: HashMap::new(),
            notes: HashMap::new(),
        }
    }

    /// Location ids of a stack, leaf first. Inlined functions share the location of the function
    /// that they were inlined into.
    pub(super) fn stack(&mut self, id: StackId) -> Vec<u64> {
        let stacks = self.stacks;
        let mut frames = stacks.indices(id);
        let mut ids = Vec::with_capacity(frames.len());
        while !frames.is_empty() {
            let is_outer = |frame: &u32| !stacks.frames[*frame as usize].inlined;
            let length = frames.iter().position(is_outer).map_or(frames.len(), |outer| outer + 1);
            let (one, rest) = frames.split_at(length);
            frames = rest;
            let id = match self.location_ids.get(one) {
                Some(id) => *id,
                None => {
                    let id = self.add_location(one);
                    self.location_ids.insert(one, id);
                    id
                }
            };
            ids.push(id);
        }
        ids
    }

    /// The location of a text in place of a function.
    pub(super) fn note(&mut self, text: &'static str) -> u64 {
        if let Some(id) = self.notes.get(text) {
            return *id;
        }
        let line = self.line(&Frame::note(text));
        let id = self.push_location(0, 0, vec![line]);
        self.notes.insert(text, id);
        id
    }

    fn add_location(&mut self, frames: &[u32]) -> u64 {
        let stacks = self.stacks;
        let frames = || frames.iter().map(|index| &stacks.frames[*index as usize]);
        let lines: Vec<Line> = frames().map(|frame| self.line(frame)).collect();
        let Some(outer) = frames().next_back().filter(|frame| frame.kind != FrameKind::Note) else {
            return self.push_location(0, 0, lines);
        };
        let address = outer.offset.unwrap_or(0);
        let mapping_id = outer.module.as_deref().map_or(0, |module| self.mapping(module, outer, address));
        if let Some(mapping) = (mapping_id as usize).checked_sub(1).map(|index| &mut self.mappings[index]) {
            // One known name is enough: pprof would look up a mapping without the flag again, by
            // files of the machine it runs on, and replace what we know.
            mapping.has_functions |= frames().any(|frame| frame.function.is_some());
            mapping.has_filenames |= frames().any(|frame| frame.file.is_some());
            mapping.has_line_numbers |= frames().any(|frame| frame.line.is_some());
            mapping.has_inline_frames |= lines.len() > 1;
        }
        self.push_location(mapping_id, address, lines)
    }

    fn push_location(&mut self, mapping_id: u64, address: u64, line: Vec<Line>) -> u64 {
        let id = self.locations.len() as u64 + 1;
        self.locations.push(Location { id, mapping_id, address, line });
        id
    }

    /// The mapping of a file. Addresses are file offsets, so each file lies at 0; the kernel's are
    /// addresses, and its mapping spans those that occur.
    fn mapping(&mut self, module: &str, frame: &Frame, address: u64) -> u64 {
        let filename = self.strings.get(module);
        let build_id = self.strings.get(frame.build_id.as_deref().unwrap_or_default());
        let next = self.mappings.len() as u64 + 1;
        let id = *self.mapping_ids.entry((filename, build_id)).or_insert(next);
        if id == next {
            let memory_start = if frame.kind == FrameKind::Kernel { address } else { 0 };
            self.mappings.push(Mapping { id, memory_start, filename, build_id, ..Mapping::default() });
        }
        let mapping = &mut self.mappings[id as usize - 1];
        mapping.memory_start = mapping.memory_start.min(address);
        mapping.memory_limit = mapping.memory_limit.max(address.saturating_add(1));
        id
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let name = frame.name();
        let name = self.strings.get(if name.is_empty() { "[unnamed]" } else { &name });
        let filename = self.strings.get(frame.file.as_deref().unwrap_or_default());
        let next = self.functions.len() as u64 + 1;
        let id = *self.function_ids.entry((name, filename)).or_insert(next);
        if id == next {
            self.functions.push(Function { id, name, system_name: name, filename });
        }
        Line { function_id: id, line: frame.line.map_or(0, i64::from) }
    }
}
