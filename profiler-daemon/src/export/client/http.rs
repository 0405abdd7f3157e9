use std::io::Write;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse,
};
use prost::Message;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Identity, Response, StatusCode, Url};

use super::super::{Destination, DestinationError};
use super::pem::Pem;
use super::{Reply, USER_AGENT, chain, message};

/// Longest answer that is read.
const LONGEST_ANSWER: usize = 64 << 10;

/// Hands over by HTTP.
#[derive(Debug)]
pub(in crate::export) struct Http {
    client: reqwest::Client,
    url: Url,
    gzip: bool,
}

impl Http {
    pub(super) fn new(destination: &Destination) -> Result<Http, DestinationError> {
        let endpoint = || destination.endpoint.clone();
        let url = Url::parse(&destination.endpoint).map_err(|_| DestinationError::Endpoint { endpoint: endpoint() })?;
        let mut headers = HeaderMap::new();
        for header in &destination.headers {
            let wrong = || DestinationError::Header { name: header.name.clone() };
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| wrong())?;
            let mut value = HeaderValue::from_str(&header.value).map_err(|_| wrong())?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        // Whoever was first has chosen; all choices do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |error: reqwest::Error| DestinationError::Tls { endpoint: endpoint(), reason: chain(&error) };
        let mut client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .timeout(destination.timeout)
            // A redirected POST would arrive as a GET, or elsewhere than where somebody allowed it to go.
            .redirect(reqwest::redirect::Policy::none());
        if url.scheme() == "https" {
            let pem = Pem::read(destination)?;
            if let Some(authority) = &pem.authority {
                client = client.tls_certs_only(Certificate::from_pem_bundle(authority).map_err(wrong)?);
            }
            if let Some(both) = pem.identity_bundle() {
                client = client.identity(Identity::from_pem(&both).map_err(wrong)?);
            }
        }
        Ok(Http { client: client.build().map_err(wrong)?, url, gzip: destination.gzip })
    }

    pub(super) async fn send(&self, request: &ExportProfilesServiceRequest) -> Reply {
        let body = request.encode_to_vec();
        let mut post = self.client.post(self.url.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        post = match self.gzip.then(|| compressed(&body)).flatten() {
            Some(smaller) => post.header(CONTENT_ENCODING, "gzip").body(smaller),
            None => post.body(body),
        };
        match post.send().await {
            Ok(response) => answered(response).await,
            Err(error) => Reply::Later { reason: chain(&error.without_url()), after: None },
        }
    }
}

/// The body, compressed as fast as it gets: what is saved beyond that costs more than it spares.
fn compressed(body: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 3), Compression::fast());
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}

/// Whether a failure may pass. Source: OTLP specification 1.11, failures of OTLP/HTTP.
async fn answered(mut response: Response) -> Reply {
    let status = response.status();
    let after =
        response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
    let body = read(&mut response).await;
    if status.is_success() {
        // Somebody between us and the receiver may answer with something else; it is taken all the same.
        return Reply::taken(ExportProfilesServiceResponse::decode(body.as_slice()).unwrap_or_default());
    }
    let reason = format!("{status} {}", message(&String::from_utf8_lossy(&body))).trim_end().to_owned();
    let may_pass = matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    if may_pass { Reply::Later { reason, after } } else { Reply::Refused { reason } }
}

/// The start of the answer's body: as much as is of use.
async fn read(response: &mut Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk[..chunk.len().min(LONGEST_ANSWER - body.len())]);
        if body.len() == LONGEST_ANSWER {
            break;
        }
    }
    body
}

/// How long to wait: seconds, or the time of a date. Source: RFC 9110, section 10.2.3.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_receiver_says_when_in_seconds_or_by_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (value, expected_s) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("Sun, 09 Sep 2001 01:47:10 GMT", Some(30)),
            ("Sun, 09 Sep 2001 01:46:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs()), expected_s, "{value}");
        }
    }
}
