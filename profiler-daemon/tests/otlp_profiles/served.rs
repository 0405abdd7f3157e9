//! A running service sends to real collectors, of which one is away for a while: what arrives is what the store has.

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as Kill;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use profilerd::export::{self, Protocol};
use profilerd::sink::otlp::{Options, encode};
use prost::Message;

use super::Summary;
use super::collector::Collector;
use super::metrics::points;
use super::serve::{SOON, Serve, Stored};
use super::support::{kernel, poll, run, workload};

/// How long one collector is away. Other tests of this program run meanwhile.
const OUTAGE: Duration = Duration::from_secs(60);

#[test]
fn collectors_have_what_the_store_has_though_one_was_away() {
    let Some(kernel) = kernel() else { return };
    let Some(mut stays) = Collector::start("") else { return };
    let Some(mut leaves) = Collector::start("") else { return };
    let mut config = "[capture]\nwindow = \"2s\"\n[limits]\nmax_cpu = \"100%\"\nmax_memory = \"1GiB\"\n".to_owned();
    for (name, collector, protocol, word) in
        [("stays", &stays, Protocol::Http, "http/protobuf"), ("leaves", &leaves, Protocol::Grpc, "grpc")]
    {
        config += &format!(
            "[[otlp]]\nname = \"{name}\"\nendpoint = \"http://127.0.0.1:{}\"\nprotocol = \"{word}\"\n\
             signals = [\"cpu\", \"off-cpu\", \"metrics\"]\n",
            collector.port(protocol)
        );
    }
    let mut serve = Serve::start(&kernel, &config);
    let mut served = Command::new(workload("served"));
    served.args(["threads", "4"]).env("OTEL_SERVICE_NAME", "the convoy");
    run(&mut served).well();
    serve.wait_for_windows(1);
    // Ended: nothing that it had not taken is in its file.
    leaves.end();
    let left = Instant::now();
    run(&mut served).well();
    serve.wait_for_windows(2);
    let waiting =
        |serve: &Serve<'_>, name: &str| serve.metric(&format!("profilerd_backlog_windows{{destination=\"{name}\"}}"));
    std::thread::sleep(OUTAGE.saturating_sub(left.elapsed()));
    let missed = waiting(&serve, "leaves").unwrap_or(0.0);
    // Two seconds a window make 30. A busy machine is late with some: what counts is that this is no handful.
    assert!(missed >= 10.0, "{missed}: {}", serve.log());
    assert!(poll(SOON, || waiting(&serve, "stays") <= Some(1.0)), "{}", serve.log());
    leaves.go_on();
    // It is asked again after a minute at most, and then gets what it missed at a bounded rate.
    assert!(poll(3 * OUTAGE, || waiting(&serve, "leaves") <= Some(1.0)), "{}", serve.log());
    let took = left.elapsed();
    println!("away for {OUTAGE:?}: {missed} windows came later, all of them {took:?} after it had left");
    serve.end(Kill::SIGTERM);
    let unsent = [&stays, &leaves].map(|it| it.requests().len());
    println!("requests in the files: {unsent:?}");
    std::thread::sleep(Duration::from_millis(500));
    for collector in [&mut stays, &mut leaves] {
        collector.end();
    }
    let windows = serve.windows();
    let expected = expected(&windows);
    for collector in [&stays, &leaves] {
        let found = collector.assert_wrote(&expected, "the convoy");
        assert_eq!(found.profiles, found.ids.len(), "some came twice");
    }
    for said in ["were removed before", "refused for good", "rejected"] {
        assert_eq!(serve.count(said), 0, "{}", serve.log());
    }

    // Metrics are sums since the start: the last ones say all, however long one was away.
    let on_cpu_ns: u64 = windows.iter().flat_map(|(_, it)| &it.capture.threads).map(|it| it.ledger.on_cpu_ns).sum();
    for collector in [&stays, &leaves] {
        let messages = collector.messages("metrics.pb");
        let last = ExportMetricsServiceRequest::decode(messages.last().unwrap().as_slice()).unwrap();
        let points = points(&last);
        let sum: u64 =
            points.iter().filter(|(key, _)| key.starts_with("profilerd.on_cpu.time ")).map(|(_, it)| it.1).sum();
        println!("on-CPU: {sum} ns in metrics, {on_cpu_ns} ns in the store");
        assert!(sum.abs_diff(on_cpu_ns) < 1_000 + on_cpu_ns / 1_000_000, "{sum} {on_cpu_ns}");
    }
}

/// What the windows are in all; fails unless that is what their ledgers and samples say.
fn expected(windows: &[Stored]) -> Summary {
    let mut summary = Summary::default();
    let (mut samples, mut off_cpu_ns) = (0, 0);
    for (window, recording) in windows {
        let mut recording = recording.clone();
        profilerd::aggregate::share_skipped(&mut recording.capture);
        for request in encode(&recording, &Options::new(export::host(), window.sequence)) {
            summary.add(&request);
        }
        samples += recording.capture.cpu_samples.len() as u64;
        off_cpu_ns += recording.capture.threads.iter().flat_map(|it| it.ledger.off_cpu_ns).sum::<u64>();
    }
    assert_eq!(summary.totals["samples"], samples);
    let error = summary.totals["off_cpu"].abs_diff(off_cpu_ns) as f64 / off_cpu_ns as f64;
    println!("off-CPU: profiles differ from ledgers by {:.5} per mille", error * 1e3);
    // Waits that end while a window is closed have their place in the next one, and the profile has both then: with windows
    // of 1 s on a busy machine that was up to 1.1 %.
    assert!(error < 2e-2, "{error}");
    summary
}
