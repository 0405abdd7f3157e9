//! Who may run it: what `doctor` says with these rights on this machine, word for word, and whether it is true.
//!
//! It changes settings of the whole machine, one of which cannot be undone, so it is ignored unless asked for, and refuses to
//! begin but in the guests of `cargo xtask vm`. The texts are in `tests/doctor`; what differs is printed whole.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use support::{Outcome, Program, Report, poll, public_folder, run, workload};

/// Privileges, and a state of the machine.
struct Setting {
    /// Its file in `tests/doctor`.
    name: &'static str,
    /// What `doctor` says there, since 5.18.
    words: &'static str,
    who: Who,
    machine: Machine,
    /// Whether a capture works there, and since 5.18 alone.
    works: Works,
    /// What the error says that must be done where it does not.
    remedy: &'static str,
}

#[derive(Clone, Copy)]
enum Who {
    Root,
    /// Root who may lock 64 KiB of memory and no more, without CAP_SYS_RESOURCE.
    RootWithoutResource,
    /// Uid 1000 with these ambient capabilities, in `setpriv`'s words. On kernels before 5.11 with memory to lock, as
    /// `LimitMEMLOCK=infinity` gives.
    User(&'static str),
    /// The same without any, running a file to which they were granted in `doctor`'s own words.
    UserOfFile,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// `kernel.perf_event_paranoid` of this level.
    Paranoid(u8),
    /// Without `/sys/kernel/btf`.
    NoTypes,
    /// The same, with the types in a file.
    TypesOfFile,
    /// lockdown at this level, for good.
    LockedDown(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Works {
    Yes,
    No,
    /// Not before Linux 5.11, where maps are locked memory.
    Newer,
    /// With less: user stacks by frame pointers, and on an old kernel hardly any class.
    Partly,
}

macro_rules! words {
    ($name:literal) => {
        ($name, include_str!(concat!("doctor/", $name, ".txt")))
    };
}

/// Where the types of the kernel are while it shows none.
const TYPES: &str = "/tmp/types-of-kernel";
const BOTH: &str = "+bpf,+perfmon";
const ALL: &str = "+bpf,+perfmon,+sys_ptrace,+checkpoint_restore,+dac_read_search,+syslog";

/// In this order: from the last one there is no way back.
fn settings() -> Vec<Setting> {
    let setting = |(name, words), who, machine, works, remedy| Setting { name, words, who, machine, works, remedy };
    let grant = "run as root, or grant CAP_BPF and CAP_PERFMON";
    let level = "sudo sysctl kernel.perf_event_paranoid=2, or run as root";
    vec![
        setting(words!("root"), Who::Root, Machine::Paranoid(3), Works::Yes, ""),
        setting(
            words!("memlock"),
            Who::RootWithoutResource,
            Machine::Paranoid(3),
            Works::Newer,
            "ulimit -l unlimited; in a unit: LimitMEMLOCK=infinity",
        ),
        setting(words!("user"), Who::User(""), Machine::Paranoid(2), Works::No, grant),
        setting(words!("user-bpf-perfmon"), Who::User(BOTH), Machine::Paranoid(2), Works::Yes, ""),
        setting(words!("user-bpf-perfmon-level-3"), Who::User(BOTH), Machine::Paranoid(3), Works::No, level),
        setting(words!("user-all"), Who::User(ALL), Machine::Paranoid(2), Works::Yes, ""),
        setting(words!("user-file"), Who::UserOfFile, Machine::Paranoid(2), Works::Newer, "grant CAP_SYS_RESOURCE"),
        setting(words!("no-btf"), Who::Root, Machine::NoTypes, Works::No, "a kernel built with CONFIG_DEBUG_INFO_BTF"),
        // The remedy for the last one; then that for the next.
        setting(words!("types-of-a-file"), Who::Root, Machine::TypesOfFile, Works::Yes, ""),
        setting(words!("root"), Who::Root, Machine::LockedDown("integrity"), Works::Yes, ""),
        setting(words!("confidentiality"), Who::Root, Machine::LockedDown("confidentiality"), Works::Partly, ""),
    ]
}

#[test]
#[ignore = "changes settings of the machine: `cargo xtask vm` runs it"]
fn doctor_says_what_is_true_in_each_setting() {
    assert!(support::is_emulated(), "this changes the machine that it runs on: `cargo xtask vm` runs it in a guest");
    let kernel = support::kernel().expect("a guest has all that it needs");
    let wrong: usize = settings().iter().map(|setting| setting.check(&kernel).len()).sum();
    assert_eq!(wrong, 0, "told above");
}

impl Setting {
    /// What is wrong in it.
    fn check(&self, kernel: &support::Kernel) -> Vec<String> {
        self.machine.enter();
        if let Who::UserOfFile = self.who {
            let without = Setting { who: Who::User(""), ..*self };
            let doctor = kernel.profilerd(["doctor"]);
            grant(Path::new(doctor.get_program()), &without.run(&doctor).stdout);
        }
        let works = match self.works {
            Works::Yes | Works::Partly => true,
            Works::Newer => !is_old(),
            Works::No => false,
        };
        let mut wrong = Vec::new();
        let doctor = self.run(&kernel.profilerd(["doctor"]));
        let said = comparable(&doctor.stdout);
        if doctor.status.code() != Some(i32::from(!works)) {
            wrong.push(format!("{}: doctor ends with {}, and said:\n{said}", self.name, doctor.status));
        }
        // What an old kernel lacks is in other words, which are tested where they are made.
        if !is_old() && said != self.words {
            wrong.push(format!("{}: not the text of tests/doctor/{0}.txt, but:\n{said}", self.name));
        }
        // No registers there, and with them no system calls.
        if is_old() && self.works == Works::Partly && !said.contains("none but preempted, disk-io and other") {
            wrong.push(format!("{}: doctor does not say which classes are left, but:\n{said}", self.name));
        }
        if !works && !said.contains(self.remedy) {
            wrong.push(format!("{}: doctor does not say `{}`, but:\n{said}", self.name, self.remedy));
        }
        // Where much else runs, a capture may end before the unwind tables are there.
        let capture = self.check_capture(kernel, works).or_else(|first| {
            println!("{}: once more, since: {first}", self.name);
            self.check_capture(kernel, works)
        });
        wrong.extend(capture.err().map(|error| format!("{}: {error}", self.name)));
        self.machine.leave();
        wrong.iter().for_each(|wrong| println!("{wrong}"));
        wrong
    }

    /// What `doctor` says of a capture is what becomes of one, of a process of the same user.
    fn check_capture(&self, kernel: &support::Kernel, works: bool) -> Result<(), String> {
        // Its first thread waits for the one that spins.
        let mut target = Command::new(workload("faults"));
        target.args(["spin", "1", "250000"]).stdout(std::process::Stdio::null());
        let target = Program::start(&mut self.command(&target));
        let pid = target.pid();
        let threads = || fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        assert!(poll(Duration::from_secs(10), || threads() == 2), "the target has not begun");
        sleep(Duration::from_millis(200));
        let folder = public_folder();
        let json = folder.path().join("report.json");
        chown(folder.path(), Some(self.uid()), None).unwrap();
        let mut profilerd = kernel.profilerd(["--duration", "500ms", "--pid", &pid.to_string(), "-o"]);
        let outcome = self.run(profilerd.arg(&json));
        let said = &outcome.stderr;
        if !works {
            let is_told = outcome.status.code() == Some(1) && said.starts_with("error: ") && said.contains(self.remedy);
            return if is_told { Ok(()) } else { Err(format!("the error ends with {}: {said}", outcome.status)) };
        }
        if !outcome.status.success() {
            return Err(format!("doctor says that it works, but: {said}"));
        }
        let report = Report::read(&json);
        report.assert_closes();
        let total = report.total();
        let wall_ns = total.wall_ns.max(1);
        let seen_ns = total.on_cpu_ns + total.run_queue_ns + total.blocked_ns;
        let samples = |outcome| report.stack_quality.on_cpu.get(outcome).map_or(0, |walks| walks.samples);
        let (whole, by_kernel, missing) = (samples("complete"), samples("frame-pointers-only"), samples("missing"));
        println!(
            "RIGHTS\t{}\ton-CPU {} ms, wall {} ms, {whole} whole stacks, {by_kernel} by frame pointers, {missing} missing",
            self.name,
            total.on_cpu_ns / 1_000_000,
            wall_ns / 1_000_000
        );
        let is_partly = self.works == Works::Partly;
        // Where registers cannot be read nobody knows what a thread waits for.
        let wait = if is_partly && is_old() { "other" } else { "lock/futex" };
        // One thread spins, one waits.
        let is_right = total.on_cpu_ns * 5 > wall_ns && total.class(wait) * 3 > wall_ns && seen_ns * 10 > wall_ns * 9;
        // By tables, which need the files of the process; or, where no table can be followed, every one as far as frame
        // pointers lead, and the report says so.
        let are_stacks = if is_partly {
            let told = outcome.stdout.contains("lockdown=confidentiality");
            // What sleeps all the time is read by another helper, which newer kernels have.
            let sleeps = report.stack_quality.off_cpu.get("complete").map_or(0, |walks| walks.samples);
            whole == 0 && by_kernel > 10 * missing && told && (sleeps > 0 || is_old())
        } else {
            whole > 0 && by_kernel == 0
        };
        if is_right && are_stacks {
            return Ok(());
        }
        Err(format!("{whole} whole stacks, {by_kernel} by frame pointers; {total:?}; {}", outcome.stdout))
    }

    fn uid(&self) -> u32 {
        match self.who {
            Who::Root | Who::RootWithoutResource => 0,
            Who::User(_) | Who::UserOfFile => 1000,
        }
    }

    fn run(&self, command: &Command) -> Outcome {
        run(&mut self.command(command))
    }

    /// The same command with the rights of the setting.
    fn command(&self, command: &Command) -> Command {
        let mut words = vec!["sh".to_owned(), "-c".to_owned()];
        let locked = match self.who {
            Who::RootWithoutResource | Who::UserOfFile => "64",
            Who::Root | Who::User(_) => "unlimited",
        };
        words.push(format!("ulimit -l {locked} && exec \"$0\" \"$@\""));
        // By its path: that of busybox is another.
        let setpriv = "/usr/bin/setpriv";
        let as_user = [setpriv, "--reuid=1000", "--regid=1000", "--clear-groups"].map(str::to_owned);
        match self.who {
            Who::Root => (),
            Who::UserOfFile => words.extend(as_user),
            Who::RootWithoutResource => {
                words.extend([setpriv, "--inh-caps=-sys_resource", "--bounding-set=-sys_resource"].map(str::to_owned));
            }
            Who::User(rights) => {
                words.extend(as_user);
                if !rights.is_empty() {
                    words.extend([format!("--inh-caps={rights}"), format!("--ambient-caps={rights}")]);
                }
            }
        }
        let mut with_rights = Command::new(&words[0]);
        with_rights.args(&words[1..]).arg(command.get_program()).args(command.get_args());
        if self.machine == Machine::TypesOfFile {
            with_rights.env("PROFILERD_BTF", TYPES);
        }
        with_rights
    }
}

/// Runs the line that `doctor` gives to users without rights. It stays in force: whoever has more rights has these, too.
fn grant(program: &Path, doctor: &str) {
    let line = doctor.lines().find_map(|line| line.strip_prefix("  sudo setcap ")).unwrap();
    let rights = line.strip_suffix(" FILE").unwrap();
    run(Command::new("/usr/sbin/setcap").arg(rights).arg(program)).well();
}

impl Machine {
    fn enter(self) {
        match self {
            Machine::Paranoid(level) => fs::write("/proc/sys/kernel/perf_event_paranoid", level.to_string()).unwrap(),
            Machine::NoTypes => hide_types(),
            Machine::TypesOfFile => {
                fs::copy("/sys/kernel/btf/vmlinux", TYPES).unwrap();
                hide_types();
            }
            Machine::LockedDown(level) => fs::write("/sys/kernel/security/lockdown", level).unwrap(),
        }
        // Where all of it can be read by those who may, on every kernel.
        fs::write("/proc/sys/kernel/kptr_restrict", "1").unwrap();
    }

    fn leave(self) {
        if let Machine::NoTypes | Machine::TypesOfFile = self {
            run(Command::new("umount").arg("/sys/kernel/btf")).well();
        }
    }
}

fn hide_types() {
    run(Command::new("mount").args(["-t", "tmpfs", "none", "/sys/kernel/btf"])).well();
}

/// Whether this is a kernel of which the matrix knows that it is old.
fn is_old() -> bool {
    std::env::var("PROFILERD_PARTLY").is_ok_and(|partly| !partly.is_empty())
}

/// Without what differs between two runs: versions in the first line, and the time that loading took.
fn comparable(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let user = first.rsplit(' ').next().unwrap_or_default();
    let mut same = format!("profilerd VERSION on Linux RELEASE, as … {user}\n");
    for line in lines {
        let line = match line.split_once(" removed again in ") {
            Some((before, after)) => {
                format!("{before} removed again in N ms{}", after.split_once(" ms").map_or("", |(_, rest)| rest))
            }
            None => line.to_owned(),
        };
        same.push_str(&line);
        same.push('\n');
    }
    same
}
