//! A real OpenTelemetry Collector, built by `cargo xtask test`: what it takes, what it writes, and its outages.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal as Kill;
use profilerd::export::{Destination, Protocol, Tls};
use profilerd::sink::otlp::Signal;
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::check::{From, faults};
use super::delivery::{Running, until};
use super::fake::destination;
use super::support::{Program, folder, free_port, poll, skip};
use super::{Request, Store, Summary, expected, python};

const SOON: Duration = Duration::from_secs(30);
const PROFILES: &str = "profiles.pb";
const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::Http];

/// A collector with its files: it outlives its process, which may end and start again.
pub(crate) struct Collector {
    binary: PathBuf,
    folder: TempDir,
    ports: [u16; 2],
    program: Option<Program>,
}

impl Collector {
    /// Starts one; it asks for certificates if `tls` are settings of the receiver. `None` if none was built, which
    /// has been said then.
    pub(crate) fn start(tls: &str) -> Option<Collector> {
        let Some(binary) = std::env::var_os("PROFILERD_COLLECTOR").map(PathBuf::from) else {
            return skip("needs PROFILERD_COLLECTOR: run `cargo xtask test`");
        };
        let mut collector = Collector { binary, folder: folder(), ports: [free_port(), free_port()], program: None };
        let [grpc, http] = collector.ports;
        let file = "format: proto, append: true, flush_interval: 100ms";
        let config = format!(
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '127.0.0.1:{grpc}'{tls}}}, \
             http: {{endpoint: '127.0.0.1:{http}'{tls}}}}}}}}}\n\
             exporters: {{file: {{path: '{}', {file}}}, file/metrics: {{path: '{}', {file}}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}}}\n  \
             pipelines: {{profiles: {{receivers: [otlp], exporters: [file]}}, \
             metrics: {{receivers: [otlp], exporters: [file/metrics]}}}}\n",
            collector.written().display(),
            collector.folder.path().join("metrics.pb").display(),
        );
        fs::write(collector.folder.path().join("config.yaml"), config).unwrap();
        collector.go_on();
        Some(collector)
    }

    pub(crate) fn go_on(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&self.binary);
        command.arg("--feature-gates=+service.profilesSupport");
        command.arg(format!("--config=file:{}", self.folder.path().join("config.yaml").display()));
        command.stdin(Stdio::null()).stderr(log);
        self.program = Some(Program::serve(&mut command, self.ports[1]));
    }

    /// Ends it as a service manager does, everything written.
    pub(crate) fn end(&mut self) {
        let mut program = self.program.take().unwrap();
        program.signal(Kill::SIGTERM);
        let ended = program.wait(SOON).unwrap_or_else(|| panic!("it does not end: {}", self.log()));
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    fn written(&self) -> PathBuf {
        self.folder.path().join(PROFILES)
    }

    pub(crate) fn port(&self, protocol: Protocol) -> u16 {
        self.ports[usize::from(protocol == Protocol::Http)]
    }

    /// What it has written to a file: messages with their lengths before them.
    pub(crate) fn messages(&self, file: &str) -> Vec<Vec<u8>> {
        let data = fs::read(self.folder.path().join(file)).unwrap();
        let (mut rest, mut messages) = (data.as_slice(), Vec::new());
        while let Some((length, others)) = rest.split_first_chunk::<4>() {
            // The last one may not be whole yet.
            let Some((message, others)) = others.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
            messages.push(message.to_vec());
            rest = others;
        }
        messages
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.messages(PROFILES).iter().map(|message| Request::decode(message.as_slice()).unwrap()).collect()
    }

    /// Fails unless its file obeys the rules, and holds these windows and a service of this name.
    pub(crate) fn assert_wrote(&self, expected: &Summary, service: &str) -> Summary {
        let requests = self.requests();
        let wrong: Vec<_> = requests.iter().flat_map(|request| faults(request, From::Collector)).take(20).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        let found = Summary::of(&requests);
        assert_eq!((&found.ids, &found.totals), (&expected.ids, &expected.totals));
        if let Some(decoded) = python::decode(&[self.written()], true) {
            assert_eq!(decoded.summary(), found);
            assert!(decoded.services.contains(service), "names of services are lost: {:?}", decoded.services);
        }
        println!("{} requests, {} profiles, {:?}", requests.len(), found.profiles, found.totals);
        found
    }
}

#[tokio::test]
async fn a_real_collector_writes_what_was_sent() {
    for protocol in BOTH {
        let Some(mut collector) = Collector::start("") else { return };
        let (folder, store) = (folder(), Arc::new(Store::default()));
        let destination = Destination {
            signals: Signal::ALL.to_vec(),
            // Small enough for several requests a window.
            most_request_bytes: 15_000,
            ..destination(protocol, collector.port(protocol))
        };
        let exporter = Running::start(destination, &folder.path().join("cursor"), &store);
        (1..=3).for_each(|sequence| store.add(sequence));
        until("three windows", SOON, || exporter.counts().windows_sent == 3).await;
        let counts = exporter.counts();
        assert_eq!((counts.attempts_failed, counts.requests_refused, counts.profiles_rejected), (0, 0, 0));
        exporter.stop().await;
        collector.end();
        let split = Summary::of(&collector.requests());
        assert_eq!(split.profiles, split.ids.len(), "some came twice");
        // Split profiles have other ids than whole ones, and the same totals.
        let whole = expected(1..=3, &Signal::ALL);
        collector.assert_wrote(&Summary { totals: whole.totals, ..split }, "checkout");
    }
}

#[tokio::test]
async fn a_real_collector_that_was_away_gets_everything() {
    for protocol in BOTH {
        let Some(mut collector) = Collector::start("") else { return };
        let (folder, store) = (folder(), Arc::new(Store::default()));
        let destination =
            Destination { timeout: Duration::from_secs(2), ..destination(protocol, collector.port(protocol)) };
        let exporter = Running::start(destination, &folder.path().join("cursor"), &store);
        let failures = |counts: u64| exporter.counts().attempts_failed >= counts;
        (1..=2).for_each(|sequence| store.add(sequence));
        until("two windows", SOON, || exporter.counts().windows_sent == 2).await;
        // Ended: nothing that it had not taken is in its file.
        collector.end();
        (3..=5).for_each(|sequence| store.add(sequence));
        until("failures", SOON, || failures(2)).await;
        collector.go_on();
        until("five windows", SOON, || exporter.counts().windows_sent == 5).await;
        // It writes a moment after it has answered.
        poll(SOON, || collector.requests().len() >= 5);
        let found = Summary::of(&collector.requests());
        assert_eq!(found.profiles, found.ids.len(), "some came twice");
        // Stopped: its kernel takes what it will read later, when we have tried again.
        let before = exporter.counts().attempts_failed;
        collector.program.as_mut().unwrap().signal(Kill::SIGSTOP);
        (6..=8).for_each(|sequence| store.add(sequence));
        until("more failures", SOON, || failures(before + 2)).await;
        collector.program.as_mut().unwrap().signal(Kill::SIGCONT);
        until("eight windows", SOON, || exporter.counts().windows_sent == 8).await;
        assert_eq!((exporter.counts().windows_lost, exporter.counts().requests_refused), (0, 0));
        exporter.stop().await;
        collector.end();
        collector.assert_wrote(&expected(1..=8, &Signal::DEFAULT), "checkout");
    }
}

/// An authority, and what it has signed: files in a folder.
struct Certificates {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Certificates {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = folder();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Certificates { folder, issuer }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate of this name and its key.
    fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let paths = (self.file(&format!("{name}.pem")), self.file(&format!("{name}.key")));
        fs::write(&paths.0, certificate.pem()).unwrap();
        fs::write(&paths.1, key.serialize_pem()).unwrap();
        paths
    }
}

/// Runs one exporter on one window. Whether it was sent, or several attempts failed.
async fn is_sent(destination: Destination, folder: &Path) -> bool {
    let store = Arc::new(Store::default());
    let _ = fs::remove_file(folder.join("cursor"));
    let exporter = Running::start(destination, &folder.join("cursor"), &store);
    store.add(1);
    let done = || exporter.counts().windows_sent == 1 || exporter.counts().attempts_failed >= 2;
    until("an answer", SOON, done).await;
    let is_sent = exporter.counts().requests_sent == 1;
    exporter.stop().await;
    is_sent
}

#[tokio::test]
async fn certificates_are_asked_for_and_shown() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let (certificate, key) = certificates.issue("server");
    let tls = format!(
        ", tls: {{cert_file: '{}', key_file: '{}', client_ca_file: '{}'}}",
        certificate.display(),
        key.display(),
        certificates.file("ca.pem").display()
    );
    let Some(mut collector) = Collector::start(&tls) else { return };
    let folder = folder();
    for protocol in BOTH {
        let port = collector.port(protocol);
        let at = |authority: &Certificates, identity| Destination {
            tls: Tls { authority: Some(authority.file("ca.pem")), identity },
            ..with_https(destination(protocol, port))
        };
        let ours = Some(certificates.issue("client"));
        assert!(is_sent(at(&certificates, ours.clone()), folder.path()).await, "{protocol:?}: {}", collector.log());
        for (what, wrong) in [
            ("another's server", at(&others, ours)),
            ("no certificate of ours", at(&certificates, None)),
            ("one that they do not know", at(&certificates, Some(others.issue("client")))),
            ("no TLS", destination(protocol, port)),
        ] {
            assert!(!is_sent(wrong, folder.path()).await, "{protocol:?}, {what}");
        }
    }
    collector.end();
}

fn with_https(destination: Destination) -> Destination {
    Destination { endpoint: destination.endpoint.replacen("http:", "https:", 1), ..destination }
}
