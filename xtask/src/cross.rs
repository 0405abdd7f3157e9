//! Building for a processor that is not ours: with Debian's cross compiler, and with Rust's standard library from
//! source, by the compiler that makes the kernel programs. All of it goes to a folder of its own below `target`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::kernel::packages;
use crate::kernel::toolchain::Toolchain;
use crate::machine::Machine;
use crate::{build, dist, kernel, run, workspace};

/// A release without the pass over all crates, which is as long as the rest.
const PROFILE: &str = "cross";

/// Takes back what says otherwise.
const LINKER: &str = r#"#!/bin/sh
for argument; do
    shift
    case $argument in
    -static | -no-pie) ;;
    *) set -- "$@" "$argument" ;;
    esac
done
exec CC -static-pie "$@"
"#;

/// The tools for one processor.
pub(crate) struct Cross {
    machine: Machine,
    toolchain: Toolchain,
}

impl Cross {
    /// Finds the tools, and installs what is missing.
    ///
    /// # Errors
    /// They could not be installed.
    pub(crate) fn to(machine: Machine) -> Result<Cross> {
        let cross = Cross { machine, toolchain: Toolchain::find()? };
        let libc = run::ask(cross.tool("gcc"), &["-print-file-name=libc.a"]);
        if !libc.is_some_and(|path| Path::new(path.trim()).is_absolute()) {
            let (compiler, libc) =
                (format!("gcc-{}-linux-gnu", machine.name()), format!("libc6-dev-{}-cross", machine.debian()));
            let what = format!("a C compiler for {}", machine.name());
            packages::install(&what, &[&compiler, &libc], &[])?;
        }
        Ok(cross)
    }

    /// A program of the cross compiler: `gcc`, `strip`.
    pub(crate) fn tool(&self, name: &str) -> String {
        format!("{}-linux-gnu-{name}", self.machine.name())
    }

    /// Where the cross compiler has libraries of this processor.
    pub(crate) fn libraries(&self) -> PathBuf {
        PathBuf::from(format!("/usr/{}-linux-gnu/lib", self.machine.name()))
    }

    /// The folder with all results.
    pub(crate) fn folder(&self) -> PathBuf {
        workspace::target().join(self.machine.name())
    }

    /// As rustc calls the processor and its system.
    fn target(&self) -> String {
        format!("{}-unknown-linux-gnu", self.machine.name())
    }

    /// The folder below it in which cargo has one for each profile.
    pub(crate) fn built(&self) -> PathBuf {
        self.folder().join(self.target())
    }

    /// Cargo with a command that builds.
    pub(crate) fn cargo(&self, command: &str) -> Command {
        let target = self.target();
        let mut cargo = self.toolchain.cargo();
        cargo.args([command, "-Z", "build-std=std", "--target", &target]);
        cargo.arg("--target-dir").arg(self.folder());
        cargo.env(build::OBJECT_VARIABLE, kernel::build::daemon_object(self.machine));
        cargo.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_")), self.tool("gcc"));
        cargo
    }

    /// A linker for static programs that run at any address, as those for x86-64 do: rustc asks for one at a fixed address,
    /// since it does not know that there is anything else.
    fn linker(&self) -> Result<PathBuf> {
        let linker = self.folder().join("static-pie");
        fs::create_dir_all(self.folder())?;
        fs::write(&linker, LINKER.replace("CC", &self.tool("gcc")))?;
        fs::set_permissions(&linker, fs::Permissions::from_mode(0o755))?;
        Ok(linker)
    }

    /// As [`build::run`], for this processor.
    ///
    /// # Errors
    /// As [`build::run`].
    pub(crate) fn program(&self) -> Result<PathBuf> {
        kernel::build::all(self.machine)?;
        let mut cargo = self.cargo("rustc");
        cargo.args(["--profile", PROFILE, "--package", "profiler-daemon", "--bin", "profilerd", "--"]);
        cargo.args(["-C", "target-feature=+crt-static"]);
        run::run(cargo.arg("-C").arg(format!("linker={}", self.linker()?.display())))?;
        let program = self.folder().join("profilerd");
        let built = self.built().join(PROFILE).join("profilerd");
        fs::copy(&built, &program).with_context(|| format!("cannot copy `{}`", built.display()))?;
        dist::check_is_one_file(&program)?;
        Ok(program)
    }
}
