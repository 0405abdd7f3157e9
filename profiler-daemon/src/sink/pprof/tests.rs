#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Read;
use std::process::Command;

use flate2::read::GzDecoder;

use super::*;
use crate::model::Ledger;
use crate::sink::sample_window::{self, HOSTILE};

/// Encodes, unpacks and decodes again; every index must lead somewhere.
fn decoded(window: &Window) -> Profile {
    let (mut file, mut bytes) = (Vec::new(), Vec::new());
    encode(window, Clock::Wall, &mut file).unwrap();
    GzDecoder::new(file.as_slice()).read_to_end(&mut bytes).unwrap();
    let profile = Profile::decode(bytes.as_slice()).unwrap();
    assert_eq!(profile.string_table[0], "");
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len());
        assert!(!sample.location_id.is_empty());
        for id in &sample.location_id {
            assert_eq!(profile.location[*id as usize - 1].id, *id);
        }
    }
    for location in &profile.location {
        if location.mapping_id > 0 {
            let mapping = &profile.mapping[location.mapping_id as usize - 1];
            assert!((mapping.memory_start..mapping.memory_limit).contains(&location.address));
        }
        for line in &location.line {
            let function = &profile.function[line.function_id as usize - 1];
            assert!(!profile.string_table[function.name as usize].is_empty());
        }
    }
    profile
}

fn string(profile: &Profile, index: i64) -> &str {
    &profile.string_table[index as usize]
}

fn label<'a>(profile: &'a Profile, sample: &Sample, key: &str) -> Option<&'a str> {
    let label = sample.label.iter().find(|label| string(profile, label.key) == key)?;
    Some(string(profile, label.str))
}

/// The names of a sample's functions, leaf first.
fn functions<'a>(profile: &'a Profile, sample: &Sample) -> Vec<&'a str> {
    let locations = sample.location_id.iter().map(|id| &profile.location[*id as usize - 1]);
    let lines = locations.flat_map(|location| &location.line);
    lines.map(|line| string(profile, profile.function[line.function_id as usize - 1].name)).collect()
}

#[test]
fn values_add_up_to_the_ledger() {
    let window = sample_window::window();
    let profile = decoded(&window);
    let sum = |index: usize| profile.sample.iter().map(|sample| sample.value[index] as u64).sum::<u64>();
    let mut all = Ledger::default();
    window.processes.iter().for_each(|process| all.add(&process.ledger));
    assert_eq!(sum(1), all.on_cpu_ns);
    assert_eq!(sum(2), all.off_cpu_ns.iter().sum::<u64>() - all.preempted_ns);
    assert_eq!(sum(3), all.run_queue_ns);
    assert_eq!(sum(4), 0);
    assert_eq!(sum(5) as i64, all.wall_ns as i64 + all.residual_ns());
    let names = profile.sample_type.iter().map(|it| (string(&profile, it.r#type), string(&profile, it.unit)));
    assert_eq!(names.collect::<Vec<_>>(), TYPES);
    assert_eq!(string(&profile, profile.default_sample_type), "wall");
}

#[test]
fn what_a_quota_made_is_a_value_of_its_own() {
    let window = sample_window::throttled();
    let profile = decoded(&window);
    let sum = |index: usize| profile.sample.iter().map(|sample| sample.value[index] as u64).sum::<u64>();
    let mut all = Ledger::default();
    window.threads.iter().for_each(|thread| all.add(&thread.ledger));
    assert!(all.throttled_ns > 0);
    assert_eq!((sum(3), sum(4)), (all.run_queue_ns, all.throttled_ns));
}

#[test]
fn a_wait_has_its_thread_class_and_stack() {
    let profile = decoded(&sample_window::window());
    let wait = profile.sample.iter().find(|it| label(&profile, it, "class") == Some("lock/futex")).unwrap();
    assert_eq!(functions(&profile, wait), ["futex_wait", "Cache::get", "Handler::run", "main"]);
    assert_eq!(wait.location_id.len(), 3, "an inlined function shares its caller's location");
    assert_eq!(wait.value, [1_031, 0, 4_000_000_000, 10_000_000, 0, 4_000_000_000]);
    for (key, value) in [("thread", "worker-1"), ("process", "checkout"), ("state", "off-cpu")] {
        assert_eq!(label(&profile, wait, key), Some(value));
    }
    let numbers = wait.label.iter().filter(|it| it.num != 0).map(|it| (string(&profile, it.key), it.num));
    assert_eq!(numbers.collect::<Vec<_>>(), [("pid", 4242), ("tid", 4243)]);
}

#[test]
fn mappings_say_what_is_known_about_their_code() {
    let profile = decoded(&sample_window::window());
    let known = profile.mapping.iter().map(|it| {
        let (name, build_id) = (string(&profile, it.filename), string(&profile, it.build_id));
        (name, build_id, it.has_functions, it.has_line_numbers, it.has_inline_frames)
    });
    let expected = [
        ("/usr/bin/checkout", "0badcafe", true, true, true),
        ("[kernel]", "", true, false, false),
        ("/usr/lib/libz.so.1", "0badcafe", false, false, false),
    ];
    assert_eq!(known.collect::<Vec<_>>(), expected);
}

#[test]
fn a_sample_without_a_stack_keeps_its_time() {
    let mut window = sample_window::named("main");
    window.stacks.stacks[0] = [].into();
    let profile = decoded(&window);
    assert_eq!(functions(&profile, &profile.sample[0]), ["[no stack]"]);
    assert_eq!(profile.sample[0].value[1], 1000);
}

#[test]
fn hostile_names_are_escaped() {
    for name in HOSTILE {
        let profile = decoded(&sample_window::named(name));
        assert!(profile.string_table.iter().all(|it| !it.contains(char::is_control)), "{name:?}");
        assert_eq!(profile.sample.len(), 1);
        assert_eq!(functions(&profile, &profile.sample[0]).len(), 2);
    }
}

#[test]
fn go_reads_the_profile() {
    if Command::new("go").arg("version").output().is_err() {
        assert!(std::env::var_os("PROFILERD_REQUIRE_KERNEL").is_none(), "needs go");
        println!("skipped: needs go");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pprof = |window: &Window, arguments: &[&str]| {
        let path = folder.path().join("profile.pb.gz");
        crate::sink::open(&path, Clock::Wall).unwrap().write(window).unwrap();
        // Nothing but the profile: no binaries of this machine, no fetching.
        let output = Command::new("go")
            .args(["tool", "pprof", "-symbolize=none"])
            .args(arguments)
            .arg(&path)
            .env("PPROF_TMPDIR", folder.path())
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !error.contains("malformed"), "{error}");
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let window = sample_window::window();
    let top = pprof(&window, &["-top"]);
    assert!(top.contains("File: checkout") && top.contains("Type: wall") && top.contains("Duration: 10s"), "{top}");
    assert!(top.contains("4000ms 10.00% futex_wait") && top.contains("Cache::get (inline)"), "{top}");
    let lock = pprof(&window, &["-top", "-sample_index=off_cpu", "-tagfocus=class:lock/futex"]);
    assert!(lock.contains("Type: off_cpu") && lock.contains("4s 13.42% futex_wait"), "{lock}");
    let raw = pprof(&window, &["-raw"]);
    for part in [
        "samples/count cpu/nanoseconds off_cpu/nanoseconds run_queue/nanoseconds throttled/nanoseconds wall/nanoseconds[dflt]",
        "tid:[4243]",
        "[kernel]",
    ] {
        assert!(raw.contains(part), "{part} not in {raw}");
    }
    for name in HOSTILE {
        pprof(&sample_window::named(name), &["-top"]);
    }
}
