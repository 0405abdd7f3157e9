//! What the service says while it runs: to the journal with structured fields, or to standard error as lines.
//!
//! Events are all that is written. Records of the `log` crate, which the eBPF library and the programs'
//! own logging use, come the same way.

mod line;

use std::io;
use std::os::fd::AsFd;

use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Level, LogTarget};

/// Prefix of our fields in the journal: `journalctl PROFILERD_DESTINATION=main`.
const FIELDS: &str = "PROFILERD";
/// What targets of our own events start with, those of the kernel programs included.
const OURS: &str = "profiler";

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no journal.
    #[error("cannot reach the journal")]
    NoJournal(#[source] io::Error),
    /// Something in this process takes log lines already.
    #[error("the log was started before")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

impl LogError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            LogError::NoJournal(_) => {
                Some("`target = \"auto\"` in [log], which takes standard error without a journal")
            }
            LogError::Started(_) => None,
        }
    }
}

/// The running log.
#[derive(Debug)]
pub struct Log {
    filter: reload::Handle<Targets, Registry>,
    journal: bool,
}

impl Log {
    /// Starts the log of this process. To be called once, before anything is said.
    ///
    /// # Errors
    /// When the journal was asked for and is not there, and when there is a log already.
    pub fn start(level: Level, target: LogTarget) -> Result<Log, LogError> {
        let journal = match target {
            LogTarget::Stderr => None,
            LogTarget::Journald => Some(journal().map_err(LogError::NoJournal)?),
            LogTarget::Auto if stderr_is_journal() => journal().ok(),
            LogTarget::Auto => None,
        };
        let (filter, handle) = reload::Layer::new(filter(level));
        let log = Log { filter: handle, journal: journal.is_some() };
        // One of the two: a layer that is `None` would say of the whole log that nothing is wanted.
        let out = journal.map_or_else(|| line::Lines::new(io::stderr()).boxed(), Layer::boxed);
        let registry = tracing_subscriber::registry().with(filter).with(out);
        registry.try_init().map_err(LogError::Started)?;
        ::log::set_max_level(of_log_crate(level));
        Ok(log)
    }

    /// Writes from now on what is at least this important.
    pub fn set_level(&self, level: Level) {
        // It fails only after the log itself is gone.
        let _ = self.filter.reload(filter(level));
        ::log::set_max_level(of_log_crate(level));
    }

    /// Whether lines go to the journal.
    pub fn is_journal(&self) -> bool {
        self.journal
    }
}

/// Libraries say what concerns us at `warn`; the rest is theirs, unless everything was asked for.
fn filter(level: Level) -> Targets {
    let (ours, others) = match level {
        Level::Error => (LevelFilter::ERROR, LevelFilter::ERROR),
        Level::Warn => (LevelFilter::WARN, LevelFilter::WARN),
        Level::Info => (LevelFilter::INFO, LevelFilter::WARN),
        Level::Debug => (LevelFilter::DEBUG, LevelFilter::WARN),
        Level::Trace => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    Targets::new().with_target(OURS, ours).with_default(others)
}

/// What the `log` crate lets pass. The filter has the last word on its records too.
fn of_log_crate(level: Level) -> ::log::LevelFilter {
    match level {
        Level::Error => ::log::LevelFilter::Error,
        Level::Warn => ::log::LevelFilter::Warn,
        Level::Info => ::log::LevelFilter::Info,
        Level::Debug => ::log::LevelFilter::Debug,
        Level::Trace => ::log::LevelFilter::Trace,
    }
}

fn journal() -> io::Result<tracing_journald::Layer> {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    Ok(tracing_journald::layer()?
        .with_field_prefix(Some(FIELDS.to_owned()))
        .with_syslog_identifier("profilerd".to_owned())
        .with_priority_mappings(priorities))
}

/// Whether standard error is the stream into the journal that systemd gave us, and nobody redirected it.
///
/// Source: systemd.exec(5): `JOURNAL_STREAM` is device and inode of that stream.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = nix::sys::stat::fstat(io::stderr().as_fd());
    stderr.is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_say_less_than_we() {
        let would = |level, target: &str, tracing| filter(level).would_enable(target, &tracing);
        assert!(would(Level::Info, "profilerd::daemon", tracing::Level::INFO));
        assert!(would(Level::Info, "profiler_ebpf::programs", tracing::Level::INFO));
        assert!(!would(Level::Info, "profilerd::daemon", tracing::Level::DEBUG));
        assert!(would(Level::Debug, "hyper::proto", tracing::Level::WARN));
        assert!(!would(Level::Debug, "hyper::proto", tracing::Level::INFO));
        assert!(!would(Level::Error, "hyper::proto", tracing::Level::WARN));
    }
}
