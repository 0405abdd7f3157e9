//! Where settings come from. What counts more is taken over later: the file, then the environment, then
//! the command line.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::destination::Destination;
use super::document::{Document, Entry};
use super::error::{ConfigError, Mistake, Place};
use super::keys::{DESTINATION_KEYS, KEYS, Key};
use super::relations;
use super::value::Value;
use super::{Config, Effective};
use crate::model::nearest::edits;

/// Most bytes of a file.
const MOST_BYTES: u64 = 1 << 20;
/// What variables of the environment start with, before section and key.
const PREFIX: &str = "PROFILERD_";
/// Key by which the command line gives a destination: its endpoint.
const DESTINATION: &str = "otlp";

/// A value that the command line gives to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The option, such as `--store`.
    pub option: &'static str,
    /// The key, such as `store.dir`. `otlp` stands for the endpoint of a destination; destinations
    /// that are given like this replace those of the file.
    pub key: &'static str,
    /// The value as it was typed.
    pub value: String,
}

/// All that settings come from. It is kept as long as the service runs, to be read again.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub arguments: Vec<Argument>,
}

impl Sources {
    /// The file and the command line, and the environment of this process.
    pub fn new(file: Option<PathBuf>, arguments: Vec<Argument>) -> Sources {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let mut environment: Vec<_> = std::env::vars_os().filter_map(text).collect();
        environment.retain(|(name, _)| is_setting(name));
        environment.sort();
        Sources { file, environment, arguments }
    }

    /// Reads everything.
    ///
    /// # Errors
    /// When the file cannot be read, and when anything is wrong: then all of it is named.
    pub fn load(&self) -> Result<Effective, ConfigError> {
        match &self.file {
            None => self.load_text("", Path::new("")),
            Some(path) => self.load_text(&read(path)?, path),
        }
    }

    /// The same with a text in place of the file.
    pub(super) fn load_text(&self, text: &str, path: &Path) -> Result<Effective, ConfigError> {
        let (document, mistakes) = Document::parse(text, path);
        if !mistakes.is_empty() {
            // What else was read is guesswork.
            return Err(ConfigError::Wrong(mistakes));
        }
        let mut config = Config::default();
        let mut loading = Loading::default();
        loading.document(&mut config, &document);
        for (name, value) in &self.environment {
            loading.variable(&mut config, name, value);
        }
        loading.arguments(&mut config, &self.arguments);
        if loading.mistakes.is_empty() {
            // Of what is wrong by itself nothing can be said to fit or not.
            loading.relations(&config);
        }
        let Loading { places, mut mistakes } = loading;
        if mistakes.is_empty() {
            return Ok(Effective { config, places });
        }
        // Files in the order of their lines, then the rest.
        mistakes.sort_by_key(|mistake| match &mistake.place {
            Place::File { line, column, .. } => (*line, *column),
            _ => (usize::MAX, 0),
        });
        Err(ConfigError::Wrong(mistakes))
    }
}

/// What is noted while a configuration is put together.
#[derive(Debug, Default)]
struct Loading {
    /// Where each key was last set.
    places: BTreeMap<String, Place>,
    mistakes: Vec<Mistake>,
}

impl Loading {
    fn document(&mut self, config: &mut Config, document: &Document) {
        for entry in &document.entries {
            self.entry(config, KEYS, entry, "");
        }
        for (name, place, entries) in &document.sections {
            // An unknown key says what section it may belong to; without keys the section has to. `otlp` is known, but
            // there are several of it.
            if (entries.is_empty() && !sections().any(|known| known == name)) || name == DESTINATION {
                let what = format!("unknown section `{name}`");
                let mut known: Vec<String> = sections().map(|known| format!("[{known}]")).collect();
                known.dedup();
                known.push(format!("[[{DESTINATION}]]"));
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                self.mistake(place, what, Some(unknown(&format!("[{name}]"), &known)));
                continue;
            }
            for entry in entries {
                self.entry(config, KEYS, entry, "");
            }
        }
        for (name, place, entries) in &document.tables {
            if name != DESTINATION {
                let what = format!("unknown table `{name}`");
                self.mistake(place, what, Some(unknown(name, &[DESTINATION])));
                continue;
            }
            let prefix = self.next_destination(config, place);
            let mut destination = Destination::default();
            let before = self.mistakes.len();
            for entry in entries {
                self.entry(&mut destination, DESTINATION_KEYS, entry, &prefix);
            }
            if destination.endpoint.is_empty() && self.mistakes.len() == before {
                let remedy = Some("endpoint = \"http://127.0.0.1:4317\"".to_owned());
                self.mistake(place, "a destination needs an `endpoint`".to_owned(), remedy);
            }
            config.otlp.push(destination);
        }
    }

    /// Notes the place of the destination that comes next, and returns what its keys are called.
    fn next_destination(&mut self, config: &Config, place: &Place) -> String {
        let name = format!("otlp.{}", config.otlp.len());
        self.places.insert(name.clone(), place.clone());
        name + "."
    }

    /// Takes over one key of a file.
    fn entry<T>(&mut self, into: &mut T, keys: &[Key<T>], entry: &Entry, prefix: &str) {
        let Some(key) = keys.iter().find(|key| key.name == entry.name) else {
            let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
            let what = format!("unknown key `{prefix}{}`", entry.name);
            self.mistake(&entry.name_at, what, Some(unknown(&entry.name, &names)));
            return;
        };
        self.set(into, key, &entry.value, &entry.value_at, prefix);
    }

    fn set<T>(&mut self, into: &mut T, key: &Key<T>, value: &Value, place: &Place, prefix: &str) {
        match (key.set)(into, value) {
            Ok(()) => drop(self.places.insert(format!("{prefix}{}", key.name), place.clone())),
            Err(expected) => {
                let what = format!("`{}` cannot be {}", key.name, value.written());
                self.mistake(place, what, Some(expected));
            }
        }
    }

    fn variable(&mut self, config: &mut Config, name: &str, value: &str) {
        let place = Place::Environment(name.to_owned());
        match KEYS.iter().find(|key| variable(key.name) == name) {
            Some(key) => self.set(config, key, &Value::Bare(value.to_owned()), &place, ""),
            None => {
                let variables: Vec<String> = KEYS.iter().map(|key| variable(key.name)).collect();
                let names: Vec<&str> = variables.iter().map(String::as_str).collect();
                self.mistake(&place, "unknown setting".to_owned(), Some(unknown(name, &names)));
            }
        }
    }

    fn arguments(&mut self, config: &mut Config, arguments: &[Argument]) {
        if arguments.iter().any(|argument| argument.key == DESTINATION) {
            config.otlp.clear();
            self.places.retain(|name, _| !name.starts_with("otlp."));
        }
        for argument in arguments {
            let (place, value) = (Place::Argument(argument.option), Value::Bare(argument.value.clone()));
            if argument.key == DESTINATION {
                let prefix = self.next_destination(config, &place);
                let mut destination = Destination::default();
                for key in DESTINATION_KEYS.iter().filter(|key| key.name == "endpoint") {
                    self.set(&mut destination, key, &value, &place, &prefix);
                }
                config.otlp.push(destination);
            } else {
                for key in KEYS.iter().filter(|key| key.name == argument.key) {
                    self.set(config, key, &value, &place, "");
                }
            }
        }
    }

    /// What no key can know alone.
    fn relations(&mut self, config: &Config) {
        for conflict in relations::check(config) {
            let place = conflict.keys.iter().find_map(|key| self.places.get(key)).cloned();
            let place = place.expect("defaults fit together, so one of these keys was set");
            self.mistake(&place, conflict.what, Some(conflict.remedy.to_owned()));
        }
    }

    fn mistake(&mut self, place: &Place, what: String, remedy: Option<String>) {
        self.mistakes.push(Mistake { place: place.clone(), what, remedy });
    }
}

/// The variable of a key: `PROFILERD_CAPTURE_WINDOW` of `capture.window`.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Whether a variable is meant for us: those of our tools start alike, but with no section.
fn is_setting(name: &str) -> bool {
    sections().map(variable).any(|section| name.strip_prefix(&section).is_some_and(|rest| rest.starts_with('_')))
}

/// The section of each key, so each section once or more.
fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter_map(|key| key.name.split('.').next())
}

/// What an unknown name may have been meant to be.
fn unknown(name: &str, known: &[&str]) -> String {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    // The right key in the wrong section is nearer than any other one.
    let distance = |other: &str| edits(name, other).min(if last(name) == last(other) { 1 } else { usize::MAX });
    let nearest = known
        .iter()
        .copied()
        .min_by_key(|other| distance(other))
        .filter(|other| distance(other) <= 2.max(name.len() / 4));
    if let Some(nearest) = nearest {
        return format!("`{nearest}`");
    }
    let section = name.split_once('.').map(|(section, _)| format!("{section}."));
    let same: Vec<&str> = known
        .iter()
        .copied()
        .filter(|other| section.as_deref().is_some_and(|section| other.starts_with(section)))
        .collect();
    let names = if same.is_empty() { known } else { &same };
    format!("one of {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(unreadable(std::io::Error::other("it is longer than 1 MiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        unreadable(std::io::Error::other(format!("line {line} is not UTF-8")))
    })
}
