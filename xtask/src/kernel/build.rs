//! The kernel programs from source to `target/bpf/<variant>.o`.

use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use anyhow::{Context, Result};

use super::linker;
use super::toolchain::Toolchain;
use crate::run::{self, say};
use crate::workspace;

/// The objects that we ship: name, and features of `profiler-ebpf`.
const VARIANTS: &[(&str, &[&str])] = &[(DAEMON, &[]), ("profilerd-hashed", &["hashed-threads"])];
/// The variant whose path the daemon's build is told; the others lie beside it.
const DAEMON: &str = "profilerd";

const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
/// Instruction set v3 is in every kernel that we support; a `--cpu` for the linker instead would be
/// overridden by the compiler. BTF comes from the debug information.
const FLAGS: &str = "-C debuginfo=2 -C target-cpu=v3 -C link-arg=--btf -C linker=bpf-linker";

/// Builds every variant and returns the objects, in the order of [`VARIANTS`].
///
/// # Errors
/// A tool is missing and could not be installed, or the programs do not compile.
pub(crate) fn all() -> Result<Vec<PathBuf>> {
    let start = Instant::now();
    let toolchain = Toolchain::find()?;
    let linker = linker::find(toolchain.llvm)?;
    say(&format!("kernel programs with {}", toolchain.name));
    let objects = VARIANTS.iter().map(|(name, features)| variant(&toolchain, &linker, name, features));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    let names = objects.iter().map(|object| run::short(object).to_string()).collect::<Vec<_>>().join(", ");
    say(&format!("{names} in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(objects)
}

/// Where the daemon's own object lies once it is built.
pub(crate) fn daemon_object() -> PathBuf {
    object_path(DAEMON)
}

fn object_path(name: &str) -> PathBuf {
    workspace::target().join("bpf").join(name).with_extension("o")
}

fn variant(toolchain: &Toolchain, linker: &Path, name: &str, features: &[&str]) -> Result<PathBuf> {
    let folder = workspace::target().join("bpf");
    let mut cargo = toolchain.cargo();
    cargo.args(["build", "--quiet", "--package", "profiler-ebpf", "--bin", "profiler-ebpf"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE, "-Z", "build-std=core"]);
    cargo.args(["--no-default-features", "--features", &features.join(",")]);
    cargo.arg("--target-dir").arg(&folder);
    cargo.env("RUSTFLAGS", FLAGS).env("PATH", linker::path_with(linker)?);
    run::run(&mut cargo).with_context(|| format!("cannot build the kernel programs, variant `{name}`"))?;
    let object = object_path(name);
    copy_if_changed(&folder.join(TARGET).join(PROFILE).join("profiler-ebpf"), &object)
        .with_context(|| format!("cannot write `{}`", object.display()))?;
    Ok(object)
}

/// An unchanged object keeps its time stamp, so that the daemon is not compiled again.
fn copy_if_changed(from: &Path, to: &Path) -> io::Result<()> {
    let new = fs::read(from)?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new)
}
