#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::sink::sample_window::{self, HOSTILE};

/// Encodes, parses again and validates against the committed schema.
fn written(window: &Window) -> Value {
    let mut file = Vec::new();
    encode(window, Clock::Wall, &mut file).unwrap();
    let report = serde_json::from_slice(&file).unwrap();
    let schema = serde_json::from_str(&committed_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&report).map(|it| format!("{}: {it}", it.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    report
}

fn schema_path() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/report-v1.schema.json"))
}

fn committed_schema() -> String {
    fs::read_to_string(schema_path()).unwrap_or_default()
}

#[test]
fn the_committed_schema_is_the_one_of_the_code() {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(schema_path(), schema()).unwrap();
    }
    assert!(
        committed_schema() == schema(),
        "{} is not what the code writes: run UPDATE_SCHEMA=1 cargo test -p profiler-daemon --lib schema, \
         and raise SCHEMA_VERSION unless keys were only added",
        schema_path().display()
    );
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let good = written(&sample_window::window());
    let validator = jsonschema::validator_for(&serde_json::from_str(&committed_schema()).unwrap()).unwrap();
    for (place, wrong) in [
        ("/schema_version", json!(2)),
        ("/window/duration_ns", json!(-1)),
        ("/gaps/0/class", json!("sleeping")),
        ("/threads/0/ledger/off_cpu_by_class", json!({ "pipe": 1 })),
        ("/gaps/0/stack/0/kind", json!("java")),
        ("/overhead", json!({})),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(place).unwrap() = wrong;
        assert!(!validator.is_valid(&bad), "{place}");
    }
}

/// The contract with scripts: a failure here breaks someone's script.
#[test]
fn keys_are_the_promised_ones() {
    let report = written(&sample_window::window());
    let ledger = "wall_ns on_cpu_ns user_ns kernel_ns stolen_ns run_queue_ns preempted_ns throttled_ns blocked_ns \
                  off_cpu_by_class unseen_ns residual_ns";
    for (place, keys) in [
        ("", "schema_version window processes threads gaps on_cpu waits stack_quality losses overhead detail"),
        ("/window", "start_unix_ns duration_ns"),
        ("/detail", "windows shed"),
        ("/detail/shed/0", "level windows taken"),
        ("/processes/0", "pid comm ledger"),
        ("/processes/0/ledger", ledger),
        ("/threads/0", "pid tid comm ledger idle_ns"),
        ("/threads/0/ledger", ledger),
        (
            "/gaps/0",
            "class idle count total_ns p50_ns p99_ns max_ns stack kernel_function tids pid run_queue_ns wakers",
        ),
        ("/gaps/0/stack/1", "function file line module offset kind inlined"),
        ("/on_cpu/0", "function self_ns total_ns file line module"),
        ("/waits/0", "start_unix_ns duration_ns run_queue_ns class idle pid tid stack waker"),
        ("/stack_quality", "on_cpu off_cpu sampled_off_cpu_ns"),
        ("/stack_quality/off_cpu/missing", "samples ns"),
        ("/overhead", "kernel_programs_ns daemon_ns peak_rss_bytes"),
        ("/overhead/user_stack_memo", "recognised walked not_walked"),
    ] {
        let object = report.pointer(place).and_then(Value::as_object).unwrap_or_else(|| panic!("no {place}"));
        for key in keys.split_whitespace() {
            assert!(object.contains_key(key), "no `{key}` in `{place}`");
        }
    }
}

#[test]
fn values_are_those_of_the_window() {
    let report = written(&sample_window::window());
    for (place, value) in [
        ("/schema_version", json!(1)),
        ("/window", json!({ "start_unix_ns": 1_795_000_000_123_456_789_u64, "duration_ns": 10_000_000_000_u64 })),
        (
            "/detail",
            json!({
                "windows": 3, "shed": [{ "level": 1, "windows": 2, "taken": "the stacks of one wait in 4" }],
            }),
        ),
        ("/processes/0/threads", json!(3)),
        ("/processes/0/idle_ns", json!(9_700_000_000_u64)),
        ("/threads/0/ledger/residual_ns", json!(0)),
        (
            "/threads/0/ledger/off_cpu_by_class",
            json!({
                "lock/futex": 4_000_000_000_u64, "socket-recv": 2_950_000_000_u64, "socket-send": 0,
                "socket-accept": 0, "poll-idle": 0, "disk-io": 0, "fs-sync": 0, "pipe": 0, "sleep": 0,
                "page-fault": 0, "wait-child": 0, "other": 0,
            }),
        ),
        ("/gaps/0/kernel_function", json!("futex_wait")),
        (
            "/gaps/0/wakers/0",
            json!({ "pid": 4242, "tid": 4244, "comm": "journal", "interrupt": false, "wait_ns": 2_800_000_000_u64 }),
        ),
        ("/gaps/2/kernel_function", Value::Null),
        (
            "/gaps/2/stack",
            json!([{ "function": "[unwinding stopped: no unwind info]", "kind": "note", "inlined": false }]),
        ),
        ("/gaps/0/stack/1/inlined", json!(true)),
        (
            "/gaps/1/stack/2",
            json!({
                "module": "/usr/lib/libz.so.1", "build_id": "0badcafe", "offset": 4096, "kind": "native", "inlined": false,
            }),
        ),
        ("/on_cpu/2/function", json!("libz.so.1+0x1000")),
        ("/waits/0/waker/comm", json!("journal")),
        ("/waits/1/waker", Value::Null),
        ("/stack_quality/on_cpu/complete", json!({ "samples": 486, "ns": 4_900_000_000_u64 })),
        ("/losses/ring_full_wait", json!(3)),
        ("/losses/ring_full_stack", json!(0)),
        ("/overhead/kernel_programs_ns", json!(31_000_000)),
    ] {
        assert_eq!(report.pointer(place), Some(&value), "{place}");
    }
}

#[test]
fn what_was_not_measured_is_null() {
    let report = written(&Window::default());
    assert_eq!(report.pointer("/overhead/kernel_programs_ns"), Some(&Value::Null));
    assert_eq!(report.pointer("/detail"), Some(&json!({ "windows": 0, "shed": [] })));
}

#[test]
fn hostile_names_are_escaped() {
    for name in HOSTILE {
        let report = written(&sample_window::named(name));
        for place in ["/target", "/threads/0/comm", "/gaps/0/stack/0/file", "/on_cpu/0/function"] {
            let text = report.pointer(place).and_then(Value::as_str).unwrap();
            assert_eq!(text, printable(name), "{place}");
        }
    }
}
