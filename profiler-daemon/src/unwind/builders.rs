//! Threads that make tables, off every other path.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, available_parallelism};

use super::{Cache, CacheCounts, Dictionary, Part, Segment, build, pack};
use crate::process::{Image, Module};

/// More threads only help when many large files come at once.
const MOST_THREADS: usize = 4;

/// A file's table in the form that is written to the kernel.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) parts: Vec<Part>,
    pub(super) segments: Vec<Segment>,
}

/// What became of a file that was given to [`Builders::submit`]: `None` if nothing describes its code.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) module: Arc<Module>,
    pub(super) packed: Option<Packed>,
    /// Whether the file could not be read as one, rather than having no tables.
    pub(super) failed: bool,
}

/// A pool of threads. Dropping it waits for the files that are being read.
#[derive(Debug)]
pub(super) struct Builders {
    jobs: Option<Sender<Arc<Module>>>,
    results: Receiver<Built>,
    threads: Vec<JoinHandle<()>>,
    cache: Option<Arc<Cache>>,
    /// Set once nobody wants results any more.
    stopped: Arc<AtomicBool>,
    /// Rules of all files, numbered.
    pub(super) dictionary: Arc<Mutex<Dictionary>>,
}

impl Builders {
    /// Threads that look into `cache` first, if there is one.
    pub(super) fn start(cache: Option<Cache>) -> Builders {
        let cache = cache.map(Arc::new);
        let (jobs, queue) = channel::<Arc<Module>>();
        let (done, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let stopped = Arc::new(AtomicBool::new(false));
        let dictionary = Arc::new(Mutex::new(Dictionary::new()));
        let number = available_parallelism().map_or(1, |cpus| cpus.get()).min(MOST_THREADS);
        let threads = (0..number)
            .filter_map(|_| {
                let (queue, done) = (queue.clone(), done.clone());
                let (dictionary, cache, stopped) = (dictionary.clone(), cache.clone(), stopped.clone());
                let run = move || work(&queue, &done, &dictionary, cache.as_deref(), &stopped);
                Builder::new().name("unwind-tables".to_owned()).spawn(run).ok()
            })
            .collect();
        Builders { jobs: Some(jobs), results, threads, cache, stopped, dictionary }
    }

    /// Has a file's table made. Returns whether there is anybody to do it.
    pub(super) fn submit(&self, module: Arc<Module>) -> bool {
        !self.threads.is_empty() && self.jobs.as_ref().is_some_and(|jobs| jobs.send(module).is_ok())
    }

    /// What the cache did; nothing if there is none.
    pub(super) fn cache_counts(&self) -> CacheCounts {
        self.cache.as_ref().map(|cache| cache.counts()).unwrap_or_default()
    }

    /// The next finished one, if any.
    pub(super) fn take(&self) -> Option<Built> {
        self.results.try_recv().ok()
    }
}

impl Drop for Builders {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // Panics are caught where a file is read.
            let _ = thread.join();
        }
    }
}

fn work(
    queue: &Mutex<Receiver<Arc<Module>>>,
    done: &Sender<Built>,
    dictionary: &Mutex<Dictionary>,
    cache: Option<&Cache>,
    stopped: &AtomicBool,
) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(module) = next else { return };
        if stopped.load(Relaxed) {
            return;
        }
        // Whatever a file does to us, it is one file whose code has no tables.
        let built = catch_unwind(AssertUnwindSafe(|| made(module.clone(), dictionary, cache))).unwrap_or(Built {
            module,
            packed: None,
            failed: true,
        });
        if done.send(built).is_err() {
            return;
        }
    }
}

fn made(module: Arc<Module>, dictionary: &Mutex<Dictionary>, cache: Option<&Cache>) -> Built {
    let Image::Elf { file, .. } = &module.image else { return Built { module, packed: None, failed: false } };
    let table = cache.map_or_else(|| build(file), |cache| cache.table(file));
    let Ok(table) = table else { return Built { module, packed: None, failed: true } };
    let ids = dictionary.lock().unwrap_or_else(PoisonError::into_inner).ids(&table.rules);
    let parts = pack(&table, &ids);
    let packed = (!parts.is_empty()).then_some(Packed { parts, segments: table.segments });
    Built { module, packed, failed: false }
}
