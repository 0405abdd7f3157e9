//! Kernel memory: what a capture takes of it on a machine with ordinary processes, whether the figure in
//! the report is what the kernel holds, and what happens when unwind tables have no room.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::unistd::User;
use support::{Program, Report, bpf, free_port, installed, kernel, poll, public_folder, skip};

const MIB: f64 = 1048576.0;
/// What a capture of a machine with this many processes may take.
const PROCESSES: usize = 50;
const MOST_BYTES: u64 = 25 << 20;
/// Different programs among them.
const PROGRAMS: usize = 15;

/// Programs that wait for standard input or the clock, in order of how much code they bring. Those that
/// are not installed are left out.
const WAITING: &[&[&str]] = &[
    &["node", "-e", "setInterval(() => {}, 1000)"],
    &["python3", "-c", "import ssl, sqlite3, json, ctypes, sys; sys.stdin.read()"],
    &["gdb", "-q", "-nx"],
    &["perl", "-e", "<STDIN>"],
    &["git", "hash-object", "--stdin"],
    &["openssl", "enc", "-base64"],
    &["sqlite3"],
    &["tclsh"],
    &["ssh-agent", "-D"],
    &["make", "-f", "-"],
    &["bash", "-c", "read"],
    &["dash", "-c", "read line"],
    &["top", "-b", "-d", "1"],
    &["vmstat", "1"],
    &["awk", "{print}"],
    &["sed", "s/a/b/"],
    &["grep", "x"],
    &["sort"],
    &["xargs"],
    &["od"],
    &["tee"],
    &["cat"],
    &["tail", "-f", "/dev/null"],
    &["timeout", "600", "sleep", "600"],
    &["sleep", "600"],
];

/// Ordinary processes at rest; they end with this value.
struct Machine {
    programs: Vec<Program>,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn start() -> Option<Machine> {
        let folder = public_folder();
        let mut machine = Machine { programs: services(folder.path())?, _folder: folder };
        let there: Vec<_> = WAITING.iter().filter_map(|words| Some((found(words[0])?, &words[1..]))).collect();
        for (program, arguments) in there.iter().cycle().take(4 * there.len()) {
            if machine.processes().len() >= PROCESSES {
                break;
            }
            let mut command = Command::new(program);
            command.args(*arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
            machine.programs.push(Program::start(&mut command));
        }
        // Interpreters load libraries at their start.
        thread::sleep(Duration::from_secs(2));
        for program in &mut machine.programs {
            assert!(program.has_ended().is_none(), "a program has ended: {:?}", program.has_ended());
        }
        Some(machine)
    }

    /// All of them with their children.
    fn processes(&self) -> Vec<u32> {
        let groups: BTreeSet<i32> = self.programs.iter().map(|program| program.pid() as i32).collect();
        let all = fs::read_dir("/proc").unwrap().filter_map(|it| it.ok()?.file_name().to_str()?.parse::<u32>().ok());
        // Some servers give their children groups of their own.
        let ours = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1).map(|field| field.parse::<i32>());
            let (parent, group) = (fields.next()?.ok()?, fields.next()?.ok()?);
            Some(groups.contains(&parent) || groups.contains(&group))
        };
        all.filter(|pid| ours(*pid) == Some(true)).collect()
    }

    /// Executables that they run.
    fn executables(&self) -> BTreeSet<PathBuf> {
        self.processes().iter().filter_map(|pid| fs::read_link(format!("/proc/{pid}/exe")).ok()).collect()
    }
}

fn found(name: &str) -> Option<PathBuf> {
    // Debian's own first: elsewhere in PATH may lie scripts of the same name.
    ["/usr/bin", "/usr/sbin", "/usr/local/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|it| it.exists())
}

/// A database, a cache, a web server.
fn services(folder: &Path) -> Option<Vec<Program>> {
    let mut programs = Vec::new();
    let port = free_port();
    let mut redis = Command::new(installed(&["redis-server"])?);
    redis.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    programs.push(Program::serve(&mut redis, port));
    let port = free_port();
    let settings = folder.join("nginx.conf");
    let text = format!(
        "worker_processes 2; daemon off; pid {0}/nginx.pid; error_log {0}/error.log;\n\
         events {{}} http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {0}; }} }}\n",
        folder.display()
    );
    fs::write(&settings, text).unwrap();
    programs.push(Program::serve(Command::new(installed(&["nginx"])?).arg("-c").arg(&settings), port));
    programs.push(postgres(&folder.join("postgres"))?);
    Some(programs)
}

fn postgres(folder: &Path) -> Option<Program> {
    let programs = newest("/usr/lib/postgresql").or_else(|| skip("needs postgresql"))?.join("bin");
    let user = User::from_name("postgres").unwrap().unwrap();
    fs::create_dir(folder).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
    chown(folder, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    let data = folder.join("data");
    let as_postgres = |program: &str| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(programs.join(program));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        command
    };
    assert!(as_postgres("initdb").args(["-N", "-A", "trust", "-D"]).arg(&data).status().unwrap().success());
    let mut server = as_postgres("postgres");
    server.arg("-D").arg(&data).args(["-c", "listen_addresses=", "-k"]).arg(folder);
    let program = Program::start(&mut server);
    let socket = folder.join(".s.PGSQL.5432");
    assert!(poll(Duration::from_secs(20), || socket.exists()), "postgres does not start");
    Some(program)
}

/// The last entry of a folder by name.
fn newest(folder: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).max()
}

/// The report of a capture, and the kernel memory of its maps as the kernel said shortly before its end.
fn measured(kernel: &support::Kernel, what: &str) -> (Report, u64) {
    let folder = support::folder();
    let json = folder.path().join("report.json");
    let mut command = kernel.profilerd(what.split(' '));
    command.args(["--quiet", "--duration", "5s", "-o"]).arg(&json);
    let mut profilerd = Program::start(command.stdin(Stdio::null()));
    let mut seen = 0;
    let ended = poll(Duration::from_secs(60), || {
        // Maps go when the window is over; before, tables only become more.
        seen = bpf::map_bytes(profilerd.pid()).max(seen);
        thread::sleep(Duration::from_millis(50));
        profilerd.has_ended().is_some()
    });
    assert!(ended && profilerd.has_ended().unwrap().success());
    let report = Report::read(&json);
    report.assert_closes();
    (report, seen)
}

#[test]
fn fifty_ordinary_processes_fit_into_25_mib_and_the_figure_is_the_kernels() {
    let Some(kernel) = kernel() else { return };
    let Some(machine) = Machine::start() else { return };
    let (processes, executables) = (machine.processes(), machine.executables());
    assert!(processes.len() >= PROCESSES, "{} processes", processes.len());
    assert!(executables.len() >= PROGRAMS, "{executables:?}");
    // Of these alone, and of the whole machine, where others may run compilers beside us: their tables are
    // taken out.
    let pids: Vec<_> = machine.programs.iter().map(|program| format!("--pid {}", program.pid())).collect();
    let mut tables = None;
    for what in [&format!("--tree {}", pids.join(" ")), "--all"] {
        let (report, seen) = measured(&kernel, what);
        let (told, all_tables) = (report.overhead.kernel_memory_bytes, report.overhead.unwind_tables_bytes);
        let tables = *tables.get_or_insert(all_tables);
        let name = what.split(' ').next().unwrap();
        println!(
            "{name}: {} processes, {} of ours with {} programs: {:.1} MiB, from outside {:.1} MiB; tables of {} files \
             in {:.0} MiB, of ours in {:.0} MiB",
            report.processes.len(),
            processes.len(),
            executables.len(),
            told as f64 / MIB,
            seen as f64 / MIB,
            report.overhead.unwind_tables_files,
            all_tables as f64 / MIB,
            tables as f64 / MIB,
        );
        // From outside the state of threads cannot be seen.
        assert!(told.abs_diff(seen) * 20 <= seen, "{name}: {told} bytes told, {seen} seen");
        assert!(report.overhead.unwind_tables_files >= PROGRAMS as u64);
        assert!(report.threads.len() >= PROCESSES, "{} threads", report.threads.len());
        assert!(told - all_tables + tables <= MOST_BYTES, "{name}: {told} bytes, {all_tables} of them for tables");
    }
}

#[test]
fn tables_without_room_are_told_and_cost_only_callers() {
    let Some(kernel) = kernel() else { return };
    let Some(compiler) = installed(&["g++"]) else { return };
    let folder = support::folder();
    let source = folder.path().join("large.cpp");
    fs::write(&source, "#include <regex>\n#include <map>\nstd::regex x(\"a*\"); std::map<int, std::regex> y;\n")
        .unwrap();
    // The compiler's table alone is larger than a MiB; those of what else runs come and go.
    let work = "while :; do \"$0\" -O2 -c -o /dev/null \"$1\"; python3 -c 'import ssl, sqlite3, json'; perl -e 1; done";
    let mut command = Command::new("sh");
    // The dynamic linker's lazy resolver has a rule by a register that walks do not follow: it would be met as well.
    command.args(["-c", work]).arg(&compiler).arg(&source).env("LD_BIND_NOW", "1");
    let busy = Program::start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
    let folded = folder.path().join("stacks.folded");
    let what = format!("-q --tables-memory 1MiB --pid {} --duration 12s -o {}", busy.pid(), folded.display());
    let (report, _) = kernel.record(&what);
    let [evicted, refused] = ["evicted", "over_budget"].map(|what| report.loss(&format!("unwind_tables_{what}")));
    println!("{evicted} evicted, {refused} over budget; {:?}", report.stack_quality.on_cpu);
    assert_eq!(report.overhead.unwind_tables_bytes, 1 << 20, "one slab");
    assert!(refused > 0 && evicted > 0);
    let samples = |outcome: &str| report.stack_quality.on_cpu.get(outcome).map_or(0, |walks| walks.samples);
    let all: u64 = report.stack_quality.on_cpu.values().map(|walks| walks.samples).sum();
    let without = ["no-unwind-info", "no-unwind-info-yet", "complete-approximate", "not-code", "read-fault"];
    let short: u64 = without.into_iter().map(samples).sum();
    assert!(short > 0, "stacks through code without table say so");
    // glibc's vfork keeps the address that it returns to in a register, and has a rule that says so.
    const ENDS: &str = "[unwinding stopped: bad rule];";
    let stacks = fs::read_to_string(&folded).unwrap();
    let ended = stacks.lines().filter_map(|line| line.split_once(ENDS)).map(|(_, inner)| inner);
    let by_others: Vec<_> = ended.filter(|inner| !inner.starts_with("__libc_vfork")).collect();
    assert!(by_others.is_empty(), "and none is walked by what lay there before: {by_others:?}");
    assert!(all > 100, "{all} samples");
}
