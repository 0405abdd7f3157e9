//! What can be profiled: processes, names, cgroups, the machine; and what is not there.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Program, folder, kernel, workload};

fn pids(report: &support::Report) -> Vec<u32> {
    report.processes.iter().map(|process| process.pid).collect()
}

fn sleeper() -> Program {
    Program::start(Command::new("sleep").arg("30"))
}

#[test]
fn two_processes_and_no_other() {
    let Some(kernel) = kernel() else { return };
    let (one, two, _other) = (sleeper(), sleeper(), sleeper());
    let (report, _) = kernel.record(&format!("-q --pid {} --pid {} --duration 300ms", one.pid(), two.pid()));
    let mut expected = vec![one.pid(), two.pid()];
    expected.sort_unstable();
    assert_eq!(pids(&report), expected);
    assert!(report.threads.iter().all(|thread| thread.ledger.class("sleep") > 290_000_000), "{:?}", report.threads);
}

#[test]
fn processes_by_name_those_to_come_too() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    // A name of its own, and one that is cut to 15 bytes.
    let program = folder.path().join("pd-test-by-name-and-long");
    fs::copy("/bin/sleep", &program).unwrap();
    let before = Program::start(Command::new(&program).arg("30"));
    let other = sleeper();
    let (report, later) = std::thread::scope(|scope| {
        let later = scope.spawn(|| {
            // One after the other, since nobody knows how long a loaded machine takes to begin.
            let born = |_| {
                let born = Program::start(Command::new(&program).arg("0.2"));
                std::thread::sleep(Duration::from_millis(250));
                born.pid()
            };
            (0..12).map(born).collect::<Vec<u32>>()
        });
        let (report, _) = kernel.record("-q --comm pd-test-by-name --duration 2500ms");
        (report, later.join().unwrap())
    });
    println!("{:?}", report.names());
    assert!(pids(&report).contains(&before.pid()) && !pids(&report).contains(&other.pid()), "{:?}", pids(&report));
    let seen = later.iter().filter(|pid| pids(&report).contains(pid)).count();
    assert!(seen >= 5, "{later:?} were born meanwhile: {:?}", pids(&report));
    assert!(report.names().iter().all(|name| *name == "pd-test-by-name"), "{:?}", report.names());
}

/// Processes that have code of their own: kernel threads have no executable. The first process is not
/// asked for: of a micro VM it is the host's agent, which may be hidden from kernel programs.
fn programs() -> BTreeSet<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != 1 && fs::read_link(format!("/proc/{pid}/exe")).is_ok()).collect()
}

#[test]
fn every_process_of_the_machine() {
    let Some(kernel) = kernel() else { return };
    let one = sleeper();
    let before = programs();
    let (report, outcome) = kernel.record("--all --duration 1s");
    let after = programs();
    let all = BTreeSet::from_iter(pids(&report));
    println!("--all: {} threads of {} processes", report.threads.len(), all.len());
    assert!(all.contains(&one.pid()) && all.contains(&std::process::id()), "{all:?}");
    let throughout = &before & &after;
    assert!(throughout.is_subset(&all), "not seen: {:?}", &throughout - &all);
    assert!(!report.gap_of(one.pid()).stack.is_empty());
    assert!(outcome.stdout.contains("processes"), "{}", outcome.stdout);
}

/// Where cgroup v2 is mounted: at the usual place, or beside version 1.
fn cgroups() -> Option<PathBuf> {
    let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let found = places.into_iter().find(|place| place.join("cgroup.controllers").exists());
    found.map(Path::to_path_buf).or_else(|| support::skip("needs cgroup v2"))
}

/// A cgroup that goes when it is dropped, after its processes.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        support::poll(Duration::from_secs(2), || fs::remove_dir(&self.0).is_ok());
    }
}

impl Cgroup {
    fn new(path: PathBuf) -> Cgroup {
        fs::create_dir(&path).unwrap();
        Cgroup(path)
    }

    fn take_in(&self, pid: u32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

#[test]
fn a_cgroup_and_those_below_it() {
    let Some(kernel) = kernel() else { return };
    let Some(root) = cgroups() else { return };
    let group = Cgroup::new(root.join(format!("profilerd-test-{}", std::process::id())));
    let below = Cgroup::new(group.0.join("below"));
    let (one, two, other) = (sleeper(), sleeper(), sleeper());
    group.take_in(one.pid());
    below.take_in(two.pid());
    let (report, _) = kernel.record_words(["-q", "--cgroup", group.0.to_str().unwrap(), "--duration", "500ms"]);
    let mut expected = vec![one.pid(), two.pid()];
    expected.sort_unstable();
    assert_eq!(pids(&report), expected, "not {}", other.pid());
}

/// As when a container stops: what was counted is reported, and nobody has to press Ctrl-C.
#[test]
fn a_cgroup_that_is_removed_ends_the_capture_and_is_reported() {
    let Some(kernel) = kernel() else { return };
    let Some(root) = cgroups() else { return };
    let group = Cgroup::new(root.join(format!("profilerd-test-gone-{}", std::process::id())));
    let mut short = Program::start(Command::new("sleep").arg("2.5"));
    group.take_in(short.pid());
    let path = group.0.clone();
    let pid = short.pid();
    let remover = std::thread::spawn(move || {
        // The folder cannot be removed before its process has ended and been waited for.
        assert!(short.wait(Duration::from_secs(10)).is_some());
        drop(group);
    });
    let (report, _) = kernel.record_words(["-q", "--cgroup", path.to_str().unwrap(), "--duration", "20s"]);
    remover.join().unwrap();
    assert_eq!(pids(&report), [pid]);
    assert!(report.window.duration_ns < 10_000_000_000, "{} ns", report.window.duration_ns);
}

#[test]
fn a_target_that_ends_early_ends_the_capture() {
    let Some(kernel) = kernel() else { return };
    let short = Program::start(Command::new("sleep").arg("1"));
    let (report, outcome) = kernel.record(&format!("-q --pid {} --duration 30s", short.pid()));
    println!("{}", outcome.stderr.trim());
    assert!(outcome.took < Duration::from_secs(5), "{:?}", outcome.took);
    assert!(outcome.stderr.contains("ended after"), "{}", outcome.stderr);
    assert!(report.threads[0].ended && report.window.duration_ns < 2_000_000_000);
}

#[test]
fn ctrl_c_ends_the_capture_with_a_report() {
    let Some(kernel) = kernel() else { return };
    let (target, folder) = (sleeper(), folder());
    let json = folder.path().join("report.json");
    let mut profilerd = Program::start(kernel.profilerd(["-q", "--pid", &target.pid().to_string(), "-o"]).arg(&json));
    let attached = || !support::bpf::held_by(profilerd.pid()).links.is_empty();
    assert!(support::poll(Duration::from_secs(10), attached));
    std::thread::sleep(Duration::from_millis(300));
    profilerd.signal(nix::sys::signal::Signal::SIGINT);
    assert!(profilerd.wait(Duration::from_secs(10)).is_some_and(|status| status.success()));
    let report = support::Report::read(&json);
    report.assert_closes();
    assert!(report.window.duration_ns >= 300_000_000, "{:?}", report.window);
}

/// A mistake is told before anything is loaded, in less time than the capture would take.
fn refused(mut profilerd: Command, code: i32, words: &[&str]) {
    let outcome = support::run(&mut profilerd);
    println!("exit code {:?}, {}", outcome.status.code(), outcome.stderr.trim());
    assert_eq!(outcome.status.code(), Some(code), "{}", outcome.stderr);
    assert!(outcome.took < Duration::from_secs(2), "before the capture: {:?}", outcome.took);
    assert!(outcome.stderr.starts_with("error: ") && outcome.stdout.is_empty(), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "no `{word}` in {}", outcome.stderr);
    }
}

#[test]
fn what_cannot_work_is_refused_with_a_remedy() {
    let Some(kernel) = kernel() else { return };
    let pid = std::process::id().to_string();
    // Pids end at 2^22.
    refused(kernel.profilerd(["--pid", "4194305", "--duration", "3s"]), 1, &["no process 4194305", "try: pgrep"]);
    let missing = ["--pid", &pid, "--duration", "3s", "-o", "/no/such/folder/wall.svg"];
    refused(kernel.profilerd(missing), 1, &["/no/such/folder", "does not exist"]);
    let folder = folder();
    fs::create_dir(folder.path().join("wall.svg")).unwrap();
    let name = folder.path().join("wall.svg");
    refused(kernel.profilerd(["--pid", &pid, "--duration", "3s", "-o", name.to_str().unwrap()]), 1, &["wall.svg"]);
    refused(kernel.profilerd(["--cgroup", "/no/such/cgroup", "--duration", "3s"]), 1, &["/no/such/cgroup"]);
    refused(kernel.profilerd(["--duration", "3s"]), 2, &["try: `profilerd --pid N`"]);
}

#[test]
fn without_rights_it_says_which_are_missing() {
    let Some(_kernel) = kernel() else { return };
    let folder = support::public_folder();
    let program = folder.path().join("profilerd");
    fs::copy(std::env::var_os("PROFILERD_BINARY").unwrap(), &program).unwrap();
    let target = sleeper();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program);
    command.args(["--pid", &target.pid().to_string(), "--duration", "3s"]);
    refused(command, 1, &["try: run as root, or grant CAP_BPF"]);
}

/// Everything would run, and have the names of others.
#[test]
fn in_a_container_with_process_ids_of_its_own_it_says_so() {
    const WARNING: &str = "inside a pid namespace: the kernel counts by the host's process ids";
    const REMEDY: &str = "--pid=host (Kubernetes: hostPID: true)";
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let store = folder.path().display().to_string();
    let cases: [(&[&str], &[&str]); 3] = [
        (&[], &["doctor"]),
        (&[], &["--all", "--duration", "200ms"]),
        (&["timeout", "3"], &["serve", "--listen", "off", "--store", &store]),
    ];
    for (before, words) in cases {
        let profilerd = kernel.profilerd(words.iter().copied());
        for is_inside in [true, false] {
            let namespace: &[&str] = if is_inside { &["unshare", "--pid", "--fork", "--mount-proc"] } else { &["env"] };
            let mut command = Command::new(namespace[0]);
            command.args(&namespace[1..]).args(before).arg(profilerd.get_program()).args(profilerd.get_args());
            let outcome = support::run(&mut command);
            let said = format!("{}{}", outcome.stdout, outcome.stderr);
            assert_eq!((said.contains(WARNING), said.contains(REMEDY)), (is_inside, is_inside), "{words:?}: {said}");
        }
    }
}

#[test]
fn the_doctor_finds_this_kernel_fit() {
    let Some(kernel) = kernel() else { return };
    let workload = Program::start_and_wait_for_line(&mut Command::new(workload("edges")));
    let outcome = support::run(&mut kernel.profilerd(["doctor", "--pid", &workload.pid().to_string()])).well();
    println!("{}", outcome.stdout);
    assert!(outcome.stdout.contains("yes"), "{}", outcome.stdout);
    // What is known of a kernel, for those who know it.
    if let Ok(partly) = std::env::var("PROFILERD_PARTLY") {
        let known: Vec<_> = partly.split(',').filter(|name| !name.is_empty()).collect();
        let verdicts = outcome.stdout.lines().filter_map(|line| line.strip_prefix("  ")?.split_once("   "));
        let named = |word| verdicts.clone().filter(move |(_, rest)| rest.trim_start().starts_with(word));
        let told: Vec<_> = named("partly").map(|(name, _)| name.trim()).collect();
        assert_eq!(told, known, "{}", outcome.stdout);
        assert_eq!(named("no ").count(), 0, "{}", outcome.stdout);
    }
}
