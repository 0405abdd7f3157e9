//! What runs in the guest: the kernel tests of the daemon, as they run on the host.

use super::catalog::Row;

/// A column of the matrix.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// The test binary: a file of `profiler-daemon/tests`.
    binary: &'static str,
    /// Names of its tests, or parts of them; none runs all.
    tests: &'static [&'static str],
}

/// What the table shows, from left to right: the cheapest first, so that a kernel that takes nothing says so at once.
pub(super) static COLUMNS: &[Column] = &[
    Column { name: "load", binary: "kernel_load", tests: &[] },
    Column { name: "doctor", binary: "kernel_targets", tests: &["doctor"] },
    Column { name: "ledger", binary: "kernel_ledger", tests: &["a_ledger_agrees"] },
    Column { name: "churn", binary: "kernel_ledger", tests: &["two_thousand"] },
    Column { name: "classes", binary: "kernel_classes", tests: &["twenty_reasons"] },
    Column { name: "stacks", binary: "kernel_chains", tests: &["every_stack"] },
    Column { name: "shares", binary: "kernel_shares", tests: &[] },
    Column { name: "edges", binary: "kernel_edges", tests: &[] },
];

/// The chains that are tried in a guest: through a library, which calls back.
pub(super) const CHAINS: &str = "crossing";

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
        format!(
            "{} PROFILERD_REQUIRE_KERNEL=1 PROFILERD_BINARY=/usr/bin/profilerd PROFILERD_BPF_OBJECT=/bpf/profilerd.o \
             PROFILERD_EMULATED=1 PROFILERD_CHAINS={CHAINS} PROFILERD_PARTLY='{}' /tests/{} --test-threads=1 --nocapture {}\n",
            column.name,
            row.partly.join(","),
            column.binary,
            column.tests.join(" ")
        )
    };
    COLUMNS.iter().map(line).collect()
}
