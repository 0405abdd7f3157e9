//! Which kernels are tried, and what each of them is known not to do.

use std::cmp::Ordering;

use crate::machine::Machine;

/// One row of the matrix: where a kernel is to be had, and what is expected of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// What it is asked for by, and called in the table.
    pub(super) name: &'static str,
    /// The Debian suite.
    pub(super) suite: &'static str,
    /// How the release begins; empty takes the newest of all.
    pub(super) begins: &'static str,
    /// How the package ends: Debian's flavour.
    pub(super) flavour: &'static str,
    /// Only a release candidate; what fails on it is told and fails nothing.
    pub(super) candidate: bool,
    /// What `profilerd doctor` calls `partly` here, and nothing else.
    pub(super) partly: &'static [&'static str],
}

const CLOUD: &str = "-cloud-amd64";
const CLOUD_ARM: &str = "-cloud-arm64";

/// What kernels before 5.18 cannot do.
const OLD: &[&str] = &["off-cpu", "thread state"];

/// The oldest kernel that is supported first.
pub(super) static ROWS: &[Row] = &[
    Row { name: "5.10", suite: "bullseye-security", begins: "5.10.", flavour: CLOUD, candidate: false, partly: OLD },
    Row { name: "6.1", suite: "bookworm-security", begins: "6.1.", flavour: CLOUD, candidate: false, partly: &[] },
    Row {
        name: "6.1-rt",
        suite: "bookworm-security",
        begins: "6.1.",
        flavour: "-rt-amd64",
        candidate: false,
        partly: &[],
    },
    Row { name: "6.12", suite: "trixie", begins: "6.12.", flavour: CLOUD, candidate: false, partly: &[] },
    Row { name: "6.18", suite: "trixie-backports", begins: "6.18.", flavour: CLOUD, candidate: false, partly: &[] },
    Row { name: "newest", suite: "trixie-backports", begins: "", flavour: CLOUD, candidate: false, partly: &[] },
    Row {
        name: "arm64",
        suite: "bookworm-security",
        begins: "6.1.",
        flavour: CLOUD_ARM,
        candidate: false,
        partly: &[],
    },
    Row { name: "rc", suite: "experimental", begins: "", flavour: CLOUD, candidate: true, partly: &[] },
];

impl Row {
    /// The processor that it is for.
    pub(super) fn machine(&self) -> Machine {
        if self.flavour.ends_with(Machine::Aarch64.debian()) { Machine::Aarch64 } else { Machine::X86_64 }
    }

    /// The newest release of a list of packages that fits the row.
    pub(super) fn newest<'a>(&self, packages: impl Iterator<Item = &'a str>) -> Option<&'a str> {
        let release = |package: &'a str| {
            let release = package.strip_prefix("linux-image-")?;
            let version = release.strip_suffix(self.flavour)?;
            let fits = version.starts_with(|first: char| first.is_ascii_digit()) && version.starts_with(self.begins);
            // What has two numbers names another package, which changes; a candidate has no third one yet.
            let is_whole =
                version.split(['.', '+', '-']).take(3).filter(|part| part.parse::<u32>().is_ok()).count() == 3;
            (fits && is_whole != self.candidate).then_some(release)
        };
        packages.filter_map(release).max_by(|a, b| by_number(a, b))
    }
}

/// Orders releases as people do: numbers by their value.
fn by_number(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|character: char| !character.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_newest_release_of_a_row_is_found_by_number() {
        let packages = [
            "linux-image-6.1-cloud-amd64",
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-57-rt-amd64",
            "linux-image-6.12.9+deb13-cloud-amd64",
            "linux-image-6.12.117+deb13-cloud-amd64",
            "linux-image-7.3-cloud-amd64",
            "linux-image-cloud-amd64",
            "linux-image-6.1.0-58-cloud-arm64",
            "linux-image-6.12.200+deb13-amd64",
            "linux-headers-6.12.300+deb13-cloud-amd64",
        ];
        let newest = |name: &str| {
            let row = ROWS.iter().find(|row| row.name == name).unwrap();
            row.newest(packages.into_iter())
        };
        assert_eq!(newest("6.1"), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(newest("arm64"), Some("6.1.0-58-cloud-arm64"));
        assert_eq!(newest("6.1-rt"), Some("6.1.0-57-rt-amd64"));
        assert_eq!(newest("6.12"), Some("6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest("newest"), Some("6.12.117+deb13-cloud-amd64"));
        assert_eq!(newest("rc"), Some("7.3-cloud-amd64"));
        assert_eq!(newest("5.10"), None);
    }
}
