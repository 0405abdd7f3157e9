//! A kernel that can be booted: its image, and the modules that the guest loads before it has a disk.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::apt::Apt;
use super::catalog::Row;
use crate::run::{self, say};

/// What the guest needs to see its disk, and, on machines with one serial port, to say something, and what faults are made
/// with; where it is no part of the kernel.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_blk",
    "virtio_console",
    "crc32c_generic",
    "ext4",
    "null_blk",
    "dm_mod",
    "dm_delay",
    "dm_flakey",
    "sch_netem",
];
/// A kernel older than this is looked for again.
const FRESH: Duration = Duration::from_secs(7 * 24 * 3600);

/// A kernel on this disk.
pub(super) struct Kernel {
    /// What `uname -r` will say.
    pub(super) release: String,
    folder: PathBuf,
}

impl Kernel {
    /// The kernel of a row: the one that is kept, or the newest there is.
    ///
    /// # Errors
    /// It cannot be fetched, and none is kept.
    pub(super) fn of(row: &Row, folder: &Path) -> Result<Kernel> {
        let kept = folder.join("kernels").join(row.name);
        // What was kept for other modules does not serve.
        let known = fs::read_to_string(kept.join("release")).ok();
        let known = known.and_then(|text| Some(text.strip_suffix(&modules_line())?.to_owned()));
        let is_fresh = || {
            let age = fs::metadata(kept.join("release")).ok()?.modified().ok()?.elapsed().ok()?;
            Some(age < FRESH)
        };
        if let Some(release) = known.as_ref().filter(|_| is_fresh() == Some(true)) {
            return Ok(Kernel { release: release.clone(), folder: kept });
        }
        match (fetch(row, folder, &kept), known) {
            (Ok(release), _) => Ok(Kernel { release, folder: kept }),
            (Err(error), Some(release)) => {
                say(&format!("{}: kept {release}, since there is no newer one to be had: {error:#}", row.name));
                Ok(Kernel { release, folder: kept })
            }
            (Err(error), None) => Err(error),
        }
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The modules in the order in which they are to be loaded.
    pub(super) fn modules(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.folder.join("modules"))?;
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        files.sort();
        Ok(files)
    }
}

/// What is behind the release in the file that names it.
fn modules_line() -> String {
    format!("\n{}\n", MODULES.join(" "))
}

/// Fetches the newest kernel of a row into `kept` and returns its release.
fn fetch(row: &Row, folder: &Path, kept: &Path) -> Result<String> {
    let apt = Apt::of(row.suite, row.machine(), &folder.join("apt"))?;
    let names = apt.names("linux-image-")?;
    let release = row.newest(names.iter().map(String::as_str)).context("the suite has no such kernel")?.to_owned();
    let unpacked = folder.join("unpacked").join(row.name);
    let _ = fs::remove_dir_all(&unpacked);
    fs::create_dir_all(&unpacked)?;
    apt.unpack_kernel(&release, &unpacked)?;
    let _ = fs::remove_dir_all(kept);
    fs::create_dir_all(kept.join("modules"))?;
    let image = format!("vmlinuz-{release}");
    let image = ["boot", "usr/boot", &format!("usr/lib/modules/{release}"), &format!("lib/modules/{release}")]
        .iter()
        .flat_map(|place| [unpacked.join(place).join(&image), unpacked.join(place).join("vmlinuz")])
        .find(|path| path.is_file())
        .with_context(|| format!("no image in the packages of {release}"))?;
    fs::copy(image, kept.join("vmlinuz"))?;
    take_modules(&unpacked, &release, &kept.join("modules"))?;
    fs::remove_dir_all(&unpacked)?;
    // Written last: what has it is whole.
    fs::write(kept.join("release"), format!("{release}{}", modules_line()))?;
    Ok(release)
}

/// Copies the modules of [`MODULES`] with those that they need, unpacked and numbered.
fn take_modules(unpacked: &Path, release: &str, into: &Path) -> Result<()> {
    // depmod looks below `lib`, packages of today put modules below `usr/lib`.
    if !unpacked.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", unpacked.join("lib"))?;
    }
    let folder = unpacked.join("lib/modules").join(release);
    run::run(Command::new("/usr/sbin/depmod").arg("-b").arg(unpacked).arg(release))?;
    let needs = fs::read_to_string(folder.join("modules.dep"))?;
    for (number, file) in order(&needs, MODULES).iter().enumerate() {
        let from = folder.join(file);
        let name = format!("{number:02}-{}.ko", stem(file));
        if from.extension().is_some_and(|extension| extension == "xz") {
            fs::write(into.join(name), run::output(Command::new("xz").arg("-dc").arg(from))?)?;
        } else {
            fs::copy(from, into.join(name))?;
        }
    }
    Ok(())
}

/// Files of `wanted` and of what they need, those that are needed first. A name that is not there is part of the
/// kernel.
fn order<'a>(needs: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let lines = needs.lines().filter_map(|line| line.split_once(':'));
    let by_name: HashMap<String, (&str, &str)> =
        lines.map(|(file, needs)| (stem(file).replace('-', "_"), (file, needs))).collect();
    let mut files = Vec::new();
    for (file, needs) in wanted.iter().filter_map(|name| by_name.get(*name)) {
        // The list names the nearest first.
        for file in needs.split_whitespace().rev().chain([*file]) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

/// The name of a module by its file.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_those_they_need() {
        let needs = "kernel/fs/ext4/ext4.ko.xz: kernel/lib/crc16.ko.xz kernel/fs/jbd2/jbd2.ko.xz\n\
            kernel/drivers/block/virtio_blk.ko.xz: kernel/virtio/virtio_ring.ko.xz kernel/virtio/virtio.ko.xz\n\
            kernel/drivers/virtio/virtio-pci.ko.xz: kernel/virtio/virtio_ring.ko.xz kernel/virtio/virtio.ko.xz\n";
        let names: Vec<_> =
            order(needs, &["virtio_pci", "virtio_blk", "ext4", "built_in"]).into_iter().map(stem).collect();
        assert_eq!(names, ["virtio", "virtio_ring", "virtio-pci", "virtio_blk", "jbd2", "crc16", "ext4"]);
    }
}
