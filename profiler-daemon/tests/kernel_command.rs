//! `profilerd -- COMMAND`: started by us, followed through fork and exec, its own exit code.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::{Program, folder, kernel, workload};

#[test]
fn the_exit_code_is_the_commands_own() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let not_executable = folder.path().join("text");
    fs::write(&not_executable, "no program").unwrap();
    for (command, code) in [
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["/no/such/program", "", ""], 127),
        ([not_executable.to_str().unwrap(), "", ""], 126),
    ] {
        let outcome = support::run(kernel.profilerd(["--"]).args(command));
        println!("{command:?}: {:?} {}", outcome.status.code(), outcome.stderr.trim());
        assert_eq!(outcome.status.code(), Some(code), "{command:?}: {}", outcome.stderr);
        assert_eq!(outcome.stderr.contains("cannot execute"), code == 126 || code == 127, "{}", outcome.stderr);
    }
}

#[test]
fn under_sudo_it_runs_as_the_invoking_user() {
    let Some(kernel) = kernel() else { return };
    let mut profilerd = kernel.profilerd(["--", "sh", "-c", "id -u; id -g; id -G; echo $USER"]);
    profilerd.envs([("SUDO_UID", "65534"), ("SUDO_GID", "65534"), ("SUDO_USER", "nobody")]);
    let outcome = support::run(&mut profilerd).well();
    let lines: Vec<_> = outcome.stdout.lines().take(4).collect();
    println!("{lines:?}");
    assert_eq!(lines, ["65534", "65534", "65534", "nobody"], "{}", outcome.stdout);
}

/// Its command does not run at all, least of all as root.
#[test]
fn a_user_whom_nobody_knows_runs_nothing() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let made = folder.path().join("made");
    let mut profilerd = kernel.profilerd(["--", "touch"]);
    let outcome = support::run(profilerd.arg(&made).env("SUDO_UID", "4000000000"));
    println!("{}", outcome.stderr);
    assert_eq!(outcome.status.code(), Some(1), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("SUDO_UID=4000000000\n  try: `getent passwd UID`"), "{}", outcome.stderr);
    assert!(!made.exists());
}

/// By sudo itself, with rules that only this test's own mounts show.
#[test]
fn real_sudo_gives_the_command_back_to_who_called_it() {
    let Some(kernel) = kernel() else { return };
    let Some(sudo) = support::installed(&["sudo"]) else { return };
    let folder = support::public_folder();
    let program = folder.path().join("profilerd");
    fs::copy(kernel.profilerd([""; 0]).get_program(), &program).unwrap();
    let rules = folder.path().join("sudoers");
    fs::write(&rules, "nobody ALL=(root) NOPASSWD: ALL\n").unwrap();
    fs::set_permissions(&rules, fs::Permissions::from_mode(0o440)).unwrap();

    let script = "mount --bind \"$0\" /etc/sudoers && exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", script]).arg(&rules).arg(sudo).arg("-n").arg(&program);
    command.args(["--", "sh", "-c", "id -u; id -g; id -G; echo $USER; exit 3"]).current_dir("/");
    let outcome = support::run(&mut command);
    println!("{:?}, {:?}", outcome.status.code(), outcome.stdout.lines().take(4).collect::<Vec<_>>());
    assert_eq!(outcome.status.code(), Some(3), "{}", outcome.stderr);
    let lines: Vec<_> = outcome.stdout.lines().take(4).collect();
    assert_eq!(lines, ["65534", "65534", "65534", "nobody"], "{}", outcome.stdout);
    // Its parent is root, and the report is whole.
    assert!(outcome.stdout.contains("where the "), "{}", outcome.stdout);
}

#[test]
fn children_are_followed_and_have_their_own_names() {
    let Some(kernel) = kernel() else { return };
    let (report, _) = kernel.record_words(["-q", "--", "sh", "-c", "sleep 0.2; sleep 0.3; exec sleep 0.4"]);
    println!("{:?}", report.names());
    let mut asleep: Vec<_> =
        report.threads_named("sleep").map(|thread| thread.ledger.class("sleep") / 100_000_000).collect();
    asleep.sort_unstable();
    // The last one is the shell itself, with the time that it waited for the others.
    assert_eq!(asleep, [2, 3, 4], "{:?}", report.threads);
    assert!(report.threads_named("sleep").any(|thread| thread.ledger.class("wait-child") > 400_000_000));
    assert!(report.threads.iter().all(|thread| thread.ended), "{:?}", report.threads);
}

#[test]
fn places_are_those_of_the_program_after_exec() {
    let Some(kernel) = kernel() else { return };
    let shares = workload("shares");
    let script = format!("exec {} 1", shares.display());
    let (report, _) = kernel.record_words(["-q", "--rate", "499", "--", "sh", "-c", &script]);
    assert_eq!(report.processes.len(), 1);
    assert_eq!(report.processes[0].comm, "shares");
    let (own, _) = report.on_cpu_of("spends_sixty");
    let share = own as f64 / report.total().on_cpu_ns as f64;
    println!("after exec spends_sixty has {:.1} %", share * 100.0);
    assert!(share > 0.5, "{:#?}", report.on_cpu);
}

/// Both programs are gone before anything is resolved.
#[test]
fn places_of_processes_that_have_ended_have_names() {
    let Some(kernel) = kernel() else { return };
    let script = format!("{0} 0.5; {0} 0.5; true", workload("shares").display());
    let (report, _) = kernel.record_words(["-q", "--rate", "499", "--", "sh", "-c", &script]);
    assert_eq!(report.threads_named("shares").count(), 2, "{:?}", report.names());
    let (own, _) = report.on_cpu_of("spends_sixty");
    let all: u64 = report.threads_named("shares").map(|thread| thread.ledger.on_cpu_ns).sum();
    println!("of two ended children spends_sixty has {own} of {all} ns");
    assert!(own as f64 > 0.5 * all as f64, "{:#?}", report.on_cpu);
}

/// Their code lies at the same addresses, so only the generation tells whose it was.
#[test]
fn two_programs_on_one_pid_have_their_own_rows_and_names() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let files = ["report.json", "wall.folded"].map(|name| folder.path().join(name));
    let mut profilerd = kernel.profilerd(["-q", "--rate", "499", "-o"]);
    profilerd.arg(&files[0]).arg("-o").arg(&files[1]).arg("--");
    let outcome = support::run(profilerd.args(["again", "shares", "wallmix"].map(workload))).well();
    let truths = support::truths(&outcome.stdout);
    let pid = truths.iter().find(|truth| truth.has("pid")).unwrap().number("pid");

    let report = support::Report::read(&files[0]);
    report.assert_closes();
    let leaders: Vec<_> = report.threads.iter().filter(|thread| u64::from(thread.tid) == pid).collect();
    let names: Vec<_> = leaders.iter().map(|thread| thread.comm.as_str()).collect();
    println!("pid {pid} was {names:?}");
    assert_eq!(names, ["shares", "wallmix"]);

    // `process (pid);thread;function;…`: by thread, what it did.
    let folded = fs::read_to_string(&files[1]).unwrap();
    let stacks = |thread: &str| {
        let of = |line: &&str| line.split(';').nth(usize::from(line.starts_with("[idle]")) + 1) == Some(thread);
        folded.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
    };
    let sum = |stacks: &[String], function: &str| -> u64 {
        let with = stacks.iter().filter(|line| line.contains(function));
        with.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    let (shares, wallmix) = (stacks("shares"), stacks("mx-starve0"));
    for (leader, stacks) in leaders.iter().zip([&shares, &stacks("wallmix")]) {
        assert_eq!(sum(stacks, "") as i64, leader.ledger.wall_ns as i64 + leader.ledger.residual_ns, "{stacks:?}");
    }
    let (sixty, spin) = (sum(&shares, "spends_sixty"), sum(&wallmix, "spin_ms"));
    println!("spends_sixty {sixty} of {} ns, spin_ms {spin} ns", leaders[0].ledger.on_cpu_ns);
    assert!(sixty * 2 > leaders[0].ledger.on_cpu_ns && spin > 100_000_000, "{folded}");
    assert_eq!((sum(&shares, "spin_ms"), sum(&wallmix, "spends_")), (0, 0), "{folded}");
}

#[test]
fn places_of_a_program_that_was_unlinked_have_names() {
    let Some(kernel) = kernel() else { return };
    let folder = folder();
    let copy = folder.path().join("gone");
    fs::copy(workload("shares"), &copy).unwrap();
    let program = Program::start(Command::new(&copy).arg("4").stdout(std::process::Stdio::null()));
    let exe = format!("/proc/{}/exe", program.pid());
    let runs = || fs::read_link(&exe).is_ok_and(|path| path == copy);
    assert!(support::poll(std::time::Duration::from_secs(2), runs));
    fs::remove_file(&copy).unwrap();
    assert!(!Path::new(&copy).exists());
    let (report, _) = kernel.record(&format!("-q --rate 499 --pid {} --duration 1s", program.pid()));
    let (own, _) = report.on_cpu_of("spends_sixty");
    println!("unlinked: spends_sixty has {:.2} s", own as f64 / 1e9);
    assert!(own as f64 > 0.5 * report.total().on_cpu_ns as f64, "{:#?}", report.on_cpu);
}
