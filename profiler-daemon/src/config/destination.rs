//! Where windows are sent to.

use std::path::PathBuf;
use std::time::Duration;

/// One `[[otlp]]` of the file. What is not set follows the standard variables `OTEL_EXPORTER_OTLP_*`, and
/// then their defaults; both are the exporter's business.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Destination {
    /// What logs, metrics and the memory of what was sent call it; the endpoint if not set.
    pub name: String,
    /// URL of the collector.
    pub endpoint: String,
    /// How to speak to it.
    pub protocol: Option<Protocol>,
    /// What it gets; empty for the default.
    pub signals: Vec<ExportSignal>,
    /// Headers (gRPC: metadata) of each request, in order of names. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// How requests are compressed.
    pub compression: Option<Compression>,
    /// Longest time that one request may take.
    pub timeout: Option<Duration>,
    /// Certificates in PEM files.
    pub tls: TlsFiles,
}

/// Certificates in PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Authorities that the collector's certificate is checked against, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub certificate: Option<PathBuf>,
    /// The key of our own certificate.
    pub key: Option<PathBuf>,
}

/// How to speak to a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf messages over HTTP.
    HttpProtobuf,
}

/// How requests are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}

/// What a destination gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExportSignal {
    /// Profiles of time on CPU.
    Cpu,
    /// Profiles of time off CPU.
    OffCpu,
    /// Profiles of time waited for a CPU.
    RunQueue,
    /// Profiles of all time.
    Wall,
    /// Metrics.
    Metrics,
}

impl Protocol {
    /// The words of the file.
    pub const NAMES: &[(&str, Protocol)] = &[("grpc", Protocol::Grpc), ("http/protobuf", Protocol::HttpProtobuf)];
}

impl Compression {
    /// The words of the file.
    pub const NAMES: &[(&str, Compression)] = &[("gzip", Compression::Gzip), ("none", Compression::None)];
}

impl ExportSignal {
    /// The words of the file.
    pub const NAMES: &[(&str, ExportSignal)] = &[
        ("cpu", ExportSignal::Cpu),
        ("off-cpu", ExportSignal::OffCpu),
        ("run-queue", ExportSignal::RunQueue),
        ("wall", ExportSignal::Wall),
        ("metrics", ExportSignal::Metrics),
    ];
}

impl Destination {
    /// A destination of which only the endpoint is known.
    pub fn at(endpoint: impl Into<String>) -> Destination {
        Destination { endpoint: endpoint.into(), ..Destination::default() }
    }

    /// What logs and metrics call it. An endpoint may carry a password, which is not shown.
    pub fn name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        without_password(&self.endpoint)
    }
}

/// The URL with what stands before an `@` of its host hidden.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let host_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://***@{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_shows_no_password() {
        for (endpoint, expected) in [
            ("https://collector:4317", "https://collector:4317"),
            ("https://me:secret@collector/x@y", "https://***@collector/x@y"),
            ("https://me:p@ss@collector", "https://***@collector"),
            ("collector", "collector"),
        ] {
            assert_eq!(Destination::at(endpoint).name(), expected);
        }
        assert_eq!(Destination { name: "main".to_owned(), ..Destination::at("http://x") }.name(), "main");
    }
}
