//! A segment: a folder with the tables of one window or of several that follow each other, and a manifest that says
//! what belongs into it. A segment is made beside its place and renamed, so it is whole or not there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parquet::basic::Compression;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::rows::{self, Tables, VERSION};
use super::table::{FileSum, Row, TableReader, TableWriter};
use crate::model::UnixNs;

/// Name of the manifest.
const MANIFEST: &str = "manifest.json";
/// Most bytes of a manifest: those of a segment with eight tables have about 800.
const MANIFEST_BYTES: u64 = 64 << 10;

/// What a manifest says.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) struct Manifest {
    version: u32,
    /// First and last window.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Number of windows: some in between may be missing.
    pub(super) windows: u64,
    /// Samples, sums and waits.
    pub(super) rows: u64,
    /// From the earliest start of a window to the latest end, nanoseconds since 1970.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    tables: BTreeMap<String, Sum>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Sum {
    bytes: u64,
    crc32: u32,
}

/// A segment on disk.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) manifest: Manifest,
    /// Its size on disk, manifest included.
    pub(super) bytes: u64,
}

/// The folder name of a segment with these windows.
pub(super) fn name(first: u64, last: u64) -> String {
    format!("{first:012}-{last:012}")
}

/// And back; `None` if it is no such name.
pub(super) fn parse_name(path: &Path) -> Option<RangeInclusive<u64>> {
    let (first, last) = path.file_name()?.to_str()?.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some(first..=last)
}

impl Segment {
    /// Reads the manifest. The files are compared with it when they are read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] and [`StoreError::Version`] if it cannot be used, [`StoreError::Io`] if it could not be
    /// looked at.
    pub(super) fn open(path: &Path) -> Result<Segment, StoreError> {
        let damaged = |what: &str| StoreError::damaged(path, what);
        let file = path.join(MANIFEST);
        let text = match File::open(&file) {
            Ok(file) => read_at_most(file, MANIFEST_BYTES),
            Err(error) => Err(error),
        };
        let text = match text {
            // Whether the folder itself is gone is for the caller to tell apart.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_dir() => {
                return Err(damaged("it has no manifest"));
            }
            text => text.map_err(|source| StoreError::io("read", file, source))?,
        };
        let manifest = match parse(&text).map_err(damaged)? {
            Parsed::Manifest(manifest) => manifest,
            Parsed::Other(version) => return Err(StoreError::Version { path: path.to_owned(), version }),
        };
        if parse_name(path) != Some(manifest.first..=manifest.last) {
            return Err(damaged("its manifest is another segment's"));
        }
        let bytes = text.len() as u64 + manifest.tables.values().map(|sum| sum.bytes).sum::<u64>();
        Ok(Segment { path: path.to_owned(), manifest, bytes })
    }

    /// Compares the sizes of the files with the manifest: what was cut short is found without being read.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if one differs or is missing.
    pub(super) fn check_sizes(&self) -> Result<(), StoreError> {
        for (table, sum) in &self.manifest.tables {
            let file = self.path.join(format!("{table}.parquet"));
            let found = match fs::metadata(&file) {
                Ok(metadata) => metadata.len(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                Err(source) => return Err(StoreError::io("look at", file, source)),
            };
            if found != sum.bytes {
                let what = format!("`{table}` has {found} bytes instead of {}", sum.bytes);
                return Err(StoreError::damaged(&self.path, what));
            }
        }
        Ok(())
    }

    /// Start of its time.
    pub(super) fn start(&self) -> UnixNs {
        UnixNs(self.manifest.start_ns)
    }

    /// Reads the file of a table and compares it with its checksum.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if it is not what was written.
    pub(super) fn table<R: Row>(&self) -> Result<TableReader<R>, StoreError> {
        let damaged = |what: &str| StoreError::damaged(&self.path, format!("`{}` {what}", R::TABLE));
        let sum = self.manifest.tables.get(R::TABLE).ok_or_else(|| damaged("is not in its manifest"))?;
        let path = self.path.join(format!("{}.parquet", R::TABLE));
        let data = File::open(&path).and_then(|file| read_at_most(file, sum.bytes + 1));
        let data = match data {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.path.join(MANIFEST).exists() => {
                return Err(damaged("is missing"));
            }
            data => data.map_err(|source| StoreError::io("read", path, source))?,
        };
        if data.len() as u64 != sum.bytes || crc32fast::hash(&data) != sum.crc32 {
            return Err(damaged("is not what was written"));
        }
        TableReader::open(Bytes::from(data)).map_err(|error| damaged(&error.to_string()))
    }

    /// All rows of a table.
    ///
    /// # Errors
    /// As [`Self::table`].
    pub(super) fn all<R: Row>(&self) -> Result<Vec<R>, StoreError> {
        self.windows(&(0..=u64::MAX))?.collect()
    }

    /// The rows of a table that may belong to these windows, and maybe others, as they are read.
    ///
    /// # Errors
    /// As [`Self::table`], of each row.
    pub(super) fn windows<R: Row>(
        &self,
        windows: &RangeInclusive<u64>,
    ) -> Result<impl Iterator<Item = Result<R, StoreError>>, StoreError> {
        let rows = self.table::<R>()?.windows(windows);
        Ok(rows.map(|row| row.map_err(|error| self.undecodable::<R>(&error))))
    }

    pub(super) fn undecodable<R: Row>(&self, error: &parquet::errors::ParquetError) -> StoreError {
        StoreError::damaged(&self.path, format!("`{}` cannot be decoded: {error}", R::TABLE))
    }
}

/// A segment that is being written. Its folder goes away unless it is published.
pub(super) struct Draft {
    folder: PathBuf,
    compression: Compression,
    about: Vec<(&'static str, String)>,
    manifest: Manifest,
}

impl Draft {
    /// Begins a segment in `scratch`, which is on the same file system as its later place.     ///
    /// # Errors
    /// The folder could not be made.
    pub(super) fn begin(
        scratch: &Path,
        windows: RangeInclusive<u64>,
        compression: Compression,
    ) -> Result<Draft, StoreError> {
        let (first, last) = windows.into_inner();
        let folder = scratch.join(name(first, last));
        // What a failed attempt may have left.
        remove_folder(&folder)?;
        fs::create_dir(&folder).map_err(|source| StoreError::io("make", &folder, source))?;
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        let about = vec![("profilerd.format", VERSION.to_string()), ("profilerd.host", host)];
        let manifest = Manifest {
            version: VERSION,
            first,
            last,
            windows: 0,
            rows: 0,
            start_ns: u64::MAX,
            end_ns: 0,
            tables: BTreeMap::new(),
        };
        Ok(Draft { folder, compression, about, manifest })
    }

    /// Begins a table.
    ///
    /// # Errors
    /// Its file could not be made.
    pub(super) fn writer<R: Row>(&self) -> Result<TableWriter<R>, StoreError> {
        TableWriter::create(&self.folder, self.manifest.first, self.compression, &self.about)
            .map_err(|error| StoreError::table("begin", &self.folder, error))
    }

    /// Adds a row group.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn write<R: Row>(&self, writer: &mut TableWriter<R>, rows: &[R]) -> Result<(), StoreError> {
        writer.write(rows).map_err(|error| StoreError::table("write", &self.folder, error))
    }

    /// Ends a table.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn finish<R: Row>(&mut self, writer: TableWriter<R>) -> Result<(), StoreError> {
        let FileSum { bytes, crc32 } =
            writer.finish().map_err(|error| StoreError::table("write", &self.folder, error))?;
        self.manifest.tables.insert(R::TABLE.to_owned(), Sum { bytes, crc32 });
        Ok(())
    }

    /// Writes a whole table in one row group.
    ///
    /// # Errors
    /// It could not be written.
    pub(super) fn table<R: Row>(&mut self, rows: &[R]) -> Result<(), StoreError> {
        let mut writer = self.writer()?;
        self.write(&mut writer, rows)?;
        self.finish(writer)
    }

    /// Notes which windows are in it.
    pub(super) fn contains(&mut self, windows: &[rows::Window]) {
        let manifest = &mut self.manifest;
        for window in windows {
            manifest.windows += 1;
            manifest.rows += window.cpu_samples + window.off_cpu + window.waits;
            manifest.start_ns = manifest.start_ns.min(window.start.0);
            manifest.end_ns = manifest.end_ns.max(window.start.0.saturating_add(window.duration_ns));
        }
    }

    /// Writes all tables of one window.
    ///
    /// # Errors
    /// One could not be written.
    pub(super) fn tables(&mut self, tables: &Tables) -> Result<(), StoreError> {
        self.contains(&tables.windows);
        self.table(&tables.windows)?;
        self.table(&tables.programs)?;
        self.table(&tables.threads)?;
        self.table(&tables.cpu_samples)?;
        self.table(&tables.off_cpu)?;
        self.table(&tables.waits)?;
        self.table(&tables.stacks)?;
        self.table(&tables.frames)
    }

    /// Moves the finished segment to its place in `folder`. From then on it is there whatever happens.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn publish(self, folder: &Path) -> Result<Segment, StoreError> {
        let text = text(&self.manifest);
        let file = self.folder.join(MANIFEST);
        let written = File::create_new(&file).and_then(|mut out| {
            out.write_all(text.as_bytes())?;
            out.sync_all()
        });
        written.map_err(|source| StoreError::io("write", file, source))?;
        sync_folder(&self.folder)?;
        let path = folder.join(name(self.manifest.first, self.manifest.last));
        fs::rename(&self.folder, &path).map_err(|source| StoreError::io("move a segment to", &path, source))?;
        sync_folder(folder)?;
        let bytes = text.len() as u64 + self.manifest.tables.values().map(|sum| sum.bytes).sum::<u64>();
        Ok(Segment { path, manifest: self.manifest.clone(), bytes })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After publishing there is nothing; else the first error is the one to tell, and the next start removes it.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A line of JSON and a line with its checksum.
fn text(manifest: &Manifest) -> String {
    let json = serde_json::to_string(manifest).expect("numbers and plain names are always JSON");
    format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))
}

/// What a manifest turned out to be.
enum Parsed {
    Manifest(Manifest),
    /// One of another version, whose fields are not known.
    Other(u32),
}

fn parse(text: &[u8]) -> Result<Parsed, &'static str> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let unclear = "its manifest does not say what it should";
    let text = std::str::from_utf8(text).map_err(|_| "its manifest is no text")?;
    let (json, sum) = text.split_once('\n').ok_or("its manifest is cut short")?;
    let whole = sum.strip_suffix('\n').and_then(|sum| u32::from_str_radix(sum, 16).ok());
    if whole != Some(crc32fast::hash(json.as_bytes())) {
        return Err("its manifest is not what was written");
    }
    let Versioned { version } = serde_json::from_str(json).map_err(|_| unclear)?;
    if version != VERSION {
        return Ok(Parsed::Other(version));
    }
    serde_json::from_str(json).map(Parsed::Manifest).map_err(|_| unclear)
}

fn read_at_most(file: File, bytes: u64) -> io::Result<Vec<u8>> {
    let mut data = Vec::with_capacity(file.metadata()?.len().min(bytes) as usize);
    file.take(bytes).read_to_end(&mut data)?;
    Ok(data)
}

/// Waits until the entries of a folder are on disk.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| StoreError::io("write", folder, source))
}

/// Removes a folder with all that is in it; none is fine.
pub(super) fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", folder, error)),
        _ => Ok(()),
    }
}
