//! What no key can know alone: keys that do not fit together.

use super::{Config, TlsFiles};

/// Most destinations: each keeps a connection and a place in the store.
const MOST_DESTINATIONS: usize = 16;

/// Keys that do not fit together.
#[derive(Debug)]
pub(super) struct Conflict {
    /// Which; the first of them that was set is where the mistake is.
    pub(super) keys: Vec<String>,
    pub(super) what: String,
    pub(super) remedy: &'static str,
}

/// Everything that does not fit; nothing of defaults alone.
pub(super) fn check(config: &Config) -> Vec<Conflict> {
    let mut found = Vec::new();
    let mut conflict = |keys: &[&str], what: String, remedy| {
        found.push(Conflict { keys: keys.iter().map(|key| (*key).to_owned()).collect(), what, remedy });
    };
    let metrics = &config.metrics;
    if let Some(listen) = metrics.listen.filter(|listen| !listen.ip().is_loopback() && !metrics.allow_remote) {
        conflict(
            &["metrics.listen", "metrics.allow_remote"],
            format!("`metrics.listen` is {listen}, which others than this machine may reach"),
            "an address such as \"127.0.0.1:9750\", or `allow_remote = true` if they are meant to",
        );
    }
    if config.capture.min_wait > config.capture.window {
        conflict(
            &["capture.min_wait", "capture.window"],
            "`capture.min_wait` is longer than `capture.window`".to_owned(),
            "a shorter `min_wait` or a longer `window`",
        );
    }
    if config.otlp.len() > MOST_DESTINATIONS {
        conflict(
            &[&format!("otlp.{MOST_DESTINATIONS}")],
            format!("more than {MOST_DESTINATIONS} destinations"),
            "an OpenTelemetry Collector in front of them",
        );
        return found;
    }
    for (at, destination) in config.otlp.iter().enumerate() {
        let key = |name: &str| format!("otlp.{at}.{name}");
        let tls = &destination.tls;
        if tls.certificate.is_some() != tls.key.is_some() {
            conflict(
                &[&key("tls_certificate"), &key("tls_key")],
                "`tls_certificate` and `tls_key` belong together".to_owned(),
                "both or none of them",
            );
        }
        if destination.endpoint.starts_with("http://") && *tls != TlsFiles::default() {
            conflict(
                &[&key("endpoint")],
                "certificates are of no use without encryption".to_owned(),
                "an endpoint that starts with https://",
            );
        }
        if config.otlp[..at].iter().any(|other| other.name() == destination.name()) {
            conflict(
                &[&key("name"), &key("endpoint")],
                format!("a second destination is called `{}`", destination.name()),
                "a `name` of its own: what was sent is remembered by it",
            );
        }
    }
    found
}
