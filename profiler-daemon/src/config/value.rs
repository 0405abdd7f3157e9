//! Values as they are written, and what they may mean.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// In quotes.
    Text(String),
    /// Outside of a file, where nothing is quoted: read as whatever the key needs.
    Bare(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
    /// Of a kind that no key takes, as written.
    Other(String),
}

/// What a key would take instead, to be read after `try:`.
pub(super) type Expected = String;

impl Value {
    /// The value as it was written, for messages.
    pub(super) fn written(&self) -> String {
        match self {
            Value::Text(text) => quoted(text),
            Value::Bare(text) => format!("`{text}`"),
            Value::Whole(number) => number.to_string(),
            Value::Flag(flag) => flag.to_string(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(text) => text.clone(),
        }
    }

    /// A time between two others, both included.
    pub(super) fn time(&self, least: &str, most: &str) -> Result<Duration, Expected> {
        let parsed = self.words().and_then(|text| humantime::parse_duration(text).ok());
        let bound = |text| humantime::parse_duration(text).unwrap_or_default();
        parsed
            .filter(|time| (bound(least)..=bound(most)).contains(time))
            .ok_or_else(|| format!("a time from \"{least}\" to \"{most}\""))
    }

    /// An amount of bytes between two others, both included.
    pub(super) fn size(&self, least: &str, most: &str) -> Result<u64, Expected> {
        let bound = |text| size(text).unwrap_or_default();
        self.words()
            .and_then(size)
            .filter(|bytes| (bound(least)..=bound(most)).contains(bytes))
            .ok_or_else(|| format!("a size from \"{least}\" to \"{most}\""))
    }

    /// A share between two others, both included and in percent; 0.01 is one percent.
    pub(super) fn share(&self, least: f64, most: f64) -> Result<f64, Expected> {
        let percent = self.words().and_then(|text| text.strip_suffix('%')?.trim().parse::<f64>().ok());
        percent
            .filter(|percent| (least..=most).contains(percent))
            .map(|percent| percent / 100.0)
            .ok_or_else(|| format!("a share from \"{least}%\" to \"{most}%\""))
    }

    /// A whole number between two others, both included.
    pub(super) fn whole<N: TryFrom<i64>>(&self, least: i64, most: i64) -> Result<N, Expected> {
        let number = match self {
            Value::Whole(number) => Some(*number),
            Value::Bare(text) => text.parse().ok(),
            _ => None,
        };
        let in_range = number.filter(|number| (least..=most).contains(number));
        in_range.and_then(|number| N::try_from(number).ok()).ok_or_else(|| format!("a number from {least} to {most}"))
    }

    /// Yes or no.
    pub(super) fn flag(&self) -> Result<bool, Expected> {
        match self {
            Value::Flag(flag) => Ok(*flag),
            Value::Bare(text) if text == "true" => Ok(true),
            Value::Bare(text) if text == "false" => Ok(false),
            _ => Err("true or false".to_owned()),
        }
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&self, names: &[(&str, T)]) -> Result<T, Expected> {
        let found = self.words().and_then(|text| names.iter().find(|(name, _)| *name == text));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("one of {}", list(names.iter().map(|(name, _)| quoted(name)))))
    }

    /// Some of these words, each once, in the order of `names`.
    pub(super) fn choices<T: Copy>(&self, names: &[(&str, T)]) -> Result<Vec<T>, Expected> {
        let expected = || format!("a list of some of {}", list(names.iter().map(|(name, _)| quoted(name))));
        let Value::List(values) = self else { return Err(expected()) };
        let mut chosen = vec![0; names.len()];
        for value in values {
            let at = names.iter().position(|(name, _)| value.words() == Some(name)).ok_or_else(expected)?;
            chosen[at] += 1;
        }
        if values.is_empty() || chosen.iter().any(|count| *count > 1) {
            return Err(expected());
        }
        Ok(names.iter().zip(chosen).filter(|(_, count)| *count == 1).map(|((_, value), _)| *value).collect())
    }

    /// An address to listen at, or none.
    pub(super) fn address(&self) -> Result<Option<SocketAddr>, Expected> {
        match self.words() {
            Some("off") => Ok(None),
            text => text.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
                "an address and a port such as \"127.0.0.1:9750\" or \"[::1]:9750\", or \"off\"".to_owned()
            }),
        }
    }

    /// A path from the root: a service has no folder of its own that others could start from.
    pub(super) fn path(&self) -> Result<PathBuf, Expected> {
        let path = self.words().map(PathBuf::from).filter(|path| path.is_absolute());
        path.ok_or_else(|| "a path that starts with `/`".to_owned())
    }

    /// The URL of a server.
    pub(super) fn url(&self) -> Result<String, Expected> {
        let text = self.words().filter(|text| {
            let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
            rest.is_some_and(|rest| {
                !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(|c| c.is_ascii_graphic())
            })
        });
        text.map(str::to_owned)
            .ok_or_else(|| "a URL such as \"http://127.0.0.1:4317\" or \"https://collector:4318\"".to_owned())
    }

    /// A name that fits into a line of a log and into a label.
    pub(super) fn name(&self) -> Result<String, Expected> {
        let fits = |text: &&str| (1..=100).contains(&text.len()) && !text.chars().any(char::is_control);
        self.words().filter(fits).map(str::to_owned).ok_or_else(|| "a name of 1 to 100 characters in quotes".to_owned())
    }

    /// Names and texts, such as headers, in order of names. Names are those of HTTP.
    pub(super) fn headers(&self) -> Result<Vec<(String, String)>, Expected> {
        let expected = || "names of letters, digits and `-`, with texts: { x-team = \"profiling\" }".to_owned();
        let Value::Table(entries) = self else { return Err(expected()) };
        let header = |(name, value): &(String, Value)| {
            let valid =
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            let text = value.words().filter(|text| valid && text.bytes().all(|byte| matches!(byte, b' '..=b'~')))?;
            Some((name.to_ascii_lowercase(), text.to_owned()))
        };
        let mut headers: Vec<_> = entries.iter().map(header).collect::<Option<_>>().ok_or_else(expected)?;
        headers.sort();
        Ok(headers)
    }

    fn words(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Bare(text) => Some(text.trim()),
            _ => None,
        }
    }
}

/// A text as TOML writes it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A time as it is written.
pub(super) fn time(time: Duration) -> String {
    quoted(&humantime::format_duration(time).to_string())
}

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// An amount of bytes as it is written: in the largest unit of which it is a whole number.
pub(super) fn bytes(amount: u64) -> String {
    let (unit, size) =
        UNITS.iter().find(|(_, size)| amount >= *size && amount.is_multiple_of(*size)).unwrap_or(&("B", 1));
    quoted(&format!("{}{unit}", amount / size))
}

/// A share as it is written.
pub(super) fn percent(share: f64) -> String {
    // What was written with few digits is shown with few.
    quoted(&format!("{}%", (share * 100.0 * 1e6).round() / 1e6))
}

fn size(text: &str) -> Option<u64> {
    let (unit, size) = UNITS.iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text[..text.len() - unit.len()].trim();
    match number.parse::<u64>() {
        Ok(number) => number.checked_mul(*size),
        // `1.5GiB`: as exact as it is written, for any amount that a machine has.
        Err(_) => {
            let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            number.parse::<f64>().ok().filter(|_| plain).map(|number| (number * *size as f64) as u64)
        }
    }
}

fn list(words: impl Iterator<Item = impl Display>) -> String {
    words.map(|word| word.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn times_have_units_and_bounds() {
        assert_eq!(text("1m 30s").time("1s", "10m"), Ok(Duration::from_secs(90)));
        assert_eq!(text("10m").time("1s", "10m"), Ok(Duration::from_secs(600)));
        for wrong in [text("10"), text("soon"), text("999ms"), text("601s"), text("-1s"), Value::Whole(10)] {
            assert_eq!(wrong.time("1s", "10m"), Err("a time from \"1s\" to \"10m\"".to_owned()), "{wrong:?}");
        }
    }

    #[test]
    fn sizes_have_units_and_bounds() {
        let check = |written: &str, expected: Option<u64>| {
            assert_eq!(text(written).size("1KiB", "1TiB").ok(), expected, "{written}");
        };
        check("2GiB", Some(2 << 30));
        check("1.5 GiB", Some(3 << 29));
        check("500MB", Some(500_000_000));
        check("2048B", Some(2048));
        for wrong in ["1B", "2TiB", "99999999999999TiB", "1", "GiB", "-1GiB", "1e3KiB", "infKiB", "nanKiB", "1gib", ""]
        {
            check(wrong, None);
        }
        for amount in [0, 1, 1000, 1024, 1025, 10 << 30, 250 << 20, u64::MAX] {
            let written = bytes(amount);
            assert_eq!(size(written.trim_matches('"')), Some(amount), "{written}");
        }
    }

    #[test]
    fn shares_are_percent() {
        assert_eq!(text("1%").share(0.1, 100.0), Ok(0.01));
        assert_eq!(percent(0.01), "\"1%\"");
        assert_eq!(percent(0.07 / 100.0), "\"0.07%\"");
        for wrong in [text("1"), text("0%"), text("101%"), text("NaN%"), text("-1%"), text("%"), Value::Whole(1)] {
            assert!(wrong.share(0.1, 100.0).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn outside_of_a_file_nothing_is_quoted() {
        let bare = |text: &str| Value::Bare(text.to_owned());
        assert_eq!(bare("19").whole::<u32>(1, 100), Ok(19));
        assert_eq!(bare("true").flag(), Ok(true));
        assert_eq!(bare("10s").time("1s", "1m"), Ok(Duration::from_secs(10)));
        assert!(text("19").whole::<u32>(1, 100).is_err() && text("true").flag().is_err(), "in a file they are");
        assert!(Value::Whole(-1).whole::<u32>(-5, 100).is_err(), "the type bounds as well");
    }

    #[test]
    fn addresses_and_paths_are_whole() {
        assert_eq!(text("off").address(), Ok(None));
        assert_eq!(text("[::1]:80").address(), Ok("[::1]:80".parse().ok()));
        for wrong in ["localhost:80", "127.0.0.1", ":80", "127.0.0.1:99999", ""] {
            assert!(text(wrong).address().is_err(), "{wrong}");
        }
        assert!(text("var/lib").path().is_err() && text("").path().is_err() && text("/var").path().is_ok());
        for wrong in ["collector:4317", "http://", "https:///x", "http://a b", "ftp://x", "http://é"] {
            assert!(text(wrong).url().is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_hold_known_words_once() {
        let names = [("a", 1), ("b", 2)];
        let words = |words: &[&str]| Value::List(words.iter().map(|word| text(word)).collect());
        assert_eq!(words(&["b", "a"]).choices(&names), Ok(vec![1, 2]));
        for wrong in [words(&[]), words(&["a", "a"]), words(&["c"]), text("a"), Value::List(vec![Value::Whole(1)])] {
            assert_eq!(wrong.choices(&names), Err("a list of some of \"a\", \"b\"".to_owned()), "{wrong:?}");
        }
    }

    #[test]
    fn headers_cannot_break_a_request() {
        let header = |name: &str, value: &str| Value::Table(vec![(name.to_owned(), text(value))]).headers();
        assert_eq!(header("X-Team", "a b"), Ok(vec![("x-team".to_owned(), "a b".to_owned())]));
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\r\ny: z"), ("a:", "x"), ("é", "x")] {
            assert!(header(name, value).is_err(), "{name:?} {value:?}");
        }
    }
}
