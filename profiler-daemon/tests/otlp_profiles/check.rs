//! The rules of OTLP profiles, and what consumers ask for beyond them. Sources: profiles.proto of OTLP 1.10 and 1.11, and
//! what Pyroscope, Parca and Elastic refuse.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Link, Location, Mapping, Profile, ProfilesDictionary, Stack, ValueType,
};

use super::Request;

/// The words of semantic conventions 1.44 for a frame.
const FRAME_TYPES: [&str; 13] =
    ["beam", "cpython", "dotnet", "go", "jvm", "kernel", "luajit", "native", "perl", "php", "ruby", "rust", "v8js"];

/// Who made the request: a collector may have put references in place of our keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    Us,
    Collector,
}

/// Everything that is wrong with a request.
pub(crate) fn faults(request: &Request, from: From) -> Vec<String> {
    let Some(dictionary) = &request.dictionary else { return vec!["no dictionary".to_owned()] };
    let mut check = Check { dictionary, from, faults: Vec::new(), used: HashMap::new() };
    check.tables();
    check.profiles(request);
    check.orphans();
    check.faults
}

struct Check<'a> {
    dictionary: &'a ProfilesDictionary,
    from: From,
    faults: Vec<String>,
    /// Indices that something refers to, by table.
    used: HashMap<&'static str, HashSet<i32>>,
}

impl Check<'_> {
    fn fault(&mut self, text: impl Into<String>) {
        self.faults.push(text.into());
    }

    fn require(&mut self, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.fault(text());
        }
    }

    fn length(&self, table: &str) -> usize {
        match table {
            "mapping" => self.dictionary.mapping_table.len(),
            "location" => self.dictionary.location_table.len(),
            "function" => self.dictionary.function_table.len(),
            "link" => self.dictionary.link_table.len(),
            "string" => self.dictionary.string_table.len(),
            "attribute" => self.dictionary.attribute_table.len(),
            "stack" => self.dictionary.stack_table.len(),
            _ => unreachable!("no table {table}"),
        }
    }

    /// Notes that something refers to an entry. Whether there is one.
    fn uses(&mut self, table: &'static str, index: i32, by: &str) -> bool {
        let exists = usize::try_from(index).is_ok_and(|index| index < self.length(table));
        self.require(exists, || format!("{by}: {table} index {index} out of range"));
        self.used.entry(table).or_default().insert(index);
        exists
    }

    fn tables(&mut self) {
        let dictionary = self.dictionary;
        self.table("mapping", &dictionary.mapping_table, Mapping::default(), |it| format!("{it:?}"));
        self.table("location", &dictionary.location_table, Location::default(), |it| format!("{it:?}"));
        self.table("function", &dictionary.function_table, Function::default(), |it| format!("{it:?}"));
        self.table("link", &dictionary.link_table, Link::default(), |it| format!("{it:?}"));
        self.table("string", &dictionary.string_table, String::new(), String::clone);
        let value = (self.from == From::Collector).then(AnyValue::default);
        let empty = KeyValueAndUnit { value, ..KeyValueAndUnit::default() };
        self.table("attribute", &dictionary.attribute_table, empty, |it| format!("{it:?}"));
        self.table("stack", &dictionary.stack_table, Stack::default(), |it| format!("{it:?}"));

        for (at, mapping) in dictionary.mapping_table.iter().enumerate().skip(1) {
            let by = format!("mapping {at}");
            self.uses("string", mapping.filename_strindex, &by);
            self.attributes(&mapping.attribute_indices, &by);
            self.require(mapping.memory_start < mapping.memory_limit, || format!("{by}: ends before it starts"));
        }
        for (at, location) in dictionary.location_table.iter().enumerate().skip(1) {
            self.location(location, &format!("location {at}"));
        }
        for (at, function) in dictionary.function_table.iter().enumerate().skip(1) {
            let by = format!("function {at}");
            let names = [function.name_strindex, function.system_name_strindex, function.filename_strindex];
            for name in names {
                self.uses("string", name, &by);
            }
            self.require(names != [0; 3], || format!("{by}: has no name"));
        }
        for (at, link) in dictionary.link_table.iter().enumerate().skip(1) {
            let is_right = (link.trace_id.len(), link.span_id.len()) == (16, 8);
            self.require(is_right, || format!("link {at}: ids are not 16 and 8 bytes"));
        }
        for (at, attribute) in dictionary.attribute_table.iter().enumerate().skip(1) {
            let by = format!("attribute {at}");
            self.uses("string", attribute.key_strindex, &by);
            self.uses("string", attribute.unit_strindex, &by);
            self.require(attribute.key_strindex != 0, || format!("{by}: has no key"));
            self.value(attribute.value.as_ref(), &by);
        }
        for (at, stack) in dictionary.stack_table.iter().enumerate().skip(1) {
            let by = format!("stack {at}");
            self.require(!stack.location_indices.is_empty(), || format!("{by}: is empty"));
            for location in &stack.location_indices {
                self.uses("location", *location, &by);
                self.require(*location != 0, || format!("{by}: refers to location 0"));
            }
        }
    }

    fn table<T: PartialEq + Debug>(&mut self, name: &str, entries: &[T], zero: T, key: impl Fn(&T) -> String) {
        self.require(entries.first() == Some(&zero), || format!("{name} 0 is not the empty one"));
        let mut seen = HashSet::new();
        for (at, entry) in entries.iter().enumerate() {
            self.require(seen.insert(key(entry)), || format!("{name} {at} is there twice"));
        }
    }

    fn location(&mut self, location: &Location, by: &str) {
        self.uses("mapping", location.mapping_index, by);
        let has_place = !location.lines.is_empty() || location.mapping_index != 0;
        self.require(has_place, || format!("{by}: has neither lines nor a mapping"));
        for line in &location.lines {
            self.uses("function", line.function_index, by);
            self.require(line.function_index != 0, || format!("{by}: a line without a function"));
            self.require(line.line >= 0 && line.column >= 0, || format!("{by}: a negative line"));
        }
        let mapping = usize::try_from(location.mapping_index).ok().filter(|index| *index != 0);
        if let Some(mapping) = mapping.and_then(|index| self.dictionary.mapping_table.get(index)) {
            let is_inside = (mapping.memory_start..mapping.memory_limit).contains(&location.address);
            self.require(is_inside, || format!("{by}: lies outside of its mapping"));
        }
        let attributes = self.attributes(&location.attribute_indices, by);
        let kind = attributes.iter().find(|(key, _)| key == "profile.frame.type");
        let is_known = kind.is_some_and(|(_, value)| FRAME_TYPES.contains(&value.as_str()));
        self.require(is_known, || format!("{by}: frame type is {kind:?}"));
    }

    /// The attributes of a list as texts.
    fn attributes(&mut self, indices: &[i32], by: &str) -> Vec<(String, String)> {
        let mut keys = HashSet::new();
        let mut found = Vec::new();
        for index in indices {
            self.require(*index != 0, || format!("{by}: refers to attribute 0"));
            if !self.uses("attribute", *index, by) {
                continue;
            }
            let attribute = &self.dictionary.attribute_table[*index as usize];
            self.require(keys.insert(attribute.key_strindex), || format!("{by}: a key is there twice"));
            let key = self.dictionary.string_table.get(attribute.key_strindex as usize);
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            let text = match value {
                Some(Value::StringValue(text)) => text.clone(),
                Some(Value::StringValueStrindex(index)) => {
                    self.dictionary.string_table.get(*index as usize).cloned().unwrap_or_default()
                }
                other => format!("{other:?}"),
            };
            found.push((key.cloned().unwrap_or_default(), text));
        }
        found
    }

    fn value(&mut self, value: Option<&AnyValue>, by: &str) {
        match value.and_then(|value| value.value.as_ref()) {
            None => self.fault(format!("{by}: has no value")),
            Some(Value::StringValueStrindex(index)) => {
                let from_us = self.from == From::Us;
                self.require(!from_us, || format!("{by}: a reference in place of a value"));
                self.uses("string", *index, by);
            }
            Some(Value::StringValue(text)) => self.require(!text.is_empty(), || format!("{by}: an empty value")),
            Some(_) => {}
        }
    }

    fn profiles(&mut self, request: &Request) {
        let mut ids = HashSet::new();
        self.require(!request.resource_profiles.is_empty(), || "no resources".to_owned());
        for (at, resource) in request.resource_profiles.iter().enumerate() {
            let by = format!("resource {at}");
            match &resource.resource {
                Some(resource) => self.resource(&resource.attributes, &by),
                None => self.fault(format!("{by}: is missing")),
            }
            self.require(!resource.scope_profiles.is_empty(), || format!("{by}: has no scopes"));
            for scope in &resource.scope_profiles {
                let is_named = scope.scope.as_ref().is_some_and(|scope| !scope.name.is_empty());
                self.require(is_named, || format!("{by}: its scope has no name"));
                self.require(!scope.profiles.is_empty(), || format!("{by}: has no profiles"));
                for (at, profile) in scope.profiles.iter().enumerate() {
                    let by = format!("{by}, profile {at}");
                    self.require(ids.insert(profile.profile_id.clone()), || format!("{by}: its id is there twice"));
                    self.profile(profile, &by);
                }
            }
        }
    }

    fn resource(&mut self, attributes: &[KeyValue], by: &str) {
        let mut keys = HashSet::new();
        for attribute in attributes {
            let key = if attribute.key_strindex == 0 {
                attribute.key.clone()
            } else {
                let from_us = self.from == From::Us;
                self.require(!from_us, || format!("{by}: a reference in place of a key"));
                self.uses("string", attribute.key_strindex, by);
                self.dictionary.string_table.get(attribute.key_strindex as usize).cloned().unwrap_or_default()
            };
            self.value(attribute.value.as_ref(), &format!("{by}, `{key}`"));
            self.require(!key.is_empty(), || format!("{by}: an empty key"));
            self.require(keys.insert(key), || format!("{by}: a key is there twice"));
        }
        for key in ["service.name", "host.id", "process.pid"] {
            self.require(keys.contains(key), || format!("{by}: has no {key}"));
        }
    }

    fn profile(&mut self, profile: &Profile, by: &str) {
        let is_id = profile.profile_id.len() == 16 && profile.profile_id.iter().any(|byte| *byte != 0);
        self.require(is_id, || format!("{by}: its id is not 16 bytes, or zero"));
        self.attributes(&profile.attribute_indices, by);
        let sample_type = self.value_type(profile.sample_type, by);
        let period = profile.period_type.map(|period| self.value_type(Some(period), by));
        // The collector writes what is not set as something empty.
        let period = period.filter(|period| self.from == From::Us || *period != Default::default());
        let period = period.as_ref().map(|(name, unit)| (name.as_str(), unit.as_str()));
        let as_consumers_know = match (sample_type.0.as_str(), sample_type.1.as_str()) {
            ("samples", "count") => period == Some(("cpu", "nanoseconds")) && profile.period > 0,
            ("off_cpu", "nanoseconds") => period.is_none() && profile.period == 0,
            (name, "nanoseconds") => period == Some((name, "nanoseconds")),
            _ => false,
        };
        self.require(as_consumers_know, || format!("{by}: type {sample_type:?}, period {period:?}"));

        self.require(!profile.samples.is_empty(), || format!("{by}: has no samples"));
        let end = profile.time_unix_nano.saturating_add(profile.duration_nano);
        let (mut shapes, mut identities) = (HashSet::new(), HashSet::new());
        for (at, sample) in profile.samples.iter().enumerate() {
            let by = format!("{by}, sample {at}");
            self.uses("stack", sample.stack_index, &by);
            self.uses("link", sample.link_index, &by);
            self.require(sample.stack_index != 0, || format!("{by}: has no stack"));
            self.attributes(&sample.attribute_indices, &by);
            let (values, times) = (sample.values.len(), sample.timestamps_unix_nano.len());
            self.require(values + times > 0, || format!("{by}: says nothing"));
            self.require(values == 0 || times == 0 || values == times, || {
                format!("{by}: {values} values, {times} times")
            });
            self.require(values <= 1, || format!("{by}: more than one value"));
            let is_cpu = sample_type.0 == "samples";
            self.require(!is_cpu || values == 0, || format!("{by}: a value where times are counted"));
            self.require(times > 0, || format!("{by}: no time, no event"));
            shapes.insert((values > 0, times > 0));
            let times_fit = sample.timestamps_unix_nano.iter().all(|time| (profile.time_unix_nano..end).contains(time));
            self.require(times_fit, || format!("{by}: a time outside of the profile"));
            self.require(sample.values.iter().all(|value| *value > 0), || {
                format!("{by}: a value that is not positive")
            });
            let mut attributes = sample.attribute_indices.clone();
            attributes.sort_unstable();
            let identity = (sample.stack_index, attributes, sample.link_index);
            self.require(identities.insert(identity), || format!("{by}: the same as another one"));
        }
        self.require(shapes.len() <= 1, || format!("{by}: samples of {} shapes", shapes.len()));
    }

    fn value_type(&mut self, value_type: Option<ValueType>, by: &str) -> (String, String) {
        let Some(ValueType { type_strindex, unit_strindex }) = value_type else { return Default::default() };
        let mut text = |index| match self.uses("string", index, by) {
            true => self.dictionary.string_table[index as usize].clone(),
            false => String::new(),
        };
        (text(type_strindex), text(unit_strindex))
    }

    /// Entries that nothing refers to. What only they refer to counts as used: it shows once they are gone.
    fn orphans(&mut self) {
        for table in ["mapping", "location", "function", "link", "string", "attribute", "stack"] {
            for index in 1..self.length(table) as i32 {
                let is_used = self.used.get(table).is_some_and(|used| used.contains(&index));
                self.require(is_used, || format!("{table} {index}: nothing refers to it"));
            }
        }
    }
}
