//! Memory that runs out: the target's, and the profiler's own.

use std::process::Command;
use std::time::Duration;

use crate::guest::{Cgroup, judge, kernel, ms, start, wait_until_attached};
use crate::support::bpf::{held_by, loaded};
use crate::support::{Report, folder, poll, run, workload};

const DEADLINE: Duration = Duration::from_secs(15);

#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_target_without_memory_leaves_a_report() {
    let kernel = kernel();
    let cgroup = Cgroup::make("small", &[("memory.max", "24M")]);
    let folder = folder();
    let json = folder.path().join("report.json");
    let mut profilerd = kernel.profilerd(["-q", "-o"]);
    let faults = workload("faults");
    let eat = cgroup.enter(vec![faults.to_str().unwrap(), "eat", "400"]);
    let outcome = run(profilerd.arg(&json).arg("--").args(eat));
    let report = Report::read(&json);
    report.assert_closes();
    let eater = report.thread_named("faults");
    let kills = cgroup.number("memory.events", "oom_kill ");
    judge(
        "the target is out of memory (memory.max)",
        "it is killed, its report is whole",
        format!("{kills} killed, {}, ledger of {}", outcome.status, ms(eater.ledger.wall_ns)),
        kills == 1 && eater.ended && eater.ledger.wall_ns > 0,
    );
}

#[test]
#[ignore = "makes a cgroup: `cargo xtask vm` runs it"]
fn a_profiler_without_memory_takes_nothing_with_it() {
    let kernel = kernel();
    let mut target = start(Command::new("sleep").arg("600"));
    let cgroup = Cgroup::make("small", &[]);
    let profilerd = kernel.profilerd(["--all"]);
    let words = cgroup.enter(vec![profilerd.get_program().to_str().unwrap(), "--all"]);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    let mut profilerd = start(&mut command);
    wait_until_attached(&mut profilerd);
    let held = held_by(profilerd.pid());
    cgroup.set("memory.max", "4M");
    let ended = profilerd.wait(DEADLINE);
    let is_gone = poll(DEADLINE, || loaded().and(&held).is_empty());
    let kills = cgroup.number("memory.events", "oom_kill ");
    judge(
        "the profiler is out of memory (memory.max)",
        "nothing is left attached, the target runs on",
        format!(
            "{kills} killed, {}, its {} programs {}",
            ended.map_or("runs on".to_owned(), |status| status.to_string()),
            held.programs.len(),
            if is_gone { "are gone" } else { "are still there" }
        ),
        kills >= 1 && ended.is_some() && is_gone && target.has_ended().is_none(),
    );
}
