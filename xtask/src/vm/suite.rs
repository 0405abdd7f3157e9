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
    /// Only on kernels that have all faults made.
    faults: bool,
    /// Only on kernels that have all privileges tried.
    rights: bool,
}

impl Column {
    const fn of(name: &'static str, binary: &'static str, tests: &'static [&'static str]) -> Column {
        Column { name, binary, tests, breaks: false, faults: false, rights: false }
    }

    /// Whether it runs on this kernel.
    pub(super) fn is_for(&self, row: &Row) -> bool {
        let is_wanted = ONLY.get().is_none_or(|only| only.is_empty() || only.iter().any(|name| name == self.name));
        is_wanted && (!self.faults || row.has_faults()) && (!self.rights || row.has_rights())
    }
}

/// What the table shows, from left to right: the cheapest first, so that a kernel that takes nothing says so at once.
pub(super) static COLUMNS: &[Column] = &[
    Column::of("load", "kernel_load", &[]),
    Column::of("doctor", "kernel_targets", &["doctor"]),
    Column::of("ledger", "kernel_ledger", &["a_ledger_agrees"]),
    Column::of("churn", "kernel_ledger", &["two_thousand"]),
    Column::of("classes", "kernel_classes", &["twenty_reasons"]),
    Column::of("stacks", "kernel_chains", &["every_stack"]),
    Column::of("shares", "kernel_shares", &[]),
    Column::of("edges", "kernel_edges", &[]),
    // What differs most between kernels, so on all of them.
    Column { breaks: true, ..Column::of("throttle", "kernel_faults", &["a_quota_beside"]) },
    Column { breaks: true, faults: true, ..Column::of("faults", "kernel_faults", &["--skip", "a_quota_beside"]) },
    // The last, since it locks the kernel down.
    Column { breaks: true, rights: true, ..Column::of("rights", "kernel_rights", &[]) },
];

/// The columns that were asked for by name; all if none was.
pub(super) static ONLY: OnceLock<Vec<String>> = OnceLock::new();

/// The chains that are tried in a guest: through a library, which calls back.
pub(super) const CHAINS: &str = "crossing";

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
