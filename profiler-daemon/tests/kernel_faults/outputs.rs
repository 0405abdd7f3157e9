//! Places where no output can be written.

use crate::guest::{SmallDisk, judge, kernel};
use crate::support::{Outcome, run, workload};

/// What a capture says whose report goes to this disk.
fn captured(disk: &SmallDisk) -> Outcome {
    let kernel = kernel();
    let mut profilerd = kernel.profilerd(["-o"]);
    profilerd.arg(disk.0.path().join("report.json")).arg("--").arg(workload("faults")).args(["spin", "1", "300"]);
    run(&mut profilerd)
}

/// The lines of an error in one, without the folder's name, which is another one each time.
fn error(outcome: &Outcome, disk: &SmallDisk) -> String {
    let said = outcome.stderr.replace(disk.0.path().to_str().unwrap(), "");
    let lines = said.lines().filter(|line| !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join("; ")
}

#[test]
#[ignore = "mounts a file system: `cargo xtask vm` runs it"]
fn a_full_disk_is_an_error_with_a_remedy() {
    let disk = SmallDisk::make("64k");
    disk.fill();
    let outcome = captured(&disk);
    let said = error(&outcome, &disk);
    judge(
        "no room for the report",
        "an error that says what to do; the text report is there",
        format!("{}: {said}", outcome.status),
        outcome.status.code().is_some_and(|code| code != 0)
            && said.contains("No space left")
            && said.contains("try:")
            && outcome.stdout.contains("waiting for a CPU"),
    );
}

#[test]
#[ignore = "mounts a file system: `cargo xtask vm` runs it"]
fn a_read_only_disk_is_an_error_before_anything_runs() {
    let disk = SmallDisk::make("64k");
    disk.make_read_only();
    let outcome = captured(&disk);
    let said = error(&outcome, &disk);
    judge(
        "a read-only place for the report",
        "an error that says what to do, before the command is started",
        format!("{}: {said}", outcome.status),
        outcome.status.code().is_some_and(|code| code != 0)
            && said.contains("Read-only file system")
            && !outcome.stdout.contains("TRUTH"),
    );
}
