//! The package for Debian, by cargo-deb. What is in it stands in `[package.metadata.deb]` of the daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{changelog, epoch, stage, version};
use crate::run::{self, say};
use crate::{tree, workspace};

const NAME: &str = "cargo-deb";
const VERSION: &str = "3.8.0";
/// Counts packages of one version of the program.
const REVISION: &str = "1";
const CHANGELOG: &str = "changelog.Debian";

/// Packs and returns `profilerd_VERSION-REVISION_ARCH.deb`.
///
/// # Errors
/// As [`super::pack`]; cargo-deb cannot be installed.
pub(super) fn make(binary: &Path, results: &Path) -> Result<PathBuf> {
    let tool = tool()?;
    let folder = workspace::target().join("release/dist/deb");
    stage(binary, Path::new("/usr"), &folder)?;
    let epoch = epoch()?;
    let documents = folder.join("share/doc/profilerd");
    fs::write(documents.join(CHANGELOG), changelog::debian(&format!("{}-{REVISION}", version()), &epoch)?)?;
    let compressed = [documents.join(CHANGELOG), documents.join(super::NOTICES), folder.join(tree::MAN_PAGE)];
    run::run(Command::new("gzip").arg("-9n").args(compressed))?;
    fs::create_dir_all(results)?;
    let mut pack = Command::new(tool);
    pack.current_dir(workspace::root()).env("SOURCE_DATE_EPOCH", epoch).env("CARGO_TARGET_DIR", workspace::target());
    pack.args(["--package", "profiler-daemon", "--no-build", "--no-strip", "--deb-revision", REVISION]);
    let printed = String::from_utf8(run::output(pack.arg("--output").arg(results))?)?;
    // It prints where the package lies, and calls the architecture as Debian does.
    match printed.lines().map(PathBuf::from).find(|path| path.extension().is_some_and(|ending| ending == "deb")) {
        Some(package) => Ok(package),
        None => bail!("{NAME} made no package: it said `{}`", printed.trim()),
    }
}

/// cargo-deb of exactly this version: another one may write other scripts.
fn tool() -> Result<PathBuf> {
    let tools = workspace::target().join("tools");
    let tool = tools.join("bin").join(NAME);
    if run::ask(&tool, &["--version"]).is_some_and(|text| text.split_whitespace().any(|word| word == VERSION)) {
        return Ok(tool);
    }
    say(&format!("installing {NAME} {VERSION} into {}, once", run::short(&tools)));
    let mut cargo = run::cargo();
    cargo.args(["install", NAME, "--version", VERSION, "--locked", "--root"]).arg(&tools);
    run::run(&mut cargo).with_context(|| format!("cannot install {NAME}"))?;
    Ok(tool)
}
