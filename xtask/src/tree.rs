//! What an installation consists of: files by their place below a prefix, the same for every way to install.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{run, workspace};

/// Where the man page lies, under the prefix.
pub(crate) const MAN_PAGE: &str = "share/man/man1/profilerd.1";
/// Where each shell looks for completions, under the prefix.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "share/bash-completion/completions/profilerd"),
    ("zsh", "share/zsh/site-functions/_profilerd"),
    ("fish", "share/fish/vendor_completions.d/profilerd.fish"),
];
/// Files that are installed as they are.
const DOCUMENTS: &[&str] =
    &["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "docs/words.md", "docs/store.md"];
const SETTINGS: &[&str] = &["systemd/profilerd.toml", "systemd/grafana-dashboard.json"];
/// Where the unit says that the program is.
const PROGRAM: &str = "/usr/bin/profilerd";

/// One file.
pub(crate) struct File {
    /// Below the prefix.
    pub(crate) path: String,
    pub(crate) contents: Vec<u8>,
    pub(crate) mode: u32,
}

/// All files for a prefix, which must be absolute: the unit names the program. Man page and completions come from
/// the program itself, so they cannot differ from it.
///
/// # Errors
/// A file cannot be read, or the program does not run.
pub(crate) fn files(binary: &Path, prefix: &Path) -> Result<Vec<File>> {
    let file = |path: &str, contents: Vec<u8>| File { path: path.to_owned(), contents, mode: 0o644 };
    let mut all = vec![File { mode: 0o755, ..file("bin/profilerd", read(binary)?) }];
    all.push(file(MAN_PAGE, printed(binary, &["man"])?));
    for (shell, path) in COMPLETIONS {
        all.push(file(path, printed(binary, &["completions", shell])?));
    }
    all.push(file("lib/systemd/system/profilerd.service", unit(prefix)?.into_bytes()));
    for (paths, folder) in [(DOCUMENTS, "share/doc/profilerd"), (SETTINGS, "share/doc/profilerd/examples")] {
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or(path);
            all.push(file(&format!("{folder}/{name}"), read(&workspace::root().join(path))?));
        }
    }
    Ok(all)
}

/// The unit for a program below this prefix.
fn unit(prefix: &Path) -> Result<String> {
    let unit = read(&workspace::root().join("systemd/profilerd.service"))?;
    Ok(String::from_utf8(unit)?.replace(PROGRAM, &prefix.join("bin/profilerd").to_string_lossy()))
}

/// Writes beside the old file and then takes its place: a running program cannot be overwritten.
///
/// # Errors
/// The file or its folder cannot be made there.
pub(crate) fn write(prefix: &Path, file: &File) -> io::Result<PathBuf> {
    let path = prefix.join(&file.path);
    let temporary = path.with_added_extension("new");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&temporary, &file.contents)?;
    fs::set_permissions(&temporary, Permissions::from_mode(file.mode))?;
    fs::rename(&temporary, &path)?;
    Ok(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn printed(binary: &Path, args: &[&str]) -> Result<Vec<u8>> {
    run::output(Command::new(binary).args(args))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_unit_names_the_program_where_it_is() {
        let started = |prefix: &str| {
            let unit = unit(Path::new(prefix)).unwrap();
            unit.lines()
                .find_map(|line| line.strip_prefix("ExecStart="))
                .and_then(|line| line.split(' ').next().map(str::to_owned))
        };
        assert_eq!(started("/usr").as_deref(), Some("/usr/bin/profilerd"));
        assert_eq!(started("/usr/local").as_deref(), Some("/usr/local/bin/profilerd"));
    }

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let prefix = std::env::temp_dir().join(format!("profilerd-tree-{}", std::process::id()));
        for (contents, mode) in [("a longer first one", 0o644), ("second", 0o755)] {
            write(&prefix, &File { path: "bin/program".into(), contents: contents.into(), mode }).unwrap();
        }
        let names: Vec<_> = fs::read_dir(prefix.join("bin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["program"]);
        assert_eq!(fs::read(prefix.join("bin/program")).unwrap(), b"second");
        assert_eq!(fs::metadata(prefix.join("bin/program")).unwrap().permissions().mode() & 0o777, 0o755);
        fs::remove_dir_all(prefix).unwrap();
    }
}
