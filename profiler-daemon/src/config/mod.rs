//! How the service is to run: what `profilerd.toml`, the environment and the command line say, checked.
//!
//! One row a key in `keys` is all there is to a setting: its name, its bounds, how it is shown and whether
//! a running service takes it over. Whoever adds one writes it into `systemd/profilerd.toml` too, or a test fails.

mod destination;
mod document;
mod effective;
mod error;
mod keys;
mod relations;
mod reload;
mod sources;
#[cfg(test)]
mod tests;
mod value;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use destination::{Compression, Destination, ExportSignal, Protocol, TlsFiles};
pub use effective::Effective;
pub use error::{ConfigError, Mistake, Place};
pub use reload::{Change, Changes};
pub use sources::{Argument, Sources};

/// Everything that can be set. Its default is what runs without any file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What is measured.
    pub capture: Capture,
    /// What is kept.
    pub store: Store,
    /// Where windows are sent, none by default.
    pub otlp: Vec<Destination>,
    /// The page of our own metrics.
    pub metrics: Metrics,
    /// What the service may cost.
    pub limits: Limits,
    /// What it says.
    pub log: Log,
}

/// What is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// Length of a window.
    pub window: Duration,
    /// CPU samples a second and CPU.
    pub rate_hz: u32,
    /// Waits at least this long are kept one by one.
    pub min_wait: Duration,
    /// Most single waits kept of a window, the longest.
    pub max_waits: usize,
}

/// What is kept, and where.
#[derive(Clone, Debug, PartialEq)]
pub struct Store {
    /// Folder of the store.
    pub dir: PathBuf,
    /// Most bytes on disk.
    pub max_bytes: u64,
    /// Oldest window that is kept.
    pub max_age: Duration,
}

/// The page of our own metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Address of the page; `None` for no page.
    pub listen: Option<SocketAddr>,
    /// Whether others than this machine may reach it.
    pub allow_remote: bool,
    /// Most services and units with series of their own.
    pub max_services: usize,
}

/// What the service may cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Share of the CPU time of the whole machine, kernel programs included; 0.01 is one percent.
    pub max_cpu: f64,
    /// Bytes of memory.
    pub max_memory: u64,
}

/// What is said, and where to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Least important lines that are written.
    pub level: Level,
    /// Where lines go.
    pub target: LogTarget,
}

/// How important a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Data is lost or someone must act.
    Error,
    /// Degraded, but going on.
    Warn,
    /// The life of the service.
    #[default]
    Info,
    /// Each window.
    Debug,
    /// Each record.
    Trace,
}

/// Where lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogTarget {
    /// To the journal if standard error leads there, else to standard error.
    #[default]
    Auto,
    /// To the journal, with structured fields.
    Journald,
    /// To standard error, as text.
    Stderr,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture { window: Duration::from_secs(10), rate_hz: 19, min_wait: Duration::from_millis(10), max_waits: 10_000 }
    }
}

impl Default for Store {
    fn default() -> Store {
        let max_age = Duration::from_secs(14 * 24 * 3600);
        Store { dir: PathBuf::from("/var/lib/profilerd"), max_bytes: 10 << 30, max_age }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 9750));
        Metrics { listen: Some(listen), allow_remote: false, max_services: 100 }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { max_cpu: 0.01, max_memory: 250 << 20 }
    }
}
