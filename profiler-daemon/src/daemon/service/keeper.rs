//! The thread that names the stacks of windows and keeps them: off the capture's path, at its own pace.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::pace::Pace;
use crate::daemon::heap;
use crate::daemon::pipeline::mark_cut;
use crate::daemon::rotate::RawWindow;
use crate::export::Metrics;
use crate::model::{Frame, MonoNs, Recording};
use crate::store::{Limits, Store};
use crate::symbolize::Symbolizer;
use crate::telemetry::{StoreCounts, Telemetry};

/// Most windows that wait to be named and kept.
pub(super) const BACKLOG: usize = 30;
/// Windows that wait from which on there is no rest: what the service may cost is worth no window.
const NO_REST: usize = BACKLOG / 2;
/// Longest rest at once, so that the word to stop, another share, and windows that pile up are heard.
const REST: Duration = Duration::from_millis(200);

/// What the thread is told.
enum Job {
    Window(Box<RawWindow>),
    Store(Limits),
    Metrics(Vec<Arc<Metrics>>),
}

/// The thread, from outside.
pub(super) struct Keeper {
    jobs: Option<SyncSender<Job>>,
    waiting: Arc<AtomicUsize>,
    stopping: Arc<std::sync::atomic::AtomicBool>,
    needed: Arc<AtomicU64>,
    /// How much of one CPU the thread may use, as bits.
    share: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread. `newest` is told the number of each window that is stored; `share` is how much of one CPU the
    /// thread may use.
    pub(super) fn start(
        store: Store,
        telemetry: Arc<Telemetry>,
        newest: Arc<AtomicU64>,
        share: f64,
    ) -> io::Result<Keeper> {
        let (jobs, receive) = sync_channel(BACKLOG + 8);
        let (waiting, needed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
        let stopping = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let share = Arc::new(AtomicU64::new(share.to_bits()));
        let (needed_too, waiting_too, stopping_too) = (needed.clone(), waiting.clone(), stopping.clone());
        let share_too = share.clone();
        let work = move || {
            let mut work = Work {
                store,
                telemetry,
                newest,
                needed: needed_too,
                waiting: waiting_too,
                stopping: stopping_too,
                share: share_too,
                // It cannot change threads.
                symbolizer: Symbolizer::lasting(),
                lost_names: HashMap::new(),
                names: HashMap::new(),
                metrics: Vec::new(),
                is_full: false,
            };
            work.run(&receive);
        };
        let thread = std::thread::Builder::new().name("keeper".to_owned()).spawn(work)?;
        Ok(Keeper { jobs: Some(jobs), waiting, stopping, needed, share, thread: Some(thread) })
    }

    /// Hands over a window. Returns false, and the window is lost, if too many wait.
    pub(super) fn keep(&self, window: RawWindow) -> bool {
        if self.waiting.load(Ordering::Relaxed) >= BACKLOG {
            return false;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let kept = self.tell(Job::Window(Box::new(window)));
        if !kept {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        kept
    }

    /// Windows that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The lowest window that some exporter still has to send; 0 if there is none.
    pub(super) fn set_needed(&self, sequence: u64) {
        self.needed.store(sequence, Ordering::Relaxed);
    }

    /// Other limits of the store, another share of a CPU, other receivers of metrics.
    pub(super) fn set(&self, limits: Limits, share: f64, metrics: Vec<Arc<Metrics>>) {
        self.tell(Job::Store(limits));
        self.share.store(share.to_bits(), Ordering::Relaxed);
        self.tell(Job::Metrics(metrics));
    }

    fn tell(&self, job: Job) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        match jobs.try_send(job) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// Whether the thread is there: it only ends by itself if something in it went wrong.
    pub(super) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Keeps what waits and ends.
    pub(super) fn stop(mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Nothing is left to say about a thread that panicked: it did so itself.
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    store: Store,
    telemetry: Arc<Telemetry>,
    newest: Arc<AtomicU64>,
    needed: Arc<AtomicU64>,
    waiting: Arc<AtomicUsize>,
    stopping: Arc<std::sync::atomic::AtomicBool>,
    share: Arc<AtomicU64>,
    symbolizer: Symbolizer,
    /// What naming had failed at when the window before was done.
    lost_names: HashMap<&'static str, u64>,
    /// Frames of every stack that a window may use again.
    names: HashMap<u64, Arc<[Arc<Frame>]>>,
    metrics: Vec<Arc<Metrics>>,
    /// Whether the last window could not be stored: that is said once.
    is_full: bool,
}

impl Work {
    fn run(&mut self, jobs: &Receiver<Job>) {
        let mut pace = Pace::new(self.share());
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Window(window) => {
                    self.window(*window);
                    heap::give_back();
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Job::Store(limits) => self.store.set_limits(limits),
                Job::Metrics(metrics) => self.metrics = metrics,
            }
            while !self.stopping.load(Ordering::Relaxed) && self.waiting.load(Ordering::Relaxed) < NO_REST {
                pace.set(self.share());
                let rest = pace.rest();
                if rest.is_zero() {
                    break;
                }
                std::thread::sleep(REST.min(rest));
            }
        }
    }

    fn share(&self) -> f64 {
        f64::from_bits(self.share.load(Ordering::Relaxed))
    }

    fn window(&mut self, window: RawWindow) {
        let started = Instant::now();
        let recording = self.name(window);
        self.telemetry.stage("name", started.elapsed());
        self.telemetry.observe(&recording);
        self.metrics.iter().for_each(|metrics| metrics.add(&recording));

        let started = Instant::now();
        match self.store.append(&recording) {
            Ok(sequence) => {
                self.newest.store(sequence, Ordering::Release);
                if std::mem::take(&mut self.is_full) {
                    tracing::info!(sequence, "windows are stored again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_full, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                    tracing::error!(%error, cause, remedy = error.remedy(), "windows are not stored");
                }
            }
        }
        self.telemetry.stage("store", started.elapsed());

        let started = Instant::now();
        let needed = Some(self.needed.load(Ordering::Relaxed)).filter(|needed| *needed > 0);
        if let Err(error) = self.store.maintain(MonoNs::now().to_unix(), needed) {
            tracing::warn!(%error, remedy = error.remedy(), "the store could not be put in order");
        }
        self.telemetry.stage("maintain", started.elapsed());
        self.count();
    }

    /// Gives the stacks their names.
    fn name(&mut self, window: RawWindow) -> Recording {
        let RawWindow { mut capture, new_stacks, forgotten, programs, mut context } = window;
        self.names.extend(self.symbolizer.name_all(new_stacks));
        let of_window = |id: &u64| Some((*id, self.names.get(id)?.clone()));
        let frames: HashMap<u64, Arc<[Arc<Frame>]>> = capture.stacks.keys().filter_map(of_window).collect();
        mark_cut(&mut capture, &frames);
        for (cause, count) in self.symbolizer.failures() {
            let before = self.lost_names.insert(cause, count).unwrap_or(0);
            context.losses.by_cause.insert(cause, count.saturating_sub(before));
        }
        forgotten.iter().for_each(|id| drop(self.names.remove(id)));
        Recording { capture, frames: frames.into_iter().collect(), programs, context }
    }

    fn count(&self) {
        let counters = self.store.counters();
        self.telemetry.store(&StoreCounts {
            bytes: counters.bytes,
            windows: counters.windows,
            oldest: self.store.oldest(),
            stored: counters.appended_total,
            removed_age: counters.removed_age_total,
            removed_size: counters.removed_size_total,
            removed_disk_full: counters.removed_full_total,
            dropped_disk_full: counters.dropped_full_total,
            dropped_error: counters.dropped_failed_total,
            torn: counters.torn_total,
        });
    }
}
