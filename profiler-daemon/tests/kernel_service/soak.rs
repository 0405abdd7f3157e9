//! What the service takes over time, under a mix of servers, scripts and programs that live for milliseconds.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::judge::lives;
use crate::serve::Serve;
use crate::support::{Program, folder, free_port, installed, kernel};

/// How long it lasts; `PROFILERD_SOAK_SECONDS=1800` for the long form.
const SECONDS: u64 = 75;
/// Most resident memory.
const MOST_MIB: f64 = 120.0;
/// By how much the second half may need more than the first: less than what grows without end would show in half an hour.
const MORE_MIB: f64 = 8.0;
const MORE_FILES: usize = 12;
/// What it may cost of the machine, in percent, and how much more is let pass where other guests take their part.
const MOST_CPU: f64 = 1.0;
const NOISE: f64 = 3.0;

const SCRIPT: &str = "\
import http.client, sys, threading, time
end = time.time() + float(sys.argv[2])
def ask():
    server = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))
    while time.time() < end:
        server.request('GET', '/'); server.getresponse().read(); time.sleep(0.005)
def compute():
    while time.time() < end:
        sum(i * i for i in range(20000)); time.sleep(0.02)
threads = [threading.Thread(target=what) for what in (ask, ask, compute)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
";

/// Redis that is asked 500 times a second, nginx 400 times, a computing script, fifty programs a second.
fn mix(folder: &std::path::Path, seconds: u64) -> Option<Vec<Program>> {
    let silent = |command: &mut Command| Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()));
    let seconds = seconds.to_string();
    let (redis, web) = (free_port().to_string(), free_port());
    let mut server = Command::new(installed(&["redis-server"])?);
    server.args(["--bind", "127.0.0.1", "--port", &redis, "--save", "", "--appendonly", "no"]);
    let mut programs = vec![Program::serve(&mut server, redis.parse().unwrap())];
    let settings = folder.join("nginx.conf");
    let text = format!(
        "worker_processes 2; daemon off; pid {0}/nginx.pid; error_log {0}/error.log;\n\
         events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{web}; location / {{ return 200 \"hello\"; }} }} }}\n",
        folder.display()
    );
    fs::write(&settings, text).unwrap();
    programs.push(Program::serve(Command::new(installed(&["nginx"])?).arg("-c").arg(&settings), web));
    let mut ask = Command::new(installed(&["redis-cli"])?);
    programs.push(silent(ask.args(["-p", &redis, "-r", "1000000000", "-i", "0.002", "ping"])));
    let mut script = Command::new(installed(&["python3"])?);
    programs.push(silent(script.args(["-c", SCRIPT, &web.to_string(), &seconds])));
    let storm = "while :; do for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; sleep 0.17; done";
    programs.push(silent(Command::new("timeout").args([&seconds, "bash", "-c", storm])));
    Some(programs)
}

/// What it has now.
#[derive(Clone, Copy, Debug)]
struct Taken {
    resident_mib: f64,
    files: usize,
    /// The daemon's and the kernel programs', since their starts.
    cpu_s: f64,
}

fn taken(serve: &Serve<'_>) -> Taken {
    let pid = serve.pid();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kib = |name: &str| -> f64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    let cpu = |name: &str| serve.metric(name).unwrap();
    Taken {
        resident_mib: kib("VmRSS:") / 1024.0,
        files: fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count(),
        cpu_s: cpu("profilerd_daemon_cpu_seconds_total") + cpu("profilerd_kernel_programs_cpu_seconds_total"),
    }
}

#[test]
fn it_takes_no_more_the_longer_it_runs() {
    let Some(kernel) = kernel() else { return };
    let seconds = std::env::var("PROFILERD_SOAK_SECONDS").ok().map_or(SECONDS, |text| text.parse().unwrap());
    let folder = folder();
    let Some(_mix) = mix(folder.path(), seconds + 60) else { return };
    // As it is shipped.
    let mut serve = Serve::start(&kernel, "[log]\ntarget = \"stderr\"\n");
    // The tables and names of all that runs are made once.
    std::thread::sleep(Duration::from_secs(15));
    let begin = Instant::now();
    let mut all = vec![taken(&serve)];
    while begin.elapsed().as_secs() < seconds - 15 {
        std::thread::sleep(Duration::from_secs((seconds / 60).clamp(2, 20)));
        all.push(taken(&serve));
    }
    let (first, second) = all.split_at(all.len() / 2);
    let most = |part: &[Taken]| {
        let resident = part.iter().map(|it| it.resident_mib).fold(0.0, f64::max);
        (resident, part.iter().map(|it| it.files).max().unwrap())
    };
    let ((early_mib, early_files), (late_mib, late_files)) = (most(first), most(second));
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    let cpu = (all[all.len() - 1].cpu_s - all[0].cpu_s) / begin.elapsed().as_secs_f64() / cpus * 100.0;
    let level = serve.metric("profilerd_detail_level").unwrap();
    println!(
        "{seconds} s: resident at most {early_mib:.1} and then {late_mib:.1} MiB, files {early_files} and {late_files}, \
         {cpu:.2} % of the machine, kernel programs included, at detail level {level}"
    );
    serve.end(Signal::SIGTERM);
    assert_eq!(serve.count("a window is lost"), 0, "{}", serve.log());
    if seconds <= 600 {
        lives(&serve.windows());
    }
    assert!(early_mib.max(late_mib) <= MOST_MIB, "{all:?}");
    assert!(late_mib <= early_mib + MORE_MIB, "{all:?}");
    assert!(late_files <= early_files + MORE_FILES, "{all:?}");
    assert!(cpu <= MOST_CPU * NOISE, "{cpu}");
}
