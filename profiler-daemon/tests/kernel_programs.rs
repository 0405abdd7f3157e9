//! Programs that nobody here wrote, under load: Debian's packages on the loopback.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use object::{Object, ObjectSegment, ObjectSymbol, SymbolKind};
use support::{OnCpu, Program, Report, folder, free_port, installed, kernel};

/// Of the on-CPU time of places that have a symbol, at least this much is shown by its name.
const NAMED: f64 = 0.95;

fn quiet(command: &mut Command) -> &mut Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Whether a symbol of this file covers this file offset: what `nm` and `nm -D` would say.
fn has_symbol(module: &str, file_offset: u64) -> bool {
    let Ok(bytes) = fs::read(module) else { return false };
    let Ok(elf) = object::File::parse(&*bytes) else { return false };
    let address = elf.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        (start..start + size).contains(&file_offset).then(|| segment.address() + file_offset - start)
    });
    let Some(address) = address else { return false };
    let covers = |symbol: object::Symbol<'_, '_>| {
        symbol.kind() == SymbolKind::Text && (symbol.address()..symbol.address() + symbol.size()).contains(&address)
    };
    elf.symbols().any(covers) || elf.dynamic_symbols().any(covers)
}

/// The offset, if the place is shown as `module+0xoffset` for want of a name.
fn unnamed_offset(place: &OnCpu) -> Option<u64> {
    let module = Path::new(place.module.as_deref()?).file_name()?.to_str()?;
    let offset = place.function.strip_prefix(module)?.strip_prefix("+0x")?;
    u64::from_str_radix(offset, 16).ok()
}

fn check(what: &str, report: &Report) {
    let (mut named_ns, mut no_symbol_ns, mut missed) = (0, 0, Vec::new());
    for place in report.on_cpu.iter().filter(|place| place.self_ns > 0) {
        match unnamed_offset(place) {
            // A remark in place of a frame, such as a stack that is missing, names nothing.
            None if place.kind != "note" => named_ns += place.self_ns,
            Some(offset) if place.kind != "kernel" && !has_symbol(place.module.as_deref().unwrap_or(""), offset) => {
                no_symbol_ns += place.self_ns;
            }
            _ => missed.push((&place.function, place.self_ns)),
        }
    }
    let missed_ns: u64 = missed.iter().map(|(_, ns)| ns).sum();
    let named = named_ns as f64 / (named_ns + missed_ns).max(1) as f64;
    let all = (named_ns + missed_ns + no_symbol_ns).max(1) as f64;
    let total = report.total();
    println!(
        "{what}: {} threads, {} waits, on-CPU {:.2} s, residual at worst {:.4} per mille, unseen {:.3} % of wall; \
         named {:.2} % where a symbol exists, {:.2} % of the time has none",
        report.threads.len(),
        report.threads.iter().map(|thread| thread.blocks).sum::<u64>(),
        total.on_cpu_ns as f64 / 1e9,
        report.worst_residual(),
        total.unseen_ns as f64 * 100.0 / total.wall_ns as f64,
        named * 100.0,
        no_symbol_ns as f64 * 100.0 / all,
    );
    let overhead = &report.overhead;
    println!(
        "  {:.1} MiB at most, {:.0} ms for symbols and report, daemon {:.2} % of a CPU",
        overhead.peak_rss_bytes as f64 / 1048576.0,
        overhead.finish_ns as f64 / 1e6,
        overhead.daemon_ns as f64 * 100.0 / report.window.duration_ns as f64
    );
    assert!(overhead.peak_rss_bytes <= 60 << 20, "{what}: {} bytes resident", overhead.peak_rss_bytes);
    assert!(overhead.finish_ns <= 1_000_000_000, "{what}: {} ns for symbols and report", overhead.finish_ns);
    let lost: Vec<_> = report.losses.iter().filter(|(_, count)| **count > 0).collect();
    println!("  losses {lost:?}, not named: {missed:?}");
    assert!(total.on_cpu_ns > 100_000_000, "{what} was under load");
    assert!(total.unseen_ns * 100 < total.wall_ns, "{what}: 1 % is unseen: {total:?}");
    assert!(named >= NAMED, "{what}: only {:.2} % is named: {missed:?}", named * 100.0);
}

#[test]
fn redis_under_redis_benchmark() {
    let Some(kernel) = kernel() else { return };
    let (Some(server), Some(benchmark)) = (installed(&["redis-server"]), installed(&["redis-benchmark"])) else {
        return;
    };
    let (data, port) = (folder(), free_port());
    let redis = Program::serve(
        Command::new(server)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--port", &port.to_string()])
            .arg("--dir")
            .arg(data.path()),
        port,
    );
    let _load = Program::start(quiet(Command::new(benchmark).args(["-p", &port.to_string()]).args([
        "-c",
        "20",
        "-n",
        "100000000",
        "-t",
        "set",
    ])));
    let (report, _) = kernel.record(&format!("-q --pid {} --duration 4s", redis.pid()));
    check("redis", &report);
    let server = report.thread_named("redis-server");
    assert!(server.ledger.class("poll-idle") > 0 || server.ledger.preempted_ns > 0, "{:?}", server.ledger);
    assert!(report.threads.len() >= 4, "its background threads, too: {:?}", report.names());
}

#[test]
fn nginx_under_wrk() {
    let Some(kernel) = kernel() else { return };
    let (Some(nginx), Some(wrk)) = (installed(&["nginx"]), installed(&["wrk"])) else { return };
    let (data, port) = (folder(), free_port());
    let at = data.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {at}/{what};"))
        .concat();
    let configuration = format!(
        "daemon off; user root; worker_processes 1; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {at}; }} }}"
    );
    let file = data.path().join("nginx.conf");
    fs::write(&file, configuration).unwrap();
    fs::write(data.path().join("index.html"), "x".repeat(4096)).unwrap();
    let server = Program::serve(
        Command::new(nginx)
            .arg("-p")
            .arg(data.path())
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(data.path().join("error.log")),
        port,
    );
    let url = format!("http://127.0.0.1:{port}/index.html");
    let _load = Program::start(quiet(Command::new(wrk).args(["-t", "1", "-c", "16", "-d", "30", &url])));
    let (report, _) = kernel.record(&format!("-q --pid {} --tree --duration 4s", server.pid()));
    check("nginx", &report);
    assert_eq!(report.processes.len(), 2, "master and worker: {:?}", report.names());
}

#[test]
fn postgres_under_pgbench() {
    let Some(kernel) = kernel() else { return };
    let folders = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let Some(bin) = folders.map(|it| it.path().join("bin")).find(|bin| bin.join("initdb").exists()) else {
        support::skip::<()>("needs postgresql");
        return;
    };
    let port = free_port().to_string();
    // Not below the build's folder: root may not run it, and its user must get there.
    let base = tempfile::Builder::new().prefix("profilerd").tempdir().unwrap();
    fs::set_permissions(base.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let cluster = base.path().join("cluster");
    let as_user = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "TERM"]);
        command.arg(bin.join(program)).current_dir(base.path());
        command
    };
    let pgbench = |arguments: &[&str]| {
        let mut command = as_user("pgbench");
        command.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres"]).args(arguments).arg("postgres");
        command
    };
    support::run(as_user("initdb").args(["--auth=trust", "--no-sync", "-D"]).arg(&cluster)).well();
    let mut command = as_user("postgres");
    command.arg("-D").arg(&cluster).args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-k"]).arg(base.path());
    let server = Program::serve(command.stderr(Stdio::null()), port.parse().unwrap());
    // It listens before it has started up.
    let ready = || {
        let mut command = as_user("pg_isready");
        support::run(command.args(["-q", "-h", "127.0.0.1", "-p", &port])).status.success()
    };
    assert!(support::poll(Duration::from_secs(20), ready));
    support::run(&mut pgbench(&["-i", "-q", "-s", "1"])).well();
    let _load = Program::start(quiet(&mut pgbench(&["-c", "4", "-T", "30"])));
    // Its four servers are born by then.
    let born = || children(server.pid()) >= 9;
    assert!(support::poll(Duration::from_secs(5), born));
    let (report, _) = kernel.record(&format!("-q --pid {} --tree --duration 5s", server.pid()));
    check("postgres", &report);
    let total = report.total();
    let disk_ns = total.class("disk-io") + total.class("fs-sync");
    println!(
        "  disk {:.2} s, lock {:.2} s, socket-recv {:.2} s",
        disk_ns as f64 / 1e9,
        total.class("lock/futex") as f64 / 1e9,
        total.class("socket-recv") as f64 / 1e9
    );
    assert!(disk_ns > 0, "commits reach the disk: {total:?}");
}

fn children(pid: u32) -> usize {
    let path = format!("/proc/{pid}/task/{pid}/children");
    fs::read_to_string(path).unwrap_or_default().split_whitespace().count()
}

#[test]
fn a_python_script() {
    let Some(kernel) = kernel() else { return };
    let Some(python) = installed(&["/usr/bin/python3", "python3"]) else { return };
    let folder = folder();
    let script = folder.path().join("work.py");
    fs::write(&script, PYTHON).unwrap();
    let (report, outcome) = kernel.record_words(["-q", "--", python.to_str().unwrap(), script.to_str().unwrap()]);
    check("python3", &report);
    assert!(outcome.stdout.starts_with("done"), "{}", outcome.stdout);
    let total = report.total();
    assert!(total.class("sleep") > 500_000_000 && total.class("lock/futex") > 500_000_000, "{total:?}");
    assert!(total.class("wait-child") > 200_000_000, "{total:?}");
}

/// Sorts and prints JSON for two seconds, with a thread that sleeps and a child that is waited for.
const PYTHON: &str = r#"
import json, subprocess, threading, time
sleeper = threading.Thread(target=time.sleep, args=(0.8,))
sleeper.start()
sleeper.join()
subprocess.run(["sleep", "0.3"])
end, turns = time.monotonic() + 2, 0
while time.monotonic() < end:
    rows = [{"key": (i * 7919) % 1000, "text": str(i)} for i in range(1000)]
    json.loads(json.dumps(sorted(rows, key=lambda row: row["key"])))
    turns += 1
print("done", turns)
"#;
