//! The guest's disk: the program as it is shipped, the test binaries, their workloads, and the libraries of the machine
//! that built them. One image serves all kernels of a processor; none of them changes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::apt::Apt;
use super::suite;
use crate::cross::Cross;
use crate::machine::Machine;
use crate::{build, kernel, run, workspace};

const GUEST: &str = include_str!("guest.sh");
/// Where Debian's package busybox-static puts it.
const BUSYBOX: &str = "/bin/busybox";
/// The suite that has it for other processors, as old as the oldest kernel there.
const BUSYBOX_SUITE: &str = "bookworm";
/// Shared libraries that tests and workloads are linked to, where no loader of ours can say so.
const LIBRARIES: [&str; 5] = ["ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0"];
/// What faults are made with, and rights are taken and given with, from this machine: not for other processors.
pub(super) const FAULT_TOOLS: [&str; 4] = ["/usr/sbin/dmsetup", "/usr/sbin/tc", "/usr/bin/setpriv", "/usr/sbin/setcap"];
/// Room beside what the image holds.
const SPARE_MIB: u64 = 192;

/// What is booted with kernels of one processor.
pub(super) struct Payload {
    pub(super) machine: Machine,
    /// The image of the guest's disk.
    pub(super) disk: PathBuf,
    /// A static busybox.
    pub(super) busybox: PathBuf,
}

impl Payload {
    /// Builds what runs in guests with this processor.
    ///
    /// # Errors
    /// Something does not build or cannot be fetched, or the image cannot be made.
    pub(super) fn build(machine: Machine, folder: &Path) -> Result<Payload> {
        let builder = Builder::to(machine)?;
        let busybox = builder.busybox(folder)?;
        let disk = disk(&builder, &busybox, folder)?;
        Ok(Payload { machine, disk, busybox })
    }
}

/// What builds for a processor, ours or another one.
struct Builder {
    machine: Machine,
    cross: Option<Cross>,
}

impl Builder {
    fn to(machine: Machine) -> Result<Builder> {
        let cross = if machine.is_ours() { None } else { Some(Cross::to(machine)?) };
        Ok(Builder { machine, cross })
    }

    fn program(&self) -> Result<PathBuf> {
        self.cross.as_ref().map_or_else(build::run, Cross::program)
    }

    /// Where cargo puts what tests make.
    fn made(&self) -> PathBuf {
        self.cross.as_ref().map_or_else(workspace::target, Cross::built).join("tmp")
    }

    fn strip(&self) -> String {
        self.cross.as_ref().map_or_else(|| "strip".to_owned(), |cross| cross.tool("strip"))
    }

    /// `cargo test`, which runs tests of another processor in an emulator.
    fn cargo_test(&self) -> Command {
        let Some(cross) = &self.cross else {
            let mut cargo = run::cargo();
            cargo.args(["test", "--target-dir"]).arg(workspace::target()).args(["--workspace"]);
            cargo.env(build::OBJECT_VARIABLE, kernel::build::our_object());
            return cargo;
        };
        let mut cargo = cross.cargo("test");
        let sysroot = cross.libraries();
        let name = self.machine.name();
        let sysroot = sysroot.parent().unwrap_or(&sysroot).display();
        // Nobody debugs them, and what is stripped anyway takes long to make.
        cargo.args(["--package", "profiler-daemon"]).env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        cargo.env(
            format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", name.to_uppercase()),
            format!("qemu-{name} -L {sysroot}"),
        );
        cargo.env("PROFILERD_CC", cross.tool("gcc")).env("PROFILERD_CHAINS", suite::CHAINS);
        cargo
    }

    /// Fetches a static busybox, or takes the one of this machine.
    fn busybox(&self, folder: &Path) -> Result<PathBuf> {
        if self.cross.is_none() {
            return Ok(PathBuf::from(BUSYBOX));
        }
        let unpacked = folder.join("busybox").join(self.machine.name());
        let busybox = unpacked.join(below(Path::new(BUSYBOX)));
        if !busybox.is_file() {
            fs::create_dir_all(&unpacked)?;
            let apt = Apt::of(BUSYBOX_SUITE, self.machine, &folder.join("apt"))?;
            apt.unpack(&["busybox-static".to_owned()], &unpacked)?;
        }
        Ok(busybox)
    }

    /// The shared libraries of programs: where they are, and where the guest's loader looks for them.
    fn libraries(&self, programs: &[PathBuf]) -> Result<Vec<(PathBuf, PathBuf)>> {
        match &self.cross {
            None => Ok(libraries(programs)?.into_iter().map(|library| (library.clone(), library)).collect()),
            Some(cross) => {
                let from = |name: &str| cross.libraries().join(name);
                Ok(LIBRARIES.map(|name| (from(name), Path::new("/lib").join(name))).into())
            }
        }
    }
}

/// Returns the image of the guest's disk.
fn disk(builder: &Builder, busybox: &Path, folder: &Path) -> Result<PathBuf> {
    let program = builder.program()?;
    let tests = tests(builder, &program)?;
    let root = folder.join("root");
    let _ = fs::remove_dir_all(&root);
    for place in
        ["bin", "sbin", "usr/bin", "usr/sbin", "proc", "sys", "dev", "tmp", "run", "etc", "var/cache", "bpf", "tests"]
    {
        fs::create_dir_all(root.join(place))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    fs::write(root.join("etc/group"), "root:x:0:\n")?;
    put(&root, busybox, BUSYBOX)?;
    // Every processor's has the same.
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
        run::run(Command::new(builder.strip()).arg("-o").arg(&stripped).arg(&binary))?;
        programs.push(binary);
    }
    let objects = kernel::build::daemon_object(builder.machine);
    for object in fs::read_dir(objects.parent().context("the object has no folder")?)?.flatten() {
        if object.path().extension().is_some_and(|extension| extension == "o") {
            put(&root, &object.path(), &format!("/bpf/{}", object.file_name().display()))?;
        }
    }
    // Where the tests look for them: at the place of the build.
    for workloads in ["workloads", "chains"].map(|name| builder.made().join(name)) {
        let place = workloads.to_str().context("the workspace has a name that is no text")?;
        put_folder(&root, &workloads, place)?;
        programs.extend(files(&workloads)?);
    }
    fs::create_dir_all(root.join(below(&workspace::root().join("profiler-daemon/tests/workloads/chains"))))?;
    if builder.cross.is_none() {
        for tool in FAULT_TOOLS {
            // What a package of this machine links to is what the loader of the guest finds.
            put(&root, Path::new(tool), tool)?;
            programs.push(PathBuf::from(tool));
        }
    }
    for (library, place) in builder.libraries(&programs)? {
        put(&root, &library, place.to_str().context("a library has a name that is no text")?)?;
    }
    image(&root, &folder.join(format!("disk-{}.img", builder.machine.name())))
}

/// Builds the test binaries and the programs that they profile. Returns name and path of each binary.
fn tests(builder: &Builder, program: &Path) -> Result<Vec<(String, PathBuf)>> {
    let cargo = |arguments: &[&str]| {
        let mut cargo = builder.cargo_test();
        for binary in suite::binaries() {
            cargo.args(["--test", binary]);
        }
        cargo.args(arguments).env("PROFILERD_BINARY", program);
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
