//! Whatever goes wrong on the way, everything arrives, once by its ids.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use profilerd::export::{Counters, Counts, Destination, Exporter, Header, Protocol};
use profilerd::sink::otlp::Signal;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Code;

use super::fake::{Answer, Fake, destination};
use super::support::{folder, free_port};
use super::{Store, Summary, expected, host};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];
const SOON: Duration = Duration::from_secs(20);

/// An exporter that runs.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
    counters: Arc<Counters>,
}

impl Running {
    pub(crate) fn start(destination: Destination, cursor: &Path, store: &Arc<Store>) -> Running {
        let exporter = Exporter::new(destination, host(), cursor, store.clone()).unwrap();
        let counters = exporter.counters();
        let (stop, stopped) = watch::channel(false);
        Running { stop, task: tokio::spawn(exporter.run(stopped)), counters }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Stops it as the service does, and says how long that took.
    pub(crate) async fn stop(self) -> Duration {
        let start = Instant::now();
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        start.elapsed()
    }
}

/// Asks until the answer is yes, or fails.
pub(crate) async fn until(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn usual(windows: impl IntoIterator<Item = u64>) -> Summary {
    expected(windows, &Signal::DEFAULT)
}

#[tokio::test]
async fn windows_arrive_as_they_come() {
    for protocol in BOTH {
        let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
        let port = free_port();
        let listening = fake.listen(protocol, port);
        let mut destination = destination(protocol, port);
        destination.headers = vec![Header { name: "x-scope".into(), value: "tenant 7".into() }];
        let exporter = Running::start(destination, &folder.path().join("cursor"), &store);
        for sequence in 1..=3 {
            store.add(sequence);
        }
        until("three windows", SOON, || exporter.counts().windows_sent == 3).await;
        fake.summary().assert_once(&usual(1..=3));
        let counts = exporter.counts();
        assert_eq!((counts.windows_waiting, counts.windows_lost, counts.attempts_failed), (0, 0, 0), "{protocol:?}");
        assert_eq!((counts.requests_sent, counts.profiles_sent as usize), (3, usual(1..=3).profiles));
        assert!(counts.last_success_unix_ns > 1_700_000_000_000_000_000 && counts.bytes_sent > 1_000, "{counts:?}");
        {
            let received = fake.received.lock().unwrap();
            assert_eq!(received.scope.as_deref(), Some("tenant 7"));
            assert!(received.was_compressed);
        }
        // The last window may come with the word to stop.
        store.add(4);
        exporter.stop().await;
        fake.summary().assert_once(&usual(1..=4));
        listening.stop().await;
    }
}

#[tokio::test]
async fn an_outage_costs_nothing_but_time_and_is_said_once() {
    let said = Said::default();
    let _guard = said.listen();
    for protocol in BOTH {
        let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
        let port = free_port();
        // Nobody listens yet.
        let exporter = Running::start(destination(protocol, port), &folder.path().join("cursor"), &store);
        (1..=2).for_each(|sequence| store.add(sequence));
        until("failures", SOON, || exporter.counts().attempts_failed >= 3).await;
        assert_eq!(exporter.counts().windows_waiting, 2);
        let listening = fake.listen(protocol, port);
        until("two windows", SOON, || exporter.counts().windows_sent == 2).await;
        // And gone again while more comes.
        listening.stop().await;
        let before = exporter.counts().attempts_failed;
        (3..=6).for_each(|sequence| store.add(sequence));
        until("more failures", SOON, || exporter.counts().attempts_failed >= before + 3).await;
        let listening = fake.listen(protocol, port);
        until("six windows", SOON, || exporter.counts().windows_sent == 6).await;
        fake.summary().assert_once(&usual(1..=6));
        assert_eq!(exporter.counts().windows_lost, 0);
        assert_eq!(said.take(), ["WARN cannot export, and goes on trying", "INFO exports again"].repeat(2));
        exporter.stop().await;
        listening.stop().await;
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    for protocol in BOTH {
        let (folder, fake) = (folder(), Fake::default());
        let cursor = folder.path().join("cursor");
        let port = free_port();
        let listening = fake.listen(protocol, port);
        // What a store kept before it had a destination stays there.
        let store = Arc::new(Store::of(1..=2));
        let first = Running::start(destination(protocol, port), &cursor, &store);
        (3..=4).for_each(|sequence| store.add(sequence));
        until("two windows", SOON, || first.counts().windows_sent == 2).await;
        first.stop().await;
        assert_eq!(std::fs::read_to_string(&cursor).unwrap(), "4\n");

        (5..=7).for_each(|sequence| store.add(sequence));
        let second = Running::start(destination(protocol, port), &cursor, &store);
        until("three more", SOON, || second.counts().windows_sent == 3).await;
        second.stop().await;
        fake.summary().assert_once(&usual(3..=7));

        // A crash between the answer and the cursor: the same profiles come again, by the same ids.
        std::fs::write(&cursor, "5\n").unwrap();
        let third = Running::start(destination(protocol, port), &cursor, &store);
        until("two again", SOON, || third.counts().windows_sent == 2).await;
        third.stop().await;
        let summary = fake.summary();
        let twice = usual(6..=7).profiles;
        assert_eq!((summary.ids.len(), summary.profiles), (usual(3..=7).profiles, usual(3..=7).profiles + twice));
        assert_eq!(summary.totals, usual(3..=7).totals);
        listening.stop().await;
    }
}

/// One window, these answers first. Returns what came, what was counted, and the times between attempts.
async fn answered(protocol: Protocol, answers: &[Answer], timeout: Duration) -> (Fake, Counts, Vec<Duration>) {
    let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
    let port = free_port();
    let listening = fake.listen(protocol, port);
    fake.will(answers);
    let destination = Destination { timeout, ..destination(protocol, port) };
    let exporter = Running::start(destination, &folder.path().join("cursor"), &store);
    store.add(1);
    until("the window", SOON, || exporter.counts().windows_sent == 1).await;
    let counts = exporter.counts();
    exporter.stop().await;
    listening.stop().await;
    let attempts = fake.received.lock().unwrap().attempts.clone();
    (fake, counts, attempts.windows(2).map(|pair| pair[1] - pair[0]).collect())
}

#[tokio::test]
async fn what_may_pass_is_tried_until_it_has() {
    let profiles = usual([1]).profiles;
    for (protocol, answers) in [
        (Protocol::Grpc, [Answer::Fail(Code::Unavailable), Answer::Fail(Code::Aborted)]),
        (Protocol::Grpc, [Answer::Fail(Code::DataLoss), Answer::Slow(Duration::from_secs(4))]),
        (Protocol::Http, [Answer::Status(502, None), Answer::Status(504, None)]),
        (Protocol::Http, [Answer::Status(503, None), Answer::Slow(Duration::from_secs(4))]),
    ] {
        let (fake, counts, _) = answered(protocol, &answers, Duration::from_millis(1_500)).await;
        fake.summary().assert_once(&usual([1]));
        assert_eq!((counts.attempts_failed, counts.requests_sent, counts.requests_refused), (2, 1, 0), "{answers:?}");
        assert_eq!(counts.profiles_sent as usize, profiles);
    }
}

#[tokio::test]
async fn a_receiver_that_says_when_is_left_in_peace_until_then() {
    let soon = Duration::from_millis(900);
    for (protocol, answer) in [
        (Protocol::Grpc, Answer::Exhausted(Some(soon))),
        (Protocol::Http, Answer::Status(429, Some("1"))),
        (Protocol::Http, Answer::Status(503, Some("1"))),
    ] {
        let (fake, counts, waits) = answered(protocol, &[answer], SOON).await;
        fake.summary().assert_once(&usual([1]));
        assert_eq!(counts.attempts_failed, 1);
        assert!(waits[0] >= soon, "{answer:?}: came back after {:?}", waits[0]);
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_and_not_sent_again() {
    let profiles = usual([1]).profiles as u64;
    for (protocol, answer) in [
        (Protocol::Grpc, Answer::Fail(Code::InvalidArgument)),
        (Protocol::Grpc, Answer::Fail(Code::Unimplemented)),
        (Protocol::Grpc, Answer::Exhausted(None)),
        (Protocol::Http, Answer::Status(400, None)),
        (Protocol::Http, Answer::Status(413, Some("1"))),
        (Protocol::Http, Answer::Status(302, None)),
    ] {
        let (fake, counts, waits) = answered(protocol, &[answer], SOON).await;
        assert_eq!((fake.summary().profiles, waits.len()), (0, 0), "{answer:?}");
        let refused = (counts.requests_refused, counts.profiles_refused, counts.profiles_sent);
        assert_eq!(refused, (1, profiles, 0), "{answer:?}");
    }
    for protocol in BOTH {
        let (_, counts, waits) = answered(protocol, &[Answer::Partial(2)], SOON).await;
        assert_eq!((counts.profiles_rejected, counts.profiles_sent, waits.len()), (2, profiles - 2, 0), "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_makes_no_second_profile() {
    for protocol in BOTH {
        let (fake, _, _) = answered(protocol, &[Answer::TakeAndFail], SOON).await;
        let summary = fake.summary();
        assert_eq!(summary.profiles, 2 * summary.ids.len(), "the same ids again");
        assert_eq!(summary.totals, usual([1]).totals);
    }
}

#[tokio::test]
async fn a_replay_keeps_its_rate() {
    for protocol in BOTH {
        let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
        let port = free_port();
        let listening = fake.listen(protocol, port);
        let slow = Destination { bytes_per_second: 100_000, ..destination(protocol, port) };
        let exporter = Running::start(slow, &folder.path().join("cursor"), &store);
        (1..=6).for_each(|sequence| store.add(sequence));
        until("six windows", SOON, || exporter.counts().windows_sent == 6).await;
        let attempts = fake.received.lock().unwrap().attempts.clone();
        let took = attempts[attempts.len() - 1] - attempts[0];
        // The last request is paid for after it went.
        let bytes = exporter.counts().bytes_sent * 5 / 6;
        let rate = bytes as f64 / took.as_secs_f64();
        println!("{protocol:?}: {bytes} bytes in {took:?}, {rate:.0} a second");
        assert!((20_000.0..115_000.0).contains(&rate), "{rate}");
        exporter.stop().await;
        listening.stop().await;
    }
}

#[tokio::test]
async fn windows_that_are_gone_are_counted_and_another_store_begins_anew() {
    let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
    let cursor = folder.path().join("cursor");
    let port = free_port();
    let listening = fake.listen(Protocol::Grpc, port);
    let first = Running::start(destination(Protocol::Grpc, port), &cursor, &store);
    store.add(1);
    until("a window", SOON, || first.counts().windows_sent == 1).await;
    first.stop().await;
    (2..=6).for_each(|sequence| store.add(sequence));
    store.remove(2..=4);
    let second = Running::start(destination(Protocol::Grpc, port), &cursor, &store);
    until("two windows", SOON, || second.counts().windows_sent == 2).await;
    assert_eq!(second.counts().windows_lost, 3);
    second.stop().await;
    fake.summary().assert_once(&usual([1, 5, 6]));

    let other = Arc::new(Store::of([2, 3]));
    let third = Running::start(destination(Protocol::Grpc, port), &cursor, &other);
    until("those of the other store", SOON, || third.counts().windows_sent == 2).await;
    assert_eq!((third.counts().windows_lost, fake.summary().ids.len()), (0, usual([1, 2, 3, 5, 6]).profiles));
    third.stop().await;
    listening.stop().await;
}

#[tokio::test]
async fn to_stop_takes_no_longer_than_a_request() {
    for protocol in BOTH {
        let (folder, fake, store) = (folder(), Fake::default(), Arc::new(Store::default()));
        let port = free_port();
        let patient = Destination { first_retry: SOON, longest_retry: SOON, ..destination(protocol, port) };
        let timeout = Duration::from_secs(4);
        let exporter =
            Running::start(Destination { timeout, ..patient.clone() }, &folder.path().join("cursor"), &store);
        store.add(1);
        until("a failure", SOON, || exporter.counts().attempts_failed == 1).await;
        let took = exporter.stop().await;
        assert!(took < timeout / 2, "it only waited, and stopped after {took:?}");

        // A receiver that does not answer holds it no longer than its timeout.
        let listening = fake.listen(protocol, port);
        fake.will(&[Answer::Slow(SOON)]);
        let exporter =
            Running::start(Destination { timeout: SOON / 10, ..patient }, &folder.path().join("cursor"), &store);
        until("an attempt", SOON, || fake.attempts() == 1).await;
        let took = exporter.stop().await;
        assert!(took < SOON / 4, "stopped after {took:?}");
        drop(listening);
    }
}

/// Levels and messages of the export's log.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>, Arc<AtomicU64>);

impl Said {
    /// Hears what this thread says. As long as there is only one subscriber, `tracing` asks that of the thread which comes to a
    /// line first, for all threads and for good; other tests' threads have none. So there is a second one.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        static SECOND: std::sync::OnceLock<tracing::Dispatch> = std::sync::OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(Said::default()));
        tracing::subscriber::set_default(self.clone())
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

struct Message(String);

impl tracing::field::Visit for Message {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl tracing::Subscriber for Said {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("profilerd::export")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1 + self.1.fetch_add(1, Ordering::Relaxed))
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(format!("{} {}", event.metadata().level(), message.0));
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
