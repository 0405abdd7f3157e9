//! The daemon with the kernel programs inside.

use std::path::PathBuf;

use anyhow::Result;

use crate::{kernel, run, workspace};

/// Names the object that `profiler-daemon/build.rs` takes in.
pub(crate) const OBJECT_VARIABLE: &str = "PROFILERD_BPF_OBJECT";

/// Builds everything and returns the finished program.
///
/// # Errors
/// As [`kernel::build::all`], or the daemon does not compile.
pub(crate) fn run() -> Result<PathBuf> {
    kernel::build::all()?;
    let target = workspace::target();
    let mut cargo = run::cargo();
    cargo.args(["build", "--release", "--package", "profiler-daemon", "--target-dir"]).arg(&target);
    cargo.env(OBJECT_VARIABLE, kernel::build::daemon_object());
    run::run(&mut cargo)?;
    Ok(target.join("release/profilerd"))
}
