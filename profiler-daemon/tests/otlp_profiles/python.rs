//! The same bytes, read by the Python package of OpenTelemetry's protocol.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use profilerd::sink::otlp::{Options, Signal, encode};
use prost::Message;
use serde::Deserialize;

use super::support::{folder, installed, run, skip};
use super::{Summary, host, recordings};

/// Of the package index, whose client checks what it gets.
const PACKAGES: [&str; 2] = ["opentelemetry-proto==1.45.2", "protobuf==7.36.0"];

/// What `decode.py` prints.
#[derive(Deserialize)]
pub(crate) struct Decoded {
    profiles: usize,
    ids: BTreeSet<String>,
    totals: BTreeMap<String, u64>,
    pub(crate) services: BTreeSet<String>,
    /// Whether encoding it again gives the same bytes.
    same_bytes: bool,
}

impl Decoded {
    pub(crate) fn summary(&self) -> Summary {
        Summary { profiles: self.profiles, ids: self.ids.clone(), totals: self.totals.clone() }
    }
}

/// A Python with these packages. `None` without Python or the index, which has been said then.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(PACKAGES.join("-"));
    let python = folder.join("bin/python");
    if !folder.exists() {
        let system = installed(&["python3"])?;
        // Beside it first: what is there is whole. Its scripts would name the other folder, and are not used.
        let new = super::support::folder();
        let made = run(Command::new(system).args(["-m", "venv"]).arg(new.path()));
        let pip = new.path().join("bin/python");
        let mut pip = Command::new(pip);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        for outcome in [made, run(&mut pip)] {
            if !outcome.status.success() {
                return skip(&format!("needs {}: {}", PACKAGES[0], outcome.stderr.trim()));
            }
        }
        // Another test may have been quicker, with the same.
        let _ = std::fs::rename(new.keep(), &folder);
    }
    Some(python)
}

/// What Python reads in files, each of one request or of what a collector's file exporter wrote.
pub(crate) fn decode(files: &[PathBuf], is_framed: bool) -> Option<Decoded> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp_profiles/decode.py");
    let mut command = Command::new(python()?);
    command.arg(script).arg(if is_framed { "framed" } else { "single" }).args(files);
    let outcome = run(&mut command).well();
    Some(serde_json::from_str(&outcome.stdout).unwrap())
}

#[test]
fn another_language_reads_the_same() {
    let options = Options { signals: Signal::ALL.to_vec(), most_bytes: 15_000, ..Options::new(host(), 7) };
    let requests = encode(&recordings::window(7), &options);
    assert!(requests.len() > 1);
    let folder = folder();
    let files: Vec<PathBuf> = (0..requests.len()).map(|at| folder.path().join(format!("{at}.pb"))).collect();
    for (file, request) in files.iter().zip(&requests) {
        std::fs::write(file, request.encode_to_vec()).unwrap();
    }
    let Some(decoded) = decode(&files, false) else { return };
    assert!(decoded.same_bytes);
    decoded.summary().assert_once(&Summary::of(&requests));
    let services: Vec<&str> = decoded.services.iter().map(String::as_str).collect();
    assert_eq!(services, ["<b>\\u{202e}\\n", "checkout", "main"]);
}
