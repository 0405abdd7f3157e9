#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use super::*;
use crate::model::{Ledger, Program, ThreadTime, UnixNs};

const MS: u64 = 1_000_000;

fn program(pid: u32, generation: u32, service: &str, unit: &str) -> Program {
    let executable = Some("/bin/x".into());
    Program { pid, generation, service: service.into(), unit: Some(unit.into()), executable, ..Program::default() }
}

/// A thread that executed so long, waited for a CPU as long, and slept ten times as long.
fn thread(pid: u32, generation: u32, on_cpu_ns: u64) -> ThreadTime {
    let mut ledger = Ledger {
        wall_ns: 12 * on_cpu_ns,
        on_cpu_ns,
        run_queue_ns: on_cpu_ns,
        throttled_ns: on_cpu_ns / 2,
        ..Ledger::default()
    };
    ledger.blocked_ns = 10 * on_cpu_ns;
    ledger.off_cpu_ns[WaitClass::Sleep as usize] = 11 * on_cpu_ns;
    ThreadTime { pid, tid: pid, generation, comm: format!("comm{pid}").into(), ledger, ..ThreadTime::default() }
}

fn recording(programs: Vec<Program>, threads: Vec<ThreadTime>) -> Recording {
    let mut recording = Recording { programs, ..Recording::default() };
    recording.capture.threads = threads;
    recording
}

/// Services that executed for so many milliseconds.
fn services(names: &[(&str, u64)]) -> Recording {
    let programs = names.iter().zip(1..).map(|((name, _), pid)| program(pid + 10, 0, name, "")).collect();
    recording(programs, names.iter().zip(1..).map(|((_, ms), pid)| thread(pid + 10, 0, ms * MS)).collect())
}

/// The value of a series, if it is on the page.
fn value(telemetry: &Telemetry, series: &str) -> Option<f64> {
    telemetry.page().lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

#[track_caller]
fn check(telemetry: &Telemetry, series: &str, expected: Option<f64>) {
    assert_eq!(value(telemetry, series), expected, "{series}\n{}", telemetry.page());
}

#[test]
fn time_is_summed_by_service_and_unit() {
    let telemetry = Telemetry::new(10);
    let programs =
        vec![program(1, 0, "old", "a.service"), program(1, 1, "new", "a.service"), program(2, 0, "new", "a.service")];
    telemetry.observe(&recording(
        programs,
        vec![thread(1, 0, 5 * MS), thread(1, 1, MS), thread(2, 3, 2 * MS), thread(9, 0, 4 * MS)],
    ));
    check(&telemetry, "profilerd_on_cpu_seconds_total{service=\"old\",unit=\"a.service\"}", Some(0.005));
    check(&telemetry, "profilerd_on_cpu_seconds_total{service=\"new\",unit=\"a.service\"}", Some(0.003));
    check(&telemetry, "profilerd_run_queue_seconds_total{service=\"new\",unit=\"a.service\"}", Some(0.003));
    check(&telemetry, "profilerd_throttled_seconds_total{service=\"new\",unit=\"a.service\"}", Some(0.0015));
    check(&telemetry, "profilerd_blocked_seconds_total{service=\"new\",unit=\"a.service\"}", Some(0.03));
    let sleep = "profilerd_off_cpu_seconds_total{class=\"sleep\",service=\"new\",unit=\"a.service\"}";
    check(&telemetry, sleep, Some(0.033));
    check(&telemetry, &sleep.replace("sleep", "pipe"), None);
    check(&telemetry, "profilerd_on_cpu_seconds_total{service=\"comm9\",unit=\"\"}", Some(0.004));
}

#[test]
fn threads_of_the_kernel_are_one_service() {
    let worker = |pid, name: &str| Program { pid, parent: 2, service: name.into(), ..Program::default() };
    let programs = vec![worker(30, "kworker/0:1-events"), worker(31, "kworker/1:3-mm")];
    let times = by_service(&recording(programs, vec![thread(30, 0, MS), thread(31, 0, MS)]));
    assert_eq!((times.len(), &*times[0].service, times[0].ledger.on_cpu_ns), (1, "[kernel]", 2 * MS));
}

#[test]
fn what_has_no_series_of_its_own_is_in_the_rest() {
    let telemetry = Telemetry::new(2);
    telemetry.observe(&services(&[("small", 1), ("big", 4), ("middle", 2)]));
    let on_cpu = |service: &str| {
        value(&telemetry, &format!("profilerd_on_cpu_seconds_total{{service=\"{service}\",unit=\"\"}}"))
    };
    assert_eq!(
        [on_cpu("big"), on_cpu("middle"), on_cpu("small"), on_cpu("[other]")],
        [Some(0.004), Some(0.002), None, Some(0.001)]
    );
    // It takes the place of one that is gone and was lighter by half.
    telemetry.observe(&services(&[("big", 4), ("grown", 3)]));
    assert_eq!([on_cpu("grown"), on_cpu("middle"), on_cpu("[other]")], [None, Some(0.002), Some(0.004)]);
    telemetry.observe(&services(&[("big", 4), ("grown", 5)]));
    assert_eq!([on_cpu("grown"), on_cpu("middle"), on_cpu("[other]")], [Some(0.005), None, Some(0.004)]);
    assert!(!telemetry.page().contains("middle"), "all of its series end");
    // Being there all the time is no reason to stay.
    telemetry.observe(&services(&[("big", 4), ("grown", 1), ("giant", 100)]));
    assert_eq!([on_cpu("giant"), on_cpu("grown"), on_cpu("[other]")], [Some(0.1), None, Some(0.005)]);
}

/// Whatever comes and goes: nothing gets lost, and no more series than there may be.
#[test]
fn all_time_is_on_the_page_once() {
    let mut shown = Shown::new(5);
    let mut random = 12345_u64;
    for _ in 0..200 {
        let mut names = Vec::new();
        for name in 0..20 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            names.push((format!("s{name}"), (random >> 33) % 100));
        }
        names.retain(|(_, ms)| *ms > 50);
        let names: Vec<(&str, u64)> = names.iter().map(|(name, ms)| (name.as_str(), *ms)).collect();
        let update = shown.update(by_service(&services(&names)));
        let sum: u64 = update.times.iter().map(|time| time.ledger.on_cpu_ns).sum();
        assert_eq!(sum, names.iter().map(|(_, ms)| ms * MS).sum::<u64>());
        assert!(update.times.len() <= 6 && shown.weights.len() <= 5);
        assert!(update.gone.iter().all(|gone| update.times.iter().all(|time| time.service != gone.service)));
    }
}

#[test]
fn nothing_measured_is_nothing_shown() {
    let telemetry = Telemetry::new(10);
    for series in ["store_bytes", "last_window_age_seconds", "kernel_programs_cpu_seconds_total", "deliveries_total"] {
        assert!(!telemetry.page().contains(&format!("\nprofilerd_{series}")), "{series}");
    }
    for cause in profiler_common::fault::NAMES {
        check(&telemetry, &format!("profilerd_lost_total{{cause=\"{cause}\"}}"), Some(0.0));
    }
    let mut measured = recording(Vec::new(), Vec::new());
    measured.context.overhead.kernel_ns = Some(0);
    measured.context.losses.by_cause.insert("maps_unreadable", 3);
    telemetry.observe(&measured);
    check(&telemetry, "profilerd_kernel_programs_cpu_seconds_total", Some(0.0));
    check(&telemetry, "profilerd_lost_total{cause=\"maps_unreadable\"}", Some(3.0));
    assert!(value(&telemetry, "profilerd_last_window_age_seconds").unwrap() < 60.0);
    assert!(value(&telemetry, "profilerd_memory_bytes{part=\"resident\"}").unwrap() > 1e6);
    assert!(value(&telemetry, "profilerd_daemon_cpu_seconds_total").unwrap() > 0.0);
}

#[test]
fn destinations_come_and_go() {
    let telemetry = Telemetry::new(10);
    let mut counts = DestinationCounts { taken: 1, bytes: 1000, ..DestinationCounts::default() };
    telemetry.destination("main", &counts);
    check(&telemetry, "profilerd_deliveries_total{destination=\"main\",result=\"failed\"}", Some(0.0));
    counts = DestinationCounts { failed: 2, waiting_windows: 7, last_taken: Some(UnixNs(5_000_000_000)), ..counts };
    telemetry.destination("main", &counts);
    check(&telemetry, "profilerd_deliveries_total{destination=\"main\",result=\"success\"}", Some(1.0));
    check(&telemetry, "profilerd_deliveries_total{destination=\"main\",result=\"failed\"}", Some(2.0));
    check(&telemetry, "profilerd_delivered_bytes_total{destination=\"main\"}", Some(1000.0));
    check(&telemetry, "profilerd_backlog_windows{destination=\"main\"}", Some(7.0));
    check(&telemetry, "profilerd_last_delivery_timestamp_seconds{destination=\"main\"}", Some(5.0));
    telemetry.forget_destination("main");
    assert!(!telemetry.page().contains("main"));
}

#[test]
fn the_store_tells_what_became_of_windows() {
    let telemetry = Telemetry::new(10);
    telemetry.store(&StoreCounts { bytes: 10, windows: 3, stored: 5, removed_age: 2, ..StoreCounts::default() });
    telemetry.store(&StoreCounts { bytes: 20, windows: 4, stored: 7, removed_age: 3, ..StoreCounts::default() });
    check(&telemetry, "profilerd_store_bytes", Some(20.0));
    check(&telemetry, "profilerd_store_windows", Some(4.0));
    check(&telemetry, "profilerd_store_window_fates_total{fate=\"stored\"}", Some(7.0));
    check(&telemetry, "profilerd_store_window_fates_total{fate=\"removed_age\"}", Some(3.0));
    check(&telemetry, "profilerd_store_window_fates_total{fate=\"dropped_error\"}", Some(0.0));
    assert!(!telemetry.page().contains("oldest"), "an empty store has none");
}

#[test]
fn names_from_strangers_stay_labels() {
    let telemetry = Telemetry::new(10);
    let name = format!("x\"}} 1\nprofilerd_forged 1\n\\{}", "é".repeat(500));
    telemetry.observe(&services(&[(&name, 1)]));
    assert!(!telemetry.page().contains("\nprofilerd_forged"));
    assert!(telemetry.page().lines().all(|line| line.len() < 400), "cut");
}

fn get(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn the_server_answers_for_this_machine() {
    let telemetry = Arc::new(Telemetry::new(10));
    let server = Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::clone(&telemetry)).unwrap();
    let ask = |line: &str, host: &str| {
        let response = get(server.address(), &format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        let status: u16 = response[9..12].parse().unwrap();
        (status, response)
    };
    let local = server.address().to_string();
    assert_eq!(ask("GET /readyz", &local).0, 503);
    telemetry.set_ready(true);
    for (line, host, status) in [
        ("GET /readyz", &*local, 200),
        ("GET /healthz", "localhost", 200),
        ("GET /metrics?x=y", "[::1]:80", 200),
        ("HEAD /metrics", "LOCALHOST:9750", 200),
        ("GET /", &local, 404),
        ("POST /metrics", &local, 405),
        ("GET /metrics", "evil.example", 403),
        ("GET /metrics", "127.0.0.1.evil.example:80", 403),
    ] {
        assert_eq!(ask(line, host).0, status, "{line} {host}");
    }
    let (_, page) = ask("GET /metrics", &local);
    assert!(page.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("\nprofilerd_windows_total 0\n"), "{page}");
    telemetry.state().last_sign -= PATIENCE;
    assert_eq!(ask("GET /healthz", &local).0, 503);
    telemetry.alive();
    assert_eq!(ask("GET /healthz", &local).0, 200);
    let taken = Server::start(server.address(), telemetry).unwrap_err();
    assert!(taken.remedy().unwrap().contains("another port"), "{taken}");
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let server = Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::new(Telemetry::new(10))).unwrap();
    let silent: Vec<_> =
        (0..server::MOST_CONNECTIONS + 10).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let response = get(server.address(), "GET /healthz HTTP/1.0\r\n\r\n");
    assert!(response.contains("alive"), "{response}");
    drop(silent);
}
