use std::io;
use std::path::PathBuf;

use parquet::errors::ParquetError;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A second writer.
    #[error("the store `{}` is being written by another process{}", path.display(), holder.as_deref().map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Locked {
        /// The store.
        path: PathBuf,
        /// Pid of the other process, if it is known.
        holder: Option<String>,
    },
    /// There is nothing that could be read.
    #[error("there is no store at `{}`", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The disk is full and nothing old is left to make room.
    #[error("no room for a window in `{}`", path.display())]
    Full {
        /// The store.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder of the store.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried, such as `read`.
        what: &'static str,
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment is not what was written.
    #[error("the segment `{}` is damaged: {what}", path.display())]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A segment of a version that this program does not know.
    #[error("the segment `{}` has format {version}, which this program does not read", path.display())]
    Version {
        /// Its folder.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// A table could not be encoded or decoded.
    #[error("cannot {what} a table of `{}`", path.display())]
    Table {
        /// What was tried.
        what: &'static str,
        /// Folder of the segment.
        path: PathBuf,
        /// What the format said.
        source: ParquetError,
    },
    /// More than can be held in memory at once.
    #[error("this range has {rows} samples and sums, more than the {most} that are read at once")]
    TooMuch {
        /// Rows of the range.
        rows: u64,
        /// Most that are read.
        most: u64,
    },
}

impl StoreError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            StoreError::Locked { .. } => Some("stop it first, or use another directory; queries need no lock"),
            StoreError::NoStore { .. } => {
                Some("name the directory of a store with `--store`; `profilerd serve` makes one")
            }
            StoreError::Full { .. } => Some("make room on its file system, or lower the store's limit"),
            StoreError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run as root, or as the owner of the store")
            }
            StoreError::Version { .. } => Some("use the version of profilerd that wrote it"),
            StoreError::TooMuch { .. } => Some("name a shorter range, or one process of it"),
            StoreError::Io { what, .. } if what.contains("make") => {
                Some("name a folder that can be made, with `--store`")
            }
            StoreError::Io { .. } | StoreError::Damaged { .. } | StoreError::Table { .. } => None,
        }
    }

    pub(super) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> StoreError {
        StoreError::Io { what, path: path.into(), source }
    }

    pub(super) fn table(what: &'static str, path: impl Into<PathBuf>, source: ParquetError) -> StoreError {
        StoreError::Table { what, path: path.into(), source }
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, what: impl Into<String>) -> StoreError {
        StoreError::Damaged { path: path.into(), what: what.into() }
    }

    /// The system's error, wherever it is.
    pub(super) fn io_error(&self) -> Option<&io::Error> {
        match self {
            StoreError::Full { source, .. } | StoreError::Io { source, .. } => Some(source),
            StoreError::Table { source: ParquetError::External(source), .. } => source.downcast_ref(),
            _ => None,
        }
    }

    /// Whether the disk, or a quota, is full.
    pub(super) fn is_full(&self) -> bool {
        let kind = self.io_error().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }

    /// Whether the segment itself is at fault: it is left out, and reading goes on.
    pub(super) fn is_of_segment(&self) -> bool {
        matches!(self, StoreError::Damaged { .. } | StoreError::Version { .. })
    }

    /// Whether a file was not there: the writer may just have sealed or removed its segment.
    pub(super) fn is_gone(&self) -> bool {
        self.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
    }
}
