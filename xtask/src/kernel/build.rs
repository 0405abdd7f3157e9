//! The kernel programs from source to `target/bpf/<variant>.o`.

use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{fs, io};

use anyhow::{Context, Result};

use super::linker;
use super::toolchain::Toolchain;
use crate::machine::Machine;
use crate::run::{self, say};
use crate::workspace;

/// An object that we ship: its name, and features of `profiler-ebpf`.
type Variant = (&'static str, &'static [&'static str]);
const VARIANTS: &[Variant] =
    &[(DAEMON, &[]), ("profilerd-hashed", &["hashed-threads"]), ("profilerd-untyped", &["untyped"])];
/// The variant whose path the daemon's build is told; the others lie beside it.
const DAEMON: &str = "profilerd";

/// Below the target folder.
const FOLDER: &str = "bpf";
const TARGET: &str = "bpfel-unknown-none";
const PROFILE: &str = "bpf";
/// Instruction set v3 is in every kernel that we support; a `--cpu` for the linker instead would be
/// overridden by the compiler. BTF comes from the debug information.
const FLAGS: &str = "-C debuginfo=2 -C target-cpu=v3 -C link-arg=--btf -C linker=bpf-linker";

/// The variants for a processor. All but the first one need places of x86-64 where kernels have no helpers.
fn variants(machine: Machine) -> &'static [Variant] {
    match machine {
        Machine::X86_64 => VARIANTS,
        Machine::Aarch64 => &VARIANTS[..1],
    }
}

/// [`all`] for the processor that builds.
///
/// # Errors
/// As [`all`]; for this processor there are none.
pub(crate) fn ours() -> Result<Vec<PathBuf>> {
    all(Machine::ours()?)
}

/// Builds every variant for a processor and returns the objects, in the order of [`VARIANTS`].
///
/// # Errors
/// A tool is missing and could not be installed, or the programs do not compile.
pub(crate) fn all(machine: Machine) -> Result<Vec<PathBuf>> {
    let start = Instant::now();
    let toolchain = Toolchain::find()?;
    let linker = linker::find(toolchain.llvm)?;
    say(&format!("kernel programs with {}", toolchain.name));
    let objects = variants(machine).iter().map(|it| variant(&toolchain, &linker, machine, it));
    let objects = objects.collect::<Result<Vec<_>>>()?;
    let names = objects.iter().map(|object| run::short(object).to_string()).collect::<Vec<_>>().join(", ");
    say(&format!("{names} in {:.1} s", start.elapsed().as_secs_f64()));
    Ok(objects)
}

/// Where the daemon's own object for a processor lies once it is built.
pub(crate) fn daemon_object(machine: Machine) -> PathBuf {
    object_path(&folder(machine), DAEMON)
}

/// [`daemon_object`] for the processor that builds.
pub(crate) fn our_object() -> PathBuf {
    object_path(&workspace::target().join(FOLDER), DAEMON)
}

fn folder(machine: Machine) -> PathBuf {
    let ours = workspace::target().join(FOLDER);
    if machine.is_ours() { ours } else { ours.join(machine.name()) }
}

fn object_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(name).with_extension("o")
}

fn variant(toolchain: &Toolchain, linker: &Path, machine: Machine, variant: &Variant) -> Result<PathBuf> {
    let (name, features) = variant;
    let folder = folder(machine);
    let mut cargo = toolchain.cargo();
    cargo.args(["build", "--quiet", "--package", "profiler-ebpf", "--bin", "profiler-ebpf"]);
    cargo.args(["--target", TARGET, "--profile", PROFILE, "-Z", "build-std=core"]);
    cargo.args(["--no-default-features", "--features", &features.join(",")]);
    cargo.arg("--target-dir").arg(&folder);
    // Not said, it is the one that builds.
    let is_for =
        if machine.is_ours() { String::new() } else { format!(" --cfg bpf_target_arch=\"{}\"", machine.name()) };
    cargo.env("RUSTFLAGS", format!("{FLAGS}{is_for}")).env("PATH", linker::path_with(linker)?);
    run::run(&mut cargo).with_context(|| format!("cannot build the kernel programs, variant `{name}`"))?;
    let object = object_path(&folder, name);
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
