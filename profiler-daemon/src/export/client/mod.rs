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
