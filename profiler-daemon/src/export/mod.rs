//! Stored windows to OpenTelemetry collectors: in order, at least once, at a bounded rate.
//!
//! A store has what was captured; a cursor beside it says how far a destination is. So an outage of the destination
//! costs nothing but time, whichever side ends first, and nothing is queued in memory but the window on its way.

mod backoff;
mod client;
mod counters;
mod cursor;
mod destination;
mod exporter;
mod host;
mod metrics;
mod next;
mod pace;

use std::io;

use crate::model::Recording;

pub use counters::{Counters, Counts};
pub use destination::{Destination, DestinationError, Header, Kind, Protocol, Tls};
pub use exporter::{ExportError, Exporter};
pub use host::host;
pub use metrics::{Metrics, MetricsError};

/// Where windows come from: a store.
pub trait Windows: Send + Sync + 'static {
    /// The first window after this sequence number, with its own number. Numbers begin at 1 and grow; one that is
    /// left out is a window that was lost. What cannot be read is to be passed over, since it is asked for until it
    /// comes.
    ///
    /// # Errors
    /// What keeps the store from answering now. It is asked again.
    fn after(&self, sequence: u64) -> io::Result<Option<(u64, Recording)>>;

    /// Number of the newest window, `None` if there is none.
    ///
    /// # Errors
    /// As [`Windows::after`].
    fn newest(&self) -> io::Result<Option<u64>>;
}
