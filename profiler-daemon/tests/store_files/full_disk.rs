//! A disk that is full: a small one of memory.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use profilerd::model::UnixNs;
use profilerd::store::{Filter, Limits, Reader, Store, StoreError, TimeRange};

use crate::made::{START, at};

const HOUR_NS: u64 = 3_600_000_000_000;

/// A file system of so many bytes, as long as this lives.
struct Disk(PathBuf);

impl Disk {
    fn new(folder: &Path, bytes: u64) -> Option<Disk> {
        if !nix::unistd::geteuid().is_root() {
            return crate::support::skip("needs root to mount a small disk");
        }
        let options = format!("size={bytes}");
        mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), Some(options.as_str())).unwrap();
        Some(Disk(folder.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

/// Appends a window of ten minutes and maintains. Returns what appending said.
fn store(store: &mut Store, number: u64) -> Result<u64, StoreError> {
    let start = UnixNs(START.0 + number * HOUR_NS / 6);
    let appended = store.append(&at(number, start));
    // Sealing may find no room either; it tries again.
    let _ = store.maintain(start, None);
    appended
}

#[test]
fn the_oldest_goes_first_then_windows_are_dropped_and_room_is_used_again() {
    let folder = crate::support::folder();
    let Some(_disk) = Disk::new(folder.path(), 2 << 20) else { return };
    let path = folder.path().join("store");
    let mut writer = Store::open(&path, Limits::default()).unwrap();
    let mut last = 0;
    for number in 0..80 {
        last = store(&mut writer, number).unwrap();
    }
    let counters = writer.counters();
    assert!(counters.removed_full_total > 0 && counters.dropped_full_total == 0, "{counters:?}");
    let found = Reader::open(&path).unwrap().read(TimeRange::ALL, &Filter::default()).unwrap();
    assert!(found.damaged.is_empty(), "{:?}", found.damaged);
    assert_eq!(found.windows.last().unwrap().sequence, last, "the newest are there");
    assert_eq!(found.windows.len() as u64, counters.windows);

    // Somebody else takes all the room that there is, and that is made.
    let ballast = folder.path().join("ballast");
    let mut dropped = 0;
    for number in 80..100 {
        fill(&ballast);
        match store(&mut writer, number) {
            Ok(_) => {}
            Err(StoreError::Full { .. }) => dropped += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    let counters = writer.counters();
    assert!(dropped > 0 && counters.dropped_full_total == dropped, "{dropped}, {counters:?}");
    fs::remove_file(&ballast).unwrap();
    let again = store(&mut writer, 100).unwrap();
    assert_eq!(again, 101, "no number is given twice");
    drop(writer);
    let writer = Store::open(&path, Limits::default()).unwrap();
    assert_eq!((writer.counters().torn_total, writer.last_sequence()), (0, 101));
    println!("{counters:?}");
}

/// Makes a file as large as it can be.
fn fill(file: &Path) {
    use std::io::Write;
    let mut out = fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
    while out.write(&[7; 4096]).is_ok_and(|written| written > 0) {}
}
