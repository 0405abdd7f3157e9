//! OTLP profiles as a receiver sees them: every request obeys the format, whatever goes wrong on the way arrives once,
//! and a real collector and another language's decoder say the same.

#![expect(clippy::unwrap_used, reason = "tests")]

mod check;
mod collector;
mod conformance;
mod delivery;
mod fake;
mod metrics;
mod python;
mod recordings;
#[path = "../kernel_service/serve.rs"]
mod serve;
mod served;
#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Mutex;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest as Request;
use profilerd::export::Windows;
use profilerd::model::Recording;
use profilerd::sink::otlp::{Host, Options, Signal, encode};

/// Windows in memory, as a store would give them.
#[derive(Default)]
struct Store(Mutex<BTreeMap<u64, Recording>>);

impl Store {
    /// A store with these windows.
    fn of(windows: impl IntoIterator<Item = u64>) -> Store {
        let store = Store::default();
        windows.into_iter().for_each(|sequence| store.add(sequence));
        store
    }

    fn add(&self, sequence: u64) {
        self.0.lock().unwrap().insert(sequence, recordings::window(sequence));
    }

    fn remove(&self, windows: impl IntoIterator<Item = u64>) {
        let mut all = self.0.lock().unwrap();
        windows.into_iter().for_each(|sequence| drop(all.remove(&sequence)));
    }
}

impl Windows for Store {
    fn after(&self, sequence: u64) -> io::Result<Option<(u64, Recording)>> {
        let all = self.0.lock().unwrap();
        Ok(all.range(sequence + 1..).next().map(|(sequence, recording)| (*sequence, recording.clone())))
    }

    fn newest(&self) -> io::Result<Option<u64>> {
        Ok(self.0.lock().unwrap().keys().next_back().copied())
    }
}

fn host() -> Host {
    Host { name: "checkout-1".to_owned(), id: "0123456789abcdef0123456789abcdef".to_owned() }
}

/// What these windows are in all, encoded by nobody else.
fn expected(windows: impl IntoIterator<Item = u64>, signals: &[Signal]) -> Summary {
    let mut summary = Summary::default();
    for sequence in windows {
        let options = Options { signals: signals.to_vec(), ..Options::new(host(), sequence) };
        let recording = recordings::window(sequence);
        for request in encode(&recording, &options) {
            summary.add(&request);
        }
    }
    summary
}

/// What requests hold in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Summary {
    /// Number of profiles, with those that came again.
    profiles: usize,
    ids: BTreeSet<String>,
    /// Time stamps of `samples`, and sums of values of every other type.
    totals: BTreeMap<String, u64>,
}

impl Summary {
    fn of<'a>(requests: impl IntoIterator<Item = &'a Request>) -> Summary {
        let mut summary = Summary::default();
        requests.into_iter().for_each(|request| summary.add(request));
        summary
    }

    fn add(&mut self, request: &Request) {
        let strings = &request.dictionary.as_ref().unwrap().string_table;
        let scopes = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
        for profile in scopes.flat_map(|scope| &scope.profiles) {
            self.profiles += 1;
            let id = profile.profile_id.iter().map(|byte| format!("{byte:02x}")).collect();
            if !self.ids.insert(id) {
                continue;
            }
            let kind = &strings[profile.sample_type.unwrap().type_strindex as usize];
            let total = self.totals.entry(kind.clone()).or_default();
            for sample in &profile.samples {
                *total += match kind.as_str() {
                    "samples" => sample.timestamps_unix_nano.len() as u64,
                    _ => sample.values.iter().sum::<i64>() as u64,
                };
            }
        }
    }

    /// Fails unless all is there, and nothing twice.
    fn assert_once(&self, expected: &Summary) {
        assert_eq!(self.totals, expected.totals);
        assert_eq!(self.ids, expected.ids);
        assert_eq!(self.profiles, self.ids.len(), "some came twice");
    }
}
