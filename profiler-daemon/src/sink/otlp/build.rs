//! One request out of rows.

use std::collections::HashMap;
use std::rc::Rc;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::profiles::v1development::{
    Profile, ResourceProfiles, Sample, ScopeProfiles, ValueType,
};

use super::dictionary::{Dictionary, Value};
use super::id::ProfileIdentity;
use super::places::Places;
use super::rows::{self, Amount, Identity, Place, Row};
use super::{Options, programs, resource};
use crate::model::{Recording, WaitClass};

/// What stands for a stack that fits into no request by itself.
const TOO_LARGE: &str = "[stack too large to send]";

/// What requests are made of.
pub(super) struct Source<'a> {
    pub(super) recording: &'a Recording,
    pub(super) programs: &'a programs::Programs,
    pub(super) options: &'a Options,
}

/// Some samples of one profile.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) profile: &'a rows::Profile,
    pub(super) rows: &'a [Row],
    /// Number of the first of them in the profile.
    pub(super) first: usize,
}

impl Source<'_> {
    /// A request with a dictionary of its own.
    pub(super) fn request(&self, parts: &[Part<'_>]) -> ExportProfilesServiceRequest {
        self.build(parts, |row| row.identity.place)
    }

    /// The same with a note in place of every stack.
    pub(super) fn without_stacks(&self, parts: &[Part<'_>]) -> ExportProfilesServiceRequest {
        self.build(parts, |_| Place::Note(TOO_LARGE))
    }

    fn build(&self, parts: &[Part<'_>], place: impl Fn(&Row) -> Place) -> ExportProfilesServiceRequest {
        let mut dictionary = Dictionary::new();
        let mut places = Places::new(&self.recording.frames);
        let mut resources = Vec::new();
        for of_process in parts.chunk_by(|a, b| a.profile.program == b.profile.program) {
            let program = self.programs.get(of_process[0].profile.program);
            let profiles =
                of_process.iter().map(|part| self.profile(part, &mut dictionary, &mut places, &place)).collect();
            let scope = InstrumentationScope {
                name: "profilerd".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            };
            resources.push(ResourceProfiles {
                resource: Some(resource::of(program, &self.options.host)),
                scope_profiles: vec![ScopeProfiles { scope: Some(scope), profiles, schema_url: String::new() }],
                schema_url: resource::SCHEMA_URL.to_owned(),
            });
        }
        ExportProfilesServiceRequest { resource_profiles: resources, dictionary: Some(places.finish(dictionary)) }
    }

    fn profile<'a>(
        &'a self,
        part: &Part<'_>,
        dictionary: &mut Dictionary,
        places: &mut Places<'a>,
        place: impl Fn(&Row) -> Place,
    ) -> Profile {
        let signal = part.profile.signal;
        let program = self.programs.get(part.profile.program);
        let (time, duration) = self.span();
        let mut value_type = |(name, unit): (&str, &str)| ValueType {
            type_strindex: dictionary.string(name),
            unit_strindex: dictionary.string(unit),
        };
        let sample_type = value_type(signal.sample_type());
        let period = signal.period(self.recording.context.rate_hz).map(|(of, period)| (value_type(of), period));

        // Stacks with the same frames may have several ids, for one in each program that a process ran.
        let mut known: HashMap<(i32, Rc<[i32]>), usize> = HashMap::with_capacity(part.rows.len());
        let mut attributes = Attributes::default();
        let mut samples: Vec<Sample> = Vec::with_capacity(part.rows.len());
        for row in part.rows {
            let stack_index = places.stack(place(row), dictionary);
            let attribute_indices = attributes.of(row, dictionary);
            let at = *known.entry((stack_index, attribute_indices)).or_insert_with_key(|(_, attributes)| {
                let attribute_indices = attributes.to_vec();
                samples.push(Sample { stack_index, attribute_indices, ..Sample::default() });
                samples.len() - 1
            });
            let sample = &mut samples[at];
            match &row.amount {
                Amount::Times(times) => {
                    let times = times.iter().map(|at_ns| self.unix(*at_ns).clamp(time, time + duration - 1));
                    sample.timestamps_unix_nano.extend(times);
                    sample.timestamps_unix_nano.sort_unstable();
                }
                Amount::Sum(ns) => {
                    let before = sample.values.first().copied().unwrap_or(0);
                    sample.values = vec![before.saturating_add_unsigned(*ns)];
                    sample.timestamps_unix_nano = vec![time + duration / 2];
                }
            }
        }
        let identity = ProfileIdentity {
            host: &self.options.host,
            window: (self.options.sequence, self.recording.context.start),
            pid: program.pid,
            generation: program.generation,
            signal,
            first: part.first,
        };
        Profile {
            sample_type: Some(sample_type),
            samples,
            time_unix_nano: time,
            duration_nano: duration,
            period_type: period.map(|(of, _)| of),
            period: period.map_or(0, |(_, period)| period),
            profile_id: identity.profile_id(),
            ..Profile::default()
        }
    }

    /// Start and length of the window; never empty, since times have to lie inside.
    fn span(&self) -> (u64, u64) {
        let capture = &self.recording.capture;
        (self.recording.context.start.0.min(i64::MAX as u64), capture.end.since(capture.start).clamp(1, 1 << 60))
    }

    fn unix(&self, at_ns: u64) -> u64 {
        self.span().0.saturating_add(at_ns.saturating_sub(self.recording.capture.start.0))
    }
}

/// Which thread, and what it did, as attributes: a few lists for many rows.
#[derive(Default)]
struct Attributes<'a>(HashMap<Said<'a>, Rc<[i32]>>);

/// Thread and its name, its state, why it waited.
type Said<'a> = (u32, Option<&'a str>, Option<&'static str>, Option<WaitClass>);

impl<'a> Attributes<'a> {
    fn of(&mut self, row: &'a Row, dictionary: &mut Dictionary) -> Rc<[i32]> {
        let Identity { tid, state, class, .. } = row.identity;
        let name = row.thread_name.as_deref().filter(|name| !name.is_empty());
        let list = self.0.entry((tid, name, state, class)).or_insert_with(|| {
            let texts = [
                ("thread.name", name),
                ("profilerd.state", state),
                ("profilerd.wait.class", class.map(WaitClass::name)),
            ];
            let texts = texts.into_iter().filter_map(|(key, value)| Some((key, Value::Text(value?))));
            let all = std::iter::once(("thread.id", Value::Int(tid.into()))).chain(texts);
            all.map(|(key, value)| dictionary.attribute(key, value)).collect()
        });
        list.clone()
    }
}
