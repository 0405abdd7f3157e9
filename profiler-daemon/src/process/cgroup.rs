use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Why a cgroup cannot be profiled.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The machine has no cgroup v2 hierarchy.
    #[error("no cgroup v2 hierarchy is mounted")]
    NoHierarchy,
    /// The path lies in a cgroup v1 hierarchy.
    #[error("`{path}` is a cgroup of version 1")]
    Version1 {
        /// As the user gave it.
        path: String,
        /// Where cgroup v2 is mounted.
        mount: String,
    },
    /// There is no such cgroup.
    #[error("no cgroup `{path}` under `{mount}`")]
    NotFound {
        /// As the user gave it.
        path: String,
        /// Where cgroup v2 is mounted.
        mount: String,
    },
    /// It could not be read.
    #[error("cannot read cgroup `{path}`")]
    Unreadable {
        /// As the user gave it.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl CgroupError {
    /// What a person can do about it.
    pub fn remedy(&self) -> Option<String> {
        match self {
            CgroupError::NoHierarchy => {
                Some("mount one with `mount -t cgroup2 none /sys/fs/cgroup`, or use --pid or --comm".to_owned())
            }
            CgroupError::Version1 { mount, .. } => {
                Some(format!("name a cgroup below `{mount}`, or use --pid or --comm"))
            }
            CgroupError::NotFound { .. } => {
                Some("take the path after `0::` in /proc/PID/cgroup of a process that runs there".to_owned())
            }
            CgroupError::Unreadable { .. } => None,
        }
    }
}

/// The ids of a cgroup (version 2) and of all cgroups below it, as `bpf_get_current_cgroup_id` gives
/// them: inode numbers of their directories.
///
/// `path` is a directory below the mount point, or the name of the cgroup as in /proc/PID/cgroup,
/// with or without a leading slash.
///
/// # Errors
/// When there is no such cgroup, when it is one of version 1, and when it cannot be read.
pub fn cgroup_ids(path: &Path) -> Result<BTreeSet<u64>, CgroupError> {
    let mounts = Mounts::parse(&std::fs::read("/proc/self/mountinfo").unwrap_or_default());
    let directory = mounts.resolve(path)?;
    let mut ids = BTreeSet::new();
    collect(&directory, &mut ids)
        .map_err(|source| CgroupError::Unreadable { path: path.display().to_string(), source })?;
    Ok(ids)
}

fn collect(directory: &Path, ids: &mut BTreeSet<u64>) -> io::Result<()> {
    ids.insert(std::fs::metadata(directory)?.ino());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            match collect(&entry.path(), ids) {
                // It was removed while we looked: nothing runs there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
    }
    Ok(())
}

/// Where cgroups are mounted.
#[derive(Debug, Default)]
struct Mounts {
    version2: Option<PathBuf>,
    version1: Vec<PathBuf>,
}

impl Mounts {
    /// Source: proc_pid_mountinfo(5): the fifth field is the mount point, the first one after the
    /// lone dash the file system.
    fn parse(mountinfo: &[u8]) -> Mounts {
        let mut mounts = Mounts::default();
        for line in mountinfo.split(|byte| *byte == b'\n') {
            let mut fields = line.split(|byte| *byte == b' ');
            let Some(point) = fields.nth(4).map(unescape) else { continue };
            match fields.skip_while(|field| *field != b"-").nth(1) {
                Some(b"cgroup2") => drop(mounts.version2.get_or_insert(point)),
                Some(b"cgroup") => mounts.version1.push(point),
                _ => {}
            }
        }
        mounts
    }

    fn resolve(&self, path: &Path) -> Result<PathBuf, CgroupError> {
        let mount = self.version2.as_deref().ok_or(CgroupError::NoHierarchy)?;
        let shown = || (path.display().to_string(), mount.display().to_string());
        // Version 2 may be mounted inside the directory that holds the version 1 mounts.
        let below = path.strip_prefix(mount).or_else(|_| path.strip_prefix("/")).unwrap_or(path);
        let candidate = mount.join(below).canonicalize();
        match candidate {
            Ok(directory) if directory.starts_with(mount) && directory.is_dir() => Ok(directory),
            _ if self.version1.iter().any(|version1| path.starts_with(version1)) => {
                let (path, mount) = shown();
                Err(CgroupError::Version1 { path, mount })
            }
            Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                Err(CgroupError::Unreadable { path: shown().0, source })
            }
            _ => {
                let (path, mount) = shown();
                Err(CgroupError::NotFound { path, mount })
            }
        }
    }
}

/// Mount points have space, tab, newline and backslash as three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let code = after.first_chunk::<3>().filter(|_| *first == b'\\').and_then(|digits| {
            let digits = str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        out.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn mounts_are_told_apart_by_file_system() {
        let mounts = Mounts::parse(
            b"31 23 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
              32 31 0:27 / /sys/fs/cgroup/uni\\040fied rw,nosuid shared:9 - cgroup2 cgroup2 rw\n\
              33 31 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
              34 31 0:29 / /sys/fs/cgroup/late rw - cgroup2 cgroup2 rw\n\
              nonsense\n\
              35 31 0:30 / /cut",
        );
        assert_eq!(mounts.version2.as_deref(), Some(Path::new("/sys/fs/cgroup/uni fied")));
        assert_eq!(mounts.version1, [Path::new("/sys/fs/cgroup/cpu")]);
    }

    /// A directory tree stands in for the hierarchies: only names and inodes matter here.
    #[test]
    fn a_path_names_its_cgroup_and_all_below() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let mount = root.join("unified");
        std::fs::create_dir_all(mount.join("app.slice/web/worker")).unwrap();
        std::fs::create_dir_all(root.join("cpu/app.slice/old")).unwrap();
        let mounts = Mounts { version2: Some(mount.clone()), version1: vec![root.join("cpu")] };

        let expected = mount.join("app.slice/web");
        for given in [expected.to_str().unwrap(), "app.slice/web", "/app.slice/web", "app.slice/./web/"] {
            assert_eq!(mounts.resolve(Path::new(given)).unwrap(), expected, "{given}");
        }
        assert_eq!(mounts.resolve(Path::new("/")).unwrap(), mount);
        let mut ids = BTreeSet::new();
        collect(&expected, &mut ids).unwrap();
        let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
        assert_eq!(ids, BTreeSet::from([inode(&expected), inode(&expected.join("worker"))]));

        let error = |given: &str| mounts.resolve(Path::new(given)).unwrap_err();
        assert!(matches!(error("no/such"), CgroupError::NotFound { .. }));
        assert!(matches!(error("../cpu"), CgroupError::NotFound { .. }), "outside of the hierarchy");
        assert!(matches!(error(root.join("cpu/app.slice/old").to_str().unwrap()), CgroupError::Version1 { .. }));
        assert!(matches!(Mounts::default().resolve(Path::new("x")), Err(CgroupError::NoHierarchy)));
    }

    #[test]
    fn this_machine_has_a_root_cgroup() {
        match cgroup_ids(Path::new("/")) {
            Ok(ids) => assert!(!ids.is_empty()),
            Err(CgroupError::NoHierarchy) => println!("skipped: needs cgroup v2"),
            Err(error) => panic!("{error}"),
        }
    }
}
