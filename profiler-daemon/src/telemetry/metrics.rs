//! Every series on the page: its name, its labels, what it means.

use profiler_common::fault;
use prometheus::core::Collector;
use prometheus::{
    Counter, CounterVec, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
};

use super::services::Key;
use crate::model::WaitClass;

/// Upper bounds of stage timings in seconds: from what is nothing to what delays the next window.
const STAGE_SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0];
/// What tells services apart.
const SERVICE: &[&str] = &["service", "unit"];
/// What tells destinations apart.
const DESTINATION: &[&str] = &["destination"];

/// Handles of all series, and the registry that holds them. Families without labels that may be absent are
/// vectors with no labels: those have no series until one is asked for.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) registry: Registry,
    pub(super) on_cpu: CounterVec,
    pub(super) run_queue: CounterVec,
    pub(super) throttled: CounterVec,
    pub(super) blocked: CounterVec,
    pub(super) off_cpu: CounterVec,
    pub(super) stolen: Counter,
    pub(super) unseen: Counter,
    pub(super) windows: IntCounter,
    pub(super) samples: IntCounter,
    pub(super) threads: Gauge,
    pub(super) programs: Gauge,
    pub(super) cpus: Gauge,
    pub(super) rate: Gauge,
    pub(super) last_window: GaugeVec,
    pub(super) stages: HistogramVec,
    pub(super) queue_items: GaugeVec,
    pub(super) queue_most: GaugeVec,
    pub(super) lost: IntCounterVec,
    pub(super) deliveries: IntCounterVec,
    pub(super) delivered_bytes: IntCounterVec,
    pub(super) rejected_profiles: IntCounterVec,
    pub(super) unsent_windows: IntCounterVec,
    pub(super) backlog: GaugeVec,
    pub(super) last_delivery: GaugeVec,
    pub(super) cpu_daemon: CounterVec,
    pub(super) cpu_kernel: CounterVec,
    pub(super) memory: GaugeVec,
    pub(super) open_files: GaugeVec,
    pub(super) detail_level: Gauge,
    pub(super) store_bytes: GaugeVec,
    pub(super) store_windows: GaugeVec,
    pub(super) store_oldest: GaugeVec,
    pub(super) store_fates: IntCounterVec,
    pub(super) store_torn: IntCounterVec,
    pub(super) reloads: IntCounterVec,
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let registry = Registry::new();
        let on = &registry;
        let metrics = Metrics {
            on_cpu: vector(on, "on_cpu_seconds_total", "Time that threads of a service executed.", SERVICE),
            run_queue: vector(
                on,
                "run_queue_seconds_total",
                "Time that threads of a service were ready to run and waited for a CPU.",
                SERVICE,
            ),
            throttled: vector(
                on,
                "throttled_seconds_total",
                "The part of profilerd_run_queue_seconds_total in which a CPU quota kept them from running.",
                SERVICE,
            ),
            blocked: vector(on, "blocked_seconds_total", "Time that threads of a service could not run.", SERVICE),
            off_cpu: vector(
                on,
                "off_cpu_seconds_total",
                "Time that threads of a service were switched out, by what they waited for: blocked time and the wait \
                 for a CPU after it; class preempted is the wait of threads that did not block.",
                &["service", "unit", "class"],
            ),
            stolen: single(on, "stolen_seconds_total", "Time on a CPU that the hypervisor or interrupts took."),
            unseen: single(on, "unseen_seconds_total", "Time of threads of which there is no record."),
            windows: added(on, IntCounter::with_opts(options("windows_total", "Windows finished."))),
            samples: added(on, IntCounter::with_opts(options("cpu_samples_total", "On-CPU stacks sampled."))),
            threads: gauge(on, "threads", "Threads in the last window."),
            programs: gauge(on, "programs", "Programs in the last window: processes, counted again at each exec."),
            cpus: gauge(on, "cpus", "CPUs online."),
            rate: gauge(on, "sampling_rate_hertz", "On-CPU samples a second and CPU."),
            last_window: gauges(on, "last_window_age_seconds", "Time since the last window was finished.", &[]),
            stages: added(
                on,
                HistogramVec::new(
                    HistogramOpts::new("profilerd_stage_seconds", "Time that a stage took for a window.")
                        .buckets(STAGE_SECONDS.to_vec()),
                    &["stage"],
                ),
            ),
            queue_items: gauges(on, "queue_items", "What waits in a queue.", &["queue"]),
            queue_most: gauges(on, "queue_capacity_items", "What a queue holds at most.", &["queue"]),
            lost: counts(on, "lost_total", "What was lost, by cause.", &["cause"]),
            deliveries: counts(
                on,
                "deliveries_total",
                "Requests to a destination: taken, refused for good, or failed and made again.",
                &["destination", "result"],
            ),
            delivered_bytes: counts(
                on,
                "delivered_bytes_total",
                "Bytes that a destination took, before compression.",
                DESTINATION,
            ),
            rejected_profiles: counts(
                on,
                "rejected_profiles_total",
                "Profiles that a destination refused or left out.",
                DESTINATION,
            ),
            unsent_windows: counts(
                on,
                "unsent_windows_total",
                "Windows that were gone before a destination took them.",
                DESTINATION,
            ),
            last_delivery: gauges(
                on,
                "last_delivery_timestamp_seconds",
                "When a destination took something last.",
                DESTINATION,
            ),
            backlog: gauges(on, "backlog_windows", "Windows still to be sent to a destination.", DESTINATION),
            cpu_daemon: vector(on, "daemon_cpu_seconds_total", "CPU time of the service itself.", &[]),
            cpu_kernel: vector(
                on,
                "kernel_programs_cpu_seconds_total",
                "CPU time of its kernel programs, estimated from measured slices.",
                &[],
            ),
            memory: gauges(on, "memory_bytes", "Memory of the service, and of its maps in the kernel.", &["part"]),
            open_files: gauges(on, "open_files", "Files that the service holds open.", &[]),
            detail_level: gauge(
                on,
                "detail_level",
                "Steps of detail shed to stay within the limits; 0 is full detail.",
            ),
            store_bytes: gauges(on, "store_bytes", "Size of the store on disk.", &[]),
            store_windows: gauges(on, "store_windows", "Windows in the store.", &[]),
            store_fates: counts(
                on,
                "store_window_fates_total",
                "Windows that were stored, were removed, or were dropped instead of being stored, and why.",
                &["fate"],
            ),
            store_torn: counts(on, "store_torn_files_total", "Files of the store that were found damaged.", &[]),
            store_oldest: gauges(on, "store_oldest_timestamp_seconds", "Start of the oldest stored window.", &[]),
            reloads: counts(on, "config_reloads_total", "Times that the configuration was read again.", &["result"]),
            registry: registry.clone(),
        };
        let build = gauges(on, "build_info", "Always 1; the version is in the label.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        // These are measured from the start on: none is known to have happened.
        for cause in fault::NAMES {
            metrics.lost.with_label_values(&[cause]).inc_by(0);
        }
        for result in ["success", "error"] {
            metrics.reloads.with_label_values(&[result]).inc_by(0);
        }
        metrics
    }

    /// Ends the series of a service.
    pub(super) fn remove_service(&self, key: &Key) {
        let labels = [&*key.service, &*key.unit];
        // One that never had a series has none to end.
        for family in [&self.on_cpu, &self.run_queue, &self.throttled, &self.blocked] {
            let _ = family.remove_label_values(&labels);
        }
        for class in WaitClass::ALL {
            let _ = self.off_cpu.remove_label_values(&[labels[0], labels[1], class.name()]);
        }
    }

    /// Ends the series of a destination.
    pub(super) fn remove_destination(&self, destination: &str) {
        for result in ["success", "refused", "failed"] {
            let _ = self.deliveries.remove_label_values(&[destination, result]);
        }
        for family in [&self.delivered_bytes, &self.rejected_profiles, &self.unsent_windows] {
            let _ = family.remove_label_values(&[destination]);
        }
        for family in [&self.backlog, &self.last_delivery] {
            let _ = family.remove_label_values(&[destination]);
        }
    }
}

/// Nanoseconds as seconds.
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("profilerd_{name}"), help)
}

fn vector(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> CounterVec {
    added(registry, CounterVec::new(options(name, help), labels))
}

fn single(registry: &Registry, name: &str, help: &str) -> Counter {
    added(registry, Counter::with_opts(options(name, help)))
}

fn counts(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    added(registry, IntCounterVec::new(options(name, help), labels))
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    added(registry, GaugeVec::new(options(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    added(registry, Gauge::with_opts(options(name, help)))
}

fn added<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels are written above, in Prometheus' alphabet");
    registry.register(Box::new(collector.clone())).expect("each name is written once above");
    collector
}
