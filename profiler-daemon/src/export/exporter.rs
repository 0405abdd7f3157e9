use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use prost::Message;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::Backoff;
use super::client::{Client, Reply};
use super::counters::add;
use super::cursor::Cursor;
use super::next::{Encoded, look, profiles_of};
use super::pace::Pace;
use super::{Counters, Destination, DestinationError, Windows};
use crate::sink::otlp::Host;

/// How often the store is asked for a new window.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why an exporter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The destination is not usable.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The cursor's folder does not take it.
    #[error("cannot keep the cursor `{path}`")]
    Cursor {
        /// Where it should be.
        path: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// Sends what comes to one destination, in order and at least once. What was sent before a restart and not noted in
/// the cursor is sent again with the same profile ids.
pub struct Exporter {
    destination: Arc<Destination>,
    host: Host,
    cursor: Cursor,
    windows: Arc<dyn Windows>,
    client: Client,
    counters: Arc<Counters>,
    pace: Pace,
    backoff: Backoff,
    /// Last window that is done; `None` before the first one.
    position: Option<u64>,
    /// The newest window that is known of; 0 before the first one.
    newest: u64,
    /// Since when the destination does not answer.
    down_since: Option<Instant>,
    said: Said,
}

/// What was logged and is not said again.
#[derive(Debug, Default)]
struct Said {
    refused: bool,
    rejected: bool,
    store: bool,
    cursor: bool,
}

/// The exporter is told to stop.
struct Stopped;

impl Exporter {
    /// Makes ready to send to a destination from where the cursor file says. Without that file from the next window
    /// on: what a store kept before it had a destination stays there. Connects to nothing yet.
    ///
    /// # Errors
    /// The destination is not usable, or the cursor cannot be read or written.
    pub fn new(
        destination: Destination,
        host: Host,
        cursor: &Path,
        windows: Arc<dyn Windows>,
    ) -> Result<Exporter, ExportError> {
        let client = Client::new(&destination)?;
        let failed = |source| ExportError::Cursor { path: cursor.to_owned(), source };
        let file = Cursor::new(cursor);
        let position = match file.load().map_err(failed)? {
            Some(0) => None,
            Some(sequence) => Some(sequence),
            None => {
                let newest = windows.newest().map_err(failed)?;
                file.store(newest.unwrap_or(0)).map_err(failed)?;
                newest
            }
        };
        Ok(Exporter {
            host,
            cursor: file,
            windows,
            client,
            counters: Arc::default(),
            pace: Pace::new(destination.bytes_per_second),
            backoff: Backoff::new(destination.first_retry, destination.longest_retry),
            position,
            newest: 0,
            down_since: None,
            said: Said::default(),
            destination: Arc::new(destination),
        })
    }

    /// What is counted while it runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Sends until `stop` holds true or its sender is gone; then what is left, for as long as one request may take at
    /// most, and only if the destination answers. The rest waits for the next start.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let timeout = self.destination.timeout;
        let mut stop_too = stop.clone();
        let patience = async {
            stopped(&mut stop_too).await;
            sleep(timeout).await;
        };
        tokio::select! {
            _ = self.work(&mut stop) => {}
            () = patience => {}
        }
    }

    async fn work(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), Stopped> {
        let mut is_last = false;
        loop {
            match self.next().await {
                Ok(Some(window)) => {
                    for request in window.requests {
                        self.deliver(request, stop).await?;
                    }
                    self.done(window.sequence).await;
                }
                Ok(None) => {
                    if is_last {
                        return Err(Stopped);
                    }
                    // After the word to stop one more look: the last window may just have come.
                    is_last = pause(LOOK_EVERY, stop).await.is_err();
                }
                Err(error) => {
                    if !self.said.store {
                        tracing::warn!(%error, "cannot read stored windows to export them");
                    }
                    self.said.store = true;
                    pause(LOOK_EVERY, stop).await?;
                }
            }
        }
    }

    /// The next window as requests, lost ones counted.
    async fn next(&mut self) -> io::Result<Option<Encoded>> {
        let (windows, position) = (self.windows.clone(), self.position);
        let (destination, host) = (self.destination.clone(), self.host.clone());
        // Reads files, and computes for a while.
        let read = move || look(&*windows, position, &destination, host);
        let next = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        self.said.store = false;
        if next.is_reset {
            tracing::warn!(
                position = self.position,
                newest = next.newest,
                "the store begins anew, and so does the export"
            );
            self.position = None;
        }
        self.newest = next.newest.unwrap_or(0);
        self.count_waiting();
        if let (Some(position), Some(window)) = (self.position, &next.window) {
            let lost = window.sequence.saturating_sub(position).saturating_sub(1);
            if lost > 0 {
                tracing::warn!(windows = lost, after = position, "windows were removed before they could be exported");
                add(&self.counters.windows_lost, lost);
            }
        }
        Ok(next.window)
    }

    /// Sends one request until it is taken or refused.
    async fn deliver(
        &mut self,
        request: ExportProfilesServiceRequest,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), Stopped> {
        let bytes = request.encoded_len() as u64;
        let profiles = profiles_of(&request);
        sleep_until(self.pace.free_at()).await;
        loop {
            self.pace.sent(bytes);
            match self.client.send(&request).await {
                Reply::Taken { rejected, message } => {
                    self.counters.taken(profiles, rejected.min(profiles), bytes);
                    if rejected > 0 && !self.said.rejected {
                        self.said.rejected = true;
                        tracing::warn!(rejected, message, endpoint = %self.destination.endpoint, "profiles were rejected");
                    }
                    self.up();
                    return Ok(());
                }
                Reply::Refused { reason } => {
                    self.counters.refused(profiles);
                    if !self.said.refused {
                        self.said.refused = true;
                        tracing::error!(reason, endpoint = %self.destination.endpoint, "a request was refused for good");
                    }
                    self.up();
                    return Ok(());
                }
                Reply::Later { reason, after } => {
                    add(&self.counters.attempts_failed, 1);
                    if self.down_since.is_none() {
                        self.down_since = Some(Instant::now());
                        tracing::warn!(reason, endpoint = %self.destination.endpoint, "cannot export, and goes on trying");
                    }
                    // What comes meanwhile waits, too. It only reads a number; if it cannot, the next look tells.
                    if let Ok(Some(newest)) = self.windows.newest() {
                        self.newest = newest;
                        self.count_waiting();
                    }
                    pause(self.backoff.next(after), stop).await?;
                }
            }
        }
    }

    fn up(&mut self) {
        self.backoff.reset();
        if let Some(since) = self.down_since.take() {
            let seconds = since.elapsed().as_secs_f64();
            tracing::info!(seconds, endpoint = %self.destination.endpoint, "exports again");
        }
    }

    fn count_waiting(&self) {
        let waiting = self.newest.saturating_sub(self.position.unwrap_or(0));
        self.counters.windows_waiting.store(waiting, Ordering::Relaxed);
    }

    /// Notes that a window is done.
    async fn done(&mut self, sequence: u64) {
        add(&self.counters.windows_sent, 1);
        self.position = Some(sequence);
        self.count_waiting();
        let cursor = self.cursor.clone();
        let stored = tokio::task::spawn_blocking(move || cursor.store(sequence)).await.map_err(io::Error::other);
        match stored.flatten() {
            Ok(()) => self.said.cursor = false,
            Err(error) => {
                if !self.said.cursor {
                    tracing::warn!(%error, "cannot keep the cursor: a restart would export windows again");
                }
                self.said.cursor = true;
            }
        }
    }
}

/// Waits until it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error says that nobody is left who could say it.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Waits, unless it is time to stop.
async fn pause(time: Duration, stop: &mut watch::Receiver<bool>) -> Result<(), Stopped> {
    tokio::select! {
        () = sleep(time) => Ok(()),
        () = stopped(stop) => Err(Stopped),
    }
}
