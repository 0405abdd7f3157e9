//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::model::text::printable;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// Its path.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Character of the line, from 1.
        column: usize,
    },
    /// In this variable of the environment.
    Environment(String),
    /// After this option of the command line.
    Argument(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => write!(out, "{}:{line}:{column}", path.display()),
            Place::Environment(variable) => write!(out, "environment variable {variable}"),
            Place::Argument(option) => write!(out, "option {option}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What.
    pub what: String,
    /// What a person can do about it.
    pub remedy: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.to_string();
        write!(out, "{}: {}", printable(&place), printable(&self.what))?;
        match &self.remedy {
            Some(remedy) => write!(out, "; try: {}", printable(remedy)),
            None => Ok(()),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read configuration `{path}`")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everything that is wrong, in the order in which it was written; never empty.
    #[error("{}", lines(.0))]
    Wrong(Vec<Mistake>),
}

impl ConfigError {
    /// What a person can do about it; mistakes say so themselves.
    pub fn remedy(&self) -> Option<String> {
        match self {
            ConfigError::Unreadable { source, path } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("make `{}`, or leave it out: every key has a default", path.display()))
            }
            _ => None,
        }
    }
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}
