//! The configuration that counts, and where each of its values comes from.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::Config;
use super::error::Place;
use super::keys::{DESTINATION_KEYS, KEYS, Key};
use crate::model::text::printable;

/// A configuration without mistakes.
///
/// Its `Display` is a file that says the same, but for secrets, which are hidden. A comment says where each
/// value comes from that is no default.
#[derive(Clone, Debug)]
pub struct Effective {
    /// All values.
    pub config: Config,
    pub(super) places: BTreeMap<String, Place>,
}

impl fmt::Display for Effective {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut section = "";
        for key in KEYS {
            let (this, name) = key.name.split_once('.').unwrap_or(("", key.name));
            if this != section {
                let space = if section.is_empty() { "" } else { "\n" };
                writeln!(out, "{space}[{this}]")?;
                section = this;
            }
            self.line(out, key, &self.config, name, "")?;
        }
        for (at, destination) in self.config.otlp.iter().enumerate() {
            writeln!(out, "\n[[otlp]]")?;
            for key in DESTINATION_KEYS {
                self.line(out, key, destination, key.name, &format!("otlp.{at}."))?;
            }
        }
        Ok(())
    }
}

impl Effective {
    fn line<T>(&self, out: &mut fmt::Formatter<'_>, key: &Key<T>, of: &T, name: &str, prefix: &str) -> fmt::Result {
        let Some(value) = (key.show)(of) else { return Ok(()) };
        let mut line = format!("{name} = {value}");
        if let Some(place) = self.places.get(&format!("{prefix}{}", key.name)) {
            write!(line, "  # {}", printable(&place.to_string()))?;
        }
        writeln!(out, "{line}")
    }
}
