use opentelemetry_otlp::{Compression, MetricExporter, WithExportConfig, WithHttpConfig, WithTonicConfig};
use opentelemetry_sdk::metrics::Temporality;
use reqwest::{Certificate, Identity};

use super::super::client::{chain, grpc, pem::Pem};
use super::super::{Destination, DestinationError, Protocol};
use super::MetricsError;

/// What carries metrics to a destination.
pub(super) fn exporter(destination: &Destination) -> Result<MetricExporter, MetricsError> {
    let failed = |reason: String| MetricsError::Exporter { endpoint: destination.endpoint.clone(), reason };
    let builder = MetricExporter::builder().with_temporality(Temporality::Cumulative);
    let is_https = destination.endpoint.starts_with("https:");
    let built = match destination.protocol {
        Protocol::Grpc => {
            let mut builder = builder
                .with_tonic()
                .with_endpoint(&destination.endpoint)
                .with_timeout(destination.timeout)
                .with_metadata(grpc::metadata(destination)?);
            if destination.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            if is_https {
                builder = builder.with_tls_config(grpc::tls(&Pem::read(destination)?));
            }
            builder.build()
        }
        Protocol::Http => {
            let headers = destination.headers.iter().map(|header| (header.name.clone(), header.value.clone()));
            let mut builder = builder
                .with_http()
                .with_http_client(client(destination, is_https)?)
                .with_endpoint(&destination.endpoint)
                .with_timeout(destination.timeout)
                .with_headers(headers.collect());
            if destination.gzip {
                builder = builder.with_compression(Compression::Gzip);
            }
            builder.build()
        }
    };
    built.map_err(|error| failed(chain(&error)))
}

/// A client for the thread that sends, which has no runtime.
fn client(destination: &Destination, is_https: bool) -> Result<reqwest::blocking::Client, DestinationError> {
    // Whoever was first has chosen; all choices do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let wrong =
        |error: reqwest::Error| DestinationError::Tls { endpoint: destination.endpoint.clone(), reason: chain(&error) };
    let pem = if is_https { Pem::read(destination)? } else { Pem::default() };
    let timeout = destination.timeout;
    let build = move || {
        let mut client =
            reqwest::blocking::Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none());
        if let Some(authority) = &pem.authority {
            client = client.tls_certs_only(Certificate::from_pem_bundle(authority)?);
        }
        if let Some(both) = pem.identity_bundle() {
            client = client.identity(Identity::from_pem(&both)?);
        }
        client.build()
    };
    // It refuses to be made where something asynchronous runs.
    let built = std::thread::spawn(build).join();
    built.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(wrong)
}
