#![expect(clippy::unwrap_used, reason = "tests")]
use super::*;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A copy of `sleep` under another name, which runs until dropped.
struct Sleeper(Child);

impl Sleeper {
    fn start(program: &Path) -> Sleeper {
        let sleeper = Sleeper(Sleeper::spawn(program).unwrap());
        sleeper.wait_until(|pid| runs(pid, program.file_name().unwrap().to_str().unwrap()));
        sleeper
    }

    /// A test beside this one that forks while the copy is written holds it open for writing until its exec, and the
    /// kernel runs no file that somebody writes.
    fn spawn(program: &Path) -> std::io::Result<Child> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match Command::new(program).arg("1000").stdin(Stdio::null()).spawn() {
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                result => return result,
            }
        }
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn wait_until(&self, condition: impl Fn(u32) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self.pid()) {
            assert!(Instant::now() < deadline, "condition not met in time");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(mut self) -> u32 {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        self.pid()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a process runs a program, whose libraries are loaded.
fn runs(pid: u32, name: &str) -> bool {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    comm(pid).is_some_and(|comm| name.starts_with(&comm)) && maps.contains("r-xp") && maps.contains("libc")
}

/// The first executable address of `path` in a living process.
fn address_of(pid: u32, path: &str) -> ProcessAddress {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).unwrap();
    let entry = maps::executable(&maps).find(|entry| String::from_utf8_lossy(&entry.path).contains(path)).unwrap();
    ProcessAddress(entry.start + 16)
}

fn path_at(processes: &Processes, pid: u32, generation: u32, address: ProcessAddress) -> String {
    match processes.locate(pid, generation, address) {
        Location::Module { module, .. } => module.path.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn an_ended_process_stays_known() {
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mut processes = Processes::new();
    assert!(processes.observe(sleeper.pid(), 0));
    let address = address_of(sleeper.pid(), "libc");
    let pid = sleeper.end();
    assert!(path_at(&processes, pid, 0, address).contains("libc"));
    assert!(!processes.refresh(pid, 0), "nothing to read any more");
    assert!(path_at(&processes, pid, 0, address).contains("libc"));
    assert_eq!(processes.failures()[0], ("process_maps_unreadable", 0));
}

#[test]
fn a_generation_has_only_its_own_mappings() {
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mut processes = Processes::new();
    let (pid, address) = (sleeper.pid(), address_of(sleeper.pid(), "libc"));
    assert!(processes.observe(pid, 2));
    assert!(matches!(processes.locate(pid, 1, address), Location::ProcessGone));
    assert!(matches!(processes.locate(pid, 3, address), Location::ProcessGone));
    assert!(!processes.observe(pid, 1), "what runs now is not what ran before the exec");
    assert!(matches!(processes.locate(pid, 1, address), Location::ProcessGone));
    assert!(path_at(&processes, pid, 2, address).contains("libc"));
}

#[test]
fn mappings_read_after_the_exec_do_not_count_for_before() {
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mut processes = Processes::new();
    let (pid, address) = (sleeper.pid(), address_of(sleeper.pid(), "libc"));
    // The exec had happened when generation 0 was read, but its record had not arrived.
    assert!(processes.observe(pid, 0) && processes.observe(pid, 1));
    assert!(matches!(processes.locate(pid, 0, address), Location::ProcessGone));
    assert!(path_at(&processes, pid, 1, address).contains("libc"));
    assert_eq!(processes.failures()[1], ("process_maps_read_after_exec", 1));
}

#[test]
fn both_programs_of_an_exec_are_known() {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read line; exec sleep 1000"]).stdin(Stdio::piped());
    let shell = Sleeper(shell.spawn().unwrap());
    shell.wait_until(|pid| runs(pid, "sh"));
    let pid = shell.pid();
    let mut processes = Processes::new();
    assert!(processes.observe(pid, 0));
    let before = address_of(pid, "/bin/");
    let before_path = path_at(&processes, pid, 0, before);
    std::io::Write::write_all(&mut shell.0.stdin.as_ref().unwrap(), b"\n").unwrap();
    shell.wait_until(|pid| runs(pid, "sleep"));
    assert!(processes.observe(pid, 1));
    let after = address_of(pid, "/sleep");
    assert!(path_at(&processes, pid, 1, after).ends_with("/sleep"));
    assert_eq!(path_at(&processes, pid, 0, before), before_path);
    assert!(!before_path.ends_with("/sleep"), "{before_path}");
}

#[test]
fn a_child_that_is_gone_has_what_its_parent_had() {
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mut processes = Processes::new();
    processes.observe(sleeper.pid(), 5);
    let address = address_of(sleeper.pid(), "libc");
    let gone = Sleeper::start(Path::new("/bin/sleep")).end();
    assert!(processes.forked(sleeper.pid(), gone, 0));
    assert!(path_at(&processes, gone, 0, address).contains("libc"));
    assert!(matches!(processes.locate(gone, 1, address), Location::ProcessGone), "not after its own exec");
    assert!(!processes.forked(gone + 1_000_000, gone + 1_000_001, 0), "nobody known");
}

#[test]
fn a_file_is_one_module_in_all_processes() {
    let (one, other) = (Sleeper::start(Path::new("/bin/sleep")), Sleeper::start(Path::new("/bin/sleep")));
    let mut processes = Processes::new();
    let mut module = |pid| {
        processes.observe(pid, 0);
        match processes.locate(pid, 0, address_of(pid, "libc")) {
            Location::Module { module, .. } => module,
            other => panic!("{other:?}"),
        }
    };
    let (one, other) = (module(one.pid()), module(other.pid()));
    assert!(Arc::ptr_eq(&one, &other));
    assert!(matches!(one.image, Image::Elf { .. }) && one.is_unchanged());
    assert!(one.build_id.as_ref().is_some_and(|id| id.len() == 40), "{:?}", one.build_id);
}

#[test]
fn a_deleted_program_keeps_its_image() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("a name\nwith lines");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let sleeper = Sleeper::start(&program);
    std::fs::remove_file(&program).unwrap();
    let mut processes = Processes::new();
    assert!(processes.observe(sleeper.pid(), 0));
    let address = address_of(sleeper.pid(), "a name\nwith lines (deleted)");
    let Location::Module { module, .. } = processes.locate(sleeper.pid(), 0, address) else { panic!("no module") };
    if nix::unistd::geteuid().is_root() {
        assert!(matches!(module.image, Image::Elf { .. }), "{module:?}");
    } else {
        println!("skipped: needs CAP_CHECKPOINT_RESTORE");
    }
}

#[test]
fn a_file_overwritten_in_place_is_noticed() {
    use std::os::unix::fs::FileExt;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy("/bin/sleep", file.path()).unwrap();
    let module = Module::open(file.path()).unwrap();
    assert!(module.is_unchanged());
    file.as_file().write_all_at(b"other code", 4096).unwrap();
    file.as_file().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert!(!module.is_unchanged());
}

#[test]
fn the_vdso_is_a_module_with_an_image() {
    let mut processes = Processes::new();
    let pid = std::process::id();
    processes.observe(pid, 0);
    match processes.locate(pid, 0, address_of(pid, "[vdso]")) {
        Location::Module { module, file_offset } => {
            assert_eq!((&*module.path, file_offset), ("[vdso]", FileOffset(16)));
            assert!(matches!(module.image, Image::Elf { .. }));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_is_known_of_addresses_without_code() {
    let mut processes = Processes::new();
    let pid = std::process::id();
    assert!(processes.observe(pid, 0));
    for address in [0, 1, u64::MAX, &raw const processes as u64] {
        assert!(matches!(processes.locate(pid, 0, ProcessAddress(address)), Location::Unmapped), "{address:#x}");
    }
}

#[test]
fn a_process_has_the_mappings_of_its_last_reading_until_it_ends() {
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mut processes = Processes::new();
    assert!(processes.mappings(sleeper.pid(), 5).is_empty() && processes.version(sleeper.pid(), 5).is_none());
    processes.observe(sleeper.pid(), 5);
    let starts: Vec<u64> = processes.mappings(sleeper.pid(), 5).iter().map(|mapping| mapping.start).collect();
    let maps = std::fs::read(format!("/proc/{}/maps", sleeper.pid())).unwrap();
    assert_eq!(starts, maps::executable(&maps).map(|entry| entry.start).collect::<Vec<_>>());
    let version = processes.version(sleeper.pid(), 5);
    assert!(version.is_some() && processes.version(sleeper.pid(), 4).is_none());
    processes.refresh(sleeper.pid(), 5);
    assert_eq!(processes.version(sleeper.pid(), 5), version, "nothing has changed");

    processes.forked(sleeper.pid(), 4_000_000, 7);
    assert_eq!(processes.version(4_000_000, 7), version, "a child has its parent's");
    let forked = Command::new("/bin/sh").args(["-c", "(read line); true"]).stdin(Stdio::piped()).spawn().unwrap();
    let shell = Sleeper(forked);
    shell.wait_until(|pid| children(pid).len() == 1);
    let subshell = children(shell.pid())[0];
    processes.observe(shell.pid(), 1);
    processes.forked(shell.pid(), subshell, 3);
    assert!(processes.refresh(subshell, 3));
    assert_eq!(processes.version(subshell, 3), processes.version(shell.pid(), 1), "read, and found to be the same");

    let address = address_of(sleeper.pid(), "libc");
    let pid = sleeper.end();
    processes.ended(pid);
    assert!(processes.mappings(pid, 5).is_empty() && processes.version(pid, 5).is_none());
    assert!(path_at(&processes, pid, 5, address).contains("libc"));
    assert_eq!(processes.version(4_000_000, 7), version, "the child has not ended");
    // Another process with that pid.
    processes.forked(4_000_000, pid, 9);
    assert_eq!(processes.version(pid, 9), version);
}

#[test]
fn an_exec_whose_record_is_to_come_does_not_change_what_was_there_before() {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read line; exec sleep 1000"]).stdin(Stdio::piped());
    let shell = Sleeper(shell.spawn().unwrap());
    shell.wait_until(|pid| runs(pid, "sh"));
    let pid = shell.pid();
    let mut processes = Processes::new();
    assert!(processes.observe(pid, 1));
    let (before, version) = (address_of(pid, "/bin/"), processes.version(pid, 1));
    let before_path = path_at(&processes, pid, 1, before);
    std::io::Write::write_all(&mut shell.0.stdin.as_ref().unwrap(), b"\n").unwrap();
    shell.wait_until(|pid| runs(pid, "sleep"));
    assert!(!processes.refresh(pid, 1));
    assert_eq!((processes.version(pid, 1), path_at(&processes, pid, 1, before)), (version, before_path));
}

/// What a process has mapped, as the kernel tells of it.
fn told(pid: u32) -> Vec<Mapped> {
    let maps = std::fs::read(format!("/proc/{pid}/maps")).unwrap();
    let mapped = |entry: maps::Entry<'_>| Mapped {
        pid,
        at: crate::model::MonoNs(0),
        start: entry.start,
        end: entry.end,
        file_offset: entry.file_offset,
        device: entry.device,
        inode: entry.inode,
        is_vdso: entry.is_vdso(),
    };
    let all = maps::executable(&maps).filter(|entry| entry.has_file() || entry.is_vdso());
    all.map(mapped).collect()
}

#[test]
fn what_was_told_of_a_program_is_as_good_as_a_reading_even_when_it_is_gone() {
    let mut processes = Processes::new();
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let (first, mapped) = (sleeper.pid(), told(sleeper.pid()));
    assert!(!processes.told(first, 0, &mapped, false), "no process had mapped these files");
    assert!(processes.observe(first, 0));
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let (mapped, address) = (told(sleeper.pid()), address_of(sleeper.pid(), "libc"));
    let pid = sleeper.end();
    assert!(processes.told(pid, 0, &mapped, false));
    assert!(path_at(&processes, pid, 0, address).contains("libc"));
    assert_eq!(processes.mappings(pid, 0).len(), mapped.len());
    assert_eq!(processes.failures()[0], ("process_maps_unreadable", 0));
}

#[test]
fn what_is_told_later_is_added_to_what_was_there() {
    let mut processes = Processes::new();
    let sleeper = Sleeper::start(Path::new("/bin/sleep"));
    let mapped = told(sleeper.pid());
    let (pid, address) = (sleeper.pid(), address_of(sleeper.pid(), "libc"));
    assert!(processes.observe(pid, 0));
    let version = processes.version(pid, 0);
    let again = Mapped { start: 0x10_0000, end: 0x10_2000, ..mapped[0] };
    assert!(processes.told(pid, 0, &[again], true));
    assert!(path_at(&processes, pid, 0, ProcessAddress(0x10_1000)).contains("sleep"));
    assert!(path_at(&processes, pid, 0, address).contains("libc"));
    assert_ne!(processes.version(pid, 0), version);
    // Without a file only a reading says what it is; and nothing can be added to what is not known.
    assert!(!processes.told(pid, 0, &[Mapped { inode: 0, ..again }], true));
    assert!(!processes.told(pid, 1, &[again], true));
    assert!(!processes.told(pid, 1, &[], false));
}

#[test]
fn a_file_that_was_written_to_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let mut processes = Processes::new();
    let sleeper = Sleeper::start(&program);
    assert!(processes.observe(sleeper.pid(), 0));
    let (pid, mapped) = (sleeper.pid(), told(sleeper.pid()));
    assert!(processes.told(pid, 0, &mapped, true));
    sleeper.end();
    let file = std::fs::OpenOptions::new().append(true).open(&program).unwrap();
    file.set_len(file.metadata().unwrap().len() + 1).unwrap();
    assert!(!processes.told(pid, 1, &mapped, false));
}
