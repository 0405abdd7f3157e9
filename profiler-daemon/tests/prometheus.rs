//! The page of metrics against a real Prometheus: its own judge accepts the page, it scrapes it, and every
//! panel of the dashboard finds data. The recordings are made up, so this needs no kernel.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use profilerd::model::{Ledger, Program as Labels, Recording, ThreadTime, UnixNs, WaitClass};
use profilerd::telemetry::{DestinationCounts, Server, StoreCounts, Telemetry};
use support::{Program, folder, free_port, installed, poll};

const DASHBOARD: &str = include_str!("../../systemd/grafana-dashboard.json");
const MS: u64 = 1_000_000;

/// A machine with three services, as one window sees it.
fn recording() -> Recording {
    let mut recording = Recording::default();
    for (pid, service, unit) in
        [(10, "web", Some("nginx.service")), (11, "cart \"{x}\" \\ é", None), (12, "jobs", Some("cron.service"))]
    {
        recording.programs.push(Labels {
            pid,
            service: service.into(),
            unit: unit.map(Into::into),
            executable: Some("/usr/bin/x".into()),
            ..Labels::default()
        });
        let mut ledger =
            Ledger { on_cpu_ns: 100 * MS, run_queue_ns: 20 * MS, blocked_ns: 380 * MS, ..Ledger::default() };
        ledger.wall_ns = 500 * MS;
        for class in WaitClass::ALL {
            ledger.off_cpu_ns[class as usize] = 30 * MS;
        }
        recording.capture.threads.push(ThreadTime { pid, tid: pid, ledger, ..ThreadTime::default() });
    }
    recording.context.cpus = 2;
    recording.context.rate_hz = 19;
    recording.context.overhead.kernel_ns = Some(MS);
    recording.context.overhead.kernel_memory_bytes = 8 << 20;
    recording.context.losses.by_cause.insert("maps_unreadable", 2);
    recording
}

/// All that a running service tells with each window, and how many there were before.
fn tell(telemetry: &Telemetry, windows: u64) {
    telemetry.observe(&recording());
    telemetry.alive();
    telemetry.set_ready(true);
    telemetry.stage("close", Duration::from_millis(12));
    telemetry.queue("windows", 1, 8);
    telemetry.lost("window_not_stored", 1);
    let windows = windows + 1;
    telemetry.destination(
        "collector",
        &DestinationCounts {
            taken: windows,
            bytes: 4096 * windows,
            last_taken: Some(UnixNs(1)),
            ..DestinationCounts::default()
        },
    );
    telemetry.detail_level(0);
    telemetry.store(&StoreCounts {
        bytes: 1 << 30,
        windows,
        stored: windows,
        oldest: Some(UnixNs(1)),
        ..StoreCounts::default()
    });
    telemetry.reloaded(true);
}

#[test]
fn promtool_accepts_the_page() {
    let Some(promtool) = installed(&["promtool"]) else { return };
    let telemetry = Telemetry::new(10);
    for when in ["at first", "in service"] {
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(telemetry.page().as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success() && said.is_empty(), "{when}: {said}\n{}", telemetry.page());
        tell(&telemetry, 0);
    }
}

#[test]
fn every_panel_of_the_dashboard_finds_data() {
    let (Some(prometheus), Some(promtool)) = (installed(&["prometheus"]), installed(&["promtool"])) else { return };
    let telemetry = Arc::new(Telemetry::new(10));
    let server = Server::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::clone(&telemetry)).unwrap();
    let folder = folder();
    let port = free_port();
    let _running = Program::serve(&mut prometheus_of(&prometheus, folder.path(), server.address(), port), port);
    let url = format!("http://127.0.0.1:{port}");

    let done = AtomicBool::new(false);
    let missing = thread::scope(|scope| {
        scope.spawn(|| {
            for windows in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
                tell(&telemetry, windows);
                thread::sleep(Duration::from_millis(300));
            }
        });
        let mut missing = queries();
        assert!(missing.len() > 20, "{} queries", missing.len());
        poll(Duration::from_secs(60), || {
            missing.retain(|(_, expression)| !finds_data(&promtool, &url, expression));
            missing.is_empty()
        });
        done.store(true, Ordering::Relaxed);
        missing
    });
    assert!(missing.is_empty(), "no data: {missing:#?}\n{}", telemetry.page());
}

fn prometheus_of(prometheus: &Path, folder: &Path, target: SocketAddr, port: u16) -> Command {
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs:\n  - job_name: profilerd\n    static_configs:\n      - targets: ['{target}']\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(prometheus);
    command.arg(format!("--config.file={}", config.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn").stderr(Stdio::null());
    command
}

/// Panel and expression of every query, with Grafana's own variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}", "{title}");
            let expression = target["expr"].as_str().unwrap();
            let expression =
                expression.replace("$__rate_interval", "10s").replace("$service", ".*").replace("$instance", ".*");
            assert!(!expression.contains('$'), "{expression}");
            queries.push((title.to_owned(), expression));
        }
    }
    queries
}

/// Whether there is a series with a number.
fn finds_data(promtool: &Path, url: &str, expression: &str) -> bool {
    let output = Command::new(promtool).args(["query", "instant", url, expression]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // `{labels} => value @[time]`, a line a series.
    let number = |line: &str| line.rsplit_once("=> ")?.1.split(' ').next()?.parse::<f64>().ok();
    let found = text.lines().filter_map(number).any(f64::is_finite);
    assert!(output.status.success(), "{expression}: {}", String::from_utf8_lossy(&output.stderr));
    found
}
