//! Where things are in a store:
//! ```text
//! lock                                    held by the writer
//! next                                    number of the next window
//! recent/000000000361-000000000361/       a segment of one window
//! sealed/date=2026-11-23/hour=14/000000000001-000000000360/
//! torn/                                   damaged segments, put aside by the writer
//! scratch/                                segments that are being made
//! ```

use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::StoreError;
use super::segment::{Segment, parse_name};
use crate::model::UnixNs;

/// Segments of one window.
pub(super) const RECENT: &str = "recent";
/// Segments of an hour, by date and hour.
pub(super) const SEALED: &str = "sealed";
/// Damaged segments.
pub(super) const TORN: &str = "torn";
/// Segments that are being made.
pub(super) const SCRATCH: &str = "scratch";

/// Nanoseconds of an hour: what a sealed segment spans at most.
pub(super) const HOUR_NS: u64 = 3_600_000_000_000;

/// What is in a store.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// By their windows. None is covered by another.
    pub(super) segments: Vec<Segment>,
    /// Folders of segments whose windows are all in another one: left by a crash between rename and removal.
    pub(super) covered: Vec<PathBuf>,
    /// Segments that cannot be used, and why.
    pub(super) damaged: Vec<(PathBuf, StoreError)>,
}

/// The folder of sealed segments of the hour that an instant is in, such as `date=2026-11-23/hour=14`, in UTC.
pub(super) fn hour_folder(at: UnixNs) -> PathBuf {
    let time = UNIX_EPOCH + Duration::from_nanos(at.0);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (date, hour) = text.split_once('T').unwrap_or((&text, "00"));
    Path::new(&format!("date={date}")).join(format!("hour={}", &hour[..2]))
}

/// All segments of a store.
///
/// # Errors
/// There is no store, or its folders cannot be read.
pub(super) fn list(store: &Path) -> Result<Listing, StoreError> {
    // A reader may meet the writer at work: what was there is gone, so look again.
    for _ in 0..10 {
        match list_once(store) {
            Err(error) if error.is_gone() => {}
            listing => return listing,
        }
        if !store.join(RECENT).is_dir() {
            return Err(StoreError::NoStore { path: store.to_owned() });
        }
    }
    list_once(store)
}

fn list_once(store: &Path) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    let mut last = 0;
    for (range, path) in names(store)? {
        if *range.end() <= last {
            listing.covered.push(path);
            continue;
        }
        match Segment::open(&path) {
            Ok(segment) => {
                last = *range.end();
                listing.segments.push(segment);
            }
            Err(error) if error.is_of_segment() => listing.damaged.push((path, error)),
            Err(error) => return Err(error),
        }
    }
    Ok(listing)
}

/// The folders of all segments with their windows, by first window; of those that begin alike the longest first, since it
/// may cover the others.
///
/// # Errors
/// The folders cannot be read.
pub(super) fn names(store: &Path) -> Result<Vec<(RangeInclusive<u64>, PathBuf)>, StoreError> {
    let mut found = folders(&store.join(RECENT))?;
    for date in folders(&store.join(SEALED))? {
        for hour in folders(&date)? {
            found.extend(folders(&hour)?);
        }
    }
    let mut named: Vec<_> = found.into_iter().filter_map(|path| Some((parse_name(&path)?, path))).collect();
    named.sort_by_key(|(range, _)| (*range.start(), u64::MAX - *range.end()));
    Ok(named)
}

/// The folders in a folder.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
        Ok(found)
    };
    read().map_err(|source| StoreError::io("list", folder, source))
}
