//! Stacks, locations, functions and mappings.

use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::profiles::v1development::{Function, Line, Mapping, ProfilesDictionary};

use super::dictionary::{Dictionary, Value};
use super::rows::{Kind, Place};
use crate::model::{Frame, FrameKind, Frames, is_plumbing, note};

/// Stacks of a recording as numbers of a dictionary.
pub(super) struct Places<'a> {
    symbolized: &'a Frames,
    stacks: HashMap<Place, i32>,
    /// Locations of each half by its kernel-side id, for waits without the way to the switch.
    halves: HashMap<(u64, bool), Arc<[i32]>>,
    /// By number, the first one empty. Their limits grow with the addresses that occur.
    mappings: Vec<Mapping>,
    /// By name and build id.
    mapping_indices: HashMap<(i32, i32), i32>,
    /// Texts of frames by address and length, which live as long as this: most names occur many times, and are long.
    strings: HashMap<(usize, usize), i32>,
}

impl<'a> Places<'a> {
    pub(super) fn new(symbolized: &'a Frames) -> Places<'a> {
        Places {
            symbolized,
            stacks: HashMap::new(),
            halves: HashMap::new(),
            mappings: vec![Mapping::default()],
            mapping_indices: HashMap::new(),
            strings: HashMap::new(),
        }
    }

    /// The stack of a place.
    pub(super) fn stack(&mut self, place: Place, dictionary: &mut Dictionary) -> i32 {
        if let Some(index) = self.stacks.get(&place) {
            return *index;
        }
        let locations = match place {
            Place::Note(text) => vec![self.note(text, dictionary)],
            Place::Stack { kernel, user, kind } => self.joined(kernel, user, kind, dictionary),
        };
        let index = dictionary.stack(locations);
        self.stacks.insert(place, index);
        index
    }

    /// The tables, mappings and all.
    pub(super) fn finish(self, dictionary: Dictionary) -> ProfilesDictionary {
        ProfilesDictionary { mapping_table: self.mappings, ..dictionary.finish() }
    }

    /// Both halves, the kernel's first, with a note for the one that is missing.
    fn joined(&mut self, kernel: u64, user: u64, kind: Kind, dictionary: &mut Dictionary) -> Vec<i32> {
        let mut locations = Vec::new();
        if kernel != 0 {
            match self.half(kernel, kind != Kind::Sample, dictionary) {
                Some(half) => locations.extend_from_slice(&half),
                None => locations.push(self.note(note::KERNEL_NOT_SEEN, dictionary)),
            }
        }
        match self.half(user, false, dictionary) {
            Some(half) => locations.extend_from_slice(&half),
            None => {
                let text = match kind {
                    Kind::Skipped => note::WAIT_NOT_SAMPLED,
                    _ if user == 0 && kernel != 0 => note::NO_USER_STACK,
                    _ => note::STACK_NOT_SEEN,
                };
                locations.push(self.note(text, dictionary));
            }
        }
        locations
    }

    /// The locations of one half; `None` if it has no frames.
    fn half(&mut self, id: u64, is_wait: bool, dictionary: &mut Dictionary) -> Option<Arc<[i32]>> {
        if let Some(half) = self.halves.get(&(id, is_wait)) {
            return Some(half.clone());
        }
        let symbolized: Vec<&'a Arc<Frame>> = self.symbolized.get(&id).filter(|frames| !frames.is_empty())?;
        let leads_to_switch = |frame: &&Arc<Frame>| frame.function.as_deref().is_some_and(is_plumbing);
        let start = if is_wait { symbolized.iter().position(|frame| !leads_to_switch(frame)) } else { None };
        let mut rest = &symbolized[start.unwrap_or(0)..];
        let mut locations = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            // Inlined functions share the location of the function that they were inlined into.
            let length = rest.iter().position(|frame| !frame.inlined).map_or(rest.len(), |outer| outer + 1);
            let (one, others) = rest.split_at(length);
            locations.push(self.location(one, dictionary));
            rest = others;
        }
        let half: Arc<[i32]> = locations.into();
        self.halves.insert((id, is_wait), half.clone());
        Some(half)
    }

    /// The location of frames that share an address, innermost first.
    fn location(&mut self, frames: &[&'a Arc<Frame>], dictionary: &mut Dictionary) -> i32 {
        let lines: Vec<Line> = frames.iter().map(|frame| self.line(frame, dictionary)).collect();
        let outer = frames[frames.len() - 1];
        // No address is the last one, so that a limit can lie behind it.
        let address = outer.offset.unwrap_or(0).min(u64::MAX - 1);
        let mapping = match &outer.module {
            Some(module) if outer.kind != FrameKind::Note => self.mapping(module, outer, address, dictionary),
            _ => 0,
        };
        let address = if mapping == 0 { 0 } else { address };
        let frame_type = dictionary.attribute("profile.frame.type", Value::Text(frame_type(outer)));
        dictionary.location(mapping, address, lines, vec![frame_type])
    }

    /// The location of a text in place of a function.
    fn note(&mut self, text: &'static str, dictionary: &mut Dictionary) -> i32 {
        let name_strindex = dictionary.string(text);
        let function = dictionary.function(Function { name_strindex, ..Function::default() });
        let frame_type = dictionary.attribute("profile.frame.type", Value::Text("native"));
        dictionary.location(0, 0, vec![line(function, 0)], vec![frame_type])
    }

    /// The mapping of a file. Addresses are file offsets, so each file lies at 0; the kernel's are addresses.
    fn mapping(&mut self, module: &'a Arc<str>, frame: &'a Frame, address: u64, dictionary: &mut Dictionary) -> i32 {
        let filename = self.string(module, dictionary);
        let build_id = frame.build_id.as_deref().filter(|id| !id.is_empty());
        let key = "process.executable.build_id.gnu";
        let build_id = build_id.map_or(0, |id| dictionary.attribute(key, Value::Text(id)));
        let next = self.mappings.len() as i32;
        let index = *self.mapping_indices.entry((filename, build_id)).or_insert(next);
        if index == next {
            let attribute_indices = if build_id == 0 { Vec::new() } else { vec![build_id] };
            self.mappings.push(Mapping { filename_strindex: filename, attribute_indices, ..Mapping::default() });
        }
        let mapping = &mut self.mappings[index as usize];
        mapping.memory_limit = mapping.memory_limit.max(address + 1);
        index
    }

    fn line(&mut self, frame: &'a Frame, dictionary: &mut Dictionary) -> Line {
        let name_strindex = match &frame.function {
            Some(name) if !name.is_empty() => self.string(name, dictionary),
            Some(_) => dictionary.string("[unnamed]"),
            None => dictionary.string(&frame.name()),
        };
        let filename_strindex = frame.file.as_ref().map_or(0, |file| self.string(file, dictionary));
        let function = dictionary.function(Function { name_strindex, filename_strindex, ..Function::default() });
        line(function, frame.line.map_or(0, i64::from))
    }

    fn string(&mut self, text: &'a Arc<str>, dictionary: &mut Dictionary) -> i32 {
        let key = (text.as_ptr() as usize, text.len());
        *self.strings.entry(key).or_insert_with(|| dictionary.string(text))
    }
}

fn line(function_index: i32, line: i64) -> Line {
    Line { function_index, line, column: 0 }
}

/// What compiled the code, as far as its source file tells. Notes are `native` for lack of a word: Elastic refuses a
/// location without one of those it knows.
fn frame_type(frame: &Frame) -> &'static str {
    let file = frame.file.as_deref().unwrap_or_default();
    match frame.kind {
        FrameKind::Kernel => "kernel",
        FrameKind::Native if file.ends_with(".rs") => "rust",
        FrameKind::Native if file.ends_with(".go") => "go",
        FrameKind::Native | FrameKind::Note => "native",
    }
}
