//! The tarball: a tree to be unpacked below /usr/local, on any distribution.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{epoch, stage, version};
use crate::run;
use crate::workspace;

/// Where it is to be unpacked: the unit in it names the program there.
const PREFIX: &str = "/usr/local";

/// Packs and returns `profilerd-VERSION-ARCH-linux.tar.gz`.
///
/// # Errors
/// As [`super::pack`].
pub(super) fn make(binary: &Path, results: &Path) -> Result<PathBuf> {
    let name = format!("profilerd-{}-{ARCH}-linux", version());
    let folder = workspace::target().join("release/dist/tarball");
    stage(binary, Path::new(PREFIX), &folder.join(&name))?;
    fs::create_dir_all(results)?;
    let packed = results.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    // The same source gives the same bytes, whoever packs it and when.
    tar.args(["--create", "--use-compress-program=gzip -9n", "--sort=name", "--format=gnu"]);
    tar.args(["--owner=root:0", "--group=root:0", "--mode=go-w", &format!("--mtime=@{}", epoch()?)]);
    tar.arg("--file").arg(&packed).arg("--directory").arg(&folder).arg(&name);
    run::run(&mut tar)?;
    Ok(packed)
}
