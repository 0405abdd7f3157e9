//! A receiver that answers as it is told, by gRPC and by HTTP.

use std::collections::VecDeque;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::profiles::v1development::profiles_service_server::{
    ProfilesService, ProfilesServiceServer,
};
use opentelemetry_proto::tonic::collector::profiles::v1development::{
    ExportProfilesPartialSuccess, ExportProfilesServiceResponse as Response,
};
use profilerd::export::{Destination, Kind, Protocol};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Request, Summary};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Take,
    /// Takes it, but for so many profiles.
    Partial(i64),
    /// Takes it, and then the answer is lost.
    TakeAndFail,
    /// gRPC: refuses it with this code.
    Fail(Code),
    /// gRPC: is exhausted, and says for how long.
    Exhausted(Option<Duration>),
    /// HTTP: this status, and when to come back.
    Status(u16, Option<&'static str>),
    /// Thinks for so long first.
    Slow(Duration),
}

/// What came.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) taken: Vec<Request>,
    /// When each attempt came.
    pub(crate) attempts: Vec<Instant>,
    /// Header `x-scope` of the last attempt.
    pub(crate) scope: Option<String>,
    pub(crate) was_compressed: bool,
}

/// The receiver: what it was told lives on while it does not listen.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    pub(crate) received: Arc<Mutex<Received>>,
}

/// Ends listening, and all connections.
pub(crate) struct Listening {
    _end: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    pub(crate) async fn stop(self) {
        drop(self._end);
        self.task.await.unwrap();
    }
}

impl Fake {
    /// Answers for the next requests; what comes after them is taken.
    pub(crate) fn will(&self, answers: &[Answer]) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.received.lock().unwrap().taken)
    }

    pub(crate) fn attempts(&self) -> usize {
        self.received.lock().unwrap().attempts.len()
    }

    /// Listens at a port of the loopback.
    pub(crate) fn listen(&self, protocol: Protocol, port: u16) -> Listening {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).unwrap();
        let listener = socket.listen(64).unwrap();
        let (end, ended) = oneshot::channel();
        let fake = self.clone();
        let task = match protocol {
            Protocol::Grpc => tokio::spawn(async move {
                let service = ProfilesServiceServer::new(fake)
                    .accept_compressed(CompressionEncoding::Gzip)
                    .send_compressed(CompressionEncoding::Gzip);
                let server = Server::builder().add_service(service);
                let ended = async { drop(ended.await) };
                server.serve_with_incoming_shutdown(listener_stream(listener), ended).await.unwrap();
            }),
            Protocol::Http => tokio::spawn(async move {
                let serve = async {
                    loop {
                        let (stream, _) = listener.accept().await.unwrap();
                        let fake = fake.clone();
                        tokio::spawn(async move { drop(fake.http(stream).await) });
                    }
                };
                tokio::select! { _ = ended => {} () = serve => {} }
            }),
        };
        Listening { _end: end, task }
    }

    /// Notes an attempt and says what to do with it.
    fn arrived(&self, scope: Option<&str>) -> Answer {
        let mut received = self.received.lock().unwrap();
        received.attempts.push(Instant::now());
        received.scope = scope.map(str::to_owned);
        self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Take)
    }

    fn take(&self, request: Request) {
        self.received.lock().unwrap().taken.push(request);
    }

    /// One request of HTTP/1.1.
    async fn http(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let (mut length, mut scope, mut gzip) = (0, None, false);
        let mut first = String::new();
        stream.read_line(&mut first).await?;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match &*name.to_ascii_lowercase() {
                "content-length" => length = value.trim().parse().unwrap(),
                "content-encoding" => gzip = value.trim() == "gzip",
                "content-type" => assert_eq!(value.trim(), "application/x-protobuf"),
                "x-scope" => scope = Some(value.trim().to_owned()),
                _ => {}
            }
        }
        assert!(first.starts_with("POST /v1development/profiles HTTP/1.1"), "{first}");
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        if gzip {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain)?;
            body = plain;
        }
        self.received.lock().unwrap().was_compressed = gzip;
        let request = Request::decode(&*body).unwrap();
        let answer = self.arrived(scope.as_deref());
        let mut response = Response::default();
        let mut status = (200, None);
        match answer {
            Answer::Take => self.take(request),
            Answer::Partial(rejected) => {
                self.take(request);
                response = partial(rejected);
            }
            Answer::TakeAndFail => {
                self.take(request);
                return Ok(());
            }
            Answer::Slow(time) => tokio::time::sleep(time).await,
            Answer::Status(code, retry_after) => status = (code, retry_after),
            Answer::Fail(_) | Answer::Exhausted(_) => unreachable!("an answer of gRPC"),
        }
        let retry_after = status.1.map(|value| format!("retry-after: {value}\r\n")).unwrap_or_default();
        let body = response.encode_to_vec();
        let head = format!(
            "HTTP/1.1 {} x\r\ncontent-length: {}\r\nconnection: close\r\n{retry_after}\r\n",
            status.0,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await?;
        stream.shutdown().await
    }
}

fn listener_stream(listener: TcpListener) -> tonic::transport::server::TcpIncoming {
    listener.into()
}

fn partial(rejected: i64) -> Response {
    let error_message = "no\nroom".to_owned();
    Response { partial_success: Some(ExportProfilesPartialSuccess { rejected_profiles: rejected, error_message }) }
}

#[tonic::async_trait]
impl ProfilesService for Fake {
    async fn export(&self, request: tonic::Request<Request>) -> Result<tonic::Response<Response>, Status> {
        let scope = request.metadata().get("x-scope").map(|value| value.to_str().unwrap().to_owned());
        // tonic has taken the compression away; what it was stays in the metadata.
        self.received.lock().unwrap().was_compressed =
            request.metadata().get("grpc-encoding").is_some_and(|value| value == "gzip");
        let answer = self.arrived(scope.as_deref());
        let request = request.into_inner();
        match answer {
            Answer::Take => self.take(request),
            Answer::Partial(rejected) => {
                self.take(request);
                return Ok(tonic::Response::new(partial(rejected)));
            }
            Answer::TakeAndFail => {
                self.take(request);
                return Err(Status::unavailable("the answer is lost"));
            }
            Answer::Slow(time) => tokio::time::sleep(time).await,
            Answer::Fail(code) => return Err(Status::new(code, "as told")),
            Answer::Exhausted(after) => {
                let details = ErrorDetails::with_retry_info(after);
                return Err(match after {
                    Some(_) => Status::with_error_details(Code::ResourceExhausted, "busy", details),
                    None => Status::resource_exhausted("too large"),
                });
            }
            Answer::Status(..) => unreachable!("an answer of HTTP"),
        }
        Ok(tonic::Response::new(Response::default()))
    }
}

/// A destination at this port that is quick to try again.
pub(crate) fn destination(protocol: Protocol, port: u16) -> Destination {
    let mut destination =
        Destination::new(Kind::Profiles, &format!("http://127.0.0.1:{port}"), Some(protocol)).unwrap();
    destination.first_retry = Duration::from_millis(20);
    destination.longest_retry = Duration::from_millis(200);
    destination.timeout = Duration::from_secs(5);
    destination
}
