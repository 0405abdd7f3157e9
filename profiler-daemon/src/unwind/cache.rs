use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::build::{eh_frame, table_of};
use super::elf::{Elf, Source};
use super::stored::{self, Stored};
use super::{BuildError, FileTable};

/// Unfinished files of a process that ended are removed when they are this old.
const UNFINISHED: Duration = Duration::from_secs(600);
const SUFFIX: &str = "table";

/// Tables on disk by build id, so that a file's table is built once on a machine. Several threads may
/// use it at a time, and several processes one directory.
#[derive(Debug)]
pub struct Cache {
    directory: PathBuf,
    limit_bytes: u64,
    /// Bytes of all files, as far as this process knows.
    bytes: Mutex<u64>,
    counters: Counters,
}

/// What a cache did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Tables that were loaded.
    pub loaded: u64,
    /// Tables that were built.
    pub built: u64,
    /// Files that were damaged or of another version: removed, their tables built.
    pub rejected: u64,
    /// Tables that could not be written.
    pub not_stored: u64,
    /// Files that made way for others.
    pub evicted: u64,
}

#[derive(Debug, Default)]
struct Counters {
    loaded: AtomicU64,
    built: AtomicU64,
    rejected: AtomicU64,
    not_stored: AtomicU64,
    evicted: AtomicU64,
}

/// Why a directory is no cache.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or read.
    #[error("cannot use `{path}` as cache of unwind tables")]
    Directory {
        /// Which one.
        path: PathBuf,
        /// The system's word for it.
        source: io::Error,
    },
    /// Others could write into it.
    #[error("`{path}` is no cache of unwind tables: others than this user may write into it")]
    NotPrivate {
        /// Which one.
        path: PathBuf,
    },
}

impl Cache {
    /// Where the cache is unless one says otherwise.
    pub const DIRECTORY: &str = "/var/cache/profilerd/unwind";
    /// How large it may become unless one says otherwise: some 100 large programs.
    pub const LIMIT_BYTES: u64 = 256 << 20;

    /// Opens a directory, which is made with mode 0700 if it is not there.
    ///
    /// # Errors
    /// It cannot be made or read, or is open to others: a table is only as good as who wrote it.
    pub fn open(directory: &Path, limit_bytes: u64) -> Result<Cache, CacheError> {
        let failed = |source| CacheError::Directory { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let metadata = fs::symlink_metadata(directory).map_err(failed)?;
        let own = metadata.uid() == nix::unistd::geteuid().as_raw();
        if !metadata.is_dir() || !own || metadata.mode() & 0o022 != 0 {
            return Err(CacheError::NotPrivate { path: directory.to_owned() });
        }
        let cache =
            Cache { directory: directory.to_owned(), limit_bytes, bytes: Mutex::new(0), counters: Counters::default() };
        cache.tidy(&mut cache.bytes.lock().unwrap_or_else(PoisonError::into_inner)).map_err(failed)?;
        Ok(cache)
    }

    /// The table of a file: from the cache, or built and then stored. A file without build id is known by
    /// its place on the disk and its last change. Anyone may put any build id into a file, so what the table is made of counts
    /// as well: no file gets the table of another one. What goes wrong with the cache is counted and costs only time.
    ///
    /// # Errors
    /// As [`super::build`].
    pub fn table(&self, file: &File) -> Result<FileTable, BuildError> {
        let source = Source::of_file(file).map_err(|source| BuildError::Read { what: "size of the file", source })?;
        let elf = Elf::read(source)?;
        let build_id = elf.build_id();
        let name = match &build_id {
            Some(build_id) => build_id.hex(),
            None => identity(file).map_err(|source| BuildError::Read { what: "state of the file", source })?,
        };
        let path = self.directory.join(format!("{name}-{:08x}-{}.{SUFFIX}", elf.variant(), digest(&elf)?));
        if let Some(Stored { rules, rows, counts }) = self.load(&path) {
            self.counters.loaded.fetch_add(1, Relaxed);
            return Ok(FileTable { rules, rows, segments: elf.code()?, build_id, counts });
        }
        self.counters.built.fetch_add(1, Relaxed);
        let table = table_of(&elf)?;
        if self.store(&path, &table).is_err() {
            self.counters.not_stored.fetch_add(1, Relaxed);
        }
        Ok(table)
    }

    /// What it did.
    pub fn counts(&self) -> CacheCounts {
        CacheCounts {
            loaded: self.counters.loaded.load(Relaxed),
            built: self.counters.built.load(Relaxed),
            rejected: self.counters.rejected.load(Relaxed),
            not_stored: self.counters.not_stored.load(Relaxed),
            evicted: self.counters.evicted.load(Relaxed),
        }
    }

    fn load(&self, path: &Path) -> Option<Stored> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path).ok()?;
        let stored = read(&file, self.limit_bytes).and_then(|bytes| stored::decode(&bytes));
        match stored {
            // The time of last use, by which files make way. Failing to note it does no harm.
            Some(_) => drop(file.set_modified(SystemTime::now())),
            None => {
                self.counters.rejected.fetch_add(1, Relaxed);
                let _ = fs::remove_file(path);
            }
        }
        stored
    }

    fn store(&self, path: &Path, table: &FileTable) -> io::Result<()> {
        static UNIQUE: AtomicU64 = AtomicU64::new(0);
        let bytes = stored::bytes(&table.rules, &table.rows) as u64;
        if bytes > self.limit_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let unfinished = format!("{}.{}.unfinished", std::process::id(), UNIQUE.fetch_add(1, Relaxed));
        let unfinished = self.directory.join(unfinished);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(&stored::encode(&table.rules, &table.rows, &table.counts)))
            .and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
            return written;
        }
        let mut total = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *total += bytes;
        if *total > self.limit_bytes { self.tidy(&mut total) } else { Ok(()) }
    }

    /// Removes what was used longest ago until the rest is within the limit, and what others left
    /// unfinished. Sets `total` to the bytes that remain.
    fn tidy(&self, total: &mut u64) -> io::Result<()> {
        let mut files = Vec::new();
        *total = 0;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let used = metadata.modified()?;
            if path.extension().is_some_and(|extension| extension == SUFFIX) {
                *total += metadata.len();
                files.push((used, metadata.len(), path));
            } else if path.extension().is_some_and(|extension| extension == "unfinished")
                && used.elapsed().is_ok_and(|age| age > UNFINISHED)
            {
                let _ = fs::remove_file(path);
            }
        }
        files.sort();
        for (_, bytes, path) in files {
            if *total <= self.limit_bytes {
                break;
            }
            if fs::remove_file(path).is_ok() {
                self.counters.evicted.fetch_add(1, Relaxed);
                *total -= bytes;
            }
        }
        Ok(())
    }
}

/// The bytes of a regular file that is not larger than `limit`.
fn read(file: &File, limit: u64) -> Option<Vec<u8>> {
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > limit {
        return None;
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// What tells a file without build id from all others on this machine.
fn identity(file: &File) -> io::Result<String> {
    let of = file.metadata()?;
    Ok(format!("{:x}-{:x}-{:x}-{:x}.{:09}", of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
}
/// Names what a table is made of.
fn digest(elf: &Elf<'_>) -> Result<String, BuildError> {
    let mut sum = Sha256::new();
    sum.update(eh_frame(elf)?.1);
    if let Some(section) = elf.section(b".debug_frame") {
        sum.update(elf.bytes_of(section)?);
    }
    Ok(sum.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    fn open(limit_bytes: u64) -> (TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(&folder.path().join("new/unwind"), limit_bytes).unwrap();
        (folder, cache)
    }

    fn files(cache: &Cache) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(&cache.directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn own() -> File {
        File::open("/proc/self/exe").unwrap()
    }

    /// The first file among these that has a build id, other than the test itself.
    fn library() -> Option<File> {
        let paths =
            ["/lib64/ld-linux-x86-64.so.2", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib/ld-linux-aarch64.so.1"];
        paths.iter().find_map(|path| File::open(path).ok())
    }

    #[test]
    fn a_table_is_built_once() {
        let (_folder, cache) = open(Cache::LIMIT_BYTES);
        let built = cache.table(&own()).unwrap();
        assert_eq!(built, super::super::build(&own()).unwrap());
        assert_eq!(cache.table(&own()).unwrap(), built);
        assert_eq!(cache.counts(), CacheCounts { loaded: 1, built: 1, ..CacheCounts::default() });
        let again = Cache::open(&cache.directory, Cache::LIMIT_BYTES).unwrap();
        assert_eq!(again.table(&own()).unwrap(), built);
        assert_eq!(again.counts(), CacheCounts { loaded: 1, ..CacheCounts::default() });
        assert_eq!(fs::metadata(&cache.directory).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn damaged_files_are_built_again() {
        let (_folder, cache) = open(Cache::LIMIT_BYTES);
        let built = cache.table(&own()).unwrap();
        let path = files(&cache).remove(0);
        let good = fs::read(&path).unwrap();
        let mut changed = good.clone();
        changed[good.len() / 2] ^= 4;
        let mut older = good.clone();
        older[8] ^= 1;
        for (number, bad) in [&changed, &older, &good[..good.len() - 1], &good[..5], &[]].into_iter().enumerate() {
            fs::write(&path, bad).unwrap();
            assert_eq!(cache.table(&own()).unwrap(), built);
            assert_eq!(cache.counts().rejected, number as u64 + 1);
            assert_eq!(fs::read(&path).unwrap(), good, "written anew");
        }
    }

    #[test]
    fn a_file_that_says_to_be_another_one_gets_its_own_table() {
        let (folder, cache) = open(Cache::LIMIT_BYTES);
        let mut bytes = fs::read("/proc/self/exe").unwrap();
        cache.table(&own()).unwrap();
        let (at, length) = {
            let elf = Elf::read(Source::Bytes(&bytes)).unwrap();
            let section = elf.section(b".eh_frame").unwrap();
            let frames = elf.bytes_of(section).unwrap().into_owned();
            (bytes.windows(frames.len()).position(|window| window == frames).unwrap(), frames.len())
        };
        // The same build id, segments and size; only what it says of its frames is another thing.
        bytes[at + length - 64] ^= 0x10;
        let path = folder.path().join("other");
        fs::write(&path, &bytes).unwrap();
        let other = File::open(&path).unwrap();
        assert_eq!(cache.table(&other).unwrap(), super::super::build(&other).unwrap());
        assert_eq!((cache.counts().built, cache.counts().loaded), (2, 0));
    }

    #[test]
    fn what_was_used_longest_ago_makes_way() {
        let Some(library) = library() else { return println!("skipped: needs a system library") };
        let (_folder, cache) = open(Cache::LIMIT_BYTES);
        cache.table(&own()).unwrap();
        let own_path = files(&cache).remove(0);
        cache.table(&library).unwrap();
        let sizes: u64 = files(&cache).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        // The test's own table is the one used last.
        let past = SystemTime::now() - Duration::from_secs(60);
        for path in files(&cache).iter().filter(|path| **path != own_path) {
            File::options().write(true).open(path).unwrap().set_modified(past).unwrap();
        }
        let cache = Cache::open(&cache.directory, sizes - 1).unwrap();
        assert_eq!((cache.counts().evicted, files(&cache)), (1, vec![own_path.clone()]));
        // And now the other way round: using the library evicts the test's table.
        File::options().write(true).open(&own_path).unwrap().set_modified(past).unwrap();
        cache.table(&library).unwrap();
        assert_eq!((cache.counts().evicted, files(&cache).contains(&own_path)), (2, false));
        // What is too large as a whole is not stored.
        let (_folder, small) = open(100);
        small.table(&library).unwrap();
        assert_eq!((small.counts().not_stored, files(&small)), (1, vec![]));
    }

    #[test]
    fn unfinished_files_are_removed_when_they_are_old() {
        let (_folder, cache) = open(Cache::LIMIT_BYTES);
        let (old, young) = (cache.directory.join("1.0.unfinished"), cache.directory.join("2.0.unfinished"));
        fs::write(&young, b"").unwrap();
        File::create(&old).unwrap().set_modified(SystemTime::now() - UNFINISHED * 2).unwrap();
        Cache::open(&cache.directory, Cache::LIMIT_BYTES).unwrap();
        assert_eq!(files(&cache), [young]);
    }

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| matches!(Cache::open(path, 1), Err(CacheError::NotPrivate { .. }));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert!(refused(folder.path()));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!refused(folder.path()));
        std::os::unix::fs::symlink(folder.path(), folder.path().join("link")).unwrap();
        assert!(refused(&folder.path().join("link")));
        assert!(matches!(Cache::open(Path::new("/proc/self/nothing"), 1), Err(CacheError::Directory { .. })));
    }
}
