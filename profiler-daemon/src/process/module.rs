use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::elf;
use super::maps::Entry;
use super::vdso;
use crate::model::text;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Most files that are held open; later ones stay unnamed.
const MOST_OPEN: u64 = 4_096;
/// Descriptors left for everything else in the daemon.
const RESERVED: u64 = 256;

/// Tells files apart, whatever paths lead to them. Status changes do not count: to delete a file is
/// one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last write.
    modified: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// What is known of a mapped file.
#[derive(Debug)]
pub enum Image {
    /// An ELF file. The open descriptor keeps it readable after its name, its process and its mount
    /// namespace are gone.
    Elf {
        /// For `fstat` and for `/proc/self/fd/N`; no position of it is used.
        file: File,
        /// Which file it is.
        identity: Identity,
    },
    /// Some other file that code runs from, such as a JIT compiler's memfd.
    NotElf,
    /// It could not be opened.
    Unavailable,
}

/// An executable or library, shared by all processes that map it.
#[derive(Debug)]
pub struct Module {
    /// Path as the first process that mapped it saw it, raw but valid UTF-8; `[vdso]` for the vDSO.
    pub path: Arc<str>,
    /// GNU build id in hex.
    pub build_id: Option<Arc<str>>,
    /// The file itself.
    pub image: Image,
}

impl Module {
    /// Whether the open file is still what it was when it was first seen. If it was overwritten in
    /// place, its symbols are no longer those of the code that ran.
    pub fn is_unchanged(&self) -> bool {
        match &self.image {
            Image::Elf { file, identity } => file.metadata().is_ok_and(|metadata| Identity::of(&metadata) == *identity),
            _ => true,
        }
    }

    /// The module of a file that is not known from a process.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Module> {
        Module::new(path.to_string_lossy().into(), open_file(path)?)
    }

    /// A module of an open file, classified by its first bytes.
    pub(super) fn new(path: Arc<str>, file: File) -> io::Result<Module> {
        let identity = Identity::of(&file.metadata()?);
        let build_id = elf::build_id(&file).map(Arc::from);
        let image = if elf::is_elf(&file) { Image::Elf { file, identity } } else { Image::NotElf };
        Ok(Module { path, build_id, image })
    }
}

/// Every module seen so far, each once.
#[derive(Debug)]
pub(super) struct Modules {
    opened: HashMap<Identity, Arc<Module>>,
    /// Which of them a device and an inode in maps stand for. Not all are there: some file systems, such as overlays of
    /// several others, tell other numbers there than they tell of the file, and only the latter are one file's; and while
    /// a file is held open no other one gets its inode.
    by_inode: HashMap<(u64, u64), Identity>,
    /// By device, inode and path in maps, since nothing better is known of them.
    unavailable: HashMap<(u64, u64, Arc<str>), Arc<Module>>,
    vdso: Option<Arc<Module>>,
    most_open: u64,
    /// Distinct files that could not be opened.
    pub(super) not_opened: u64,
    /// Distinct files left closed because [`MOST_OPEN`] or the limit of the process was reached.
    pub(super) over_limit: u64,
}

impl Modules {
    pub(super) fn new() -> Modules {
        let most_open = raise_limit().saturating_sub(RESERVED).min(MOST_OPEN);
        Modules {
            opened: HashMap::new(),
            by_inode: HashMap::new(),
            unavailable: HashMap::new(),
            vdso: None,
            most_open,
            not_opened: 0,
            over_limit: 0,
        }
    }

    /// The module of a mapped file, by its numbers in maps, if that can be told without looking at the process: it is
    /// open already, and was not written to since. Else [`Modules::of_mapping`] may know it.
    pub(super) fn opened(&mut self, device: u64, inode: u64) -> Option<Arc<Module>> {
        let module = self.opened.get(self.by_inode.get(&(device, inode))?).filter(|module| module.is_unchanged());
        if module.is_none() {
            self.by_inode.remove(&(device, inode));
        }
        module.cloned()
    }

    /// The module of a mapping that has a file.
    pub(super) fn of_mapping(&mut self, pid: u32, entry: &Entry<'_>) -> Arc<Module> {
        if let Some(module) = self.opened(entry.device, entry.inode) {
            return module;
        }
        let path: Arc<str> = text::from_bytes(&entry.path).into();
        self.open(pid, entry, &path).unwrap_or_else(|error| {
            let key = (entry.device, entry.inode, path.clone());
            let (not_opened, over_limit) = (&mut self.not_opened, &mut self.over_limit);
            let module = self.unavailable.entry(key).or_insert_with(|| {
                let count = if error.kind() == io::ErrorKind::QuotaExceeded { over_limit } else { not_opened };
                *count += 1;
                Arc::new(Module { path, build_id: None, image: Image::Unavailable })
            });
            module.clone()
        })
    }

    /// The vDSO: all 64-bit processes share the one image of the running kernel, so ours serves.
    pub(super) fn vdso(&mut self) -> Option<Arc<Module>> {
        if self.vdso.is_none() {
            let image = vdso::copy().and_then(|file| Module::new(Arc::from("[vdso]"), file));
            self.vdso = image.ok().map(Arc::new);
        }
        self.vdso.clone()
    }

    fn open(&mut self, pid: u32, entry: &Entry<'_>, path: &Arc<str>) -> io::Result<Arc<Module>> {
        // The link leads to the mapped file itself: deleted or replaced, in any mount namespace.
        let link = PathBuf::from(format!("/proc/{pid}/map_files/{:x}-{:x}", entry.start, entry.end));
        let file = match std::fs::metadata(&link) {
            Ok(metadata) if !metadata.is_file() => return Err(io::ErrorKind::InvalidInput.into()),
            Ok(metadata) => {
                if let Some(module) = self.known(&metadata, entry) {
                    return Ok(module);
                }
                self.check_limit()?;
                open_file(&link)?
            }
            Err(_) => {
                self.check_limit()?;
                open_by_path(pid, entry)?
            }
        };
        let metadata = file.metadata()?;
        if let Some(module) = self.known(&metadata, entry) {
            return Ok(module);
        }
        let module = Arc::new(Module::new(path.clone(), file)?);
        self.opened.insert(Identity::of(&metadata), module);
        self.known(&metadata, entry).ok_or(io::ErrorKind::NotFound.into())
    }

    /// The module of a file that was looked at for this mapping.
    fn known(&mut self, metadata: &Metadata, entry: &Entry<'_>) -> Option<Arc<Module>> {
        let identity = Identity::of(metadata);
        let module = self.opened.get(&identity)?;
        let is_held = matches!(module.image, Image::Elf { .. });
        if is_held && (identity.device, identity.inode) == (entry.device, entry.inode) {
            self.by_inode.insert((entry.device, entry.inode), identity);
        }
        Some(module.clone())
    }

    /// Closes the files that nobody needs any more.
    pub(super) fn release(&mut self) {
        self.opened.retain(|_, module| Arc::strong_count(module) > 1);
        self.by_inode.retain(|_, identity| self.opened.contains_key(identity));
        self.unavailable.retain(|_, module| Arc::strong_count(module) > 1);
    }

    fn check_limit(&self) -> io::Result<()> {
        let is_below = (self.opened.len() as u64) < self.most_open;
        is_below.then_some(()).ok_or(io::ErrorKind::QuotaExceeded.into())
    }
}

/// Without CAP_CHECKPOINT_RESTORE there are no links: go by the name that the process sees, and
/// check that it still leads to the mapped file.
fn open_by_path(pid: u32, entry: &Entry<'_>) -> io::Result<File> {
    let mut path = format!("/proc/{pid}/root").into_bytes();
    path.extend_from_slice(&entry.path);
    // A name may have become a device or a FIFO, which only to open has effects: look first.
    let looked = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_NOFOLLOW)
        .open(std::ffi::OsStr::from_bytes(&path))?;
    let metadata = looked.metadata()?;
    if !metadata.is_file() || metadata.dev() != entry.device || metadata.ino() != entry.inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    open_file(&PathBuf::from(format!("/proc/self/fd/{}", looked.as_raw_fd())))
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// Raises our soft limit of open files as far as needed and allowed, and returns it.
fn raise_limit() -> u64 {
    // Twice: while a file is symbolized, the symbolizer opens it again.
    let wanted = 2 * (MOST_OPEN + RESERVED);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return RESERVED };
    let raised = wanted.min(hard);
    if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() { raised } else { soft }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::process::maps;

    #[test]
    fn files_over_the_limit_stay_modules_without_an_image() {
        let mut modules = Modules { most_open: 1, ..Modules::new() };
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let files: Vec<_> = maps::executable(&maps).filter(Entry::has_file).collect();
        let mut read =
            || -> Vec<_> { files.iter().map(|entry| modules.of_mapping(std::process::id(), entry)).collect() };
        let (first, again) = (read(), read());
        assert!(first.iter().zip(&again).all(|(one, other)| Arc::ptr_eq(one, other)));
        let open = first.iter().filter(|module| matches!(module.image, Image::Elf { .. }));
        assert_eq!(open.count(), 1);
        assert_eq!((modules.over_limit, modules.not_opened), (files.len() as u64 - 1, 0));
    }
}
