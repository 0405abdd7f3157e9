//! A stack that is recognised is the same stack: in a test mode each is walked all the same.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::process::{Command, Stdio};

use support::{Program, Report, free_port, installed, kernel, workload};

/// Recognised stacks of blocked threads that must have been compared.
const COMPARED: u64 = 100_000;

#[derive(Default)]
struct Compared {
    user: u64,
    kernel: u64,
    differing: u64,
}

impl Compared {
    fn add(&mut self, what: &str, report: &Report) {
        let (user, kernel) = (&report.overhead.user_stack_memo, &report.overhead.kernel_stack_memo);
        let differing = report.loss("memo_mismatch");
        println!(
            "  {what:7} user {} recognised, {} walked; kernel {} recognised, {} walked; {differing} differ",
            user.recognised, user.walked, kernel.recognised, kernel.walked
        );
        self.user += user.recognised;
        self.kernel += kernel.recognised;
        self.differing += differing;
    }
}

#[test]
fn a_hundred_thousand_recognised_stacks_are_the_ones_a_walk_finds() {
    let Some(kernel) = kernel() else { return };
    let mut compared = Compared::default();
    for kind in ["futex", "pipe", "socket"] {
        let pingpong = workload("pingpong");
        let (report, _) = kernel.record_words(["-q", "--verify-memo", "--", pingpong.to_str().unwrap(), kind, "25000"]);
        compared.add(kind, &report);
    }
    let scratch = support::folder();
    let waits = workload("waits");
    let command = ["-q", "--verify-memo", "--", waits.to_str().unwrap(), "2", scratch.path().to_str().unwrap()];
    let (report, _) = kernel.record_words(command);
    compared.add("waits", &report);
    if let (Some(server), Some(benchmark)) = (installed(&["redis-server"]), installed(&["redis-benchmark"])) {
        let port = free_port();
        let number = port.to_string();
        let mut command = Command::new(server);
        command.args(["--bind", "127.0.0.1", "--port", &number, "--save", "", "--appendonly", "no"]);
        let redis = Program::serve(&mut command, port);
        // One request at a time: every one is a block of the server.
        let mut load = Command::new(benchmark);
        load.args(["-p", &number, "-c", "1", "-n", "100000000", "-t", "set,get"]);
        let _load = Program::start(load.stdin(Stdio::null()).stdout(Stdio::null()));
        let (report, _) = kernel.record(&format!("-q --verify-memo --pid {} --duration 3s", redis.pid()));
        compared.add("redis", &report);
    }
    println!("{} user and {} kernel stacks, {} differ", compared.user, compared.kernel, compared.differing);
    assert_eq!(compared.differing, 0);
    assert!(compared.user >= COMPARED && compared.kernel >= COMPARED, "too few to say anything");
}
