//! Another program reads the files as they are: DuckDB, from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use profilerd::model::UnixNs;
use profilerd::store::{Filter, Reader, TimeRange};
use serde_json::Value;

use crate::made::{START, WINDOW_NS};
use crate::round_trip::filled;

/// Prints what it finds in the store given as JSON.
const SCRIPT: &str = r#"
import json, sys, duckdb
def table(name):
    return f"read_parquet(['{sys.argv[1]}/sealed/*/*/*/{name}.parquet', '{sys.argv[1]}/recent/*/{name}.parquet'])"
def one(query):
    return [int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value for value in duckdb.sql(query).fetchall()[0]]
print(json.dumps({
    "windows": one(f'select count(*), min("window"), max("window"), epoch_ns(min(start)), sum(list_sum(loss_counts)) from {table("windows")}'),
    "threads": one(f'select count(*), sum(wall_ns), sum(on_cpu_ns), sum(lock_ns) from {table("threads")}'),
    "cpu_samples": one(f'select count(*), count(distinct tid), min(epoch_ns(time)) from {table("cpu_samples")}'),
    "off_cpu": one(f"select count(*), sum(blocked_ns), sum(count), coalesce(sum(list_sum(bucket_counts)), 0) + sum(case when len(bucket_counts) = 0 then count else 0 end) from {table('off_cpu')}"),
    "waits": one(f"select count(*), sum(duration_ns) from {table('waits')}"),
    "joined": one(f"select count(*) from {table('cpu_samples')} c join {table('stacks')} s on c.segment = s.segment and c.user_stack = s.stack"),
    "frames": one(f"select count(*), count(f.frame) from (select segment, unnest(frames) as frame from {table('stacks')}) s left join {table('frames')} f using (segment, frame)"),
    "hours": one(f"select count(distinct hour), min(date)::varchar from read_parquet('{sys.argv[1]}/sealed/*/*/*/windows.parquet', hive_partitioning = true)"),
    "labels": [row[0] for row in duckdb.sql(f"select distinct comm from {table('programs')} order by 1").fetchall()],
}))
"#;

/// A Python that has DuckDB, in a folder of the build that later runs find again.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("duckdb-venv");
    let python = folder.join("bin/python");
    let has =
        |python: &Path| Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|it| it.status.success());
    if has(&python) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
    if !made.is_ok_and(|it| it.status.success()) {
        return crate::support::skip("needs python3 with venv");
    }
    let installed = Command::new(&python).args(["-m", "pip", "install", "--quiet", "duckdb>=1.2"]).output();
    if !installed.is_ok_and(|it| it.status.success()) || !has(&python) {
        return crate::support::skip("needs duckdb from PyPI");
    }
    Some(python)
}

#[test]
fn duckdb_finds_what_we_find() {
    let Some(python) = python() else { return };
    let folder = crate::support::folder();
    let mut store = filled(folder.path(), 10);
    store.maintain(UnixNs(START.0 + 10 * WINDOW_NS), None).unwrap();
    let output = Command::new(python).args(["-c", SCRIPT]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ours = Reader::open(folder.path()).unwrap().read(TimeRange::ALL, &Filter::default()).unwrap();
    let windows = ours.windows;
    let recording = ours.recording.unwrap();
    let capture = &recording.capture;
    let sum = |values: &mut dyn Iterator<Item = u64>| Value::from(values.sum::<u64>());
    let row = |name: &str, index: usize| found[name][index].clone();

    assert_eq!([0, 1, 2].map(|index| row("windows", index)), [10, 1, 10].map(Value::from));
    assert_eq!(row("windows", 3), Value::from(START.0));
    assert_eq!(row("windows", 4), sum(&mut recording.context.losses.by_cause.values().copied()));
    assert_eq!(row("threads", 0), sum(&mut windows.iter().map(|it| u64::from(it.threads))));
    assert_eq!(row("threads", 1), sum(&mut capture.threads.iter().map(|it| it.ledger.wall_ns)));
    assert_eq!(row("threads", 2), sum(&mut capture.threads.iter().map(|it| it.ledger.on_cpu_ns)));
    assert_eq!(row("threads", 3), sum(&mut capture.threads.iter().map(|it| it.ledger.off_cpu_ns[1])));
    assert_eq!(row("cpu_samples", 0), Value::from(capture.cpu_samples.len()));
    let first = capture.cpu_samples.iter().map(|it| it.header.at_ns).min().unwrap();
    assert_eq!(row("cpu_samples", 2), Value::from(START.0 + first - capture.start.0));
    assert_eq!(row("off_cpu", 1), sum(&mut capture.off_cpu.values().map(|it| it.blocked_ns)));
    assert_eq!(row("off_cpu", 2), sum(&mut capture.off_cpu.values().map(|it| it.count)));
    assert_eq!(row("off_cpu", 3), row("off_cpu", 2), "histograms hold each wait once");
    assert_eq!(row("waits", 0), Value::from(capture.waits.len()));
    assert_eq!(row("waits", 1), sum(&mut capture.waits.iter().map(|it| it.header.at_ns - it.start_ns)));
    let with_stack = capture.cpu_samples.iter().filter(|it| it.user_stack != 0).count();
    assert_eq!(row("joined", 0), Value::from(with_stack), "each sample has its stack once");
    assert_eq!(row("frames", 0), row("frames", 1), "each frame of a stack is there");
    assert_eq!(found["hours"], serde_json::json!([1, "2026-03-14"]));
    let mut names: Vec<&str> = recording.programs.iter().map(|it| &*it.comm).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(found["labels"], serde_json::json!(names));
}
