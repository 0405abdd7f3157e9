//! Metrics in a real collector are the sums of what the windows say.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, number_data_point};
use profiler_common::histogram::BUCKETS;
use profilerd::export::{Destination, Kind, Metrics, Protocol};
use prost::Message;

use super::collector::Collector;
use super::{host, recordings};

/// Count, sum in nanoseconds, by metric and attributes.
pub(crate) type Points = BTreeMap<String, (u64, u64)>;

fn key(metric: &str, attributes: &[KeyValue]) -> String {
    let mut parts: Vec<String> = attributes
        .iter()
        .map(|attribute| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
            Some(Value::StringValue(text)) => format!("{}={text}", attribute.key),
            other => format!("{}={other:?}", attribute.key),
        })
        .collect();
    parts.sort();
    format!("{metric} {}", parts.join(" "))
}

/// The points of one request.
pub(crate) fn points(request: &ExportMetricsServiceRequest) -> Points {
    let mut points = Points::new();
    let nanoseconds = |seconds: f64| (seconds * 1e9).round() as u64;
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    for metric in scopes.flat_map(|scope| &scope.metrics) {
        assert_eq!(metric.unit, "s", "{}", metric.name);
        match metric.data.as_ref().unwrap() {
            Data::Sum(sum) => {
                assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
                assert!(sum.is_monotonic);
                for point in &sum.data_points {
                    let Some(number_data_point::Value::AsDouble(seconds)) = point.value else { panic!("{point:?}") };
                    points.insert(key(&metric.name, &point.attributes), (0, nanoseconds(seconds)));
                }
            }
            Data::ExponentialHistogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
                for point in &histogram.data_points {
                    let buckets: u64 = point.positive.as_ref().unwrap().bucket_counts.iter().sum();
                    assert_eq!(buckets + point.zero_count, point.count);
                    assert!(point.scale >= 0, "fine enough");
                    let sum = nanoseconds(point.sum.unwrap());
                    points.insert(key(&metric.name, &point.attributes), (point.count, sum));
                }
            }
            other => panic!("{}: {other:?}", metric.name),
        }
    }
    points
}

/// What the windows say, of the counters: by metric and attributes, nanoseconds.
fn expected(windows: impl IntoIterator<Item = u64>) -> Points {
    let mut points = Points::new();
    for sequence in windows {
        let recording = recordings::window(sequence);
        for thread in &recording.capture.threads {
            let program = recording.programs.iter().find(|program| program.pid == thread.pid);
            let service = program.map_or("unknown_service", |program| &program.service);
            let service = if service.is_empty() { "unknown_service" } else { service };
            let unit = program.map(|_| " unit=checkout.service").unwrap_or_default();
            let ledger = &thread.ledger;
            let mut add = |key: String, ns: u64| {
                if ns > 0 {
                    points.entry(key).or_default().1 += ns;
                }
            };
            add(format!("profilerd.on_cpu.time service={service}{unit}"), ledger.on_cpu_ns);
            for (reason, ns) in
                [("preempted", ledger.preempted_ns), ("woken", ledger.run_queue_ns - ledger.preempted_ns)]
            {
                add(format!("profilerd.run_queue.time reason={reason} service={service}{unit}"), ns);
            }
            add(format!("profilerd.throttled.time service={service}{unit}"), ledger.throttled_ns);
            for (class, ns) in profiler_common::class::NAMES.into_iter().zip(ledger.off_cpu_ns) {
                add(format!("profilerd.off_cpu.time class={class} service={service}{unit}"), ns);
            }
        }
    }
    points
}

#[tokio::test]
async fn a_real_collector_has_the_sums_of_all_windows() {
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let Some(mut collector) = Collector::start("") else { return };
        let endpoint = format!("http://127.0.0.1:{}", collector.port(protocol));
        let destination = Destination::new(Kind::Metrics, &endpoint, Some(protocol)).unwrap();
        // Only what is asked for goes: no interval ends here.
        let metrics = Metrics::start(&destination, &host(), Duration::from_secs(3_600)).unwrap();
        let metrics = tokio::task::spawn_blocking(move || {
            metrics.add(&recordings::window(1));
            assert!(metrics.flush());
            metrics.add(&recordings::window(2));
            metrics
        });
        let metrics = metrics.await.unwrap();
        // An outage costs one look and no sums.
        collector.end();
        let metrics = tokio::task::spawn_blocking(move || {
            assert!(!metrics.flush());
            metrics.add(&recordings::window(3));
            metrics
        });
        let metrics = metrics.await.unwrap();
        collector.go_on();
        assert!(tokio::task::spawn_blocking(move || metrics.stop()).await.unwrap());
        collector.end();

        let messages = collector.messages("metrics.pb");
        let requests: Vec<_> =
            messages.iter().map(|message| ExportMetricsServiceRequest::decode(message.as_slice()).unwrap()).collect();
        assert_eq!(requests.len(), 2, "{protocol:?}");
        for (request, windows) in requests.iter().zip([1..=1, 1..=3]) {
            let mut found = points(request);
            let lengths: Points = found.extract_if(.., |key, _| key.starts_with("profilerd.off_cpu.wait")).collect();
            let right = expected(windows.clone());
            assert_eq!(found.keys().collect::<Vec<_>>(), right.keys().collect::<Vec<_>>());
            for (key, (_, ns)) in &right {
                assert!(found[key].1.abs_diff(*ns) < 10, "{key}: {} for {ns}", found[key].1);
            }
            let waits: u64 = windows.map(waits).sum();
            assert_eq!(lengths.values().map(|(count, _)| count).sum::<u64>(), waits);
        }
        println!("{protocol:?}: {} points", points(&requests[1]).len());
    }
}

/// Number of waits in a window.
fn waits(sequence: u64) -> u64 {
    recordings::window(sequence).capture.off_cpu.values().map(|value| value.count).sum()
}

/// Each wait is told to the SDK by itself, which has no other way: this many are a busy machine's in 10 s.
#[tokio::test]
async fn a_million_waits_are_soon_added() {
    // Nobody has to listen.
    let destination = Destination::new(Kind::Metrics, "http://127.0.0.1:9", Some(Protocol::Grpc)).unwrap();
    let metrics = Metrics::start(&destination, &host(), Duration::from_secs(3_600)).unwrap();
    let mut recording = recordings::window(1);
    for (number, value) in recording.capture.off_cpu.values_mut().enumerate() {
        value.count = 10_000;
        value.histogram = [0; BUCKETS];
        value.histogram[number % 20] = 10_000;
        (value.blocked_ns, value.run_queue_ns) = (10_000 * (1_000 << (number % 20 / 2)), 0);
    }
    let waits: u64 = recording.capture.off_cpu.values().map(|value| value.count).sum();
    let start = Instant::now();
    metrics.add(&recording);
    let took = start.elapsed();
    println!("{waits} waits in {took:?}, {} ns each", took.as_nanos() as u64 / waits);
    assert!(took.as_secs() < 20, "{took:?}");
}
