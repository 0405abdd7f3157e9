use std::io;
use std::path::{Path, PathBuf};

use crate::model::text::printable;

/// Why a window cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The end of the file's name is none of [`super::ALL`].
    #[error("cannot write `{}`: no file format ends like this", show(.path))]
    UnknownFormat {
        /// The file asked for.
        path: PathBuf,
    },
    /// The folder of the file is not there.
    #[error("cannot write `{}`: folder `{}` does not exist", show(.path), show(.folder))]
    NoFolder {
        /// The file asked for.
        path: PathBuf,
        /// Its folder.
        folder: PathBuf,
    },
    /// The path is a folder.
    #[error("cannot write `{}`: it is a folder", show(.path))]
    IsFolder {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file or its folder refuses.
    #[error("cannot write `{}`", show(.path))]
    NotWritable {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Writing began and failed.
    #[error("writing `{}` failed", show(.path))]
    Write {
        /// The file asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SinkError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        Some(match self {
            SinkError::UnknownFormat { .. } => {
                let [first @ .., last] = super::ALL.each_ref().map(|format| format.suffix);
                format!("end the name in {} or {last}", first.join(", "))
            }
            SinkError::NoFolder { folder, .. } => format!("mkdir -p '{}'", show(folder)),
            SinkError::IsFolder { path } => format!("name a file in it, such as `{}`", show(&path.join("wall.svg"))),
            SinkError::NotWritable { .. } => "choose a folder and a file that you may write".to_owned(),
            SinkError::Write { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room, or write to another file system".to_owned()
                }
                // The reader of a fifo has gone, a disk failed: what was said is all there is to say.
                _ => return None,
            },
        })
    }
}

fn show(path: &Path) -> String {
    printable(&path.to_string_lossy()).into_owned()
}
