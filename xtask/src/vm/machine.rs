//! One boot of one kernel in QEMU, and what the guest said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::archive::Archive;
use super::catalog::Row;
use super::kernel::Kernel;
use super::payload::Payload;
use super::suite;
use crate::machine::Machine;

const INIT: &str = include_str!("init.sh");
/// The guest is emulated and others may be running: no kernel takes half as long.
const DEADLINE: Duration = Duration::from_secs(600);

/// Boots the kernel with the disk, runs the suite, and returns what came of it.
///
/// # Errors
/// QEMU does not start. A guest that dies is no error: its words end early.
pub(super) fn boot(row: &Row, kernel: &Kernel, payload: &Payload, folder: &Path) -> Result<String> {
    let folder = folder.join("runs").join(row.name);
    fs::create_dir_all(&folder)?;
    let first = first_files(row, kernel, payload, &folder)?;
    let [console_file, status] = ["console", "status"].map(|name| folder.join(name));
    let _ = fs::remove_file(&status);
    let emulated = row.machine();
    let program = emulator(emulated);
    let mut qemu = Command::new(&program);
    // Several threads of emulation crash kernels that patch their own code, and are no faster.
    qemu.args(["-accel", "tcg,thread=single", "-smp", "2", "-m", "1536"]);
    qemu.args(["-nodefaults", "-vga", "none", "-display", "none", "-no-reboot", "-snapshot"]);
    // The second port is as the guest calls it.
    let (console, port, also) = match emulated {
        Machine::X86_64 => {
            // What copies and clears memory byte by byte, as these say is fast, is slow to emulate; so is a fifth level of page
            // tables.
            qemu.args(["-cpu", "max,erms=off,fsrm=off,la57=off"]);
            // One thread emulates all CPUs, so their counters cannot differ. The kernel believes that they do, and would look
            // at an emulated device for the time.
            ("ttyS0", "ttyS1", "tsc=reliable")
        }
        Machine::Aarch64 => {
            // Signatures of addresses as they are specified take most of the time to emulate.
            qemu.args(["-machine", "virt", "-cpu", "max,pauth-impdef=on", "-device", "virtio-serial-pci"]);
            ("ttyAMA0", "hvc0", "")
        }
    };
    qemu.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(first);
    qemu.arg("-append").arg(format!("console={console} quiet panic=-1 oops=panic {also} status={port}"));
    qemu.arg("-drive").arg(format!("file={},format=raw,if=virtio", payload.disk.display()));
    qemu.arg("-serial").arg(format!("file:{}", console_file.display()));
    match emulated {
        Machine::X86_64 => qemu.arg("-serial").arg(format!("file:{}", status.display())),
        Machine::Aarch64 => {
            qemu.arg("-chardev").arg(format!("file,id=status,path={}", status.display()));
            qemu.args(["-device", "virtconsole,chardev=status"])
        }
    };
    qemu.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(folder.join("qemu"))?);
    let child = qemu.spawn().with_context(|| format!("cannot start {program}"))?;
    wait(child)?;
    Ok(String::from_utf8_lossy(&fs::read(&status).unwrap_or_default()).replace('\r', ""))
}

/// The program that emulates a whole machine with this processor.
pub(super) fn emulator(machine: Machine) -> String {
    format!("qemu-system-{}", machine.name())
}

/// Waits until the machine is off; one that hangs is switched off.
fn wait(mut machine: Child) -> Result<()> {
    let start = Instant::now();
    while machine.try_wait()?.is_none() {
        if start.elapsed() > DEADLINE {
            machine.kill()?;
            machine.wait()?;
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Writes the file system that the kernel begins with.
fn first_files(row: &Row, kernel: &Kernel, payload: &Payload, folder: &Path) -> Result<PathBuf> {
    let mut archive = Archive::default();
    for name in ["bin", "dev", "proc", "sys", "disk", "modules"] {
        archive.folder(name);
    }
    archive.device("dev/console", (5, 1));
    archive.program("init", INIT.as_bytes());
    archive.program("tests", suite::script(row).as_bytes());
    archive.program(
        "bin/busybox",
        &fs::read(&payload.busybox).with_context(|| format!("cannot read `{}`", payload.busybox.display()))?,
    );
    for module in kernel.modules()? {
        let name = module.file_name().unwrap_or_default().to_string_lossy();
        archive.program(&format!("modules/{name}"), &fs::read(&module)?);
    }
    let file = folder.join("initramfs");
    fs::write(&file, archive.finish())?;
    Ok(file)
}
