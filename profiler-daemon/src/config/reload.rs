//! What a changed configuration changes in a running service.

use super::Config;
use super::destination::Destination;
use super::keys::{DESTINATION_KEYS, KEYS};

/// One key that has another value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which, such as `capture.window`, or `otlp.NAME.timeout` of the destination of this name.
    pub key: String,
    /// The value so far as a file writes it, but without its quotes, which a log has itself; secrets are hidden.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// What is different, by when it takes effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// At once.
    pub live: Vec<Change>,
    /// When the service is started again.
    pub at_start: Vec<Change>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.at_start.is_empty()
    }
}

impl Config {
    /// What a running service does with a new configuration: the one that it runs by from now on,
    /// and what changed. Keys that only count at a start keep their values until then.
    pub fn reload(&self, new: &Config) -> (Config, Changes) {
        let mut running = new.clone();
        let mut changes = Changes::default();
        for key in KEYS.iter().filter(|key| !(key.same)(self, new)) {
            let change = change(key.name.to_owned(), (key.show)(self), (key.show)(new));
            if key.live {
                changes.live.push(change);
            } else {
                (key.copy)(&mut running, self);
                changes.at_start.push(change);
            }
        }
        changes.live.extend(destinations(&self.otlp, &new.otlp));
        (running, changes)
    }
}

/// Destinations are the same one if their names are. All their keys take effect at once.
fn destinations(old: &[Destination], new: &[Destination]) -> Vec<Change> {
    let find = |among: &[Destination], name: &str| among.iter().find(|destination| destination.name() == name).cloned();
    let gone = old
        .iter()
        .filter(|destination| find(new, &destination.name()).is_none())
        .map(|gone| (gone.clone(), Destination::default()));
    let rest = new.iter().map(|new| (find(old, &new.name()).unwrap_or_default(), new.clone()));
    let mut changes = Vec::new();
    for (old, new) in gone.chain(rest) {
        let name = if new.endpoint.is_empty() { old.name() } else { new.name() };
        for key in DESTINATION_KEYS.iter().filter(|key| !(key.same)(&old, &new)) {
            let shown =
                |destination: &Destination| (key.show)(destination).filter(|_| !destination.endpoint.is_empty());
            changes.push(change(format!("otlp.{name}.{}", key.name), shown(&old), shown(&new)));
        }
    }
    changes
}

fn change(key: String, from: Option<String>, to: Option<String>) -> Change {
    let shown = |value: Option<String>| value.map_or_else(|| "not set".to_owned(), |value| without_quotes(&value));
    Change { key, from: shown(from), to: shown(to) }
}

/// The value of a file without the quotes around its texts. Those within a text follow a backslash, and stay.
fn without_quotes(value: &str) -> String {
    let mut escaped = false;
    let is_kept = |c: &char| {
        let kept = escaped || *c != '"';
        escaped = !escaped && *c == '\\';
        kept
    };
    value.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use super::without_quotes;

    #[test]
    fn only_quotes_around_texts_go() {
        for (value, expected) in [
            ("\"10s\"", "10s"),
            ("[\"cpu\", \"wall\"]", "[cpu, wall]"),
            ("19", "19"),
            ("\"/a\\\"b\\\\\"", "/a\\\"b\\\\"),
        ] {
            assert_eq!(without_quotes(value), expected);
        }
    }
}
