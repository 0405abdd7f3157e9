//! Serves the page: `/metrics`, `/healthz`, `/readyz`.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};

use super::Telemetry;

/// Most connections at once; more wait.
pub(super) const MOST_CONNECTIONS: usize = 32;
/// A request that takes longer to arrive is none.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that lives longer is ended, whatever goes on: one that reads slowly holds a place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// What Prometheus reads.
const PAGE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be had.
    #[error("cannot listen at {address} for metrics")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// There is no thread to be had.
    #[error("cannot start the thread that serves metrics")]
    Thread(#[source] io::Error),
}

impl ServerError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            ServerError::Listen { source, address } if source.kind() == io::ErrorKind::AddrInUse => Some(format!(
                "another port in `listen` of [metrics]; `ss -ltnp 'sport = {}'` says who has this one",
                address.port()
            )),
            _ => None,
        }
    }
}

/// The running server. It has a thread of its own, so that it answers when everything else stands still,
/// and ends with this value.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens and serves.
    ///
    /// # Errors
    /// When the address cannot be had, or no thread.
    pub fn start(address: SocketAddr, telemetry: Arc<Telemetry>) -> Result<Server, ServerError> {
        let listen = || {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = listen().map_err(|source| ServerError::Listen { address, source })?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServerError::Thread)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, telemetry) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread =
            std::thread::Builder::new().name("metrics".to_owned()).spawn(serve).map_err(ServerError::Thread)?;
        Ok(Server { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: the port too, if the system chose it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Nothing is left to say about a thread that panicked: it did so itself.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, telemetry: Arc<Telemetry>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let local_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: they come back.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let telemetry = Arc::clone(&telemetry);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&request, &telemetry, local_only);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            // How a connection ends is the other side's business.
            let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, telemetry: &Telemetry, local_only: bool) -> Response<Full<Bytes>> {
    if local_only && !names_this_machine(request.headers().get(HOST)) {
        return answer(StatusCode::FORBIDDEN, "this page is for this machine\n");
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = answer(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let state = |holds, yes, no| {
        if holds { answer(StatusCode::OK, yes) } else { answer(StatusCode::SERVICE_UNAVAILABLE, no) }
    };
    match request.uri().path() {
        "/metrics" => answer(StatusCode::OK, telemetry.page()),
        "/healthz" => state(telemetry.is_alive(), "alive\n", "no sign of life for a minute\n"),
        "/readyz" => state(telemetry.is_ready(), "profiling\n", "not profiling\n"),
        _ => answer(StatusCode::NOT_FOUND, "there is /metrics, /healthz and /readyz\n"),
    }
}

fn answer(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PAGE));
    response
}

/// Whether a request was meant for this machine by an address or as `localhost`. Any other name may be
/// one that a web page made lead here, to have its visitor's browser read what only this machine may.
fn names_this_machine(host: Option<&HeaderValue>) -> bool {
    // Without it no browser sent it.
    let Some(host) = host else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}
