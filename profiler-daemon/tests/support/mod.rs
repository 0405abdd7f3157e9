//! What the kernel tests share: the finished program, workloads of known shape, the parsed report.
//!
//! They need root, BTF and `PROFILERD_BINARY`, which `cargo xtask test` sets; without these they
//! print `skipped: …`, which `PROFILERD_REQUIRE_KERNEL=1` makes a failure. `-- --nocapture` shows
//! what they measured.

#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]

pub(crate) mod bpf;
mod machine;
mod program;
mod report;
mod run;
mod speedscope;
mod workload;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use machine::Machine;
pub(crate) use program::{Program, free_port, poll};
pub(crate) use report::{Frame, Gap, Ledger, MS, OnCpu, Report, Thread, Wait};
pub(crate) use run::{Outcome, run};
pub(crate) use speedscope::Speedscope;
pub(crate) use workload::{Truth, c_compiler, truths, workload};

/// The kernel and the finished program, for one test at a time: two captures at once would measure
/// each other.
pub(crate) struct Kernel {
    binary: PathBuf,
    /// Whether the kernel's types are read from a file, as where the kernel has none.
    types_of_file: bool,
    _alone: MutexGuard<'static, ()>,
}

/// What a kernel test begins with. `None` if it cannot run here, which has been said then.
pub(crate) fn kernel() -> Option<Kernel> {
    static ALONE: Mutex<()> = Mutex::new(());
    if !nix::unistd::geteuid().is_root() {
        return skip("needs root");
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return skip("needs a kernel with BTF");
    }
    let Some(binary) = std::env::var_os("PROFILERD_BINARY").map(PathBuf::from) else {
        return skip("needs PROFILERD_BINARY: run `cargo xtask test`");
    };
    // A test that failed has nothing to say about the next one.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some(Kernel { binary, types_of_file: false, _alone: alone })
}

/// The first of these programs that is installed, by name or path. `None` if there is none, which
/// has been said then.
pub(crate) fn installed(programs: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.extend(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    let mut found = programs.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found.find(|file| file.is_file()).or_else(|| skip(&format!("needs {}", programs.join(" or "))))
}

/// Says why a test, or a part of one, does not run.
pub(crate) fn skip<T>(reason: &str) -> Option<T> {
    assert!(std::env::var("PROFILERD_REQUIRE_KERNEL").as_deref() != Ok("1"), "skipped, but must run: {reason}");
    println!("skipped: {reason}");
    None
}

/// Makes a measurement again if it is out of bounds: other guests of the machine disturb one now and
/// then, a mistake in the accounting disturbs both. The first failure is printed.
pub(crate) fn twice(measure: impl Fn() -> Result<(), String>) {
    if let Err(first) = measure() {
        println!("once more, since: {first}");
        if let Err(second) = measure() {
            panic!("{second}\nand before: {first}");
        }
    }
}

/// How much wider a bound is for what neither side's clock sees: the way to a clock, a switch, a birth, an end. A machine
/// that is emulated takes ten times as long and more for these, of the same wall time.
pub(crate) fn slack() -> f64 {
    if is_emulated() { 5.0 } else { 1.0 }
}

/// Whether this machine is emulated, as `cargo xtask vm` says.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("PROFILERD_EMULATED").is_some()
}

/// A folder on the disk of the build, not in memory.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A folder where everybody can read, which the one of the build need not be.
pub(crate) fn public_folder() -> tempfile::TempDir {
    let everybody = std::fs::Permissions::from_mode(0o755);
    tempfile::Builder::new().prefix("profilerd").permissions(everybody).tempdir().unwrap()
}
