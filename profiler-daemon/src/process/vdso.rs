use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::maps;
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Our own vDSO image as a file. It has no file of its own, only memory.
pub(super) fn copy() -> io::Result<File> {
    let maps = std::fs::read("/proc/self/maps")?;
    let entry = maps::executable(&maps).find(maps::Entry::is_vdso).ok_or(io::ErrorKind::NotFound)?;
    let mut image = vec![0; (entry.end - entry.start) as usize];
    File::open("/proc/self/mem")?.read_exact_at(&mut image, entry.start)?;
    let mut file = File::from(memfd_create(c"vdso", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&image)?;
    Ok(file)
}
