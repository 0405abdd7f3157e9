//! The environment variables that OpenTelemetry exporters have in common.
//! Source: OpenTelemetry specification 1.50, protocol/exporter.

use std::time::Duration;

use super::{Destination, DestinationError, Header, Kind, Protocol};

impl Destination {
    /// The destination that the environment names: those of its kind, such as
    /// `OTEL_EXPORTER_OTLP_PROFILES_ENDPOINT`, before those for all, such as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    /// An endpoint given here comes before both; `None` if there is none at all. Empty variables count as not set.
    ///
    /// `variable` is the environment, such as `|name| std::env::var(name).ok()`.
    ///
    /// # Errors
    /// A variable that makes no sense.
    pub fn from_env(
        kind: Kind,
        endpoint: Option<&str>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Destination>, DestinationError> {
        let env = Env { kind, variable: &variable };
        let protocol = env.protocol()?;
        let Some(url) = env.endpoint(endpoint, protocol) else { return Ok(None) };
        let mut destination = Destination::new(kind, &url, protocol)?;
        env.apply(&mut destination)?;
        Ok(Some(destination))
    }
}

/// A look at variables.
struct Env<'a> {
    kind: Kind,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Env<'_> {
    /// The variable of this kind, else the one for all, with its name.
    fn get(&self, suffix: &str) -> Option<(String, String)> {
        self.own(suffix).or_else(|| self.one(format!("OTEL_EXPORTER_OTLP_{suffix}")))
    }

    fn own(&self, suffix: &str) -> Option<(String, String)> {
        self.one(format!("OTEL_EXPORTER_OTLP_{}_{suffix}", self.kind.word()))
    }

    fn one(&self, name: String) -> Option<(String, String)> {
        let value = (self.variable)(&name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())?;
        Some((name, value))
    }

    fn protocol(&self) -> Result<Option<Protocol>, DestinationError> {
        let Some((name, value)) = self.get("PROTOCOL") else { return Ok(None) };
        match &*value {
            "grpc" => Ok(Some(Protocol::Grpc)),
            "http/protobuf" => Ok(Some(Protocol::Http)),
            _ => Err(wrong(name, &value, "`grpc` or `http/protobuf`")),
        }
    }

    fn endpoint(&self, given: Option<&str>, protocol: Option<Protocol>) -> Option<String> {
        if let Some(given) = given {
            return Some(given.to_owned());
        }
        if let Some((_, url)) = self.own("ENDPOINT") {
            return Some(self.with_scheme(url));
        }
        let (_, base) = self.one("OTEL_EXPORTER_OTLP_ENDPOINT".to_owned())?;
        let base = self.with_scheme(base);
        // The variable for all signals names a base, to which each adds its path.
        let is_grpc =
            protocol == Some(Protocol::Grpc) || (protocol.is_none() && base.trim_end_matches('/').ends_with(":4317"));
        Some(if is_grpc { base } else { format!("{}{}", base.trim_end_matches('/'), self.kind.path()) })
    }

    /// gRPC endpoints may come as host and port; another variable then says whether they are to be trusted.
    fn with_scheme(&self, url: String) -> String {
        if url.contains("://") {
            return url;
        }
        let is_insecure = self.get("INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        format!("{}://{url}", if is_insecure { "http" } else { "https" })
    }

    fn apply(&self, destination: &mut Destination) -> Result<(), DestinationError> {
        if let Some((name, value)) = self.get("HEADERS") {
            // They may be secrets: what is wrong is not shown.
            let headers =
                headers(&value).ok_or_else(|| wrong(name, "not shown", "a list such as `key=value,key=value`"))?;
            destination.headers.extend(headers);
        }
        if let Some((name, value)) = self.get("TIMEOUT") {
            let milliseconds = value.parse().ok().filter(|milliseconds| *milliseconds > 0);
            let milliseconds = milliseconds.ok_or_else(|| wrong(name, &value, "a positive number of milliseconds"))?;
            destination.timeout = Duration::from_millis(milliseconds);
        }
        if let Some((name, value)) = self.get("COMPRESSION") {
            destination.gzip = match &*value {
                "gzip" => true,
                "none" => false,
                _ => return Err(wrong(name, &value, "`gzip` or `none`")),
            };
        }
        if let Some((_, path)) = self.get("CERTIFICATE") {
            destination.tls.authority = Some(path.into());
        }
        match (self.get("CLIENT_CERTIFICATE"), self.get("CLIENT_KEY")) {
            (Some((_, certificate)), Some((_, key))) => {
                destination.tls.identity = Some((certificate.into(), key.into()))
            }
            (Some((name, value)), None) | (None, Some((name, value))) => {
                return Err(wrong(name, &value, "set together with the other one of certificate and key"));
            }
            (None, None) => {}
        }
        Ok(())
    }
}

fn wrong(name: String, value: &str, expected: &'static str) -> DestinationError {
    let value = if value == "not shown" { value.to_owned() } else { format!("`{}`", value.escape_debug()) };
    DestinationError::Variable { name, value, expected }
}

/// `key=value,key=value`, values percent-encoded. `None` if it is something else.
fn headers(list: &str) -> Option<Vec<Header>> {
    let pairs = list.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim().to_ascii_lowercase();
            (!name.is_empty()).then_some(())?;
            Some(Header { name, value: percent_decoded(value.trim())? })
        })
        .collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, others)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = others;
            continue;
        }
        let digits = others.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = &others[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The destination of variables, without what all begin with.
    fn read(variables: &[(&str, &str)]) -> Result<Option<Destination>, DestinationError> {
        let find = |name: &str| {
            let short = name.strip_prefix("OTEL_EXPORTER_OTLP_")?;
            variables.iter().find(|(key, _)| *key == short).map(|(_, value)| (*value).to_owned())
        };
        Destination::from_env(Kind::Profiles, None, find)
    }

    #[test]
    fn endpoints_follow_the_specification() {
        for (variables, expected) in [
            (&[("ENDPOINT", "http://c:4318")] as &[_], "http://c:4318/v1development/profiles"),
            (&[("ENDPOINT", "https://c/base/")], "https://c/base/v1development/profiles"),
            (&[("ENDPOINT", "http://c:4317")], "http://c:4317/ grpc"),
            (&[("ENDPOINT", "http://c:4318"), ("PROTOCOL", "grpc")], "http://c:4318/ grpc"),
            (&[("ENDPOINT", "http://c:4318"), ("PROFILES_ENDPOINT", "http://p/x")], "http://p/x"),
            (&[("PROFILES_ENDPOINT", "http://p:4318")], "http://p:4318/v1development/profiles"),
            (
                &[("PROFILES_PROTOCOL", "http/protobuf"), ("PROTOCOL", "grpc"), ("ENDPOINT", "http://c")],
                "http://c/v1development/profiles",
            ),
            (&[("ENDPOINT", "c:4317")], "https://c:4317/ grpc"),
            (&[("ENDPOINT", "c:4317"), ("INSECURE", "true")], "http://c:4317/ grpc"),
        ] {
            let found = read(variables).unwrap().unwrap();
            let kind = if found.protocol == Protocol::Grpc { " grpc" } else { "" };
            assert_eq!(format!("{}{kind}", found.endpoint), expected, "{variables:?}");
        }
        assert_eq!(read(&[("PROTOCOL", "grpc"), ("ENDPOINT", " ")]).unwrap(), None);

        let variable = |name: &str| (name == "OTEL_EXPORTER_OTLP_ENDPOINT").then(|| "http://c:4318".to_owned());
        let metrics = Destination::from_env(Kind::Metrics, None, variable).unwrap().unwrap();
        assert_eq!(metrics.endpoint, "http://c:4318/v1/metrics");
        let given = Destination::from_env(Kind::Metrics, Some("http://given:4317"), variable).unwrap().unwrap();
        assert_eq!((&*given.endpoint, given.protocol), ("http://given:4317/", Protocol::Grpc));
    }

    #[test]
    fn everything_else_is_taken_over() {
        let found = read(&[
            ("ENDPOINT", "https://c"),
            ("HEADERS", "Authorization=Basic%20eA==, x-scope = a,"),
            ("TIMEOUT", "2500"),
            ("PROFILES_COMPRESSION", "none"),
            ("COMPRESSION", "gzip"),
            ("CERTIFICATE", "/ca.pem"),
            ("CLIENT_CERTIFICATE", "/c.pem"),
            ("CLIENT_KEY", "/k.pem"),
        ]);
        let found = found.unwrap().unwrap();
        let headers: Vec<_> = found.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
        assert_eq!(headers, [("authorization", "Basic eA=="), ("x-scope", "a")]);
        assert_eq!((found.timeout, found.gzip), (Duration::from_millis(2_500), false));
        assert_eq!(found.tls.authority, Some("/ca.pem".into()));
        assert_eq!(found.tls.identity, Some(("/c.pem".into(), "/k.pem".into())));
        assert!(!format!("{found:?}").contains("eA=="), "secrets are not shown");
    }

    #[test]
    fn nonsense_is_named() {
        for (name, value, expected) in [
            (
                "PROTOCOL",
                "http/json",
                "`OTEL_EXPORTER_OTLP_PROTOCOL` is `http/json`, and has to be `grpc` or `http/protobuf`",
            ),
            (
                "PROFILES_TIMEOUT",
                "10s",
                "`OTEL_EXPORTER_OTLP_PROFILES_TIMEOUT` is `10s`, and has to be a positive number of milliseconds",
            ),
            ("TIMEOUT", "0", "`OTEL_EXPORTER_OTLP_TIMEOUT` is `0`, and has to be a positive number of milliseconds"),
            ("COMPRESSION", "br", "`OTEL_EXPORTER_OTLP_COMPRESSION` is `br`, and has to be `gzip` or `none`"),
            (
                "HEADERS",
                "a=%zz",
                "`OTEL_EXPORTER_OTLP_HEADERS` is not shown, and has to be a list such as `key=value,key=value`",
            ),
            (
                "HEADERS",
                "secret",
                "`OTEL_EXPORTER_OTLP_HEADERS` is not shown, and has to be a list such as `key=value,key=value`",
            ),
            (
                "CLIENT_KEY",
                "/k",
                "`OTEL_EXPORTER_OTLP_CLIENT_KEY` is `/k`, and has to be set together with the other one of certificate and key",
            ),
            (
                "PROFILES_ENDPOINT",
                "ftp://c",
                "`ftp://c` is no address of a receiver: it has to be like `http://localhost:4317`",
            ),
        ] {
            let error = read(&[("ENDPOINT", "http://c"), (name, value)]).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
