//! A pprof file as stacks: of all formats the one that has each frame with its file and address.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use prost::Message;

use crate::pattern::Place;

/// Time of one thread at one stack in one state.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) thread: String,
    pub(crate) tid: u32,
    pub(crate) on_cpu: bool,
    /// CPU samples, or waits.
    pub(crate) count: u64,
    /// Time on the CPU, or off it.
    pub(crate) ns: u64,
    /// Leaf first, without the kernel's frames.
    pub(crate) places: Vec<Place>,
}

/// What the program has executed, and where it has waited; stolen and unseen time has no stack.
pub(crate) fn read(path: &Path) -> Vec<Stack> {
    let mut bytes = Vec::new();
    GzDecoder::new(File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    let profile = Profile::decode(bytes.as_slice()).unwrap();
    profile.sample.iter().filter_map(|sample| profile.stack(sample)).collect()
}

impl Profile {
    fn stack(&self, sample: &Sample) -> Option<Stack> {
        let label = |name: &str| sample.label.iter().find(|label| self.text(label.key) == name).unwrap();
        let state = self.text(label("state").str);
        if ["stolen", "unseen"].contains(&state) {
            return None;
        }
        let on_cpu = state == "on-cpu";
        let places = sample.location_id.iter().map(|id| self.place(*id));
        Some(Stack {
            thread: self.text(label("thread").str).to_owned(),
            tid: label("tid").num as u32,
            on_cpu,
            count: sample.value[0] as u64,
            // The second value is time executed, the sixth all time.
            ns: sample.value[if on_cpu { 1 } else { 5 }] as u64,
            places: places.filter(|place| place.file != "[kernel]").collect(),
        })
    }

    fn place(&self, id: u64) -> Place {
        let location = &self.location[id as usize - 1];
        let file =
            location.mapping_id.checked_sub(1).map_or("", |index| self.text(self.mapping[index as usize].filename));
        // The last line is the function that the code belongs to.
        let function =
            location.line.last().map_or("", |line| self.text(self.function[line.function_id as usize - 1].name));
        // Code without a name is named by its place.
        let is_named = file.is_empty() || !function.contains("+0x");
        let function = if is_named { function.to_owned() } else { String::new() };
        Place { function, file: file.to_owned(), offset: location.address }
    }

    fn text(&self, index: i64) -> &str {
        &self.string_table[index as usize]
    }
}

// As far as they are read here. Source: github.com/google/pprof, proto/profile.proto.

#[derive(Clone, PartialEq, Message)]
struct Profile {
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
    #[prost(int64, tag = "3")]
    num: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Mapping {
    #[prost(int64, tag = "5")]
    filename: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Location {
    #[prost(uint64, tag = "2")]
    mapping_id: u64,
    #[prost(uint64, tag = "3")]
    address: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Function {
    #[prost(int64, tag = "2")]
    name: i64,
}
