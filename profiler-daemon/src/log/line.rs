//! Events as lines for people: `2026-11-23T15:00:00.123Z warn  destination is down destination=main`.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::model::text::printable;

/// Longest line in bytes. A value may come from a stranger.
const MOST_BYTES: usize = 8 << 10;

/// Writes each event as one line, with nothing in it that could act on a terminal or look like another line.
#[derive(Debug)]
pub(super) struct Lines<W> {
    out: Mutex<W>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(out: W) -> Lines<W> {
        Lines { out: Mutex::new(out) }
    }
}

impl<S: Subscriber, W: Write + 'static> Layer<S> for Lines<W> {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut said = Said::default();
        event.record(&mut said);
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let level = metadata.level().as_str().to_ascii_lowercase();
        let mut line = format!("{time} {level:<5} {}{}", said.message, said.fields);
        if line.len() > MOST_BYTES {
            line.truncate(line.floor_char_boundary(MOST_BYTES));
            line.push('…');
        }
        line.push('\n');
        // Nobody is left to tell if that fails.
        let _ = self.out.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

/// What an event says.
#[derive(Debug, Default)]
struct Said {
    message: String,
    fields: String,
}

impl Said {
    fn add(&mut self, name: &str, value: &str) {
        if name == "message" {
            self.message.push_str(&printable(value));
        } else if !name.starts_with("log.") {
            // Those come from the `log` crate and say where in a library its record was made.
            let value = printable(value);
            let plain = !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || c == '"' || c == '=');
            let value = if plain { value.into_owned() } else { format!("\"{}\"", value.replace('"', "\\\"")) };
            let _ = write!(self.fields, " {name}={value}");
        }
    }
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let said = next.to_string();
            // Some libraries repeat their source in their own message.
            if !text.contains(&said) {
                let _ = write!(text, ": {said}");
            }
            cause = next.source();
        }
        self.add(field.name(), &text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io;
    use std::sync::Arc;
    use tracing_subscriber::layer::SubscriberExt;

    #[derive(Clone, Debug, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line without its time, which is checked.
    #[track_caller]
    fn check(say: impl FnOnce(), expected: &str) {
        let written = Written::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Lines::new(written.clone())), say);
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let (time, rest) = text.split_once(' ').unwrap();
        let age = humantime::parse_rfc3339(time).unwrap().elapsed().unwrap();
        assert!(time.len() == "2026-11-23T15:00:00.123Z".len() && age.as_secs() < 60, "{time}");
        assert_eq!(rest, expected);
    }

    #[test]
    fn an_event_is_a_line_with_fields() {
        check(
            || tracing::info!(threads = 12, kind = "full", "window closed"),
            "info  window closed threads=12 kind=full\n",
        );
        check(|| tracing::warn!(name = %"a b", empty = "", "x"), "warn  x name=\"a b\" empty=\"\"\n");
    }

    #[test]
    fn an_error_comes_with_its_causes() {
        let error = io::Error::other(io::Error::other("inner"));
        let text = "error lost error=inner\n";
        check(|| tracing::error!(error = &error as &(dyn Error + 'static), "lost"), text);
    }

    #[test]
    fn strangers_cannot_forge_lines() {
        let name = "x\n2026-11-23T15:00:00.123Z error \x1b[31mforged\" level=error \u{202e}";
        check(
            || tracing::info!(comm = name, "seen {name}"),
            "info  seen x\\n2026-11-23T15:00:00.123Z error \\u{1b}[31mforged\" level=error \\u{202e} \
             comm=\"x\\n2026-11-23T15:00:00.123Z error \\u{1b}[31mforged\\\" level=error \\u{202e}\"\n",
        );
    }

    #[test]
    fn a_long_line_is_cut() {
        let written = Written::default();
        let subscriber = tracing_subscriber::registry().with(Lines::new(written.clone()));
        tracing::subscriber::with_default(subscriber, || tracing::info!(name = "é".repeat(100_000), "long"));
        assert!((MOST_BYTES..MOST_BYTES + 5).contains(&written.0.lock().unwrap().len()));
    }
}
