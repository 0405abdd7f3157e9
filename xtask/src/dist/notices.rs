//! The licences of all that is inside the program: most of them ask that their text comes along.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::run;

/// Whose dependencies are in the program; the kernel programs are, too.
const ROOTS: [&str; 2] = ["profiler-daemon", "profiler-ebpf"];
/// What such files are called, in capitals: their names begin so.
const NAMES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];
const HEAD: &str = "\
The program `profilerd` contains the following libraries, each under its own licence. It contains as well
Rust's standard library (https://www.rust-lang.org), under the MIT licence or the Apache License 2.0, and
the GNU C Library (https://www.gnu.org/software/libc/), under the GNU Lesser General Public License 2.1 or
later: with the source of profilerd it can be linked with another version of it, by `cargo xtask build`.
";

/// The names, licences and licence texts of all crates in the program; a text that many have stands there once.
///
/// # Errors
/// cargo cannot say what the program consists of, or a file of a crate cannot be read.
pub(super) fn text() -> Result<String> {
    let mut cargo = run::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"]);
    let metadata: Value = serde_json::from_slice(&run::output(&mut cargo)?)?;
    let mut names = Vec::new();
    // By its words, since many copies of one licence differ in their line breaks only.
    let mut texts: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
    for package in inside(&metadata)? {
        let of = |key: &str| package[key].as_str().unwrap_or("?");
        let name = format!("{} {}", of("name"), of("version"));
        names.push(format!("{name}: {}", of("license")));
        let folder = Path::new(of("manifest_path")).parent().context("a manifest lies in no folder")?;
        for text in licences(folder).with_context(|| format!("cannot read licences in `{}`", folder.display()))? {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            texts.entry(words).or_insert((text, Vec::new())).1.push(name.clone());
        }
    }
    let mut all = format!("{HEAD}\n{}\n", names.join("\n"));
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort_by(|a, b| a.1.cmp(&b.1));
    for (text, packages) in texts {
        all.push_str(&format!("\n{}\n{}:\n\n{}\n", "-".repeat(80), packages.join(", "), text.trim_matches('\n')));
    }
    Ok(all)
}

/// The packages from elsewhere that are linked into the program, by name and version.
fn inside(metadata: &Value) -> Result<Vec<&Value>> {
    let list = |value: &'static str, of: &Value| of[value].as_array().cloned().unwrap_or_default();
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let name =
        |id: &str| packages.iter().find(|package| package["id"] == id).and_then(|package| package["name"].as_str());
    let nodes = list("nodes", &metadata["resolve"]);
    let is_root = |id: &str| name(id).is_some_and(|name| ROOTS.contains(&name));
    let mut queue: Vec<String> =
        nodes.iter().filter_map(|node| node["id"].as_str()).filter(|id| is_root(id)).map(str::to_owned).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node = nodes.iter().find(|node| node["id"] == *id).context("a package has no node")?;
        for dependency in list("deps", node) {
            // Without a kind it is an ordinary one; the others only build or test.
            let is_linked = list("dep_kinds", &dependency).iter().any(|kind| kind["kind"].is_null());
            queue.extend(dependency["pkg"].as_str().filter(|_| is_linked).map(str::to_owned));
        }
    }
    // Our own packages come from nowhere.
    let is_inside =
        |package: &&Value| package["id"].as_str().is_some_and(|id| seen.contains(id)) && !package["source"].is_null();
    let mut found: Vec<&Value> = packages.iter().filter(is_inside).collect();
    found.sort_by_key(|package| (package["name"].as_str(), package["version"].as_str()));
    Ok(found)
}

fn licences(folder: &Path) -> io::Result<Vec<String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.file_type()?.is_file() && NAMES.iter().any(|known| name.starts_with(known)) {
            found.insert(name, String::from_utf8_lossy(&fs::read(entry.path())?).replace("\r\n", "\n"));
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_builds_or_tests_is_not_inside() {
        let package = |name: &str, source: Value| json!({"id": name, "name": name, "version": "1", "source": source});
        let to = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = json!({
            "packages": [
                package("profiler-daemon", Value::Null), package("profiler-ebpf", Value::Null),
                package("linked", json!("registry")), package("deep", json!("registry")),
                package("builds", json!("registry")), package("tests", json!("registry")),
            ],
            "resolve": {"nodes": [
                {"id": "profiler-daemon", "deps": [
                    to("linked", Value::Null), to("builds", json!("build")), to("tests", json!("dev"))]},
                {"id": "profiler-ebpf", "deps": []},
                {"id": "linked", "deps": [to("deep", Value::Null)]},
                {"id": "deep", "deps": [to("linked", Value::Null)]},
                {"id": "builds", "deps": []}, {"id": "tests", "deps": []},
            ]},
        });
        let names: Vec<_> =
            inside(&metadata).unwrap().iter().map(|package| package["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["deep", "linked"]);
    }

    #[test]
    fn every_library_in_the_program_has_its_line_and_common_texts_stand_once() {
        let text = text().unwrap();
        for name in ["aya ", "aya-ebpf ", "rustls ", "zstd-sys "] {
            assert!(text.lines().any(|line| line.starts_with(name) && line.contains(": ")), "{name}");
        }
        assert!(!text.contains("rcgen "), "it only tests");
        let apache = text.matches("TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION").count();
        assert!(apache < 40, "{apache} copies of one licence");
    }
}
