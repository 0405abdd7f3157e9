//! One attempt to hand over one request.

pub(super) mod grpc;
mod http;
pub(super) mod pem;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};

use super::{Destination, DestinationError, Protocol};
use crate::model::text::printable;

/// What we call ourselves.
const USER_AGENT: &str = concat!("profilerd/", env!("CARGO_PKG_VERSION"));
/// Longest message of a receiver that is kept, in characters.
const LONGEST_MESSAGE: usize = 300;

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum Reply {
    /// The receiver has it, but for so many profiles, which it will not take.
    Taken { rejected: u64, message: String },
    /// Not now. It may have said when.
    Later { reason: String, after: Option<Duration> },
    /// It will never take it.
    Refused { reason: String },
}

/// A client of one destination.
#[derive(Debug)]
pub(super) enum Client {
    Grpc(Box<grpc::Grpc>),
    Http(http::Http),
}

impl Client {
    /// Reads certificates and keys; connects to nothing.
    pub(super) fn new(destination: &Destination) -> Result<Client, DestinationError> {
        match destination.protocol {
            Protocol::Grpc => grpc::Grpc::new(destination).map(|client| Client::Grpc(Box::new(client))),
            Protocol::Http => http::Http::new(destination).map(Client::Http),
        }
    }

    /// Takes the destination's timeout at most.
    pub(super) async fn send(&mut self, request: &ExportProfilesServiceRequest) -> Reply {
        match self {
            Client::Grpc(client) => client.send(request).await,
            Client::Http(client) => client.send(request).await,
        }
    }
}

impl Reply {
    fn taken(response: ExportProfilesServiceResponse) -> Reply {
        let partial = response.partial_success.unwrap_or_default();
        let rejected = u64::try_from(partial.rejected_profiles).unwrap_or(0);
        Reply::Taken { rejected, message: message(&partial.error_message) }
    }
}

/// A receiver's words, fit for a log.
fn message(text: &str) -> String {
    printable(text).chars().take(LONGEST_MESSAGE).collect()
}

/// An error with its causes in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    message(&text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::{Header, Kind, Tls};
    use super::*;

    #[test]
    fn a_destination_that_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (missing, garbage) = (folder.path().join("missing.pem"), file("garbage.pem", "no certificate\n"));
        let torn = file("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let with = |tls: Tls, headers: &[(&str, &str)]| {
                let header = |(name, value): &(&str, &str)| Header { name: (*name).into(), value: (*value).into() };
                let usual = Destination::new(Kind::Profiles, "https://localhost:4318", Some(protocol)).unwrap();
                Client::new(&Destination { tls, headers: headers.iter().map(header).collect(), ..usual })
            };
            let authority = |path: &std::path::Path| Tls { authority: Some(path.to_owned()), identity: None };
            let identity = |path: &std::path::Path| Tls { authority: None, identity: Some((path.into(), path.into())) };
            assert!(with(Tls::default(), &[("authorization", "Bearer x")]).is_ok());
            for tls in [authority(&missing), identity(&missing)] {
                assert!(matches!(with(tls, &[]), Err(DestinationError::File { .. })), "{protocol:?}");
            }
            for tls in [authority(&torn), identity(&garbage)] {
                let error = with(tls.clone(), &[]);
                assert!(matches!(error, Err(DestinationError::Tls { .. })), "{protocol:?} {tls:?}: {error:?}");
            }
            for header in [("", "x"), ("with space", "x"), ("x", "new\nline")] {
                let error = with(Tls::default(), &[header]);
                assert!(matches!(error, Err(DestinationError::Header { .. })), "{protocol:?} {header:?}");
            }
        }
    }
}
