//! The unit in a real systemd: it starts, reloads, ends, and comes back when it is killed or stands still.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use profilerd::process::Labels;
use support::{Machine, installed, poll};

/// systemd's own judgement of how much a unit may do, from 0 to 10, times ten.
const MOST_EXPOSED: u32 = 45;
/// Longest time that anything here takes.
const SOON: Duration = Duration::from_secs(20);
/// Times that are for people, made short.
const QUICK: &str = "[Service]\nRestartSec=100ms\nWatchdogSec=4s\n";
/// What `systemctl status` shows once it profiles.
const PROFILING: &str = "profiling all processes in windows of 10s";

/// The program as it is shipped.
fn program(kernel: &support::Kernel) -> PathBuf {
    PathBuf::from(kernel.profilerd([""; 0]).get_program())
}

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/profilerd.service")
}

#[test]
fn the_unit_has_no_more_rights_than_it_needs() {
    let Some(analyze) = installed(&["systemd-analyze"]) else { return };
    let mut command = Command::new(analyze);
    command.args(["security", "--offline=true", "--no-pager", &format!("--threshold={MOST_EXPOSED}")]).arg(unit());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{}", text.lines().last().unwrap_or_default());
    assert!(output.status.success() && text.contains("Overall exposure level"), "{text}");
}

#[test]
fn systemd_understands_every_line_of_the_unit() {
    let Some(analyze) = installed(&["systemd-analyze"]) else { return };
    let folder = support::folder();
    // Only what is not installed here is changed.
    let text = fs::read_to_string(unit()).unwrap();
    let text = text.replace("/usr/bin/profilerd", env!("CARGO_BIN_EXE_profilerd"));
    let copy = folder.path().join("profilerd.service");
    fs::write(&copy, text).unwrap();
    let output = Command::new(analyze).args(["verify", "--man=no"]).arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn it_starts_and_ends_well() {
    let Some(kernel) = support::kernel() else { return };
    let Some(machine) = Machine::boot(&program(&kernel), QUICK) else { return };
    machine.well(&["systemctl", "start", "profilerd"]);
    assert_eq!(machine.property("ActiveState"), "active");
    assert_eq!(machine.property("StatusText"), PROFILING);
    assert!(machine.page("/readyz").contains("200 OK"));
    for folder in ["/var/lib/profilerd", "/var/cache/profilerd", "/run/profilerd"] {
        assert_eq!(machine.well(&["stat", "--format=%a %U", folder]), "700 root", "{folder}");
    }
    // Exactly the rights that the unit names, and the system calls that it filters.
    let pid = machine.property("MainPID");
    let held = machine.well(&["grep", "-E", "^(CapEff|Seccomp):", &format!("/proc/{pid}/status")]);
    let wanted: u64 = rights().iter().map(|name| 1 << capability(name)).sum();
    assert_eq!(held, format!("CapEff:\t{wanted:016x}\nSeccomp:\t2"));

    // From here it is known by its unit, although it runs in a container.
    let labels = machine.host_pid("profilerd").and_then(|pid| Labels::new().read(pid, 0)).unwrap();
    assert_eq!((labels.unit.as_deref(), &*labels.service), (Some("profilerd.service"), "profilerd"), "{labels:?}");

    // Fields of the journal, not only text.
    let find = ["journalctl", "--no-pager", "--output=cat", "PROFILERD_STORE=/var/lib/profilerd", "PRIORITY=6"];
    assert!(poll(SOON, || machine.run(&find).stdout == b"profiling all processes\n"), "{}", machine.journal());

    // The window that runs is kept, although it has just begun.
    machine.well(&["systemctl", "stop", "profilerd"]);
    assert_eq!(machine.property("ActiveState"), "inactive");
    let listed = machine.well(&["profilerd", "ls"]);
    assert!(listed.contains("service in the last hour"), "{listed}");
    assert_eq!(
        (machine.property("Result"), machine.property("ExecMainStatus")),
        ("success".to_owned(), "0".to_owned())
    );
    assert!(machine.journal().contains("stopped"), "{}", machine.journal());
    assert_eq!(machine.well(&["sh", "-c", "test -e /run/profilerd || echo gone"]), "gone");
}

#[test]
fn it_comes_back_when_it_is_killed_or_stands_still() {
    let Some(kernel) = support::kernel() else { return };
    let Some(machine) = Machine::boot(&program(&kernel), QUICK) else { return };
    machine.well(&["systemctl", "start", "profilerd"]);
    for (restarts, signal, result) in [("1", "KILL", "signal"), ("2", "STOP", "watchdog")] {
        let pid = machine.property("MainPID");
        machine.well(&["systemctl", "kill", "--kill-whom=main", &format!("--signal={signal}"), "profilerd"]);
        machine.wait_for("NRestarts", restarts, SOON);
        machine.wait_for("ActiveState", "active", SOON);
        machine.wait_for("StatusText", PROFILING, SOON);
        assert_ne!(machine.property("MainPID"), pid);
        assert!(machine.journal().contains(&format!("Failed with result '{result}'")), "{}", machine.journal());
    }
    // Signs of life keep it running, for several times as long as systemd waits for one.
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(machine.property("NRestarts"), "2", "{}", machine.journal());
}

#[test]
fn it_reloads_and_keeps_what_was_right() {
    let Some(kernel) = support::kernel() else { return };
    let Some(machine) = Machine::boot(&program(&kernel), QUICK) else { return };
    machine.well(&["systemctl", "start", "profilerd"]);
    let pid = machine.property("MainPID");
    let config = fs::read_to_string(machine.config()).unwrap();

    fs::write(machine.config(), config.replace("window = \"10s\"", "window = \"30s\"")).unwrap();
    machine.well(&["systemctl", "reload", "profilerd"]);
    machine.wait_for("StatusText", &PROFILING.replace("10s", "30s"), SOON);

    fs::write(machine.config(), config.replace("window = \"10s\"", "window = \"0s\"")).unwrap();
    machine.well(&["systemctl", "reload", "profilerd"]);
    let wrong = "/etc/profilerd/profilerd.toml:12:10: `capture.window` cannot be \"0s\"";
    let find = ["journalctl", "--no-pager", "--output=verbose", "--unit=profilerd.service", "PRIORITY=3"];
    let said = || String::from_utf8_lossy(&machine.run(&find).stdout).into_owned();
    assert!(poll(SOON, || said().contains(wrong)), "{}", said());
    machine.wait_for("ActiveState", "active", SOON);
    let still = format!("{}; the new configuration is wrong, the one before stays", PROFILING.replace("10s", "30s"));
    assert_eq!(machine.property("StatusText"), still);
    assert_eq!(machine.property("MainPID"), pid);
    let page = machine.page("/metrics");
    for result in ["success", "error"] {
        assert!(page.contains(&format!("profilerd_config_reloads_total{{result=\"{result}\"}} 1\n")), "{page}");
    }
}

/// The program as it is shipped asks the kernel itself, from inside the unit.
#[test]
fn the_rights_of_the_unit_are_enough_and_each_is_needed() {
    let Some(kernel) = support::kernel() else { return };
    let once = "[Service]\nType=oneshot\nWatchdogSec=0\nRestart=no\nStandardOutput=truncate:/run/said\n\
                ExecStart=\nExecStart=-/usr/bin/profilerd doctor\n";
    let Some(machine) = Machine::boot(&program(&kernel), once) else { return };
    let doctor_without = |rights: &str| {
        let text = format!("[Service]\\nCapabilityBoundingSet=~{rights}\\n");
        let folder = "/run/systemd/system/profilerd.service.d";
        machine.well(&["sh", "-c", &format!("mkdir -p {folder} && printf '{text}' > {folder}/without.conf")]);
        machine.well(&["systemctl", "daemon-reload"]);
        machine.well(&["systemctl", "start", "profilerd"]);
        machine.well(&["cat", "/run/said"])
    };
    let lacks = |said: &str| said.lines().filter(|line| line.contains(" partly ") || line.contains(" no ")).count();

    let all = doctor_without("CAP_SYS_RESOURCE");
    // What it says of process ids is about the container.
    assert_eq!(lacks(&all), usize::from(all.contains("inside a pid namespace")), "{all}");
    let without_admin = doctor_without("CAP_SYS_ADMIN");
    assert_eq!(lacks(&without_admin), lacks(&all) + 1, "{without_admin}");
    // It stands for some of the others, so each of them is taken away together with it. What another
    // user's files say is not the doctor's to tell.
    for right in rights().iter().filter(|right| !["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH"].contains(&right.as_str())) {
        let said = doctor_without(&format!("CAP_SYS_ADMIN {right}"));
        assert!(lacks(&said) > lacks(&without_admin), "{right}: {said}");
    }
}

/// The names in the unit's set.
fn rights() -> Vec<String> {
    let unit = fs::read_to_string(unit()).unwrap();
    let sets = unit.lines().filter_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    sets.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// Source: include/uapi/linux/capability.h.
fn capability(name: &str) -> u32 {
    match name {
        "CAP_DAC_READ_SEARCH" => 2,
        "CAP_SYS_PTRACE" => 19,
        "CAP_SYS_ADMIN" => 21,
        "CAP_SYSLOG" => 34,
        "CAP_PERFMON" => 38,
        "CAP_BPF" => 39,
        "CAP_CHECKPOINT_RESTORE" => 40,
        other => panic!("{other} is not in this table"),
    }
}
