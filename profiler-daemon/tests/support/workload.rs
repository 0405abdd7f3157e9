//! Programs of known shape: C, compiled once, with the right answer in what they print.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `tests/workloads/<name>.c` unless that is done, with frame pointers and debug information.
pub(crate) fn workload(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/workloads").join(name).with_extension("c");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workloads");
    let binary = folder.join(name);
    let changed = |path: &Path| fs::metadata(path).and_then(|it| it.modified()).ok();
    if changed(&binary).is_none_or(|built| Some(built) < changed(&source)) {
        fs::create_dir_all(&folder).unwrap();
        let mut cc = Command::new(c_compiler());
        cc.args(["-O2", "-g", "-fno-omit-frame-pointer", "-pthread", "-Wall", "-Wextra", "-o"]);
        // Never a half-written program under the final name.
        let new = folder.join(format!("{name}.{}", std::process::id()));
        let status = cc.arg(&new).arg(&source).status().expect("cc runs");
        assert!(status.success(), "{cc:?}");
        fs::rename(new, &binary).unwrap();
    }
    binary
}

/// The C compiler: of this machine, or the one that `cargo xtask vm` names for guests with another processor.
pub(crate) fn c_compiler() -> String {
    std::env::var("PROFILERD_CC").unwrap_or_else(|_| "cc".to_owned())
}

/// One `TRUTH` line: what a workload knows about itself.
pub(crate) struct Truth<'a>(HashMap<&'a str, &'a str>);

impl Truth<'_> {
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("no {key}= in {:?}", self.0))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn number(&self, key: &str) -> u64 {
        self.text(key).parse().unwrap()
    }
}

/// The `TRUTH key=value …` lines of an output.
pub(crate) fn truths(output: &str) -> Vec<Truth<'_>> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("TRUTH "));
    lines.map(|line| Truth(line.split(' ').filter_map(|word| word.split_once('=')).collect())).collect()
}
