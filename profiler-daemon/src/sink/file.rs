//! A window to a file: checked before the capture, whole or not at all after it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{AccessFlags, eaccess};

use super::{Clock, Format, Sink, SinkError, Written};
use crate::model::Window;

/// Writes each window over the one before.
pub(super) struct FileSink {
    pub(super) path: PathBuf,
    pub(super) format: &'static Format,
    pub(super) clock: Clock,
}

impl Sink for FileSink {
    fn check(&mut self) -> Result<(), SinkError> {
        let refused = |source| SinkError::NotWritable { path: self.path.clone(), source };
        let names_folder = self.path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if names_folder || fs::metadata(&self.path).is_ok_and(|it| it.is_dir()) {
            return Err(SinkError::IsFolder { path: self.path.clone() });
        }
        let folder = folder(&self.path);
        if !folder.is_dir() {
            return Err(SinkError::NoFolder { path: self.path.clone(), folder: folder.to_owned() });
        }
        // Opening is no test: it would cut a file short, wait at a fifo, or end its reader.
        match fs::metadata(&self.path) {
            Ok(_) => eaccess(&self.path, AccessFlags::W_OK).map_err(|errno| refused(errno.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
        if is_replaced(&self.path) {
            Temporary::create(folder).map_err(refused)?;
        }
        Ok(())
    }

    fn write(&mut self, window: &Window) -> Result<Written, SinkError> {
        let bytes = self.replace(window).map_err(|source| SinkError::Write { path: self.path.clone(), source })?;
        Ok(Written { path: self.path.clone(), bytes, open_with: self.format.open_with })
    }
}

impl FileSink {
    fn replace(&self, window: &Window) -> io::Result<u64> {
        if !is_replaced(&self.path) {
            return self.encode(window, File::create(&self.path)?);
        }
        let (temporary, file) = Temporary::create(folder(&self.path))?;
        let bytes = self.encode(window, file)?;
        fs::rename(&temporary.path, &self.path)?;
        Ok(bytes)
    }

    fn encode(&self, window: &Window, file: File) -> io::Result<u64> {
        let mut out = Counted { inner: BufWriter::with_capacity(1 << 16, file), bytes: 0 };
        (self.format.encode)(window, self.clock, &mut out)?;
        out.flush()?;
        Ok(out.bytes)
    }
}

/// Whether a new file takes the place of what is there. Anything but a regular file is written into
/// instead: renaming over `/dev/stdout`, a fifo or a link would destroy it.
fn is_replaced(path: &Path) -> bool {
    fs::symlink_metadata(path).map_or(true, |it| it.is_file())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file beside the final one; removed again unless it was renamed.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn create(folder: &Path) -> io::Result<(Temporary, File)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            // Not made from the final name, which may be as long as a name can be.
            let path = folder.join(format!(".profilerd-{}-{number}.tmp", process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Temporary { path }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove; before it, the first error is the one to tell.
        let _ = fs::remove_file(&self.path);
    }
}

struct Counted<W> {
    inner: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(data)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sink::{self, sample_window};

    fn sink(path: &Path) -> Box<dyn Sink> {
        sink::open(path, Clock::Wall).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_check_leaves_everything_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("old.svg");
        fs::write(&path, "old").unwrap();
        sink(&path).check().unwrap();
        sink(&folder.path().join("new.svg")).check().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["old.svg"]);
    }

    #[test]
    fn what_cannot_be_written_is_known_before_the_capture() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/wall.svg");
        let error = sink(&path).check().unwrap_err();
        assert!(matches!(error, SinkError::NoFolder { .. }), "{error}");
        assert!(error.to_string().ends_with("gone` does not exist"), "{error}");

        let path = folder.path().join("folder.svg");
        fs::create_dir(&path).unwrap();
        assert!(matches!(sink(&path).check(), Err(SinkError::IsFolder { .. })));
        assert!(matches!(sink(&folder.path().join("new.svg/")).check(), Err(SinkError::IsFolder { .. })));

        // A file system that takes no new files, even from root.
        let error = sink(Path::new("/proc/self/wall.svg")).check().unwrap_err();
        assert!(matches!(error, SinkError::NotWritable { .. }), "{error}");
    }

    #[test]
    fn a_window_replaces_the_file_in_one_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wall.folded");
        fs::write(&path, "old").unwrap();
        let mut reader = File::open(&path).unwrap();
        let written = sink(&path).write(&sample_window::window()).unwrap();
        assert_eq!(written.bytes, fs::metadata(&path).unwrap().len());
        assert!(written.bytes > 100);
        // Who had the old file open still reads it whole: it was replaced, not overwritten.
        assert_eq!(io::read_to_string(&mut reader).unwrap(), "old");
        assert_eq!(names(folder.path()), ["wall.folded"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_remains() {
        static FAILING: Format =
            Format { name: "", about: "", suffix: "", open_with: "", encode: |_, _, _| Err(io::Error::other("full")) };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wall.svg");
        fs::write(&path, "old").unwrap();
        let mut sink = FileSink { path: path.clone(), format: &FAILING, clock: Clock::Wall };
        assert!(matches!(sink.write(&Window::default()), Err(SinkError::Write { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["wall.svg"]);
    }

    #[test]
    fn links_and_fifos_are_written_into() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link.folded"));
        fs::write(&real, "").unwrap();
        symlink(&real, &link).unwrap();
        sink(&link).check().unwrap();
        sink(&link).write(&sample_window::window()).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&real).unwrap().starts_with("[idle];"));

        let fifo = folder.path().join("fifo.folded");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        sink(&fifo).check().unwrap();
        let reader = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read_to_string(fifo).unwrap()
        });
        let written = sink(&fifo).write(&sample_window::window()).unwrap();
        assert_eq!(reader.join().unwrap().len() as u64, written.bytes);
    }
}
