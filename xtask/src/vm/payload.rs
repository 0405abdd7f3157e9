//! The guest's disk: the program as it is shipped, the test binaries, their workloads, and the libraries of this
//! machine. One image serves all kernels; none of them changes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::suite;
use crate::{build, kernel, run, workspace};

const GUEST: &str = include_str!("guest.sh");
/// Where Debian's package busybox-static puts it.
pub(super) const BUSYBOX: &str = "/bin/busybox";
/// Room beside what the image holds.
const SPARE_MIB: u64 = 192;

/// Builds what runs in the guest and returns the image of its disk.
///
/// # Errors
/// Something does not build, or the image cannot be made.
pub(super) fn disk(folder: &Path) -> Result<PathBuf> {
    let program = build::run()?;
    let tests = tests(&program)?;
    let root = folder.join("root");
    let _ = fs::remove_dir_all(&root);
    for place in
        ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "tmp", "run", "etc", "var/cache", "bpf", "tests"]
    {
        fs::create_dir_all(root.join(place))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    put(&root, Path::new(BUSYBOX), BUSYBOX)?;
    for applet in run::ask(BUSYBOX, &["--list"]).context("busybox does not run")?.lines() {
        let link = root.join("bin").join(applet);
        if !link.exists() {
            std::os::unix::fs::symlink(BUSYBOX, link)?;
        }
    }
    fs::write(root.join("guest.sh"), GUEST)?;
    run::run(Command::new("chmod").arg("755").arg(root.join("guest.sh")))?;
    put(&root, &program, "/usr/bin/profilerd")?;
    let mut programs = vec![program];
    for (name, binary) in tests {
        let stripped = root.join("tests").join(&name);
        // With its debug information a test binary is ten times as large.
        run::run(Command::new("strip").arg("-o").arg(&stripped).arg(&binary))?;
        programs.push(binary);
    }
    let objects = kernel::build::daemon_object();
    for object in fs::read_dir(objects.parent().context("the object has no folder")?)?.flatten() {
        if object.path().extension().is_some_and(|extension| extension == "o") {
            put(&root, &object.path(), &format!("/bpf/{}", object.file_name().display()))?;
        }
    }
    // Where the tests look for them: at the place of the build.
    for workloads in ["workloads", "chains"].map(|name| workspace::target().join("tmp").join(name)) {
        let place = workloads.to_str().context("the workspace has a name that is no text")?;
        put_folder(&root, &workloads, place)?;
        programs.extend(files(&workloads)?);
    }
    fs::create_dir_all(root.join(below(&workspace::root().join("profiler-daemon/tests/workloads/chains"))))?;
    for library in libraries(&programs)? {
        let place = library.to_str().context("a library has a name that is no text")?;
        put(&root, &library, place)?;
    }
    image(&root, &folder.join("disk.img"))
}

/// Builds the test binaries and the programs that they profile. Returns name and path of each binary.
fn tests(program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = run::cargo();
        cargo.args(["test", "--target-dir"]).arg(workspace::target()).args(["--workspace"]);
        for binary in suite::binaries() {
            cargo.args(["--test", binary]);
        }
        cargo.args(arguments).env(build::OBJECT_VARIABLE, kernel::build::daemon_object());
        cargo.env("PROFILERD_BINARY", program);
        cargo
    };
    let messages = run::output(&mut cargo(&["--no-run", "--message-format=json"]))?;
    let messages = String::from_utf8(messages)?;
    let found: Vec<_> = messages.lines().filter_map(executable).collect();
    if found.len() != suite::binaries().len() {
        bail!("of {} test binaries cargo names {}", suite::binaries().len(), found.len());
    }
    run::output(&mut cargo(&["--quiet", "--", "every_workload_compiles"]))?;
    Ok(found)
}

/// The test binary that one of cargo's messages tells of.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    suite::binaries().contains(&name).then(|| (name.to_owned(), PathBuf::from(path)))
}

/// Shared libraries that these programs are linked to, by where the loader looks for them.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut libraries = BTreeSet::new();
    for program in programs {
        // A static one has none, and `ldd` says so by failing.
        let listed = run::ask("ldd", &[program.to_str().context("a program has a name that is no text")?]);
        let paths = listed.iter().flat_map(|text| text.split_whitespace()).filter(|word| word.starts_with('/'));
        libraries
            .extend(paths.map(PathBuf::from).filter(|path| path.is_file() && !path.starts_with(workspace::target())));
    }
    Ok(libraries)
}

/// The path without its first slash, below another root.
fn below(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn put(root: &Path, file: &Path, place: &str) -> Result<()> {
    let to = root.join(below(Path::new(place)));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(file, &to).with_context(|| format!("cannot copy `{}`", file.display()))?;
    Ok(())
}

fn put_folder(root: &Path, folder: &Path, place: &str) -> Result<()> {
    for file in files(folder)? {
        let name = file.strip_prefix(folder)?;
        put(root, &file, &format!("{place}/{}", name.display()))?;
    }
    Ok(())
}

/// All files below a folder.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    Ok(found)
}

/// Makes a file system of a folder.
fn image(root: &Path, image: &Path) -> Result<PathBuf> {
    let bytes: u64 = files(root)?.iter().filter_map(|file| fs::symlink_metadata(file).ok()).map(|it| it.len()).sum();
    let _ = fs::remove_file(image);
    let size = format!("{}M", (bytes >> 20) * 11 / 10 + SPARE_MIB);
    let mut make = Command::new("/usr/sbin/mke2fs");
    make.args(["-q", "-F", "-t", "ext4", "-E", "root_owner=0:0", "-d"]).arg(root).arg(image).arg(size);
    run::run(make.stdout(Stdio::null()))?;
    fs::remove_dir_all(root)?;
    Ok(image.to_owned())
}
