//! Every key: its name, what it takes, how it is shown, and when a change of it takes effect.

use super::destination::{Compression, Destination, ExportSignal, Protocol, without_password};
use super::value::{Expected, Value, bytes, percent, quoted, time};
use super::{Config, Level, LogTarget};

/// One key of a section or of a destination.
pub(super) struct Key<T: 'static> {
    /// Section and name, such as `capture.window`; without a section in destinations.
    pub(super) name: &'static str,
    /// Whether a running service takes a new value over.
    pub(super) live: bool,
    /// The value as the file writes it; `None` if it is not set. Secrets are hidden.
    pub(super) show: fn(&T) -> Option<String>,
    /// Takes a value over, or says what it would take instead.
    pub(super) set: fn(&mut T, &Value) -> Result<(), Expected>,
    /// Whether two have the same value, secrets included.
    pub(super) same: fn(&T, &T) -> bool,
    /// Takes the value of another one over.
    pub(super) copy: fn(&mut T, &T),
}

const LIVE: bool = true;
const AT_START: bool = false;

/// Writes a row: the field, and how its value is read and shown.
macro_rules! key {
    ($name:literal, $live:expr, |$in:ident| $field:expr, |$value:ident| $read:expr, |$shown:ident| $show:expr) => {
        Key {
            name: $name,
            live: $live,
            show: |$in| {
                let $shown = &$field;
                $show
            },
            set: |$in, $value| {
                $field = $read?;
                Ok(())
            },
            same: |$in, other| {
                let left = &$field;
                let $in = other;
                *left == $field
            },
            copy: |to, $in| {
                let value = $field.clone();
                let $in = to;
                $field = value;
            },
        }
    };
}

/// The keys of all sections, in the order in which they are shown.
pub(super) static KEYS: &[Key<Config>] = &[
    key!("capture.window", LIVE, |c| c.capture.window, |v| v.time("1s", "10m"), |d| Some(time(*d))),
    key!("capture.rate_hz", AT_START, |c| c.capture.rate_hz, |v| v.whole(1, 1000), |n| Some(n.to_string())),
    key!("capture.min_wait", AT_START, |c| c.capture.min_wait, |v| v.time("100us", "1h"), |d| Some(time(*d))),
    key!("capture.max_waits", LIVE, |c| c.capture.max_waits, |v| v.whole(0, 1_000_000), |n| Some(n.to_string())),
    key!("store.dir", AT_START, |c| c.store.dir, |v| v.path(), |p| Some(quoted(&p.to_string_lossy()))),
    key!("store.max_bytes", LIVE, |c| c.store.max_bytes, |v| v.size("64MiB", "1000TiB"), |n| Some(bytes(*n))),
    key!("store.max_age", LIVE, |c| c.store.max_age, |v| v.time("1h", "3650d"), |d| Some(time(*d))),
    key!("metrics.listen", AT_START, |c| c.metrics.listen, |v| v.address(), |a| {
        Some(quoted(&a.map_or("off".to_owned(), |address| address.to_string())))
    }),
    key!("metrics.allow_remote", AT_START, |c| c.metrics.allow_remote, |v| v.flag(), |f| Some(f.to_string())),
    key!("metrics.max_services", AT_START, |c| c.metrics.max_services, |v| v.whole(1, 10_000), |n| Some(n.to_string())),
    key!("limits.max_cpu", LIVE, |c| c.limits.max_cpu, |v| v.share(0.1, 100.0), |s| Some(percent(*s))),
    key!("limits.max_memory", LIVE, |c| c.limits.max_memory, |v| v.size("64MiB", "1TiB"), |n| Some(bytes(*n))),
    key!("log.level", LIVE, |c| c.log.level, |v| v.choice(LEVELS), |l| Some(word(LEVELS, l))),
    key!("log.target", AT_START, |c| c.log.target, |v| v.choice(TARGETS), |t| Some(word(TARGETS, t))),
];

/// The keys of a destination.
pub(super) static DESTINATION_KEYS: &[Key<Destination>] = &[
    key!("name", LIVE, |d| d.name, |v| v.name(), |n| Some(quoted(n)).filter(|_| !n.is_empty())),
    key!("endpoint", LIVE, |d| d.endpoint, |v| v.url(), |u| Some(quoted(&without_password(u)))),
    key!("protocol", LIVE, |d| d.protocol, |v| v.choice(Protocol::NAMES).map(Some), |p| {
        p.as_ref().map(|protocol| word(Protocol::NAMES, protocol))
    }),
    key!("signals", LIVE, |d| d.signals, |v| v.choices(ExportSignal::NAMES), |s| {
        let words: Vec<_> = s.iter().map(|signal| word(ExportSignal::NAMES, signal)).collect();
        Some(format!("[{}]", words.join(", "))).filter(|_| !words.is_empty())
    }),
    key!("headers", LIVE, |d| d.headers, |v| v.headers(), |h| {
        let hidden: Vec<_> = h.iter().map(|(name, _)| format!("{name} = \"***\"")).collect();
        Some(format!("{{ {} }}", hidden.join(", "))).filter(|_| !hidden.is_empty())
    }),
    key!("compression", LIVE, |d| d.compression, |v| v.choice(Compression::NAMES).map(Some), |c| {
        c.as_ref().map(|compression| word(Compression::NAMES, compression))
    }),
    key!("timeout", LIVE, |d| d.timeout, |v| v.time("100ms", "5m").map(Some), |t| t.map(time)),
    key!("tls_ca", LIVE, |d| d.tls.ca, |v| v.path().map(Some), |p| shown(p.as_deref())),
    key!("tls_certificate", LIVE, |d| d.tls.certificate, |v| v.path().map(Some), |p| shown(p.as_deref())),
    key!("tls_key", LIVE, |d| d.tls.key, |v| v.path().map(Some), |p| shown(p.as_deref())),
];

const LEVELS: &[(&str, Level)] = &[
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

const TARGETS: &[(&str, LogTarget)] =
    &[("auto", LogTarget::Auto), ("journald", LogTarget::Journald), ("stderr", LogTarget::Stderr)];

fn word<T: PartialEq>(names: &[(&str, T)], value: &T) -> String {
    names.iter().find(|(_, named)| named == value).map_or_else(String::new, |(name, _)| quoted(name))
}

fn shown(path: Option<&std::path::Path>) -> Option<String> {
    path.map(|path| quoted(&path.to_string_lossy()))
}
