//! The destinations of windows: exporters on a thread with a runtime of their own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;

use crate::aggregate;
use crate::config;
use crate::export::{
    self, Counters, Destination, DestinationError, ExportError, Exporter, Kind, Metrics, MetricsError,
};
use crate::model::{Recording, UnixNs};
use crate::sink::otlp::Signal;
use crate::store::{Follower, Reader};
use crate::telemetry::DestinationCounts;

/// Folder of the cursors inside of the store.
const CURSORS: &str = "exported";

/// Why windows cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum ExportsError {
    /// A destination is not usable.
    #[error("cannot send to `{name}`")]
    Destination {
        /// Which.
        name: String,
        /// What is wrong with it.
        source: DestinationError,
    },
    /// An exporter cannot start.
    #[error("cannot send to `{name}`")]
    Exporter {
        /// Where to.
        name: String,
        /// What is wrong.
        source: ExportError,
    },
    /// Metrics cannot be sent.
    #[error("cannot send metrics to `{name}`")]
    Metrics {
        /// Where to.
        name: String,
        /// What is wrong.
        source: MetricsError,
    },
    /// No thread or no folder for it.
    #[error("cannot start to export")]
    Io(#[from] io::Error),
}

/// Running exporters.
pub(super) struct Exports {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    stop_runtime: Option<tokio::sync::oneshot::Sender<()>>,
    folder: PathBuf,
    newest: Arc<AtomicU64>,
    reader: Reader,
    running: Vec<Running>,
}

struct Running {
    destination: config::Destination,
    stop: watch::Sender<bool>,
    task: Option<tokio::task::JoinHandle<()>>,
    counters: Option<Arc<Counters>>,
    metrics: Option<Arc<Metrics>>,
}

impl Exports {
    /// Begins to send the windows of the store in `folder`, whose newest one is `newest`.
    pub(super) fn start(folder: &Path, newest: Arc<AtomicU64>) -> Result<Exports, ExportsError> {
        let folder_of_cursors = folder.join(CURSORS);
        std::fs::create_dir_all(&folder_of_cursors)?;
        let reader = Reader::open(folder).map_err(io::Error::other)?;
        let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop_runtime, stopped) = tokio::sync::oneshot::channel();
        let run = move || {
            // An error means that the sender is gone, which is an end, too.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(Duration::from_secs(1));
        };
        let thread = std::thread::Builder::new().name("export".to_owned()).spawn(run)?;
        Ok(Exports {
            handle,
            thread: Some(thread),
            stop_runtime: Some(stop_runtime),
            folder: folder_of_cursors,
            newest,
            reader,
            running: Vec::new(),
        })
    }

    /// Sends to these destinations from now on: those that stay the same are not disturbed. Returns those that are none any
    /// more.
    pub(super) fn set(&mut self, wanted: &[config::Destination], every: Duration) -> Result<Vec<String>, ExportsError> {
        let (stay, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|running| wanted.contains(&running.destination));
        self.running = stay;
        let names = gone.iter().map(|running| running.destination.name()).collect();
        self.end(gone);
        for destination in wanted {
            if !self.running.iter().any(|running| running.destination == *destination) {
                let running = self.begin(destination, every)?;
                self.running.push(running);
            }
        }
        Ok(names)
    }

    fn begin(&self, wanted: &config::Destination, every: Duration) -> Result<Running, ExportsError> {
        let name = wanted.name();
        let _runtime = self.handle.enter();
        let host = export::host();
        let (stop, stopped) = watch::channel(false);
        let mut running = Running { destination: wanted.clone(), stop, task: None, counters: None, metrics: None };
        let signals = signals(wanted);
        if !signals.is_empty() {
            let destination = destination(wanted, Kind::Profiles, signals)
                .map_err(|source| ExportsError::Destination { name: name.clone(), source })?;
            let follower = Mutex::new(Follower::new(self.reader.clone()));
            let windows = Stored { follower, newest: self.newest.clone() };
            let cursor = self.folder.join(file_name(&name));
            let exporter = Exporter::new(destination, host.clone(), &cursor, Arc::new(windows))
                .map_err(|source| ExportsError::Exporter { name: name.clone(), source })?;
            running.counters = Some(exporter.counters());
            running.task = Some(self.handle.spawn(exporter.run(stopped)));
        }
        if wanted.signals.contains(&config::ExportSignal::Metrics) {
            let destination = destination(wanted, Kind::Metrics, Vec::new())
                .map_err(|source| ExportsError::Destination { name: name.clone(), source })?;
            let metrics = Metrics::start(&destination, &host, every)
                .map_err(|source| ExportsError::Metrics { name: name.clone(), source })?;
            running.metrics = Some(Arc::new(metrics));
        }
        Ok(running)
    }

    /// Those who want metrics.
    pub(super) fn metrics(&self) -> Vec<Arc<Metrics>> {
        self.running.iter().filter_map(|running| running.metrics.clone()).collect()
    }

    /// Names of the destinations and what they count.
    pub(super) fn counts(&self) -> Vec<(String, DestinationCounts)> {
        let counted = |running: &Running| {
            let counts = running.counters.as_ref()?.read();
            let last = counts.last_success_unix_ns;
            let counts = DestinationCounts {
                taken: counts.requests_sent,
                refused: counts.requests_refused,
                failed: counts.attempts_failed,
                bytes: counts.bytes_sent,
                rejected_profiles: counts.profiles_rejected + counts.profiles_refused,
                waiting_windows: counts.windows_waiting,
                lost_windows: counts.windows_lost,
                last_taken: (last > 0).then_some(UnixNs(last)),
            };
            Some((running.destination.name(), counts))
        };
        self.running.iter().filter_map(counted).collect()
    }

    /// Sends what is left, for as long as one request may take, and ends.
    pub(super) fn stop(mut self) {
        let running = std::mem::take(&mut self.running);
        self.end(running);
        drop(self.stop_runtime.take());
        if let Some(thread) = self.thread.take() {
            // Nothing is left to say about a thread that panicked: it did so itself.
            let _ = thread.join();
        }
    }

    fn end(&self, running: Vec<Running>) {
        for running in &running {
            // Nobody listens any more if it has ended by itself.
            let _ = running.stop.send(true);
        }
        for mut running in running {
            if let Some(task) = running.task.take() {
                let (done, wait) = std::sync::mpsc::channel();
                self.handle.spawn(async move {
                    let _ = task.await;
                    let _ = done.send(());
                });
                let _ = wait.recv_timeout(Duration::from_secs(30));
            }
            // The last one to let go of it stops it.
            if let Some(metrics) = running.metrics.take().and_then(Arc::into_inner) {
                metrics.stop();
            }
        }
    }
}

/// The signals of a destination that are profiles.
fn signals(wanted: &config::Destination) -> Vec<Signal> {
    use config::ExportSignal;
    let signal = |signal: &ExportSignal| match signal {
        ExportSignal::Cpu => Some(Signal::Cpu),
        ExportSignal::OffCpu => Some(Signal::OffCpu),
        ExportSignal::RunQueue => Some(Signal::RunQueue),
        ExportSignal::Wall => Some(Signal::Wall),
        ExportSignal::Metrics => None,
    };
    if wanted.signals.is_empty() {
        Signal::DEFAULT.to_vec()
    } else {
        wanted.signals.iter().filter_map(signal).collect()
    }
}

/// What the configuration says of a destination, over what the environment says of all.
fn destination(
    wanted: &config::Destination,
    kind: Kind,
    signals: Vec<Signal>,
) -> Result<Destination, DestinationError> {
    let variable = |name: &str| {
        let is_given = name.ends_with("_PROTOCOL") && wanted.protocol.is_some();
        if is_given { None } else { std::env::var(name).ok() }
    };
    let protocol = wanted.protocol.map(|protocol| match protocol {
        config::Protocol::Grpc => export::Protocol::Grpc,
        config::Protocol::HttpProtobuf => export::Protocol::Http,
    });
    let plain = Destination::new(kind, &wanted.endpoint, protocol)?;
    let mut destination =
        Destination::from_env(kind, Some(&wanted.endpoint), variable)?.unwrap_or_else(|| plain.clone());
    if protocol.is_some() {
        (destination.protocol, destination.endpoint) = (plain.protocol, plain.endpoint);
    }
    if !wanted.headers.is_empty() {
        let header =
            |(name, value): &(String, String)| export::Header { name: name.to_lowercase(), value: value.clone() };
        destination.headers = wanted.headers.iter().map(header).collect();
    }
    if let Some(compression) = wanted.compression {
        destination.gzip = compression == config::Compression::Gzip;
    }
    if let Some(timeout) = wanted.timeout {
        destination.timeout = timeout;
    }
    let tls = &wanted.tls;
    if tls.ca.is_some() {
        destination.tls.authority.clone_from(&tls.ca);
    }
    if let Some(identity) = tls.certificate.clone().zip(tls.key.clone()) {
        destination.tls.identity = Some(identity);
    }
    destination.signals = signals;
    Ok(destination)
}

/// A destination's name as a file name: what is unusual in one is written as its number.
fn file_name(name: &str) -> String {
    let mut file = String::new();
    for character in name.bytes() {
        match character {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' => file.push(character as char),
            other => file.push_str(&format!("_{other:02x}")),
        }
    }
    format!("{file}.cursor")
}

/// The store as exporters see it.
struct Stored {
    follower: Mutex<Follower>,
    newest: Arc<AtomicU64>,
}

impl export::Windows for Stored {
    fn after(&self, sequence: u64) -> io::Result<Option<(u64, Recording)>> {
        // Nothing newer: the files need not be looked at.
        if self.newest.load(Ordering::Acquire) <= sequence {
            return Ok(None);
        }
        let mut follower = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        let found = follower.after(sequence).map_err(io::Error::other)?;
        Ok(found.map(|(window, mut recording)| {
            // As in every report: waits that were not walked are shared out among those that were.
            aggregate::share_skipped(&mut recording.capture);
            (window.sequence, recording)
        }))
    }

    fn newest(&self) -> io::Result<Option<u64>> {
        let newest = self.newest.load(Ordering::Acquire);
        Ok((newest > 0).then_some(newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_destination_has_a_file_of_its_own() {
        assert_eq!(file_name("main"), "main.cursor");
        assert_eq!(file_name("http://a/../b"), "http_3a_2f_2fa_2f.._2fb.cursor");
        assert_ne!(file_name("a/b"), file_name("a_b"));
    }

    #[test]
    fn what_the_configuration_says_comes_first() {
        let wanted = config::Destination {
            protocol: Some(config::Protocol::Grpc),
            headers: vec![("X-Scope".to_owned(), "one".to_owned())],
            compression: Some(config::Compression::None),
            timeout: Some(Duration::from_secs(3)),
            ..config::Destination::at("http://127.0.0.1:4318")
        };
        let made = destination(&wanted, Kind::Profiles, signals(&wanted)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(made.protocol, export::Protocol::Grpc);
        assert_eq!((made.gzip, made.timeout.as_secs()), (false, 3));
        assert_eq!(made.headers[0].name, "x-scope");
        assert_eq!(made.signals, [Signal::Cpu, Signal::OffCpu]);
    }
}
