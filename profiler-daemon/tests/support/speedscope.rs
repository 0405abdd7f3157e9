//! What speedscope makes of a profile, by its own code.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

/// A package of the npm registry, whose client checks what it gets.
const PACKAGE: &str = "speedscope@1.25.0";

/// The unpacked package, and the node that runs it. `None` without node, npm or the registry, which
/// has been said then.
pub(crate) struct Speedscope {
    node: PathBuf,
    package: PathBuf,
}

/// A profile as speedscope saves it.
pub(crate) struct Imported {
    shared: Shared,
    profile: Profile,
}

#[derive(Deserialize)]
struct Saved {
    shared: Shared,
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Shared {
    frames: Vec<Frame>,
}

#[derive(Deserialize)]
struct Frame {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    unit: String,
    end_value: u64,
    events: Vec<Event>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: char,
    frame: usize,
    at: u64,
}

impl Speedscope {
    pub(crate) fn get() -> Option<Speedscope> {
        let (node, npm) = (super::installed(&["node"])?, super::installed(&["npm"])?);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGE);
        let package = folder.join("package");
        if !package.exists() {
            let new = super::folder();
            let mut pack = Command::new(npm);
            pack.args(["pack", "--silent", PACKAGE]).current_dir(new.path());
            let packed = super::run(&mut pack);
            if !packed.status.success() {
                return super::skip(&format!("needs {PACKAGE}: {}", packed.stderr.trim()));
            }
            let archive = new.path().join(packed.stdout.trim());
            super::run(Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(new.path())).well();
            fs::rename(new.keep(), &folder).unwrap();
        }
        Some(Speedscope { node, package })
    }

    /// Imports a file; `None` if speedscope does not know what it is. What it would save of it has been
    /// held against the schema that it publishes.
    pub(crate) fn import(&self, file: &Path) -> Option<Imported> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/speedscope/import.js");
        let mut node = Command::new(&self.node);
        let saved = super::run(node.arg(script).arg(&self.package).arg(file)).well().stdout;
        let saved: Value = serde_json::from_str(&saved).unwrap();
        if saved.is_null() {
            return None;
        }
        let schema = fs::read_to_string(self.package.join("dist/release/file-format-schema.json")).unwrap();
        let validator = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
        let errors: Vec<_> = validator.iter_errors(&saved).map(|it| format!("{}: {it}", it.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
        let mut saved: Saved = serde_json::from_value(saved).unwrap();
        assert_eq!(saved.profiles.len(), 1, "{}", file.display());
        Some(Imported { shared: saved.shared, profile: saved.profiles.remove(0) })
    }
}

impl Imported {
    /// `nanoseconds`, or `none` in a format that has no units.
    pub(crate) fn unit(&self) -> &str {
        &self.profile.unit
    }

    /// Weight of all stacks.
    pub(crate) fn total(&self) -> u64 {
        self.profile.end_value
    }

    /// Weight at the leaf, by frame name: the time between two events belongs to the innermost frame.
    pub(crate) fn self_weights(&self) -> HashMap<&str, u64> {
        let mut weights = HashMap::new();
        let (mut open, mut last) = (Vec::new(), 0);
        for event in &self.profile.events {
            if let Some(leaf) = open.last() {
                let leaf: &Frame = &self.shared.frames[*leaf];
                *weights.entry(leaf.name.as_str()).or_default() += event.at - last;
            }
            last = event.at;
            match event.kind {
                'O' => open.push(event.frame),
                _ => assert_eq!(open.pop(), Some(event.frame)),
            }
        }
        weights
    }
}
