//! Which compiler makes the kernel programs. Rust's `core` must be built for the BPF target, so
//! it takes the sources of the standard library and a compiler with unstable options: a nightly of
//! rustup, or Debian's compiler, told to allow them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::packages;
use crate::{run, workspace};

/// Names the toolchain to use: one of rustup's, or a folder with `bin/cargo` and `bin/rustc`.
const OVERRIDE: &str = "PROFILERD_BPF_TOOLCHAIN";
const DEBIAN: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const RUSTUP: &str = "rustup toolchain install nightly --profile minimal --component rust-src";

/// A compiler with the sources of its standard library.
pub(crate) struct Toolchain {
    /// The folder that holds `bin/cargo` and `bin/rustc`.
    folder: PathBuf,
    /// The compiler's version, as it says it.
    pub(crate) name: String,
    /// The LLVM release whose bit code the compiler writes: the linker must read it.
    pub(crate) llvm: u32,
}

impl Toolchain {
    /// The one asked for, a nightly of rustup, or Debian's; installs Debian's if it may.
    ///
    /// # Errors
    /// There is none, with the commands that get one.
    pub(crate) fn find() -> Result<Self> {
        if let Some(wanted) = env::var(OVERRIDE).ok().filter(|wanted| !wanted.is_empty()) {
            let folder =
                if wanted.contains('/') { Some(PathBuf::from(&wanted)) } else { rustup_folder(&format!("+{wanted}")) };
            return folder
                .and_then(|folder| Self::in_folder(&folder))
                .with_context(|| format!("{OVERRIDE}={wanted} is no toolchain with cargo, rustc and rust-src"));
        }
        if let Some(found) = nightly().or_else(|| Self::in_folder(Path::new("/usr"))) {
            return Ok(found);
        }
        packages::install("a compiler for the kernel programs", &DEBIAN, &[RUSTUP.to_owned()])?;
        match Self::in_folder(Path::new("/usr")) {
            Some(found) => Ok(found),
            None => bail!("Debian's compiler in /usr is too old or incomplete; try: {RUSTUP}"),
        }
    }

    /// This toolchain's cargo for the kernel programs: unstable options allowed, and nothing of the
    /// toolchain that runs us left in its environment.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(self.folder.join("bin/cargo"));
        command
            .current_dir(workspace::root())
            // By its path: rustup's compiler comes first in most people's PATH.
            .env("RUSTC", self.folder.join("bin/rustc"))
            .env("RUSTC_BOOTSTRAP", "1")
            // They take the place of RUSTFLAGS, or name the libraries of the other compiler.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH");
        command
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let rustc = folder.join("bin/rustc");
        let sources = folder.join("lib/rustlib/src/rust/library/core/src/lib.rs");
        if !folder.join("bin/cargo").is_file() || !sources.is_file() {
            return None;
        }
        let version = Version::parse(&run::ask(rustc, &["-vV"])?)?;
        let oldest = Version::numbers(env!("CARGO_PKG_RUST_VERSION"))?;
        (version.release >= oldest).then(|| Self { folder: folder.to_owned(), name: version.name, llvm: version.llvm })
    }
}

/// The newest nightly of rustup that has the sources.
fn nightly() -> Option<Toolchain> {
    let listed = run::ask("rustup", &["toolchain", "list"])?;
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    let found = names.filter(|name| name.starts_with("nightly"));
    let usable = found.filter_map(|name| Toolchain::in_folder(&rustup_folder(&format!("+{name}"))?));
    usable.max_by(|a, b| a.name.cmp(&b.name))
}

/// The folder of a toolchain of rustup; asking for one that is not installed installs nothing.
fn rustup_folder(plus_name: &str) -> Option<PathBuf> {
    let output = Command::new("rustc")
        .args([plus_name, "--print", "sysroot"])
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env_remove("LD_LIBRARY_PATH")
        .output()
        .ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// What `rustc -vV` says.
#[derive(Debug, PartialEq)]
struct Version {
    name: String,
    release: (u32, u32),
    llvm: u32,
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        Some(Self {
            name: text.lines().next()?.to_owned(),
            release: Self::numbers(field("release:")?)?,
            llvm: field("LLVM version:")?.split('.').next()?.parse().ok()?,
        })
    }

    /// The first two numbers of a version; what follows them does not decide.
    fn numbers(version: &str) -> Option<(u32, u32)> {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
        host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn a_compiler_says_its_release_and_its_llvm() {
        let version = Version::parse(DEBIAN).map(|version| (version.release, version.llvm));
        assert_eq!(version, Some(((1, 96), 22)));
        let nightly = DEBIAN.replace("1.96.0", "1.97.0-nightly");
        assert_eq!(Version::parse(&nightly).map(|version| version.release), Some((1, 97)));
    }

    #[test]
    fn a_compiler_without_llvm_is_none() {
        let other = DEBIAN.replace("LLVM version", "cranelift version");
        assert_eq!(Version::parse(&other), None);
        assert_eq!(Version::parse(""), None);
    }
}
