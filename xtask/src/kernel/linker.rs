//! `bpf-linker`: LLVM as a linker, which turns the compiler's bit code into one BPF object.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, iter};

use anyhow::{Context, Result};

use super::packages;
use crate::run::{self, say};
use crate::workspace;

const NAME: &str = "bpf-linker";
const VERSION: &str = "0.13.0";
/// Older ones write other BTF than the one that we test with.
const OLDEST: (u32, u32) = (0, 13);

/// The folder that holds the linker: of `PATH`, or of ours, where it is built if need be.
///
/// # Errors
/// It could not be built, with what to do.
pub(crate) fn find(llvm: u32) -> Result<PathBuf> {
    let tools = workspace::target().join("tools");
    let places = run::find_in_path(NAME).into_iter().chain(iter::once(tools.join("bin").join(NAME)));
    if let Some(found) = places.filter(|file| is_usable(file)).find_map(|file| Some(file.parent()?.to_owned())) {
        return Ok(found);
    }
    build(llvm, &tools)?;
    Ok(tools.join("bin"))
}

/// `PATH` with this folder first.
///
/// # Errors
/// The folder's name has a colon in it.
pub(crate) fn path_with(folder: &Path) -> Result<OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(iter::once(folder.to_owned()).chain(env::split_paths(&path)))
        .with_context(|| format!("`{}` cannot be put into PATH", folder.display()))
}

fn is_usable(file: &Path) -> bool {
    run::ask(file, &["--version"]).and_then(|text| version(&text)).is_some_and(|version| version >= OLDEST)
}

fn build(llvm: u32, tools: &Path) -> Result<()> {
    let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let command = format!("cargo install {NAME}@{VERSION} --no-default-features --features llvm-{llvm}");
    if !prefix.join("bin/llvm-config").is_file() && run::find_in_path(&format!("llvm-config-{llvm}")).is_none() {
        let debian = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev"), "libzstd-dev".to_owned()];
        let otherwise = format!("install LLVM {llvm} with its headers, then: LLVM_PREFIX=… {command}");
        packages::install(
            &format!("LLVM {llvm}, which {NAME} is built from,"),
            &debian.each_ref().map(String::as_str),
            &[otherwise],
        )?;
    }
    say(&format!("{NAME} is missing; running: {command} --root {}", run::short(tools)));
    let mut cargo = run::cargo();
    cargo.args(["install", &format!("{NAME}@{VERSION}"), "--locked", "--no-default-features"]);
    cargo.args(["--features", &format!("llvm-{llvm}")]).arg("--root").arg(tools);
    // Otherwise it looks for LLVM in the folder of the Rust compiler.
    if prefix.is_dir() {
        cargo.env("LLVM_PREFIX", prefix);
    }
    run::run(&mut cargo)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(version("bpf-linker 0.13.0\n"), Some((0, 13)));
        assert!(version("bpf-linker 0.9.14") < Some(OLDEST));
        assert_eq!(version("bpf-linker"), None);
    }
}
