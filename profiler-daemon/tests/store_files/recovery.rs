//! Damage: files cut short or changed at any byte, what kill -9 leaves, and what does not belong there.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use profilerd::model::UnixNs;
use profilerd::store::{Filter, Follower, Found, Limits, Reader, Store, StoreError, TimeRange};

use crate::made::{Random, START, WINDOW_NS, at, text, window};
use crate::round_trip::filled;

const HOUR_NS: u64 = 3_600_000_000_000;

/// Ten windows, six of them sealed.
fn sealed(folder: &Path) {
    let mut store = filled(folder, 10);
    store.maintain(UnixNs(START.0 + 10 * WINDOW_NS), None).unwrap();
    assert_eq!(store.counters().sealed_total, 1);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)
        } else {
            fs::copy(entry.path(), target).map(|_| ()).unwrap()
        }
    }
}

/// The windows that a store gives to an exporter, by number; each must be as it was stored.
fn whole(store: &Path, expected: &[String]) -> Vec<u64> {
    let mut follower = Follower::new(Reader::open(store).unwrap());
    let mut found = Vec::new();
    while let Some((stored, recording)) = follower.after(found.last().copied().unwrap_or(0)).unwrap() {
        assert_eq!(text(&recording), expected[stored.sequence as usize - 1], "window {}", stored.sequence);
        found.push(stored.sequence);
    }
    found
}

fn numbers(found: &Found) -> Vec<u64> {
    let mut numbers: Vec<u64> = found.windows.iter().map(|window| window.sequence).collect();
    numbers.sort_unstable();
    numbers
}

/// The windows of the segment that a file belongs to.
fn windows_of(file: &Path) -> Vec<u64> {
    let name = file.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let (first, last) = name.split_once('-').unwrap();
    (first.parse().unwrap()..=last.parse().unwrap()).collect()
}

#[test]
fn damage_at_any_byte_costs_one_segment() {
    let folder = crate::support::folder();
    let (good, bad) = (folder.path().join("good"), folder.path().join("bad"));
    sealed(&good);
    let expected: Vec<String> = (0..10).map(|number| text(&window(number))).collect();
    let mut random = Random(0x5eed);
    let all: Vec<PathBuf> = files(&good).into_iter().filter(|file| !file.ends_with("lock")).collect();
    assert_eq!(all.len(), 5 * 9, "a manifest and eight tables each");
    let mut lost_some = 0;
    for file in all {
        let bytes = fs::read(&file).unwrap();
        let others = ["zeros", "longer", "gone"];
        for kind in ["cut", "byte", others[random.below(3) as usize]] {
            let at = random.below(bytes.len() as u64) as usize;
            let mut damaged = bytes.clone();
            match kind {
                "cut" => damaged.truncate(at),
                "byte" => damaged[at] ^= 1 << random.below(8),
                "zeros" => damaged[at..].fill(0),
                _ => damaged.push(0),
            }
            let _ = fs::remove_dir_all(&bad);
            copy(&good, &bad);
            let target = bad.join(file.strip_prefix(&good).unwrap());
            if kind == "gone" { fs::remove_file(&target) } else { fs::write(&target, &damaged) }.unwrap();
            let context = format!("{kind} at {at} of {}", target.display());

            // Readers may come before any writer, which then puts things in order.
            let found = Reader::open(&bad).unwrap().read(TimeRange::ALL, &Filter::default()).unwrap();
            let mut store = Store::open(&bad, Limits::default()).unwrap();
            let windows = numbers(&found);
            // Comparing all of them takes most of the time.
            if random.below(6) == 0 {
                assert_eq!(whole(&bad, &expected), windows, "{context}");
            }
            let lost: Vec<u64> = (1..=10).filter(|number| !windows.contains(number)).collect();
            assert!(lost.is_empty() || lost == windows_of(&file), "{context}: {lost:?}");
            assert_eq!(found.damaged.is_empty(), lost.is_empty(), "{context}");
            if damaged.len() != bytes.len() || kind == "gone" {
                assert!(!lost.is_empty(), "{context}");
                assert_eq!(store.counters().torn_total, 1, "{context}");
            }
            lost_some += usize::from(!lost.is_empty());
            assert_eq!(store.append(&window(10)).unwrap(), 11, "{context}");
        }
    }
    // Zeros may have been zeros.
    assert!(lost_some > 5 * 9 * 2, "{lost_some}");
}

#[test]
fn a_damaged_window_is_put_aside_when_its_hour_is_sealed() {
    let folder = crate::support::folder();
    drop(filled(folder.path(), 8));
    let table = folder.path().join("recent/000000000003-000000000003/stacks.parquet");
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&table, bytes).unwrap();
    let mut store = Store::open(folder.path(), Limits::default()).unwrap();
    assert_eq!(store.counters().torn_total, 0, "it has the right size");
    store.maintain(UnixNs(START.0 + HOUR_NS), None).unwrap();
    let counters = store.counters();
    assert_eq!((counters.torn_total, counters.sealed_total, counters.windows), (1, 1, 7));
    assert!(folder.path().join("torn/000000000003-000000000003/manifest.json").exists());
    let expected: Vec<String> = (0..8).map(|number| text(&window(number))).collect();
    assert_eq!(whole(folder.path(), &expected), [1, 2, 4, 5, 6, 7, 8]);
}

#[test]
fn a_crash_between_rename_and_removal_counts_nothing_twice() {
    let folder = crate::support::folder();
    let (store, before) = (folder.path().join("store"), folder.path().join("before"));
    drop(filled(&store, 10));
    copy(&store.join("recent"), &before);
    let mut writer = Store::open(&store, Limits::default()).unwrap();
    writer.maintain(UnixNs(START.0 + 10 * WINDOW_NS), None).unwrap();
    drop(writer);
    copy(&before, &store.join("recent"));
    copy(&before, &store.join("scratch"));
    let reader = Reader::open(&store).unwrap();
    let found = reader.read(TimeRange::ALL, &Filter::default()).unwrap();
    assert_eq!(found.windows.len(), 10);
    let samples: usize = (0..10).map(|number| window(number).capture.cpu_samples.len()).sum();
    assert_eq!(found.recording.unwrap().capture.cpu_samples.len(), samples);
    let writer = Store::open(&store, Limits::default()).unwrap();
    assert_eq!((writer.counters().windows, writer.counters().torn_total), (10, 0));
    assert_eq!(fs::read_dir(store.join("recent")).unwrap().count(), 4);
    assert_eq!(fs::read_dir(store.join("scratch")).unwrap().count(), 0);
    // And if the sealed one is torn, the windows that it covered still count.
    drop(writer);
    copy(&before, &store.join("recent"));
    let table = files(&store.join("sealed")).into_iter().find(|file| file.ends_with("off_cpu.parquet")).unwrap();
    fs::write(table, "PAR1").unwrap();
    let writer = Store::open(&store, Limits::default()).unwrap();
    assert_eq!((writer.counters().windows, writer.counters().torn_total), (10, 1));
}

#[test]
fn what_does_not_belong_there_is_left_alone() {
    let folder = crate::support::folder();
    sealed(folder.path());
    for name in
        ["recent/notes", "recent/7-3", "recent/x-y", "sealed/date=today", "sealed/date=today/hour=/z", "recent/0-0"]
    {
        fs::create_dir_all(folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("recent/file"), "").unwrap();
    fs::write(folder.path().join("next"), "many").unwrap();
    std::os::unix::fs::symlink("/", folder.path().join("recent/000000000044-000000000044")).unwrap();
    // A segment of a later version: it is its own program's.
    let newer = folder.path().join("recent/000000000010-000000000010/manifest.json");
    let json = fs::read_to_string(&newer).unwrap();
    let json = json.lines().next().unwrap().replacen("\"version\":1", "\"version\":2", 1);
    fs::write(&newer, format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))).unwrap();
    let mut store = Store::open(folder.path(), Limits::default()).unwrap();
    let counters = store.counters();
    assert_eq!((counters.windows, counters.torn_total, counters.foreign), (9, 0, 1));
    let found = Reader::open(folder.path()).unwrap().read(TimeRange::ALL, &Filter::default()).unwrap();
    assert!(matches!(found.damaged[..], [StoreError::Version { version: 2, .. }]), "{:?}", found.damaged);
    assert_eq!(store.append(&window(0)).unwrap(), 11);
    assert!(newer.exists());
}

/// What the killed process does: a window every 150 s, so that slices and hours are soon over.
#[test]
#[ignore = "runs inside of `what_was_stored_survives_kill_9`"]
fn writer() {
    let mut store =
        Store::open(Path::new(&std::env::var_os("STORE_FILES_WRITER").unwrap()), Limits::default()).unwrap();
    loop {
        let number = store.last_sequence();
        let start = UnixNs(START.0 + number * HOUR_NS / 24);
        println!("stored {}", store.append(&at(number, start)).unwrap());
        store.maintain(start, None).unwrap();
    }
}

#[test]
fn what_was_stored_survives_kill_9() {
    let folder = crate::support::folder();
    let mut random = Random(0xdead);
    let mut stored = 0;
    for _ in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "recovery::writer", "--ignored", "--nocapture"])
            .env("STORE_FILES_WRITER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = stored + 1 + random.below(14);
        let number = |line: String| line.rsplit_once("stored ").and_then(|(_, number)| number.parse::<u64>().ok());
        while stored < enough {
            stored = number(lines.next().unwrap().unwrap()).unwrap_or(stored);
        }
        std::thread::sleep(std::time::Duration::from_micros(random.below(20_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        stored = lines.map_while(Result::ok).filter_map(number).last().unwrap_or(stored);
        let store = Store::open(folder.path(), Limits::default()).unwrap();
        // One more may have been stored and not be told.
        assert!((stored..=stored + 1).contains(&store.last_sequence()), "{stored} of {}", store.last_sequence());
        stored = store.last_sequence();
        assert_eq!((store.counters().windows, store.counters().torn_total), (stored, 0));
    }
    let expected: Vec<String> =
        (0..stored).map(|number| text(&at(number, UnixNs(START.0 + number * HOUR_NS / 24)))).collect();
    assert_eq!(whole(folder.path(), &expected), (1..=stored).collect::<Vec<_>>());
    let hours = files(&folder.path().join("sealed")).len() / 9;
    let slices = files(&folder.path().join("recent")).iter().filter(|file| windows_of(file).len() > 1).count() / 9;
    assert!(hours >= 1 && slices >= 1, "{hours} hours and {slices} slices");
    println!("{stored} windows over 12 kills, {hours} hours, {slices} slices");
}
