//! The packages in a real systemd: the one for Debian installed, upgraded, removed and purged by dpkg itself, the tarball
//! unpacked as the README says.
#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{Machine, installed, poll, skip};

/// Where the package, its successor and the tarball are inside.
const PACKAGE: &str = "/package.deb";
const NEWER: &str = "/newer.deb";
const TARBALL: &str = "/tarball.tar.gz";
/// The version of the successor.
const NEXT: &str = "99.0.0-1";
const CONFIG: &str = "/etc/profilerd/profilerd.toml";
/// Longest time that anything here takes.
const SOON: Duration = Duration::from_secs(20);
/// Below these folders nothing may be left.
const SYSTEM: [&str; 4] = ["/etc", "/opt", "/usr", "/var"];
/// What dpkg and systemd themselves write there: backups and logs.
const NOT_OURS: [&str; 4] = ["/var/lib/dpkg/", "/var/log/", "/var/cache/man/", "/var/lib/systemd/"];

/// What `cargo xtask dist` made, by the end of its name. `None` if it cannot be tested here, which has been said then.
fn made(ending: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("PROFILERD_DIST") else {
        return skip("needs PROFILERD_DIST: run `cargo xtask test`");
    };
    let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    Some(files.find(|path| path.to_str().unwrap().ends_with(ending)).unwrap())
}

fn package() -> Option<PathBuf> {
    installed(&["dpkg-deb"])?;
    made(".deb")
}

/// The same package with a later version and a configuration that differs from the first one's.
fn newer(package: &Path, folder: &Path) -> PathBuf {
    let (tree, made) = (folder.join("tree"), folder.join("newer.deb"));
    let dpkg = |args: &[&str]| assert!(Command::new("dpkg-deb").args(args).status().unwrap().success(), "{args:?}");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    dpkg(&["--raw-extract", &text(package), &text(&tree)]);
    let change = |path: &str, change: &dyn Fn(&str) -> String| {
        let path = tree.join(path);
        fs::write(&path, change(&fs::read_to_string(&path).unwrap())).unwrap();
    };
    change("DEBIAN/control", &|control| {
        let line =
            |line: &str| if line.starts_with("Version: ") { format!("Version: {NEXT}\n") } else { format!("{line}\n") };
        control.lines().map(line).collect()
    });
    change(CONFIG.trim_start_matches('/'), &|config| format!("{config}\n# New in {NEXT}.\n"));
    dpkg(&["--build", "--root-owner-group", "-Znone", &text(&tree), &text(&made)]);
    made
}

/// A machine on which services may start, as on one that people use, and profilerd never ran. The index of all man pages
/// is not made anew at each step, which would take more time than all the rest.
fn machine(files: &[(&Path, &str)]) -> Option<Machine> {
    let machine = Machine::boot_bare(files)?;
    let in_the_way =
        ["/usr/sbin/policy-rc.d", "/var/cache/profilerd", "/var/lib/profilerd", "/var/lib/man-db/auto-update"];
    machine.well(&[&["rm", "--recursive", "--force"], &in_the_way[..]].concat());
    Some(machine)
}

fn install(machine: &Machine) {
    machine.well(&["dpkg", "--install", PACKAGE]);
    profiles_in_windows_of(machine, "10s");
}

#[track_caller]
fn profiles_in_windows_of(machine: &Machine, window: &str) {
    machine.wait_for("ActiveState", "active", SOON);
    machine.wait_for("StatusText", &format!("profiling all processes in windows of {window}"), SOON);
}

/// All files and folders that somebody may have put there.
fn files(machine: &Machine) -> BTreeSet<String> {
    let found = machine.well(&[&["find"], &SYSTEM[..], &["-xdev", "-print"]].concat());
    found.lines().filter(|path| !NOT_OURS.iter().any(|other| path.starts_with(other))).map(str::to_owned).collect()
}

#[test]
fn once_installed_it_runs_and_can_be_read_about() {
    let (Some(_kernel), Some(package)) = (support::kernel(), package()) else { return };
    let Some(machine) = machine(&[(&package, PACKAGE)]) else { return };
    install(&machine);
    assert_eq!(machine.well(&["systemctl", "is-enabled", "profilerd"]), "enabled");
    assert_eq!(machine.well(&["dpkg", "--verify", "profilerd"]), "", "files differ from the package");
    assert_eq!(machine.well(&["profilerd", "--version"]), format!("profilerd {}", env!("CARGO_PKG_VERSION")));
    machine.well(&["profilerd", "config", "--check", CONFIG]);
    assert_eq!(machine.well(&["stat", "--format=%a", "/etc/profilerd"]), "700");
    assert!(!machine.journal().contains("mode is different"), "{}", machine.journal());
    // What protects the whole machine stays as it is.
    let settings = machine.well(&["cat", "/etc/sysctl.d/60-profilerd.conf"]);
    assert!(settings.lines().all(|line| line.is_empty() || line.starts_with('#')), "{settings}");

    let page = machine.well(&["man", "--where", "profilerd"]);
    assert_eq!(page, "/usr/share/man/man1/profilerd.1.gz");
    machine.well(&["sh", "-c", &format!("zcat {page} | mandoc -T lint -W error")]);
    assert!(machine.well(&["man", "profilerd"]).contains("Where did the wall-clock time go?"));

    let script = "/usr/share/bash-completion/completions/profilerd";
    let complete = |words: &str| {
        let ask = format!(
            "source {script}; complete -p profilerd; COMP_WORDS=({words} ''); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _profilerd profilerd '' profilerd; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        machine.well(&["bash", "-c", &ask])
    };
    let has = |said: &str, word: &str| assert!(said.lines().any(|line| line == word), "{word}: {said}");
    has(&complete("profilerd"), "query");
    has(&complete("profilerd query"), "--since");
}

#[test]
fn an_upgrade_keeps_the_configuration_and_what_was_seen() {
    let (Some(_kernel), Some(package)) = (support::kernel(), package()) else { return };
    let folder = support::folder();
    let newer = newer(&package, folder.path());
    let Some(machine) = machine(&[(&package, PACKAGE), (&newer, NEWER)]) else { return };
    install(&machine);
    machine.well(&["sed", "--in-place", "s/^window = .*/window = \"30s\"/", CONFIG]);
    let pid = machine.property("MainPID");

    // As apt does where nobody can be asked.
    machine.well(&["dpkg", "--force-confdef", "--install", NEWER]);
    profiles_in_windows_of(&machine, "30s");
    assert_ne!(machine.property("MainPID"), pid, "the old program still runs");
    assert_eq!(machine.well(&["dpkg-query", "--show", "--showformat=${Version}", "profilerd"]), NEXT);
    let config = machine.well(&["cat", CONFIG]);
    assert!(config.contains("window = \"30s\"") && !config.contains(NEXT), "{config}");
    let offered = machine.well(&["cat", &format!("{CONFIG}.dpkg-dist")]);
    assert!(offered.contains("window = \"10s\"") && offered.contains(NEXT), "{offered}");
    // The window that ran was stored before the program went.
    assert!(machine.well(&["profilerd", "ls"]).contains("in the last hour"));
}

#[test]
fn who_disabled_it_is_not_overruled() {
    let (Some(_kernel), Some(package)) = (support::kernel(), package()) else { return };
    let folder = support::folder();
    let newer = newer(&package, folder.path());
    let Some(machine) = machine(&[(&package, PACKAGE), (&newer, NEWER)]) else { return };
    install(&machine);
    machine.well(&["systemctl", "disable", "--now", "profilerd"]);
    machine.well(&["dpkg", "--force-confdef", "--install", NEWER]);
    assert_eq!(
        String::from_utf8_lossy(&machine.run(&["systemctl", "is-enabled", "profilerd"]).stdout).trim(),
        "disabled"
    );
    assert_eq!(machine.property("ActiveState"), "inactive");
}

#[test]
fn removed_it_leaves_what_is_the_users_and_purged_nothing() {
    let (Some(_kernel), Some(package)) = (support::kernel(), package()) else { return };
    let Some(machine) = machine(&[(&package, PACKAGE)]) else { return };
    let before = files(&machine);
    install(&machine);
    machine.well(&["sed", "--in-place", "s/^window = .*/window = \"30s\"/", CONFIG]);

    machine.well(&["dpkg", "--remove", "profilerd"]);
    assert_ne!(machine.property("ActiveState"), "active");
    assert!(machine.host_pid("profilerd").is_none());
    let left = files(&machine);
    assert!(!left.contains("/usr/bin/profilerd") && left.contains(CONFIG) && left.contains("/var/lib/profilerd"));

    // Installed again, it goes on as before.
    machine.well(&["dpkg", "--install", PACKAGE]);
    profiles_in_windows_of(&machine, "30s");

    machine.well(&["dpkg", "--purge", "profilerd"]);
    assert!(machine.host_pid("profilerd").is_none());
    let after = files(&machine);
    let (new, gone) = (after.difference(&before).collect::<Vec<_>>(), before.difference(&after).collect::<Vec<_>>());
    assert!(new.is_empty() && gone.is_empty(), "new {new:#?}, gone {gone:#?}");
    assert!(!machine.run(&["dpkg-query", "--status", "profilerd"]).status.success(), "dpkg still knows it");
}

#[test]
fn the_tarball_is_all_that_the_service_needs() {
    let (Some(_kernel), Some(tarball)) = (support::kernel(), made(".tar.gz")) else { return };
    let Some(machine) = machine(&[(&tarball, TARBALL)]) else { return };
    machine.well(&["tar", "-C", "/usr/local", "--strip-components=1", "-xzf", TARBALL]);
    let example = "/usr/local/share/doc/profilerd/examples/profilerd.toml";
    machine.well(&["install", "-D", "-m", "600", example, CONFIG]);
    machine.well(&["systemctl", "daemon-reload"]);
    machine.well(&["systemctl", "enable", "--now", "profilerd"]);
    profiles_in_windows_of(&machine, "10s");
    let pid = machine.property("MainPID");
    assert_eq!(machine.well(&["readlink", &format!("/proc/{pid}/exe")]), "/usr/local/bin/profilerd");
    // Debian has a link to the folder, and names the page by that.
    let page = machine.well(&["man", "--where", "profilerd"]);
    assert!(page.starts_with("/usr/local/") && page.ends_with("/man1/profilerd.1"), "{page}");
}

/// The program has a C library inside; plugins for name services would bring the machine's own in beside it.
#[test]
fn names_are_looked_up_without_the_libraries_of_the_machine() {
    let (Some(_kernel), Some(package)) = (support::kernel(), package()) else { return };
    let Some(machine) = machine(&[(&package, PACKAGE)]) else { return };
    // One that every Debian has, and that is asked first.
    machine.well(&["sh", "-c", "sed --in-place 's/^hosts:.*/hosts: hesiod files dns/' /etc/nsswitch.conf"]);
    machine.well(&["sh", "-c", "echo 127.0.0.1 collector.test >> /etc/hosts"]);
    install(&machine);
    machine.well(&["sed", "--in-place", "s/^window = .*/window = \"1s\"/", CONFIG]);
    for host in ["collector.test", "nobody.test"] {
        let block = format!("printf '[[otlp]]\\nname = \"{host}\"\\nendpoint = \"http://{host}:4317\"\\n' >> {CONFIG}");
        machine.well(&["sh", "-c", &block]);
    }
    machine.well(&["systemctl", "restart", "profilerd"]);
    let said = || machine.well(&["journalctl", "--no-pager", "--output=verbose", "--unit=profilerd.service"]);
    // The first is found, although nothing listens there; the second is not.
    for needle in ["Connection refused", "failed to lookup address"] {
        assert!(poll(SOON, || said().contains(needle)), "{needle}: {}", said());
    }
    let pid = machine.property("MainPID");
    let maps = machine.well(&["cat", &format!("/proc/{pid}/maps")]);
    // It maps files of others to read their symbols, which makes nothing executable.
    let code = maps.lines().filter(|line| line.contains(" r-xp "));
    let (own, libraries): (Vec<_>, Vec<_>) = code.partition(|line| !line.contains(".so"));
    assert!(own.iter().any(|line| line.ends_with(" /usr/bin/profilerd")) && libraries.is_empty(), "{libraries:#?}");
}
