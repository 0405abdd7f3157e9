//! What runs in the guest: the kernel tests of the daemon, as they run on the host.

use std::sync::OnceLock;

use super::catalog::Row;

/// A column of the matrix.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The test binary: a file of `profiler-daemon/tests`.
    binary: &'static str,
    /// Names of its tests, or parts of them; none runs all.
    tests: &'static [&'static str],
    /// Tests that break the machine: ignored but here.
    breaks: bool,
    on: On,
}

/// One kernel of each version, of the processor that the object for kernels without types is for.
const UNTYPED: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "newest"];

/// The oldest kernel, that of a distribution of today, the newest, and the other processor.
const FEW: [&str; 4] = ["5.10", "6.12", "newest", "arm64"];

/// The kernel that is another build of a version.
const RT: &str = "6.1-rt";

/// The kernels that a column is tried on.
enum On {
    All,
    /// Those that count.
    Releases,
    These(&'static [&'static str]),
}

impl Column {
    const fn of(name: &'static str, binary: &'static str, tests: &'static [&'static str], on: On) -> Column {
        Column { name, binary, tests, breaks: false, on }
    }

    /// Whether it runs on this kernel.
    pub(super) fn is_for(&self, row: &Row) -> bool {
        let is_wanted = ONLY.get().is_none_or(|only| only.is_empty() || only.iter().any(|name| name == self.name));
        let is_here = match self.on {
            On::All => true,
            On::Releases => !row.candidate,
            On::These(names) => names.contains(&row.name),
        };
        is_wanted && is_here
    }
}

/// What the table shows, from left to right: the cheapest first, so that a kernel that takes nothing says so at once.
pub(super) static COLUMNS: &[Column] = &[
    Column::of("load", "kernel_load", &["every_object"], On::All),
    Column::of("doctor", "kernel_targets", &["doctor"], On::All),
    Column::of("ledger", "kernel_ledger", &["a_ledger_agrees_with"], On::All),
    // With the object for kernels without types, which reads the same members by their addresses.
    Column::of("untyped", "kernel_ledger", &["a_ledger_agrees_without"], On::These(&UNTYPED)),
    Column::of("churn", "kernel_ledger", &["two_thousand"], On::Releases),
    Column::of("classes", "kernel_classes", &["twenty_reasons"], On::All),
    Column::of("stacks", "kernel_chains", &["every_stack"], On::These(&FEW)),
    Column::of("shares", "kernel_shares", &[], On::These(&FEW)),
    Column::of("edges", "kernel_edges", &[], On::Releases),
    // Kernels tell of it in one way before 6.6 and in another one since, and throttle single threads since 6.18.
    Column {
        breaks: true,
        ..Column::of("throttle", "kernel_faults", &["a_quota_beside"], On::These(&["5.10", "6.12", "6.18"]))
    },
    // One kernel that many have today, since they take as long as all else.
    Column {
        breaks: true,
        ..Column::of("faults", "kernel_faults", &["--skip", "a_quota_beside"], On::These(&["6.12"]))
    },
    // The oldest kernel, where maps are locked memory, and one of today that has no faults made. The last, since it locks the
    // kernel down.
    Column { breaks: true, ..Column::of("rights", "kernel_rights", &[], On::These(&["5.10", "6.18"])) },
];

/// The columns that were asked for by name; all if none was.
pub(super) static ONLY: OnceLock<Vec<String>> = OnceLock::new();

/// The chains that are tried in a guest: through a library, which calls back.
pub(super) const CHAINS: &str = "crossing";

/// In which order the kernels begin, such that two CPUs are done with theirs at the same time: by how long they take, which is told
/// in the table, but for the one that fills up what the first two leave. Others come last.
const ORDER: [&str; 7] = ["6.18", "6.12", "newest", "5.10", "6.1", RT, "rc"];

/// Whose turn it is.
pub(super) fn turn(row: &Row) -> usize {
    ORDER.iter().position(|name| *name == row.name).unwrap_or(ORDER.len())
}

/// What the columns are called.
pub(super) fn names() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.name).collect()
}

/// The test binaries that the columns name.
pub(super) fn binaries() -> Vec<&'static str> {
    let mut binaries: Vec<_> = COLUMNS.iter().map(|column| column.binary).collect();
    binaries.sort_unstable();
    binaries.dedup();
    binaries
}

/// The lines that the guest reads: a name, and a command for the shell.
pub(super) fn script(row: &Row) -> String {
    let line = |column: &Column| {
        let breaks = if column.breaks { "--ignored " } else { "" };
        format!(
            "{} PROFILERD_REQUIRE_KERNEL=1 PROFILERD_BINARY=/usr/bin/profilerd PROFILERD_BPF_OBJECT=/bpf/profilerd.o \
             PROFILERD_EMULATED=1 PROFILERD_CHAINS={CHAINS} PROFILERD_PARTLY='{}' /tests/{} --test-threads=1 --nocapture {breaks}{}\n",
            column.name,
            row.partly.join(","),
            column.binary,
            column.tests.join(" ")
        )
    };
    COLUMNS.iter().filter(|column| column.is_for(row)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::catalog::ROWS;
    use super::*;

    #[test]
    fn every_column_is_for_a_kernel_and_names_none_that_is_not_there() {
        for column in COLUMNS {
            assert!(ROWS.iter().any(|row| column.is_for(row)), "{}", column.name);
            let On::These(names) = column.on else { continue };
            assert!(names.iter().all(|name| ROWS.iter().any(|row| row.name == *name)), "{}", column.name);
        }
        for name in ORDER {
            assert!(ROWS.iter().any(|row| row.name == name), "{name}");
        }
    }
}
