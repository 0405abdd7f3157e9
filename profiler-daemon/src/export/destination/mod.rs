//! Where profiles go, and how.

mod env;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::sink::otlp::{MOST_REQUEST_BYTES, Signal};

/// What a destination gets: each has variables and a path of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Profiles.
    Profiles,
    /// Metrics.
    Metrics,
}

impl Kind {
    /// Where HTTP receivers take it.
    fn path(self) -> &'static str {
        match self {
            Kind::Profiles => "/v1development/profiles",
            Kind::Metrics => "/v1/metrics",
        }
    }

    /// The word in its variables.
    fn word(self) -> &'static str {
        match self {
            Kind::Profiles => "PROFILES",
            Kind::Metrics => "METRICS",
        }
    }
}

/// One receiver of profiles or metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// URL: `http` or `https`, host, port, and with HTTP the path.
    pub endpoint: String,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Sent with every request.
    pub headers: Vec<Header>,
    /// Longest time that a request may take.
    pub timeout: Duration,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// Whom it has to be, and who we are, if the endpoint is `https`.
    pub tls: Tls,
    /// What it gets of profiles. Some receivers refuse a whole request for a signal that they do not know: Elastic
    /// takes [`Signal::Cpu`] alone.
    pub signals: Vec<Signal>,
    /// Most bytes a second in the mean, before compression.
    pub bytes_per_second: u64,
    /// Most bytes of a request, before compression.
    pub most_request_bytes: usize,
    /// Wait after a first failure; it doubles with each further one.
    pub first_retry: Duration,
    /// Longest wait between attempts, unless the receiver asks for more.
    pub longest_retry: Duration,
}

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in HTTP requests.
    Http,
}

/// One header. Its value may be a secret, and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    /// Name, in lower case.
    pub name: String,
    /// Value.
    pub value: String,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

/// Files of certificates and keys, PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Authorities that the receiver's certificate may be from; the system's if there is none.
    pub authority: Option<PathBuf>,
    /// Our certificate and its key, for receivers that ask.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why a destination is not usable.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// A variable of the environment has a value that it cannot have.
    #[error("`{name}` is {value}, and has to be {expected}")]
    Variable {
        /// Its name.
        name: String,
        /// What it holds, quoted; secrets are left out.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// No address.
    #[error("`{endpoint}` is no address of a receiver: it has to be like `http://localhost:4317`")]
    Endpoint {
        /// What was given.
        endpoint: String,
    },
    /// A header that HTTP does not allow.
    #[error("`{name}` is no header, or its value holds what no header may")]
    Header {
        /// Its name.
        name: String,
    },
    /// A certificate or key that cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Certificates or keys that do not fit.
    #[error("cannot use the certificates of `{endpoint}`: {reason}")]
    Tls {
        /// Whose they are.
        endpoint: String,
        /// What is wrong with them.
        reason: String,
    },
}

impl Destination {
    /// The receiver at this URL with everything as usual: CPU and off-CPU, gzip, 10 s a request.
    ///
    /// Without a protocol port 4317 is gRPC and everything else HTTP. With HTTP a URL without a path gets the usual one.
    ///
    /// # Errors
    /// [`DestinationError::Endpoint`].
    pub fn new(kind: Kind, endpoint: &str, protocol: Option<Protocol>) -> Result<Destination, DestinationError> {
        let wrong = || DestinationError::Endpoint { endpoint: endpoint.escape_debug().to_string() };
        let mut url = reqwest::Url::parse(endpoint).map_err(|_| wrong())?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong());
        }
        let usual = if url.port() == Some(4317) { Protocol::Grpc } else { Protocol::Http };
        let protocol = protocol.unwrap_or(usual);
        if protocol == Protocol::Http && matches!(url.path(), "" | "/") {
            url.set_path(kind.path());
        }
        Ok(Destination {
            endpoint: url.into(),
            protocol,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            gzip: true,
            tls: Tls::default(),
            signals: Signal::DEFAULT.to_vec(),
            bytes_per_second: 2 << 20,
            most_request_bytes: MOST_REQUEST_BYTES,
            first_retry: Duration::from_secs(1),
            longest_retry: Duration::from_secs(60),
        })
    }
}
