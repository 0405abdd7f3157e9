use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How far a destination is, in a file that is whole at every instant.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    path: PathBuf,
}

impl Cursor {
    pub(super) fn new(path: &Path) -> Cursor {
        Cursor { path: path.to_owned() }
    }

    /// Number of the last window that is done; `None` if there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or holds no number.
    pub(super) fn load(&self) -> io::Result<Option<u64>> {
        match fs::read_to_string(&self.path) {
            Ok(text) => match text.trim_end().parse() {
                Ok(sequence) => Ok(Some(sequence)),
                Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no number")),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps the number: after this returns a crash does not lose it.
    ///
    /// # Errors
    /// The file before this is then unchanged.
    pub(super) fn store(&self, sequence: u64) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".tmp");
        let temporary = PathBuf::from(name);
        let mut file = File::create(&temporary)?;
        file.write_all(format!("{sequence}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)?;
        // The rename itself is in the folder.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_number_is_kept_and_anything_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let cursor = Cursor::new(&folder.path().join("collector.cursor"));
        assert_eq!(cursor.load().unwrap(), None);
        for sequence in [0, 7, u64::MAX] {
            cursor.store(sequence).unwrap();
            assert_eq!(cursor.load().unwrap(), Some(sequence));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        for broken in ["", "-1\n", "12 13\n", "\0\0\0"] {
            fs::write(&cursor.path, broken).unwrap();
            assert_eq!(cursor.load().unwrap_err().kind(), io::ErrorKind::InvalidData, "{broken:?}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        assert!(Cursor::new(Path::new("/proc/no such folder/cursor")).store(1).is_err());
    }
}
