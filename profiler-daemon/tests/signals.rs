//! The rows of `signal::ALL` say what is true: of the kernel object, of pprof files, of `explain` and
//! of the README.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::io::Read;
use std::process::Command;

use profilerd::capture::features::{self, Feature};
use profilerd::capture::object::object;
use profilerd::model::Window;
use profilerd::signal::{self, Signal};
use profilerd::sink::{self, Clock};

fn named_programs(signal: &Signal) -> impl Iterator<Item = &'static str> {
    signal.programs.iter().copied().chain(signal.optional.iter().map(|optional| optional.program))
}

#[test]
fn every_kernel_program_serves_a_signal_and_every_named_one_exists() {
    let Some(bytes) = object() else {
        assert!(std::env::var_os("PROFILERD_REQUIRE_KERNEL").is_none(), "built without kernel programs");
        println!("skipped: built without kernel programs");
        return;
    };
    let object = aya_obj::Object::parse(bytes).unwrap();
    let there: BTreeSet<&str> = object.programs.keys().map(String::as_str).collect();
    let named: BTreeSet<&str> = signal::ALL.into_iter().flat_map(named_programs).collect();
    assert_eq!(there, named);
}

#[test]
fn pprof_files_hold_the_values_of_all_signals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pb.gz");
    sink::open(&path, Clock::Wall).unwrap().write(&Window::default()).unwrap();
    let mut profile = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut profile).unwrap();
    let strings = String::from_utf8_lossy(&profile);
    for value in signal::ALL.into_iter().flat_map(|signal| signal.values) {
        // Strings of a protobuf table stand behind a tag and their length.
        for text in [value.name, value.unit.name()] {
            let entry = format!("2{}{text}", char::from(text.len() as u8));
            assert!(strings.contains(&entry), "no `{text}` in the string table");
        }
    }
}

#[test]
fn every_word_of_a_row_is_explained() {
    for signal in signal::ALL {
        for word in signal.values.iter().map(|value| value.name).chain([signal.name]) {
            let explain = Command::new(env!("CARGO_BIN_EXE_profilerd")).args(["explain", word]).output().unwrap();
            assert!(explain.status.success(), "`profilerd explain {word}` knows no such word");
        }
    }
}

#[test]
fn the_readme_lists_the_signals() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    for signal in signal::ALL {
        let values: Vec<String> = signal.values.iter().map(|value| format!("`{}`", value.name)).collect();
        let row = format!("| `{}` | {} | {} |", signal.name, signal.about, values.join(", "));
        assert!(readme.lines().any(|line| line == row), "README.md lacks the row\n{row}");
    }
}

/// What kernels lack and what that costs.
#[test]
fn the_readme_holds_the_table_of_features() {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let row = |feature: &Feature| format!("| {} | {} | {} |\n", feature.name, feature.since, feature.without);
    let rows: String = features::ALL.into_iter().map(row).collect();
    let head = "| what a kernel may lack | Linux has it since | without it |\n|---|---|---|\n";
    assert!(readme.contains(&format!("{head}{rows}\n")), "the README should have\n{head}{rows}");
}
