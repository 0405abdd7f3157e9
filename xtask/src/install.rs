//! Puts the finished program and what belongs to it under a prefix.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run::{self, say};
use crate::{build, workspace};

/// Where each shell looks for completions, under the prefix.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/profilerd"),
    ("zsh", "share/zsh/site-functions/_profilerd"),
    ("fish", "share/fish/vendor_completions.d/profilerd.fish"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install under this folder
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
}

/// Builds and installs. Man page and completions come from the program itself, so they cannot
/// differ from it.
///
/// # Errors
/// Something does not build, or the prefix cannot be written.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = build::run()?;
    let prefix = &args.prefix;
    let program = fs::read(&binary).with_context(|| format!("cannot read `{}`", binary.display()))?;
    put(prefix, "bin/profilerd", &program, 0o755)?;
    put(prefix, "share/man/man1/profilerd.1", &printed(&binary, &["man"])?, 0o644)?;
    for (shell, file) in COMPLETIONS {
        put(prefix, file, &printed(&binary, &["completions", shell])?, 0o644)?;
    }
    let unit = workspace::root().join("systemd/profilerd.service");
    if unit.is_file() {
        put(prefix, "lib/systemd/system/profilerd.service", &fs::read(unit)?, 0o644)?;
    }
    Ok(())
}

fn printed(binary: &Path, args: &[&str]) -> Result<Vec<u8>> {
    run::output(Command::new(binary).args(args))
}

/// Writes beside the old file and then takes its place: a running program cannot be overwritten.
fn put(prefix: &Path, file: &str, contents: &[u8], mode: u32) -> Result<()> {
    let path = prefix.join(file);
    let temporary = path.with_added_extension("new");
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&temporary, contents)?;
        fs::set_permissions(&temporary, Permissions::from_mode(mode))?;
        fs::rename(&temporary, &path)
    };
    write().with_context(|| {
        format!(
            "cannot write `{}`\n  try: run as root (sudo env PATH=\"$PATH\" cargo xtask install), \
             or choose a folder of your own with --prefix",
            path.display()
        )
    })?;
    say(&format!("installed {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let prefix = std::env::temp_dir().join(format!("profilerd-install-{}", std::process::id()));
        put(&prefix, "bin/program", b"a longer first one", 0o644).unwrap();
        put(&prefix, "bin/program", b"second", 0o755).unwrap();
        let names: Vec<_> = fs::read_dir(prefix.join("bin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["program"]);
        assert_eq!(fs::read(prefix.join("bin/program")).unwrap(), b"second");
        assert_eq!(fs::metadata(prefix.join("bin/program")).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_dir_all(prefix).unwrap();
    }
}
