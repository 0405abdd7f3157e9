//! What goes in comes out: window by window, and merged over a range.

use std::time::Duration;

use profilerd::aggregate;
use profilerd::aggregate::merge::merge;
use profilerd::model::UnixNs;
use profilerd::store::{Filter, Follower, Limits, Reader, Store, StoreError, TimeRange};

use crate::made::{START, WINDOW_NS, at, text, window};

/// A store with so many windows, the last of them in the next hour.
pub(crate) fn filled(folder: &std::path::Path, windows: u64) -> Store {
    let mut store = Store::open(folder, Limits::default()).unwrap();
    for number in 0..windows {
        assert_eq!(store.append(&window(number)).unwrap(), number + 1);
    }
    store
}

fn now(windows: u64) -> UnixNs {
    UnixNs(START.0 + windows * WINDOW_NS)
}

/// Windows `first` to `last`, from 0, without their very ends.
fn range(first: u64, last: u64) -> TimeRange {
    TimeRange { since: UnixNs(START.0 + first * WINDOW_NS + 1), until: UnixNs(START.0 + (last + 1) * WINDOW_NS - 1) }
}

#[test]
fn each_window_comes_back_as_it_was_before_and_after_sealing() {
    let folder = crate::support::folder();
    let mut store = filled(folder.path(), 10);
    let reader = Reader::open(folder.path()).unwrap();
    for sealed in [false, true] {
        if sealed {
            store.maintain(now(10), None).unwrap();
            assert_eq!((store.counters().sealed_total, store.counters().windows_recent), (1, 4), "six to 15:00");
        }
        let mut sequence = 0;
        let mut follower = Follower::new(reader.clone());
        while let Some((stored, recording)) = follower.after(sequence).unwrap() {
            assert_eq!(stored.sequence, sequence + 1);
            assert_eq!(text(&recording), text(&window(sequence)), "sealed: {sealed}");
            sequence = stored.sequence;
        }
        assert_eq!(sequence, 10);
        // Whoever goes back, or skips some, gets what is there.
        for (after, next) in [(10, None), (3, Some(4)), (4, Some(5)), (8, Some(9)), (0, Some(1)), (9, Some(10))] {
            let found = follower.after(after).unwrap();
            assert_eq!(found.as_ref().map(|(stored, _)| stored.sequence), next);
            assert!(found.is_none_or(|(stored, found)| text(&found) == text(&window(stored.sequence - 1))));
        }
        let listed = reader.windows(TimeRange::ALL).unwrap().windows;
        let starts: Vec<_> = listed.iter().map(|window| (window.sequence, window.start.0)).collect();
        assert_eq!(starts, (0..10).map(|n| (n + 1, START.0 + n * WINDOW_NS)).collect::<Vec<_>>());
        assert_eq!((listed[0].processes, listed[0].threads), (10, 30));
    }
}

#[test]
fn a_range_is_the_merge_of_its_windows_and_its_report_that_of_a_capture() {
    let folder = crate::support::folder();
    let mut store = filled(folder.path(), 10);
    let reader = Reader::open(folder.path()).unwrap();
    for sealed in [false, true] {
        if sealed {
            store.maintain(now(10), None).unwrap();
        }
        for (first, last) in [(0, 9), (2, 4), (5, 6), (7, 7)] {
            let expected = merge((first..=last).map(window), "all processes".to_owned()).unwrap();
            let found = reader.read(range(first, last), &Filter::default()).unwrap();
            assert!(found.damaged.is_empty());
            let recording = found.recording.unwrap();
            assert_eq!(text(&recording), text(&expected), "{first} to {last}, sealed: {sealed}");
            let (ours, theirs) = (aggregate::window(recording), aggregate::window(expected));
            assert_eq!(ours.gaps.len(), theirs.gaps.len());
            let blocked =
                |window: &profilerd::model::Window| window.samples.iter().map(|it| it.blocked_ns).sum::<u64>();
            assert_eq!(blocked(&ours), blocked(&theirs));
        }
        let nothing = reader.read(TimeRange { since: UnixNs(1), until: UnixNs(2) }, &Filter::default()).unwrap();
        assert!(nothing.recording.is_none() && nothing.windows.is_empty());
    }
}

#[test]
fn a_filter_takes_whole_processes() {
    let folder = crate::support::folder();
    let mut store = filled(folder.path(), 8);
    store.maintain(now(8), None).unwrap();
    let reader = Reader::open(folder.path()).unwrap();
    let filters = [
        (Filter { pids: vec![103], ..Filter::default() }, 103),
        (Filter { units: vec!["unit-107".to_owned()], ..Filter::default() }, 107),
    ];
    for (filter, pid) in filters {
        if !window(0).programs.iter().any(|program| filter.matches(program)) {
            continue;
        }
        let mut expected = merge((0..8).map(window), "all processes".to_owned()).unwrap();
        expected.capture.threads.retain(|it| it.pid == pid);
        expected.capture.cpu_samples.retain(|it| it.pid == pid);
        expected.capture.off_cpu.retain(|key, _| key.pid == pid);
        expected.capture.waits.retain(|it| it.key.pid == pid);
        expected.programs.retain(|it| it.pid == pid);
        let found = reader.read(TimeRange::ALL, &filter).unwrap().recording.unwrap();
        assert!(!found.capture.threads.is_empty());
        assert_eq!(text(&found), text(&expected), "{filter:?}");
    }
}

#[test]
fn windows_before_a_restart_have_another_clock() {
    let folder = crate::support::folder();
    let mut store = Store::open(folder.path(), Limits::default()).unwrap();
    let mut before = window(0);
    // The machine had run for long, and began again.
    let shift = 77_000_000_000_000;
    for ns in [&mut before.capture.start.0, &mut before.capture.end.0] {
        *ns += shift;
    }
    before.capture.cpu_samples.iter_mut().for_each(|sample| sample.header.at_ns += shift);
    store.append(&before).unwrap();
    store.append(&window(1)).unwrap();
    let merged = Reader::open(folder.path()).unwrap().read(TimeRange::ALL, &Filter::default()).unwrap();
    let capture = merged.recording.unwrap().capture;
    assert_eq!(capture.end.since(capture.start), 2 * WINDOW_NS);
    let range = capture.start.0..capture.end.0;
    assert!(capture.cpu_samples.iter().all(|sample| range.contains(&sample.header.at_ns)));
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let folder = crate::support::folder();
    let store = filled(folder.path(), 1);
    let error = Store::open(folder.path(), Limits::default()).unwrap_err();
    let said = format!("(pid {})", std::process::id());
    assert!(matches!(error, StoreError::Locked { .. }) && error.to_string().ends_with(&said), "{error}");
    assert!(!Reader::open(folder.path()).unwrap().windows(TimeRange::ALL).unwrap().windows.is_empty());
    drop(store);
    assert_eq!(Store::open(folder.path(), Limits::default()).unwrap().last_sequence(), 1);
    assert!(matches!(Reader::open(&folder.path().join("none")), Err(StoreError::NoStore { .. })));
}

#[test]
fn limits_remove_the_oldest_and_count_what_was_not_sent() {
    let folder = crate::support::folder();
    let mut store = filled(folder.path(), 10);
    store.maintain(now(10), None).unwrap();
    store.set_limits(Limits { age: Duration::from_secs(60), ..Limits::default() });
    // The sealed segment ended 70 seconds before this, the next window 60.
    store.maintain(now(13), Some(5)).unwrap();
    let counters = store.counters();
    assert_eq!((counters.windows, counters.removed_age_total, counters.removed_unsent_total), (4, 6, 2));
    assert!(!folder.path().join("sealed").read_dir().unwrap().any(|_| true), "no empty folders are left");
    store.set_limits(Limits { bytes: 1, ..Limits::default() });
    store.maintain(now(10), Some(100)).unwrap();
    let counters = store.counters();
    assert_eq!((counters.windows, counters.removed_size_total, counters.removed_unsent_total), (1, 3, 2));
    // Numbers are not given again, even if nothing is left.
    store.set_limits(Limits { age: Duration::ZERO, ..Limits::default() });
    store.maintain(now(1_000_000), None).unwrap();
    assert_eq!(store.counters().windows, 0);
    drop(store);
    let mut store = Store::open(folder.path(), Limits::default()).unwrap();
    assert_eq!(store.append(&window(0)).unwrap(), 11);
}

#[test]
fn a_clock_that_steps_back_only_makes_more_segments() {
    let folder = crate::support::folder();
    let mut store = Store::open(folder.path(), Limits::default()).unwrap();
    let hour = 3_600_000_000_000;
    for (number, start) in [(0, START.0), (1, START.0 + hour), (2, START.0 + 5), (3, START.0 + 2 * hour)] {
        store.append(&at(number, UnixNs(start))).unwrap();
        store.maintain(UnixNs(start), None).unwrap();
    }
    store.maintain(UnixNs(START.0 + 9 * hour), None).unwrap();
    assert_eq!(store.counters().sealed_total, 4);
    let reader = Reader::open(folder.path()).unwrap();
    let sequences: Vec<u64> =
        reader.windows(TimeRange::ALL).unwrap().windows.iter().map(|window| window.sequence).collect();
    assert_eq!(sequences, [1, 3, 2, 4], "by start");
    let found = reader.read(TimeRange::ALL, &Filter::default()).unwrap().recording.unwrap();
    assert_eq!(found.capture.threads.len(), window(0).capture.threads.len());
}
