//! The daemon with the kernel programs inside, and with the C library: one file that runs anywhere.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::cross::Cross;
use crate::machine::Machine;
use crate::{kernel, run, workspace};

/// Names the object that `profiler-daemon/build.rs` takes in.
pub(crate) const OBJECT_VARIABLE: &str = "PROFILERD_BPF_OBJECT";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build for this processor: another one than ours gives target/MACHINE/profilerd
    #[arg(long, value_name = "MACHINE")]
    target: Option<Machine>,
}

/// Builds everything for the processor asked for and returns the finished program.
///
/// # Errors
/// As [`run()`]; the tools for another processor cannot be had.
pub(crate) fn run_for(args: &Args) -> Result<PathBuf> {
    match args.target {
        Some(machine) if !machine.is_ours() => {
            let program = Cross::to(machine)?.program()?;
            run::say(&format!("{}", run::short(&program)));
            Ok(program)
        }
        _ => run(),
    }
}

/// Builds everything and returns the finished program.
///
/// It is linked statically, so that the program of one build is what is tested, packed, and booted on kernels whose
/// systems have an older C library than the machine that built it. The flag is given to the last step alone: given to
/// all (`RUSTFLAGS`), it would ask for a target folder of its own, and compile everything twice.
///
/// # Errors
/// As [`kernel::build::all`], or there is no static C library, or the daemon does not compile.
pub(crate) fn run() -> Result<PathBuf> {
    kernel::build::ours()?;
    needs_static_libc()?;
    let target = workspace::target();
    let mut cargo = run::cargo();
    cargo.args(["rustc", "--release", "--package", "profiler-daemon", "--bin", "profilerd", "--target-dir"]);
    cargo.arg(&target).args(["--", "-C", "target-feature=+crt-static"]);
    cargo.env(OBJECT_VARIABLE, kernel::build::our_object());
    run::run(&mut cargo)?;
    Ok(target.join("release/profilerd"))
}

/// The linker would say it in many more words.
fn needs_static_libc() -> Result<()> {
    // The compiler repeats the name of a file that it does not find.
    let found = run::ask("cc", &["-print-file-name=libc.a"]).is_some_and(|path| Path::new(path.trim()).is_absolute());
    if !found {
        bail!(
            "no static C library, which the program is linked with\n  on Debian: sudo apt-get install gcc libc6-dev\n  \
             on Fedora: sudo dnf install gcc glibc-static"
        );
    }
    Ok(())
}
