//! Times of services as OTLP metrics: cumulative, so that an outage of the receiver loses no more than its own points.

mod exporter;
mod sums;
mod watch;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, MeterProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream};

use super::{Destination, DestinationError};
use crate::model::{Recording, WaitClass};
use crate::sink::otlp::Host;
use sums::{Service, Sums};

/// Most series of an instrument: 13 classes of some 300 services. Later ones are summed in one that says so.
const MOST_SERIES: usize = 4_000;

/// Why metrics cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The destination is not usable.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The exporter cannot be made.
    #[error("cannot export metrics to `{endpoint}`: {reason}")]
    Exporter {
        /// Where they should go.
        endpoint: String,
        /// What is wrong.
        reason: String,
    },
}

/// Metrics by service and unit, sent at an interval by a thread of their own.
pub struct Metrics {
    provider: SdkMeterProvider,
    on_cpu: Counter<f64>,
    off_cpu: Counter<f64>,
    run_queue: Counter<f64>,
    throttled: Counter<f64>,
    waits: Histogram<f64>,
}

impl Metrics {
    /// Begins to send, every so often. To be called inside the runtime that carries the connection.
    ///
    /// # Errors
    /// The destination is not usable. That it does not answer is none: it is tried again each time.
    pub fn start(destination: &Destination, host: &Host, every: Duration) -> Result<Metrics, MetricsError> {
        let exporter = watch::Watched::new(exporter::exporter(destination)?, &destination.endpoint);
        let reader = PeriodicReader::builder(exporter).with_interval(every).build();
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", "profilerd"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("host.name", host.name.clone()),
            KeyValue::new("host.id", host.id.clone()),
        ]);
        let provider =
            SdkMeterProvider::builder().with_resource(resource.build()).with_reader(reader).with_view(view).build();
        let meter = provider.meter("profilerd");
        let counter = |name: &'static str, about: &'static str| {
            meter.f64_counter(name).with_unit("s").with_description(about).build()
        };
        Ok(Metrics {
            on_cpu: counter("profilerd.on_cpu.time", "Time that threads executed."),
            off_cpu: counter("profilerd.off_cpu.time", "Time that threads were off the CPU, by what they waited for."),
            run_queue: counter(
                "profilerd.run_queue.time",
                "Time that threads could have run and waited for a CPU: after a wake-up, or preempted.",
            ),
            throttled: counter(
                "profilerd.throttled.time",
                "The part of profilerd.run_queue.time in which a CPU quota kept threads from running.",
            ),
            waits: meter
                .f64_histogram("profilerd.off_cpu.wait.duration")
                .with_unit("s")
                .with_description("Waits by their length, and by what was waited for.")
                .build(),
            provider,
        })
    }

    /// Adds a window. Takes some 60 ns a wait, so it belongs on a thread that may be busy for a while.
    pub fn add(&self, recording: &Recording) {
        let sums = Sums::of(recording);
        for (service, times) in &sums.times {
            add(&self.on_cpu, times.on_cpu_ns, service, None);
            add(&self.run_queue, times.preempted_ns, service, Some(("reason", "preempted")));
            add(&self.run_queue, times.woken_ns, service, Some(("reason", "woken")));
            add(&self.throttled, times.throttled_ns, service, None);
            for (class, ns) in WaitClass::ALL.into_iter().zip(times.off_cpu_ns) {
                add(&self.off_cpu, ns, service, Some(("class", class.name())));
            }
        }
        for ((service, class), waits) in &sums.waits {
            // One by one is the only way to tell the SDK, so the series is looked up once.
            let series = self.waits.bind(&attributes(service, Some(("class", class.name()))));
            for (seconds, count) in waits.lengths() {
                (0..count).for_each(|_| series.record(seconds));
            }
        }
    }

    /// Sends what is there now. Blocks for as long as a request may take.
    pub fn flush(&self) -> bool {
        self.provider.force_flush().is_ok()
    }

    /// Sends what is there and ends. Blocks for as long as a request may take.
    pub fn stop(self) -> bool {
        self.provider.shutdown().is_ok()
    }
}

/// Lengths of waits span ten decades, so their buckets grow with them.
fn view(instrument: &Instrument) -> Option<Stream> {
    let stream = Stream::builder().with_cardinality_limit(MOST_SERIES);
    let stream = match instrument.kind() {
        InstrumentKind::Histogram => stream.with_aggregation(Aggregation::Base2ExponentialHistogram {
            max_size: 160,
            max_scale: 20,
            // Over the life of the program they would say little.
            record_min_max: false,
        }),
        _ => stream,
    };
    stream.build().ok()
}

fn add(counter: &Counter<f64>, ns: u64, service: &Service, more: Option<(&'static str, &'static str)>) {
    if ns > 0 {
        counter.add(ns as f64 / 1e9, &attributes(service, more));
    }
}

fn attributes(service: &Service, more: Option<(&'static str, &'static str)>) -> Vec<KeyValue> {
    let mut attributes = vec![KeyValue::new("service", service.name.clone())];
    if let Some(unit) = &service.unit {
        attributes.push(KeyValue::new("unit", unit.clone()));
    }
    attributes.extend(more.map(|(key, value)| KeyValue::new(key, value)));
    attributes
}
