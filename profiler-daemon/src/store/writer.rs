//! The one writer of a store.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parquet::basic::Compression;

use super::encode;
use super::layout::{self, HOUR_NS, RECENT, SCRATCH, SEALED, TORN};
use super::seal::{self, SLICE_NS, SealError};
use super::segment::{Draft, Segment, parse_name, remove_folder, sync_folder};
use super::{Counters, StoreError};
use crate::model::{Recording, UnixNs};

/// How the segment of one window is compressed: fast, since it is soon made anew. Zstandard would spend more time on its
/// working memory than on these small columns.
const COMPRESSION: Compression = Compression::SNAPPY;
/// How long after the end of an hour it is sealed even if no window of the next one came.
const GRACE_NS: u64 = 60_000_000_000;
/// Most damaged segments that are kept for a look.
const MOST_TORN: usize = 8;

/// What a store may grow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of all segments.
    pub bytes: u64,
    /// How long windows are kept.
    pub age: Duration,
}

impl Default for Limits {
    /// 10 GiB and 14 days.
    fn default() -> Limits {
        Limits { bytes: 10 << 30, age: Duration::from_secs(14 * 86_400) }
    }
}

/// A store that is written. Another process that tries to write it meanwhile is refused.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Holds the lock until it is dropped.
    _lock: File,
    limits: Limits,
    /// By their windows.
    segments: Vec<Segment>,
    next: u64,
    /// Lowest window that some exporter still needs.
    needed: Option<u64>,
    counters: Counters,
}

/// What becomes one segment.
#[derive(Clone, Copy)]
enum Span {
    /// Some minutes, still among the recent ones: the hour that is not over can soon be read, too.
    Slice,
    /// An hour: sealed.
    Hour,
}

impl Span {
    fn length_ns(self) -> u64 {
        match self {
            Span::Slice => SLICE_NS,
            Span::Hour => HOUR_NS,
        }
    }

    /// How hard it is compressed, by zstd's measure. What lives for an hour is made fast.
    fn level(self) -> i32 {
        match self {
            Span::Slice => 1,
            Span::Hour => 9,
        }
    }
}

/// Why windows are removed.
#[derive(Clone, Copy)]
enum Cause {
    Age,
    Size,
    Full,
}

impl Store {
    /// Opens the store in a directory, which is made if there is none, and puts in order what a crash left: unfinished
    /// segments go, damaged ones are put aside and counted.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process writes it, or the directory cannot be used.
    pub fn open(path: &Path, limits: Limits) -> Result<Store, StoreError> {
        let make = |folder: &Path| {
            let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(|source| StoreError::io("make", folder, source))
        };
        make(path)?;
        let lock = lock(path)?;
        remove_folder(&path.join(SCRATCH))?;
        [RECENT, SEALED, TORN, SCRATCH].iter().try_for_each(|name| make(&path.join(name)))?;
        let mut store = Store {
            path: path.to_owned(),
            _lock: lock,
            limits,
            segments: Vec::new(),
            next: 1,
            needed: None,
            counters: Counters::default(),
        };
        store.recover()?;
        Ok(store)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Other limits from now on; [`Self::maintain`] applies them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// What it has, and what became of what it was given.
    pub fn counters(&self) -> Counters {
        let recent = self.segments.iter().filter(|segment| self.is_recent(segment));
        Counters {
            bytes: self.segments.iter().map(|segment| segment.bytes).sum(),
            windows: self.segments.iter().map(|segment| segment.manifest.windows).sum(),
            windows_recent: recent.map(|segment| segment.manifest.windows).sum(),
            ..self.counters.clone()
        }
    }

    /// Start of the oldest window that is there.
    pub fn oldest(&self) -> Option<UnixNs> {
        self.segments.first().map(Segment::start)
    }

    /// The number of the newest window; 0 if there never was one.
    pub fn last_sequence(&self) -> u64 {
        self.next - 1
    }

    /// Stores a window and gives its number. When this returns, it is on disk. On a full disk the oldest sealed segments go
    /// to make room; if there are none left, the window is dropped and counted.
    ///
    /// # Errors
    /// The window is not stored; the next one may be.
    pub fn append(&mut self, recording: &Recording) -> Result<u64, StoreError> {
        let sequence = self.next;
        self.next += 1;
        let tables = encode::tables(recording, sequence);
        loop {
            let written =
                Draft::begin(&self.path.join(SCRATCH), sequence..=sequence, COMPRESSION).and_then(|mut draft| {
                    draft.tables(&tables)?;
                    draft.publish(&self.path.join(RECENT))
                });
            match written {
                Ok(segment) => {
                    self.segments.push(segment);
                    self.counters.appended_total += 1;
                    return Ok(sequence);
                }
                Err(error) if error.is_full() => {
                    if !self.make_room()? {
                        self.counters.dropped_full_total += 1;
                        let source = io::Error::other(error);
                        return Err(StoreError::Full { path: self.path.clone(), source });
                    }
                }
                Err(error) => {
                    self.counters.dropped_failed_total += 1;
                    return Err(error);
                }
            }
        }
    }

    /// Keeps the limits, and makes one segment of those of some minutes or of an hour that is over. To be called after each
    /// [`Self::append`]. It does little but once in five minutes, when it may take a second, and once an hour, when it may take
    /// some: so the store belongs on a thread of its own. `needed` is the lowest window
    /// that some exporter still has to send: it is removed all the same when its time comes, and counted.
    ///
    /// # Errors
    /// What could not be done will be tried again at the next call.
    pub fn maintain(&mut self, now: UnixNs, needed: Option<u64>) -> Result<(), StoreError> {
        self.needed = needed;
        let age_ns = u64::try_from(self.limits.age.as_nanos()).unwrap_or(u64::MAX);
        let oldest = now.0.saturating_sub(age_ns);
        while self.segments.first().is_some_and(|segment| segment.manifest.end_ns < oldest) {
            self.remove_oldest(Cause::Age)?;
        }
        while self.segments.len() > 1 && self.segments.iter().map(|it| it.bytes).sum::<u64>() > self.limits.bytes {
            self.remove_oldest(Cause::Size)?;
        }
        self.seal(now)
    }

    /// Makes one segment of those of an hour that is over, and of those of some minutes that are.
    fn seal(&mut self, now: UnixNs) -> Result<(), StoreError> {
        self.join(Span::Hour, now)?;
        self.join(Span::Slice, now)
    }

    /// Joins the oldest segments of a span that is over, if there is one.
    fn join(&mut self, span: Span, now: UnixNs) -> Result<(), StoreError> {
        while let Some((start, end)) = self.over(span, now) {
            let parts = &self.segments[start..end];
            let folder = match span {
                Span::Hour => self.hour(&layout::hour_folder(parts[0].start()))?,
                Span::Slice => self.path.join(RECENT),
            };
            let joined = seal::seal(parts, span.level(), &self.path.join(SCRATCH));
            match joined.and_then(|draft| Ok(draft.publish(&folder)?)) {
                Ok(segment) => {
                    let parts: Vec<Segment> = self.segments.splice(start..end, [segment]).collect();
                    self.counters.sealed_total += u64::from(matches!(span, Span::Hour));
                    // A crash before this is done leaves covered segments, which readers skip and the next start removes.
                    return parts.iter().try_for_each(|segment| self.delete(&segment.path));
                }
                Err(SealError { segment: Some(index), error }) if error.is_of_segment() => {
                    let damaged = self.segments.remove(start + index);
                    self.put_aside(&damaged.path)?;
                }
                Err(SealError { error, .. }) if error.is_full() => {
                    // The next call tries again; without room the windows stay as they are.
                    return if self.make_room()? { Ok(()) } else { Err(error) };
                }
                Err(SealError { error, .. }) => return Err(error),
            }
        }
        Ok(())
    }

    /// The oldest segments that are to be joined, as far as they are of one span, if that is over.
    fn over(&self, span: Span, now: UnixNs) -> Option<(usize, usize)> {
        let number = |segment: &Segment| segment.start().0 / span.length_ns();
        let joins = |segment: &Segment| match span {
            Span::Hour => self.is_recent(segment),
            Span::Slice => self.is_recent(segment) && segment.manifest.first == segment.manifest.last,
        };
        let mut end = 0;
        loop {
            let start = end + self.segments[end..].iter().position(joins)?;
            let first = number(&self.segments[start]);
            end = start + self.segments[start..].iter().take_while(|it| joins(it) && number(it) == first).count();
            let span_end = (first + 1).saturating_mul(span.length_ns());
            let is_over = end < self.segments.len() || now.0 >= span_end.saturating_add(GRACE_NS);
            // What stands alone in its slice has nothing to be joined with, and waits for its hour.
            if is_over && (end - start > 1 || matches!(span, Span::Hour)) {
                return Some((start, end));
            }
        }
    }

    /// Makes the folder of an hour.
    fn hour(&self, folder: &Path) -> Result<PathBuf, StoreError> {
        let mut path = self.path.join(SEALED);
        for part in folder {
            let parent = path.clone();
            path.push(part);
            match fs::create_dir(&path) {
                Ok(()) => sync_folder(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(StoreError::io("make", path, source)),
            }
        }
        Ok(path)
    }

    fn is_recent(&self, segment: &Segment) -> bool {
        segment.path.parent() == Some(&self.path.join(RECENT))
    }

    /// Removes the oldest sealed segment. Returns whether there was one.
    fn make_room(&mut self) -> Result<bool, StoreError> {
        let is_sealed = self.segments.first().is_some_and(|segment| !self.is_recent(segment));
        if is_sealed {
            self.remove_oldest(Cause::Full)?;
        }
        Ok(is_sealed)
    }

    fn remove_oldest(&mut self, cause: Cause) -> Result<(), StoreError> {
        let segment = self.segments[0].clone();
        self.delete(&segment.path)?;
        self.segments.remove(0);
        if self.segments.is_empty() {
            // Else the newest segment tells which number comes next.
            self.note_next()?;
        }
        let windows = segment.manifest.windows;
        match cause {
            Cause::Age => self.counters.removed_age_total += windows,
            Cause::Size => self.counters.removed_size_total += windows,
            Cause::Full => self.counters.removed_full_total += windows,
        }
        if let Some(needed) = self.needed.filter(|needed| *needed <= segment.manifest.last) {
            let unsent = segment.manifest.last - needed.max(segment.manifest.first) + 1;
            self.counters.removed_unsent_total += unsent.min(windows);
        }
        Ok(())
    }

    /// Removes a segment in one step: readers see all of it or nothing.
    fn delete(&self, path: &Path) -> Result<(), StoreError> {
        let parked = self.path.join(SCRATCH).join(path.file_name().unwrap_or_default());
        remove_folder(&parked)?;
        match fs::rename(path, &parked) {
            Ok(()) => remove_folder(&parked),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // Better in pieces than not at all.
            Err(_) => remove_folder(path),
        }?;
        // The folder of an hour or a date that is empty now; any other stays.
        for folder in path.ancestors().skip(1).take(2).filter(|folder| folder.starts_with(self.path.join(SEALED))) {
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Keeps a damaged segment where nobody reads it.
    fn put_aside(&mut self, path: &Path) -> Result<(), StoreError> {
        self.counters.torn_total += 1;
        let torn = self.path.join(TORN);
        let aside = torn.join(path.file_name().unwrap_or_default());
        remove_folder(&aside)?;
        if fs::rename(path, &aside).is_err() {
            remove_folder(path)?;
        }
        let mut kept: Vec<_> = layout::folders(&torn)?
            .into_iter()
            .map(|path| (parse_name(&path).map(|range| *range.end()), path))
            .collect();
        kept.sort();
        let too_many = kept.len().saturating_sub(MOST_TORN);
        if too_many > 0 {
            self.note_next()?;
        }
        kept[..too_many].iter().try_for_each(|(_, path)| remove_folder(path))
    }

    /// Finds out what is there.
    fn recover(&mut self) -> Result<(), StoreError> {
        let listing = loop {
            let listing = layout::list(&self.path)?;
            let mut damaged: Vec<PathBuf> = Vec::new();
            for (path, error) in &listing.damaged {
                match error {
                    StoreError::Version { .. } => {}
                    _ => damaged.push(path.clone()),
                }
            }
            for segment in &listing.segments {
                match segment.check_sizes() {
                    Err(error) if error.is_of_segment() => damaged.push(segment.path.clone()),
                    sizes => sizes?,
                }
            }
            if damaged.is_empty() {
                break listing;
            }
            // What a damaged segment covered may still be there and whole.
            damaged.iter().try_for_each(|path| self.put_aside(path))?;
        };
        listing.covered.iter().try_for_each(|path| self.delete(path))?;
        self.counters.foreign = listing.damaged.len() as u64;
        let torn = layout::folders(&self.path.join(TORN))?;
        let names = layout::names(&self.path)?.into_iter().map(|(_, path)| path).chain(torn);
        let newest = names.filter_map(|path| parse_name(&path)).map(|range| *range.end()).max();
        self.next = newest.unwrap_or(0).saturating_add(1).max(self.noted_next());
        self.segments = listing.segments;
        Ok(())
    }

    /// The number of the next window as it was noted last; 1 if that cannot be read.
    fn noted_next(&self) -> u64 {
        let mut text = String::new();
        let read = File::open(self.path.join("next")).and_then(|file| file.take(64).read_to_string(&mut text));
        read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(1)
    }

    /// Notes which number comes next, so that none is given twice after everything was removed.
    fn note_next(&self) -> Result<(), StoreError> {
        let (new, path) = (self.path.join(SCRATCH).join("next"), self.path.join("next"));
        let written = File::create(&new).and_then(|mut file| {
            writeln!(file, "{}", self.next)?;
            file.sync_all()?;
            fs::rename(&new, &path)
        });
        written.map_err(|source| StoreError::io("write", path, source))?;
        sync_folder(&self.path)
    }
}

/// Locks a store, or says who holds it.
fn lock(store: &Path) -> Result<File, StoreError> {
    let path = store.join("lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(|source| StoreError::io("open", &path, source))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let read = file.take(16).read_to_string(&mut pid).ok();
            let holder = read.map(|_| pid.trim().to_owned()).filter(|pid| pid.parse::<u32>().is_ok());
            return Err(StoreError::Locked { path: store.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(StoreError::io("lock", path, source)),
    }
    // The pid only helps a person; the lock is what counts.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}
