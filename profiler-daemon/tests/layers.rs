//! Imports run one way. Stages know the model and not each other; only `daemon` knows their order. A
//! new edge between modules is a line in this table, where a review sees it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each module of the library, and the modules that it may use. `profiler_common` is everyone's.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("signal", &[]),
    ("decode", &["model"]),
    ("accounting", &["model"]),
    ("process", &["model"]),
    // Addresses mean something only within the mappings of their process.
    ("symbolize", &["model", "process"]),
    // Tables are made of the files that processes map.
    ("unwind", &["process"]),
    ("aggregate", &["model"]),
    ("capture", &["model", "signal"]),
    ("config", &["model"]),
    ("log", &["config", "model"]),
    ("notify", &["model"]),
    ("sink", &["model"]),
    ("telemetry", &["model"]),
    // Encodes by `sink::otlp`, and hands over.
    ("export", &["model", "sink"]),
    // A range is merged while it is read: all of its windows at once would not fit.
    ("store", &["aggregate", "model"]),
    (
        "daemon",
        &[
            "accounting",
            "aggregate",
            "capture",
            "config",
            "decode",
            "export",
            "log",
            "model",
            "notify",
            "process",
            "signal",
            "sink",
            "store",
            "symbolize",
            "telemetry",
            "unwind",
        ],
    ),
    // A stored range becomes a window as a capture does. Of `capture` only what `doctor` shows, of `process` only whether
    // the target is there.
    ("cli", &["aggregate", "capture", "config", "daemon", "model", "process", "signal", "sink", "store"]),
];

#[test]
fn imports_run_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let modules: BTreeSet<String> = files(&source).iter().filter_map(|file| layer(&source, file)).collect();
    let known: BTreeSet<String> = ALLOWED.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(modules, known, "modules in src/ and rows of this table");

    let mut wrong = Vec::new();
    for file in files(&source) {
        let Some(from) = layer(&source, &file) else { continue };
        let allowed = ALLOWED.iter().find(|(module, _)| *module == from).map(|(_, allowed)| *allowed).unwrap();
        for to in targets(&fs::read_to_string(&file).unwrap(), depth(&source, &file)) {
            if modules.contains(&to) && to != from && !allowed.contains(&to.as_str()) {
                wrong.push(format!("{from} → {to}, in {}", file.strip_prefix(&source).unwrap().display()));
            }
        }
    }
    assert!(wrong.is_empty(), "new edges between modules:\n  {}", wrong.join("\n  "));
}

#[test]
fn the_table_has_no_cycle() {
    let mut left: Vec<_> = ALLOWED.to_vec();
    while !left.is_empty() {
        let names: Vec<&str> = left.iter().map(|(module, _)| *module).collect();
        let before = left.len();
        left.retain(|(_, uses)| uses.iter().any(|used| names.contains(used)));
        assert!(left.len() < before, "a cycle among {names:?}");
    }
}

#[test]
fn paths_are_found_however_they_are_written() {
    let check = |code: &str, depth: usize, expected: &[&str]| assert_eq!(targets(code, depth), expected, "{code}");
    check("use crate::model::Frame;", 1, &["model"]);
    check("let x = crate::sink::open();", 1, &["sink"]);
    check("use crate::{decode, process::{self, Module}};\n", 1, &["decode", "process"]);
    check("use crate::{\n    model::Frame,\n    sink,\n};", 1, &["model", "sink"]);
    check("/// As [`crate::sink::open`].\n// crate::sink", 1, &[]);
    check("mycrate::sink(); $crate::cli::x", 1, &["cli"]);
    check("use super::sink;", 2, &[]);
    check("use super::sink;", 1, &["sink"]);
    check("use super::super::cli::Y;", 2, &["cli"]);
}

/// All Rust files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The module of the library that a file belongs to; none for the crate roots.
fn layer(source: &Path, file: &Path) -> Option<String> {
    let first = file.strip_prefix(source).unwrap().components().next()?.as_os_str().to_str()?;
    let first = first.trim_end_matches(".rs");
    (!["lib", "main"].contains(&first)).then(|| first.to_owned())
}

/// How many `super` lead from a file's module to the crate root.
fn depth(source: &Path, file: &Path) -> usize {
    let parts = file.strip_prefix(source).unwrap().components().count();
    if file.ends_with("mod.rs") { parts - 1 } else { parts }
}

/// The names that follow `crate::`, and those that follow enough `super::` to leave the module.
fn targets(code: &str, depth: usize) -> Vec<String> {
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for root in ["crate::".to_owned(), "super::".repeat(depth)] {
        for (at, _) in code.match_indices(&root) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_alphanumeric() || before == '_' || before == ':' {
                continue;
            }
            let rest = &code[at + root.len()..];
            match rest.strip_prefix('{') {
                Some(group) => found.extend(heads(group)),
                None => found.extend(name(rest)),
            }
        }
    }
    found
}

/// The first name of each path in a group, up to its closing brace.
fn heads(group: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.extend(name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

fn name(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}
