//! What is given to others: a tarball for any distribution, a package for Debian and its kin, their checksums.

mod changelog;
mod deb;
mod notices;
mod tarball;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use object::elf::{PT_DYNAMIC, PT_INTERP};
use object::read::elf::{ElfFile64, ProgramHeader};

use crate::run::{self, say};
use crate::tree::{self, File};
use crate::{build, workspace};

/// Names the folder with the results to the tests.
pub(crate) const VARIABLE: &str = "PROFILERD_DIST";
const SUMS: &str = "SHA256SUMS";
/// The licences of what is inside the program, among its documents.
const NOTICES: &str = "THIRD-PARTY.txt";

/// Builds and packs.
///
/// # Errors
/// Something does not build, or as [`pack`].
pub(crate) fn run() -> Result<()> {
    pack(&build::run()?).map(drop)
}

/// Packs a finished program and returns the folder in which everything is then.
///
/// # Errors
/// A tool is missing or fails, or the program is not the one file that it has to be.
pub(crate) fn pack(binary: &Path) -> Result<PathBuf> {
    check_is_one_file(binary)?;
    let results = workspace::target().join("dist");
    if results.exists() {
        fs::remove_dir_all(&results).with_context(|| format!("cannot clear {}", run::short(&results)))?;
    }
    let made = [tarball::make(binary, &results)?, deb::make(binary, &results)?];
    let names = made.iter().filter_map(|file| file.file_name());
    let sums = run::output(Command::new("sha256sum").current_dir(&results).args(names))?;
    fs::write(results.join(SUMS), sums)?;
    for file in made {
        say(&format!("{}, {:.1} MB", run::short(&file), fs::metadata(&file)?.len() as f64 / 1e6));
    }
    Ok(results)
}

/// Puts everything below a new folder as it is to lie below `prefix`; the program without what only a debugger reads.
fn stage(binary: &Path, prefix: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", run::short(folder)))?;
    }
    let mut files = tree::files(binary, prefix)?;
    let contents = notices::text()?.into_bytes();
    files.push(File { path: format!("share/doc/profilerd/{NOTICES}"), contents, mode: 0o644 });
    for file in files {
        tree::write(folder, &file).with_context(|| format!("cannot write below {}", run::short(folder)))?;
    }
    run::run(Command::new("strip").arg("--strip-unneeded").arg(folder.join("bin/profilerd")))
}

/// Whether it asks the machine for a loader or a library.
pub(crate) fn check_is_one_file(binary: &Path) -> Result<()> {
    let data = fs::read(binary).with_context(|| format!("cannot read `{}`", binary.display()))?;
    let elf = ElfFile64::<object::Endianness>::parse(&*data)?;
    let asks = |kind| elf.elf_program_headers().iter().any(|header| header.p_type(elf.endian()) == kind);
    if asks(PT_INTERP) {
        bail!("{} needs the machine's loader: it was not linked statically", run::short(binary));
    }
    if !asks(PT_DYNAMIC) {
        bail!("{} is bound to fixed addresses, which makes attacks easier", run::short(binary));
    }
    Ok(())
}

/// When the source was last changed, in seconds since 1970: the time of everything in a package, so that the same
/// source gives the same bytes.
fn epoch() -> Result<String> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return Ok(given);
    }
    let git = run::output(Command::new("git").current_dir(workspace::root()).args(["log", "-1", "--format=%ct"]));
    let text = String::from_utf8(git.context("the time of the source is not known: set SOURCE_DATE_EPOCH")?)?;
    Ok(text.trim().to_owned())
}

/// The version of the program, which is that of the workspace.
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
