//! `query`, `ls` and `diff` as a person types them.

use std::path::Path;
use std::process::Command;

use profilerd::model::UnixNs;

use crate::made::{START, WINDOW_NS, window};
use crate::round_trip::filled;

/// What a command says: (exit code, stdout, stderr). Local time is two hours ahead of UTC.
fn run(store: &Path, words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_profilerd"))
        .args(words)
        .arg("--store")
        .arg(store)
        .env("TZ", "<+02>-2")
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Ten windows from 14:59:00 UTC on, six of them sealed.
fn store(folder: &Path) {
    let mut store = filled(folder, 10);
    store.maintain(UnixNs(START.0 + 10 * WINDOW_NS), None).unwrap();
}

#[test]
fn a_range_is_reported_like_a_capture() {
    let folder = crate::support::folder();
    let path = folder.path().join("store");
    store(&path);
    let json = folder.path().join("out.json");
    let range = ["--since", "2026-03-14 16:59:00", "--until", "2026-03-14T15:00:10Z"];
    let words = [&["query"][..], &range, &["-o", json.to_str().unwrap()]].concat();
    let (code, out, err) = run(&path, &words);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("all processes, 2026-03-14 16:59:00 to 2026-03-14 17:00:10"), "{out}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let shed = serde_json::json!([{ "level": 2, "windows": 1, "taken": "the stacks of one wait in 32" }]);
    assert_eq!((&report["detail"]["windows"], &report["detail"]["shed"]), (&7.into(), &shed));
    assert!(out.contains("detail was shed in 1 of 7 windows: the stacks of one wait in 32"), "{out}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let on_cpu: u64 =
        (0..7).flat_map(|number| window(number).capture.threads).map(|thread| thread.ledger.on_cpu_ns).sum();
    let reported: u64 =
        report["processes"].as_array().unwrap().iter().map(|it| it["ledger"]["on_cpu_ns"].as_u64().unwrap()).sum();
    assert_eq!(reported, on_cpu);
    assert_eq!(report["window"]["duration_ns"], 7 * WINDOW_NS);

    let (code, out, _) = run(&path, &[&["query"][..], &range, &["--pid", "103", "--pid", "105"]].concat());
    assert!(code == 0 && out.contains("pid 103, pid 105"), "{out}");
    for (words, said) in [
        (vec!["--pid", "7"], "no process matched pid 7"),
        (vec!["--service", "none", "--unit", "x"], "no process matched unit x, service none"),
    ] {
        let (code, _, err) = run(&path, &[&["query"][..], &range, &words].concat());
        assert!(code == 1 && err.contains(said), "{err}");
    }
}

#[test]
fn nothing_stored_says_what_is() {
    let folder = crate::support::folder();
    store(folder.path());
    let (code, _, err) = run(folder.path(), &["query", "--since", "2026-03-14 12:00", "--until", "2026-03-14 12:05"]);
    assert_eq!(code, 1);
    assert!(err.contains("nothing is stored from 2026-03-14 12:00:00 to 2026-03-14 12:05:00"), "{err}");
    assert!(err.contains("2026-03-14 16:59:00 to 2026-03-14 17:00:40"), "{err}");
    let (code, _, err) = run(folder.path(), &["query", "--since", "teatime"]);
    assert!(code == 2 && err.contains("`teatime` is no time") && err.contains("10m ago"), "{err}");
    let (code, _, err) = run(&folder.path().join("none"), &["query", "--since", "10m ago"]);
    assert!(code == 1 && err.contains("there is no store at"), "{err}");
}

#[test]
fn ls_shows_spans_hours_and_services() {
    let folder = crate::support::folder();
    store(folder.path());
    let (code, out, err) = run(folder.path(), &["ls"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for line in
        ["2026-03-14 16:59:00  2026-03-14 17:00:40     1m 40s       10", "service in the last hour", "größe::λ<T>"]
    {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let shed = "detail was shed in 2 of 10 windows: the stacks of one wait in 32";
    assert!(out.contains("      shed\n") && out.contains(shed), "{out}");
    assert!(!out.contains('\u{1b}') && !out.contains('\u{202e}'), "names are escaped: {out}");
    let (code, out, _) = run(folder.path(), &["ls", "--since", "2026-03-01", "--until", "2026-03-02"]);
    assert!(code == 0 && out.contains("no windows in this range"), "{out}");
    let (code, out, _) = run(folder.path(), &["ls", "--until", "2026-03-14 16:59:30"]);
    assert!(code == 0 && out.contains("2026-03-14 16:59:30        30s        3"), "{out}");
    assert_eq!(run(folder.path(), &["ls", "--until", "teatime"]).0, 2);
}

#[test]
fn two_ranges_two_processes_or_two_files_are_compared() {
    let folder = crate::support::folder();
    let path = folder.path().join("store");
    store(&path);
    let svg = folder.path().join("diff.svg");
    let (before, after) = ("2026-03-14 16:59:00..2026-03-14 16:59:30", "2026-03-14 16:59:30..2026-03-14 17:00:00");
    let (code, out, err) = run(&path, &["diff", before, after, "-o", svg.to_str().unwrap()]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("functions by time on CPU") && out.contains(" %"), "{out}");
    assert!(std::fs::read_to_string(&svg).unwrap().contains("</svg>"));
    let (code, out, _) = run(&path, &["diff", &format!("{before}@103"), &format!("{before}@104")]);
    assert!(code == 0 && out.contains("pid 103") && out.contains("pid 104"), "{out}");

    let (one, two) = (folder.path().join("one.folded"), folder.path().join("two.folded"));
    std::fs::write(&one, "web (1);w;main;parse 2000000000\n").unwrap();
    std::fs::write(&two, "web (2);w;main;parse 5000000000\n").unwrap();
    let (code, out, _) = run(&path, &["diff", one.to_str().unwrap(), two.to_str().unwrap()]);
    assert!(code == 0 && out.contains("+3.00 s") && out.contains("+150.0 %"), "{out}");
    let (code, _, err) = run(&path, &["diff", "nonsense", two.to_str().unwrap()]);
    assert!(code == 1 && err.contains("cannot read `nonsense`"), "{err}");
}
