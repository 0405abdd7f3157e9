use std::io;

use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;

use super::{Destination, Windows};
use crate::sink::otlp::{self, Host};

/// What a store has for a destination.
pub(super) struct Next {
    /// Number of the newest window.
    pub(super) newest: Option<u64>,
    /// Whether it is another store, which begins to count again.
    pub(super) is_reset: bool,
    /// The first window after the position.
    pub(super) window: Option<Encoded>,
}

/// One window as it is sent.
pub(super) struct Encoded {
    pub(super) sequence: u64,
    pub(super) requests: Vec<ExportProfilesServiceRequest>,
}

/// Reads and encodes the window after this position; `None` is before the first one.
pub(super) fn look(
    windows: &dyn Windows,
    position: Option<u64>,
    destination: &Destination,
    host: Host,
) -> io::Result<Next> {
    let newest = windows.newest()?;
    let is_reset = matches!((newest, position), (Some(newest), Some(position)) if newest < position);
    let position = if is_reset { None } else { position };
    let after = windows.after(position.unwrap_or(0))?;
    let window = after.map(|(sequence, recording)| {
        let options = otlp::Options {
            host,
            sequence,
            signals: destination.signals.clone(),
            most_bytes: destination.most_request_bytes,
        };
        Encoded { sequence, requests: otlp::encode(&recording, &options) }
    });
    Ok(Next { newest, is_reset, window })
}

/// Number of profiles in a request.
pub(super) fn profiles_of(request: &ExportProfilesServiceRequest) -> u64 {
    let scopes = request.resource_profiles.iter().flat_map(|resource| &resource.scope_profiles);
    scopes.map(|scope| scope.profiles.len() as u64).sum()
}
