//! The changelog of the package, in the form that Debian's tools read.

use std::process::Command;

use anyhow::Result;

use crate::run;

/// As in `[package.metadata.deb]`.
const MAINTAINER: &str = "profilerd authors <maintainers@profilerd.example>";

/// One entry, for this version of the package, written at `epoch`.
///
/// # Errors
/// `epoch` is not a number of seconds.
pub(super) fn debian(version: &str, epoch: &str) -> Result<String> {
    let mut date = Command::new("date");
    let date = run::output(date.env("LC_ALL", "C").args(["--utc", "--rfc-email", &format!("--date=@{epoch}")]))?;
    Ok(format!(
        "profilerd ({version}) unstable; urgency=medium\n\n  \
           * What is new in the program: see /usr/share/doc/profilerd/changelog.gz.\n\n \
         -- {MAINTAINER}  {}\n",
        String::from_utf8(date)?.trim()
    ))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_entry_has_the_form_that_dpkg_reads() {
        assert_eq!(
            debian("1.2.3-1", "0").unwrap(),
            "profilerd (1.2.3-1) unstable; urgency=medium\n\n  \
             * What is new in the program: see /usr/share/doc/profilerd/changelog.gz.\n\n \
             -- profilerd authors <maintainers@profilerd.example>  Thu, 01 Jan 1970 00:00:00 +0000\n"
        );
    }

    #[test]
    fn the_maintainer_is_the_one_of_the_package() {
        let manifest = crate::workspace::root().join("profiler-daemon/Cargo.toml");
        let text = std::fs::read_to_string(manifest).unwrap();
        assert!(text.contains(&format!("maintainer = \"{MAINTAINER}\"")), "{text}");
    }
}
