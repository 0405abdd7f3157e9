//! Debian's packages of any suite without touching the system's own apt: lists, state and cache of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::machine::Machine;
use crate::run;

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const ARCHIVE: &str = "http://deb.debian.org";

/// An apt that knows one suite for one processor, in a folder of its own.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Reads the suite's list of packages. Nothing is installed by it, ever.
    ///
    /// # Errors
    /// There is no apt, or the archive does not answer.
    pub(super) fn of(suite: &str, machine: Machine, folder: &Path) -> Result<Apt> {
        let debian = machine.debian();
        let folder = folder.join(if machine.is_ours() { suite.to_owned() } else { format!("{suite}-{debian}") });
        let archive = if suite.ends_with("-security") { "debian-security" } else { "debian" };
        for part in ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial", "debs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        let source = format!("deb [signed-by={KEYS}] {ARCHIVE}/{archive} {suite} main\n");
        fs::write(folder.join("etc/sources.list"), source)?;
        fs::write(folder.join("state/status"), "")?;
        // Lists are signed; that one is older than it means to be, as those of little used suites may be, is no harm.
        let at = folder.display();
        fs::write(
            folder.join("apt.conf"),
            format!(
                "Dir \"{at}\"; Dir::Etc \"etc\"; Dir::State \"state\"; Dir::State::status \"{at}/state/status\";\n\
                 Dir::Cache \"cache\"; Acquire::Languages \"none\"; Acquire::Check-Valid-Until \"false\"; APT::Sandbox::User \"\";\n\
                 APT::Architecture \"{debian}\"; APT::Architectures {{ \"{debian}\"; }};\n"
            ),
        )?;
        let apt = Apt { folder };
        run::output(apt.command("apt-get").args(["-qq", "-o", "Acquire::Retries=2", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf")).current_dir(self.folder.join("debs"));
        command
    }

    /// Names of all packages that begin like this.
    pub(super) fn names(&self, begin: &str) -> Result<Vec<String>> {
        let text = String::from_utf8(run::output(self.command("apt-cache").args(["pkgnames", begin]))?)?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Unpacks the image of a release, and what newer ones have in packages of their own.
    ///
    /// # Errors
    /// A package cannot be fetched.
    pub(super) fn unpack_kernel(&self, release: &str, into: &Path) -> Result<()> {
        let image = format!("linux-image-{release}");
        let fields = String::from_utf8(run::output(self.command("apt-cache").args(["show", &image]))?)?;
        let mut packages = vec![image];
        for part in ["linux-binary", "linux-modules"].map(|part| format!("{part}-{release}")) {
            if fields.lines().any(|line| line.starts_with("Depends:") && line.contains(&part)) {
                packages.push(part);
            }
        }
        self.unpack(&packages, into)
    }

    /// Unpacks packages.
    ///
    /// # Errors
    /// One cannot be fetched.
    pub(super) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let debs = self.folder.join("debs");
        run::output(self.command("apt-get").args(["-qq", "download"]).args(packages))
            .with_context(|| format!("cannot fetch {}", packages.join(", ")))?;
        for package in packages {
            let deb = fs::read_dir(&debs)?.flatten().map(|entry| entry.path()).find(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                name.starts_with(&format!("{package}_"))
            });
            let Some(deb) = deb else { bail!("apt fetched no `{package}`") };
            run::run(Command::new("dpkg").arg("-x").arg(&deb).arg(into))?;
            fs::remove_file(deb)?;
        }
        Ok(())
    }
}
