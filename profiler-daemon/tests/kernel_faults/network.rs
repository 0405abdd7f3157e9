//! A network that is slow.

use crate::guest::{SlowLoopback, judge, kernel, median, ms, truth};
use crate::support::{MS, Wait, workload};

#[test]
#[ignore = "delays the loopback: `cargo xtask vm` runs it"]
fn a_slow_network_is_a_wait_for_the_peer() {
    let kernel = kernel();
    let _slow = SlowLoopback::make("20ms");
    let faults = workload("faults");
    let (report, outcome) = kernel.record_words(["-q", "--", faults.to_str().unwrap(), "echo", "25"]);
    let truth = truth(&outcome.stdout);
    let tid = truth.number("tid");
    let recv_ns = report.thread(tid).ledger.class("socket-recv");
    let is_answer = |wait: &&Wait| u64::from(wait.tid) == tid && wait.class == "socket-recv";
    let middle = median(report.waits.iter().filter(is_answer).map(|wait| wait.duration_ns).collect());
    let share = recv_ns as f64 / truth.number("waited_ns") as f64;
    judge(
        "loopback with 20 ms a packet (netem)",
        "class socket-recv, median 40 ms (there and back)",
        format!("median {} of class socket-recv, {:.1} % of what it measured", ms(middle), share * 100.0),
        (39 * MS..55 * MS).contains(&middle) && (0.9..1.01).contains(&share),
    );
}
