//! What the environment of a process says of the service that it is part of.

/// The service's name: `OTEL_SERVICE_NAME`, else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`. An empty
/// value counts as none. `environ` is as in /proc: strings ended by NUL, of which the last may be cut.
///
/// Source: OpenTelemetry specification 1.48, "Resource SDK", "Specifying resource information via an
/// environment variable".
pub(super) fn service(environ: &[u8]) -> Option<String> {
    let named = value(environ, b"OTEL_SERVICE_NAME=").map(|name| String::from_utf8_lossy(name).trim().to_owned());
    named.filter(|name| !name.is_empty()).or_else(|| attribute(value(environ, b"OTEL_RESOURCE_ATTRIBUTES=")?))
}

/// The value of the first variable of this name, which is the one that `getenv` finds.
fn value<'a>(environ: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    // Without its end, a value is not what was meant.
    let whole = &environ[..=environ.iter().rposition(|byte| *byte == 0)?];
    whole.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(name))
}

/// `service.name` of `key=value,key=value`, with percent escapes. One mistake voids all of it, as it
/// does for the program itself.
fn attribute(attributes: &[u8]) -> Option<String> {
    let mut service = None;
    for pair in attributes.split(|byte| *byte == b',').filter(|pair| !pair.trim_ascii().is_empty()) {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (decoded(&pair[..equals])?, decoded(&pair[equals + 1..])?);
        if key == "service.name" && !value.is_empty() {
            service = Some(value);
        }
    }
    service
}

/// The text with `%XX` as bytes, which must then be UTF-8.
fn decoded(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.trim_ascii();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'%' {
            let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
            out.push((digit(0)? << 4 | digit(1)?) as u8);
            rest = &after[2..];
        } else {
            out.push(*first);
            rest = after;
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::service;

    #[track_caller]
    fn check(environ: &str, expected: Option<&str>) {
        assert_eq!(service(environ.as_bytes()).as_deref(), expected, "{environ:?}");
    }

    #[test]
    fn the_name_counts_more_than_the_attributes() {
        check("PATH=/bin\0OTEL_SERVICE_NAME=cart\0OTEL_RESOURCE_ATTRIBUTES=service.name=x\0", Some("cart"));
        check("OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=x\0", Some("x"));
        check("OTEL_SERVICE_NAME= spaced \0", Some("spaced"));
        check("OTEL_SERVICE_NAME=first\0OTEL_SERVICE_NAME=second\0", Some("first"));
        check("MY_OTEL_SERVICE_NAME=no\0OTEL_SERVICE_NAMES=no\0", None);
        check("", None);
    }

    #[test]
    fn attributes_are_percent_encoded() {
        check("OTEL_RESOURCE_ATTRIBUTES=k=v,service.name=a%2Cb%20c,z=1\0", Some("a,b c"));
        check("OTEL_RESOURCE_ATTRIBUTES= service.name = x=y \0", Some("x=y"));
        check("OTEL_RESOURCE_ATTRIBUTES=service.name=%C3%A9\0", Some("é"));
        check("OTEL_RESOURCE_ATTRIBUTES=service.name=x,\0", Some("x"));
        check("OTEL_RESOURCE_ATTRIBUTES=service.namespace=x\0", None);
        check("OTEL_RESOURCE_ATTRIBUTES=service.name=\0", None);
    }

    #[test]
    fn one_mistake_voids_the_attributes() {
        for wrong in [
            "service.name=x,nonsense",
            "service.name=%zz",
            "service.name=a%2",
            "service.name=%ff",
            "a=%,service.name=x",
        ] {
            check(&format!("OTEL_RESOURCE_ATTRIBUTES={wrong}\0"), None);
        }
    }

    #[test]
    fn a_cut_value_is_not_used() {
        check("A=1\0OTEL_SERVICE_NAME=car", None);
        check("OTEL_SERVICE_NAME=car", None);
    }
}
