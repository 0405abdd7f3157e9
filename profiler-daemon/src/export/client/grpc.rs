use opentelemetry_proto::tonic::collector::profiles::v1development::ExportProfilesServiceRequest;
use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_client::ProfilesServiceClient;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::super::{Destination, DestinationError};
use super::pem::Pem;
use super::{Reply, USER_AGENT, chain, message};

/// Longest answer that is read.
const LONGEST_ANSWER: usize = 1 << 20;

/// Hands over by gRPC.
#[derive(Debug)]
pub(in crate::export) struct Grpc {
    endpoint: Endpoint,
    metadata: MetadataMap,
    gzip: bool,
    /// Made by the first request: it needs the runtime.
    client: Option<ProfilesServiceClient<Channel>>,
}

impl Grpc {
    pub(super) fn new(destination: &Destination) -> Result<Grpc, DestinationError> {
        let endpoint = || destination.endpoint.clone();
        let address = Endpoint::from_shared(destination.endpoint.clone());
        let mut channel = address.map_err(|_| DestinationError::Endpoint { endpoint: endpoint() })?;
        channel = channel.timeout(destination.timeout).connect_timeout(destination.timeout);
        channel = channel.user_agent(USER_AGENT).map_err(|_| DestinationError::Endpoint { endpoint: endpoint() })?;
        if destination.endpoint.starts_with("https:") {
            let tls = channel.tls_config(tls(&Pem::read(destination)?));
            channel = tls.map_err(|error| DestinationError::Tls { endpoint: endpoint(), reason: chain(&error) })?;
        }
        Ok(Grpc { endpoint: channel, metadata: metadata(destination)?, gzip: destination.gzip, client: None })
    }

    pub(super) async fn send(&mut self, request: &ExportProfilesServiceRequest) -> Reply {
        let (endpoint, gzip) = (&self.endpoint, self.gzip);
        let client = self.client.get_or_insert_with(|| {
            let client = ProfilesServiceClient::new(endpoint.connect_lazy());
            let client = client.accept_compressed(CompressionEncoding::Gzip).max_decoding_message_size(LONGEST_ANSWER);
            if gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client }
        });
        let mut request = Request::new(request.clone());
        *request.metadata_mut() = self.metadata.clone();
        match client.export(request).await {
            Ok(response) => Reply::taken(response.into_inner()),
            Err(status) => failed(&status),
        }
    }
}

/// The headers of a destination.
pub(in crate::export) fn metadata(destination: &Destination) -> Result<MetadataMap, DestinationError> {
    let mut metadata = MetadataMap::new();
    for header in &destination.headers {
        let wrong = || DestinationError::Header { name: header.name.clone() };
        let key = AsciiMetadataKey::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
        metadata.insert(key, header.value.parse().map_err(|_| wrong())?);
    }
    Ok(metadata)
}

/// Whom to trust, and who we are.
pub(in crate::export) fn tls(pem: &Pem) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new();
    let tls = match &pem.authority {
        Some(authority) => tls.ca_certificate(Certificate::from_pem(authority)),
        None => tls.with_native_roots(),
    };
    match &pem.identity {
        Some((certificate, key)) => tls.identity(Identity::from_pem(certificate, key)),
        None => tls,
    }
}

/// Whether a failure may pass. Source: OTLP specification 1.11, failures of OTLP/gRPC.
fn failed(status: &Status) -> Reply {
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let may_pass = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::ResourceExhausted => after.is_some(),
        // A connection that breaks has no code of the receiver: it is an error of ours, with a source.
        Code::Unknown | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    };
    let reason = match std::error::Error::source(status) {
        Some(source) => chain(source),
        None => format!("{:?}: {}", status.code(), message(status.message())),
    };
    if may_pass { Reply::Later { reason, after } } else { Reply::Refused { reason } }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        for code in 1..=16 {
            let code = Code::from(code);
            let is_later = matches!(failed(&Status::new(code, "x")), Reply::Later { .. });
            let expected = [
                Code::Cancelled,
                Code::DeadlineExceeded,
                Code::Aborted,
                Code::OutOfRange,
                Code::Unavailable,
                Code::DataLoss,
            ];
            assert_eq!(is_later, expected.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn an_exhausted_receiver_says_when() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1_500)));
        let status = Status::with_error_details(Code::ResourceExhausted, "busy", details);
        let Reply::Later { after, reason } = failed(&status) else { panic!("it can be tried again") };
        assert_eq!((after, &*reason), (Some(Duration::from_millis(1_500)), "ResourceExhausted: busy"));
    }
}
