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
    let waited_ns = truth.number("waited_ns");
    judge(
        "loopback with 20 ms a packet (netem)",
        "class socket-recv, median 40 ms (there and back), no more than the client measured",
        format!("median {} of class socket-recv, {} of {}", ms(middle), ms(recv_ns), ms(waited_ns)),
        (39 * MS..55 * MS).contains(&middle) && recv_ns >= 25 * 39 * MS && recv_ns * 100 <= waited_ns * 101,
    );
}
