//! Compiles the programs of known chains, each in a folder of its own, again when something changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::support;

/// Runs command lines in the folder for `name`, and returns the folder. In their words `@` stands for the
/// folder of the sources.
pub(crate) fn build(name: &str, steps: &[&str]) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workloads/chains");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chains").join(name);
    let recipe = folder.join("recipe");
    let text = steps.join("\n");
    let built = changed(&recipe).filter(|_| fs::read_to_string(&recipe).is_ok_and(|before| before == text));
    let files = fs::read_dir(&sources).unwrap().map(|file| file.unwrap().path());
    if built.is_some() && built > files.filter_map(|file| changed(&file)).max() {
        return folder;
    }
    // Written last, and gone while its results are being made.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for step in steps {
        let step = step.replace('@', &format!("{}/", sources.display()));
        let mut words = step.split_whitespace();
        let mut command = match words.next().unwrap() {
            "cc" => Command::new(support::c_compiler()),
            other => Command::new(other),
        };
        let status =
            command.args(words).current_dir(&folder).status().unwrap_or_else(|error| panic!("{step}: {error}"));
        assert!(status.success(), "{step}");
    }
    fs::write(recipe, text).unwrap();
    folder
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|it| it.modified()).ok()
}
