//! OTLP profiles: a recording as requests to a collector. Pure: nothing is read and nothing is sent here.
//!
//! Each process is a resource and each signal of it a profile, with the shape that consumers agree on: CPU samples
//! have time stamps and no values, everything else one value and one time stamp in the middle of the window. The
//! format is Alpha, so everything that knows it is in this folder.

mod build;
mod dictionary;
mod id;
mod places;
mod programs;
mod resource;
mod rows;
mod signal;
mod split;
mod threads;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;

use crate::model::Recording;

pub use signal::Signal;

/// Most bytes of an encoded request by default: servers commonly stop at 4 MiB.
pub const MOST_REQUEST_BYTES: usize = 3 << 20;

/// The machine that was profiled. Texts that are empty are not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// What it is known by for good, such as its machine id.
    pub id: String,
}

/// What [`encode`] needs to know beside the recording.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the recording is from.
    pub host: Host,
    /// Number of the window. Profile ids are made of it, of the window's start, and of the host.
    pub sequence: u64,
    /// What to send, in this order within each process. Viewers open the first.
    pub signals: Vec<Signal>,
    /// Most bytes of an encoded request. One that holds a single sample may exceed it by names of its resource only.
    pub most_bytes: usize,
}

impl Options {
    /// On-CPU and off-CPU, in requests of [`MOST_REQUEST_BYTES`].
    pub fn new(host: Host, sequence: u64) -> Options {
        Options { host, sequence, signals: Signal::DEFAULT.to_vec(), most_bytes: MOST_REQUEST_BYTES }
    }
}

/// The requests that say all of a recording, none if there is nothing to say.
///
/// The same recording and options give the same bytes. Waits that were not walked show as such: `aggregate::share_skipped`
/// gives them their places first.
pub fn encode(recording: &Recording, options: &Options) -> Vec<ExportProfilesServiceRequest> {
    let programs = programs::Programs::new(recording);
    let threads = threads::Threads::new(&recording.capture.threads);
    let profiles = rows::profiles(recording, &programs, &threads, &options.signals);
    split::requests(&build::Source { recording, programs: &programs, options }, &profiles)
}
