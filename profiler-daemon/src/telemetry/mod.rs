//! How the machine and the service fare, as a page for Prometheus.
//!
//! Times come from finished windows, so they are exact and a window late. Everything that was not measured
//! is absent from the page; a zero was measured.

mod counts;
mod metrics;
mod own;
mod server;
mod services;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, TextEncoder};

use crate::model::{Recording, WaitClass};
use metrics::{Metrics, seconds};
use services::Shown;

pub use counts::{DestinationCounts, StoreCounts};
pub use server::{Server, ServerError};
pub use services::{ServiceTime, by_service};

/// The service counts as dead if it gave no sign of life for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything that is on the page. Shared by all threads: each tells what it does.
#[derive(Debug)]
pub struct Telemetry {
    metrics: Metrics,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    shown: Shown,
    is_ready: bool,
    last_sign: Instant,
    last_window: Option<Instant>,
}

impl Telemetry {
    /// Knows nothing yet. At most `most_services` services and units get series of their own.
    pub fn new(most_services: usize) -> Telemetry {
        let now = Instant::now();
        let state = State { shown: Shown::new(most_services), is_ready: false, last_sign: now, last_window: None };
        Telemetry { metrics: Metrics::new(), state: Mutex::new(state) }
    }

    /// Takes a finished window in: the time of each service, what was lost and what it cost.
    pub fn observe(&self, recording: &Recording) {
        let mut state = self.state();
        let update = state.shown.update(by_service(recording));
        for gone in update.gone {
            self.metrics.remove_service(&gone);
        }
        for time in update.times {
            let labels = [&*time.service, &*time.unit];
            let ledger = &time.ledger;
            self.metrics.on_cpu.with_label_values(&labels).inc_by(seconds(ledger.on_cpu_ns));
            self.metrics.run_queue.with_label_values(&labels).inc_by(seconds(ledger.run_queue_ns));
            self.metrics.throttled.with_label_values(&labels).inc_by(seconds(ledger.throttled_ns));
            self.metrics.blocked.with_label_values(&labels).inc_by(seconds(ledger.blocked_ns));
            for class in WaitClass::ALL.into_iter().filter(|class| ledger.off_cpu(*class) > 0) {
                let off_cpu = self.metrics.off_cpu.with_label_values(&[labels[0], labels[1], class.name()]);
                off_cpu.inc_by(seconds(ledger.off_cpu(class)));
            }
            self.metrics.stolen.inc_by(seconds(ledger.stolen_ns));
            self.metrics.unseen.inc_by(seconds(ledger.unseen_ns));
        }
        for (cause, count) in &recording.context.losses.by_cause {
            self.lost(cause, *count);
        }
        let overhead = &recording.context.overhead;
        if let Some(kernel_ns) = overhead.kernel_ns {
            self.metrics.cpu_kernel.with_label_values::<&str>(&[]).inc_by(seconds(kernel_ns));
        }
        self.metrics.memory.with_label_values(&["kernel_maps"]).set(overhead.kernel_memory_bytes as f64);
        self.metrics.windows.inc();
        self.metrics.samples.inc_by(recording.capture.cpu_samples.len() as u64);
        self.metrics.threads.set(recording.capture.threads.len() as f64);
        self.metrics.programs.set(recording.programs.len() as f64);
        self.metrics.cpus.set(f64::from(recording.context.cpus));
        self.metrics.rate.set(f64::from(recording.context.rate_hz));
        state.last_window = Some(Instant::now());
    }

    /// A stage was done with a window, which took so long.
    pub fn stage(&self, stage: &'static str, took: Duration) {
        self.metrics.stages.with_label_values(&[stage]).observe(took.as_secs_f64());
    }

    /// So much waits in a queue, and so much may.
    pub fn queue(&self, queue: &'static str, items: usize, most: usize) {
        self.metrics.queue_items.with_label_values(&[queue]).set(items as f64);
        self.metrics.queue_most.with_label_values(&[queue]).set(most as f64);
    }

    /// Something was lost outside of windows, or its window never came to be.
    pub fn lost(&self, cause: &str, count: u64) {
        self.metrics.lost.with_label_values(&[cause]).inc_by(count);
    }

    /// What became of the requests to a destination, since the service was started.
    pub fn destination(&self, name: &str, counts: &DestinationCounts) {
        for (result, total) in [("success", counts.taken), ("refused", counts.refused), ("failed", counts.failed)] {
            raise(&self.metrics.deliveries.with_label_values(&[name, result]), total);
        }
        raise(&self.metrics.delivered_bytes.with_label_values(&[name]), counts.bytes);
        raise(&self.metrics.rejected_profiles.with_label_values(&[name]), counts.rejected_profiles);
        raise(&self.metrics.unsent_windows.with_label_values(&[name]), counts.lost_windows);
        self.metrics.backlog.with_label_values(&[name]).set(counts.waiting_windows as f64);
        if let Some(last) = counts.last_taken {
            self.metrics.last_delivery.with_label_values(&[name]).set(seconds(last.0));
        }
    }

    /// A destination is none any more: its series end.
    pub fn forget_destination(&self, destination: &str) {
        self.metrics.remove_destination(destination);
    }

    /// How much detail is shed to stay within the limits: 0 is none, each step is one more.
    pub fn detail_level(&self, level: u32) {
        self.metrics.detail_level.set(f64::from(level));
    }

    /// What the store holds, and what became of what it was given since the service was started.
    pub fn store(&self, counts: &StoreCounts) {
        self.metrics.store_bytes.with_label_values::<&str>(&[]).set(counts.bytes as f64);
        self.metrics.store_windows.with_label_values::<&str>(&[]).set(counts.windows as f64);
        if let Some(oldest) = counts.oldest {
            self.metrics.store_oldest.with_label_values::<&str>(&[]).set(seconds(oldest.0));
        }
        for (fate, total) in [
            ("stored", counts.stored),
            ("removed_age", counts.removed_age),
            ("removed_size", counts.removed_size),
            ("removed_disk_full", counts.removed_disk_full),
            ("dropped_disk_full", counts.dropped_disk_full),
            ("dropped_error", counts.dropped_error),
        ] {
            raise(&self.metrics.store_fates.with_label_values(&[fate]), total);
        }
        raise(&self.metrics.store_torn.with_label_values::<&str>(&[]), counts.torn);
    }

    /// The configuration was read again, and was right or wrong.
    pub fn reloaded(&self, was_right: bool) {
        let result = if was_right { "success" } else { "error" };
        self.metrics.reloads.with_label_values(&[result]).inc();
    }

    /// Whether windows are being made: what `/readyz` answers. False until this is called.
    pub fn set_ready(&self, is_ready: bool) {
        self.state().is_ready = is_ready;
    }

    /// A sign of life of the loop that makes windows, for `/healthz`.
    pub fn alive(&self) {
        self.state().last_sign = Instant::now();
    }

    /// Whether windows are being made.
    pub fn is_ready(&self) -> bool {
        self.state().is_ready
    }

    /// Whether a sign of life came within the last minute.
    pub fn is_alive(&self) -> bool {
        self.state().last_sign.elapsed() < PATIENCE
    }

    /// The page in Prometheus' text format, version 0.0.4.
    pub fn page(&self) -> String {
        if let Some(last) = self.state().last_window {
            self.metrics.last_window.with_label_values::<&str>(&[]).set(last.elapsed().as_secs_f64());
        }
        own::refresh(&self.metrics);
        let mut page = String::new();
        // It fails only for a metric without a name.
        let _ = TextEncoder::new().encode_utf8(&self.metrics.registry.gather(), &mut page);
        page
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brings a counter to a total that someone else counts.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests;
