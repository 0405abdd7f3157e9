//! What a process is known by, to people and to their tools.

mod cgroup_path;
mod environment;

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::model::{Program, UnixNs, text};
use nix::time::{ClockId, clock_gettime};

/// Most bytes read of one environment. What lies behind it is not looked at: the strings that we want
/// are the operator's, and few programs are given more.
const MOST_ENVIRONMENT: u64 = 128 << 10;
/// Most bytes read of `/proc/PID/cgroup`: a path of 4,096 bytes in each of 14 hierarchies.
const MOST_CGROUP: u64 = 64 << 10;
/// Most bytes read of `/proc/PID/stat`: 52 numbers and a name.
const MOST_STAT: u64 = 4 << 10;
/// Longest name of a thread in bytes. Source: `TASK_COMM_LEN`, include/linux/sched.h, less its NUL.
const MOST_COMM: usize = 15;
/// Longest service name in bytes. Anyone may name their program anything.
const MOST_SERVICE: usize = 200;

/// Reads the labels of live processes. What cannot be read is absent from them.
#[derive(Clone, Copy, Debug)]
pub struct Labels {
    /// Nanoseconds of a clock tick, the unit of birth times.
    tick_ns: u64,
}

impl Labels {
    /// Asks the kernel for the unit of its birth times.
    pub fn new() -> Labels {
        let ticks = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        Labels { tick_ns: 1_000_000_000 / ticks.clamp(1, 1_000_000_000) as u64 }
    }

    /// What a process is known by now, or `None` if it is gone. The caller says which generation of it
    /// this is; the build id is left to it as well, since whoever reads the mappings has the file open.
    ///
    /// Reads five small files and waits for nobody: names of other users' files are read, the files not.
    pub fn read(&self, pid: u32, generation: u32) -> Option<Program> {
        let before = Stat::parse(&bounded(pid, "stat", MOST_STAT)?)?;
        let executable = executable(pid);
        let paths = cgroup_path::Paths::parse(&bounded(pid, "cgroup", MOST_CGROUP).unwrap_or_default());
        let environment = bounded(pid, "environ", MOST_ENVIRONMENT).unwrap_or_default();
        // The id may have gone to another process meanwhile, and labels of two would be mixed.
        let after = Stat::parse(&bounded(pid, "stat", MOST_STAT)?)?;
        if before.start_ticks != after.start_ticks {
            return None;
        }
        let place = paths.place();
        let named = environment::service(&environment).or_else(|| place.service.clone());
        let file_name = || executable.as_deref().and_then(file_name).map(str::to_owned);
        let service = named.or_else(file_name).filter(|name| !name.is_empty()).unwrap_or_else(|| after.comm.clone());
        Some(Program {
            pid,
            generation,
            parent: after.parent,
            born: self.born(after.start_ticks),
            comm: after.comm.into(),
            executable: executable.map(Arc::from),
            build_id: None,
            cgroup: paths.unified.map(Arc::from),
            container_id: place.container.map(Arc::from),
            unit: place.unit.map(Arc::from),
            service: cut(&service, MOST_SERVICE).into(),
        })
    }

    /// What a process is known by right after an exec, of which only `executable` is known: most programs end before it
    /// is worth asking. Its cgroup is the one that it had. A service that its environment had named has that name still, since
    /// most environments are handed on.
    pub fn after_exec(before: &Program, generation: u32, executable: Option<Arc<str>>) -> Program {
        let comm = executable.as_deref().and_then(file_name).unwrap_or(&before.comm);
        let after = Program {
            generation,
            comm: cut(comm, MOST_COMM).into(),
            executable: executable.clone(),
            build_id: None,
            ..before.clone()
        };
        let was_named = before.service != unnamed(before);
        let service = if was_named { before.service.clone() } else { unnamed(&after) };
        Program { service, ..after }
    }

    /// The service of a program by its environment as it is now, or if that names none by what else it is known by. `None`
    /// if it is gone, or does not let us.
    pub fn service(program: &Program) -> Option<Arc<str>> {
        let named = environment::service(&bounded(program.pid, "environ", MOST_ENVIRONMENT)?);
        Some(named.map_or_else(|| unnamed(program), |name| cut(&name, MOST_SERVICE).into()))
    }

    /// Birth times count from boot, time in suspend included.
    fn born(&self, start_ticks: u64) -> UnixNs {
        let now =
            |clock| clock_gettime(clock).map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64);
        let age = now(ClockId::CLOCK_BOOTTIME).saturating_sub(start_ticks.saturating_mul(self.tick_ns));
        UnixNs(now(ClockId::CLOCK_REALTIME).saturating_sub(age))
    }
}

impl Default for Labels {
    fn default() -> Labels {
        Labels::new()
    }
}

/// What the service of a program is called that no environment names.
fn unnamed(program: &Program) -> Arc<str> {
    let of_path = |cgroup: &Arc<str>| cgroup_path::Paths::parse(format!("0::{cgroup}\n").as_bytes()).place().service;
    let service = program.cgroup.as_ref().and_then(of_path);
    let name = service.as_deref().or_else(|| program.executable.as_deref().and_then(file_name));
    cut(name.unwrap_or(&program.comm), MOST_SERVICE).into()
}

fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next().filter(|name| !name.is_empty())
}

/// Fields of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    comm: String,
    parent: u32,
    /// When it was born, in clock ticks since boot.
    start_ticks: u64,
}

impl Stat {
    /// The name stands in parentheses and may hold anything, so it ends at the last one.
    ///
    /// Source: proc_pid_stat(5): state is field 3, the parent field 4, the start time field 22.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let open = stat.iter().position(|byte| *byte == b'(')?;
        let close = stat.iter().rposition(|byte| *byte == b')').filter(|close| *close > open)?;
        let mut fields = str::from_utf8(&stat[close + 1..]).ok()?.split_ascii_whitespace();
        let parent = fields.nth(1)?.parse().ok()?;
        let start_ticks = fields.nth(17)?.parse().ok()?;
        Some(Stat { comm: text::from_bytes(&stat[open + 1..close]), parent, start_ticks })
    }
}

/// The path of the executable. A file that was replaced by an upgrade keeps the name it had: that is
/// what the program is known by.
fn executable(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let path = path.as_os_str().as_bytes();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(text::from_bytes(path)).filter(|path| !path.is_empty())
}

/// The start of a file of /proc. `None` if the process is gone or does not let us.
fn bounded(pid: u32, name: &str, most: u64) -> Option<Vec<u8>> {
    let mut content = Vec::with_capacity(1024);
    File::open(format!("/proc/{pid}/{name}")).ok()?.take(most).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The name up to so many bytes, never ending inside a character.
fn cut(name: &str, most: usize) -> &str {
    &name[..name.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::process::{Child, Command};
    use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

    /// A sleeping process, gone with this value.
    struct Sleeper(Child);

    impl Sleeper {
        fn start(command: &mut Command) -> Sleeper {
            Sleeper(command.spawn().unwrap())
        }

        /// Its labels as soon as they are as expected: a new program gets its name before its environment.
        #[track_caller]
        fn labels(&self, expected: impl Fn(&Program) -> bool) -> Program {
            let deadline = Instant::now() + Duration::from_secs(10);
            loop {
                let labels = Labels::new().read(self.0.id(), 3).unwrap();
                if expected(&labels) {
                    return labels;
                }
                assert!(Instant::now() < deadline, "{labels:?}");
            }
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_known_by_what_proc_says() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let sleeper = Sleeper::start(Command::new("sleep").arg("100").env_clear());
        let labels = sleeper.labels(|labels| &*labels.comm == "sleep");
        assert_eq!((labels.pid, labels.generation, labels.parent), (sleeper.0.id(), 3, std::process::id()));
        assert!(labels.executable.as_deref().unwrap().starts_with('/'), "{labels:?}");
        let age = Duration::from_nanos(labels.born.0).abs_diff(now);
        assert!(age < Duration::from_secs(5), "born {age:?} from now");
        assert!(!labels.service.is_empty());
    }

    #[test]
    fn the_environment_names_the_service() {
        for (variable, value, expected) in [
            ("OTEL_SERVICE_NAME", "shop cart", "shop cart"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b,service.name=check%2Fout", "check/out"),
        ] {
            let sleeper = Sleeper::start(Command::new("sleep").arg("100").env_clear().env(variable, value));
            sleeper.labels(|labels| &*labels.service == expected);
        }
    }

    #[test]
    fn a_long_name_is_cut() {
        let name = format!("{}é", "x".repeat(MOST_SERVICE - 1));
        let sleeper = Sleeper::start(Command::new("sleep").arg("100").env("OTEL_SERVICE_NAME", &name));
        sleeper.labels(|labels| *labels.service == name[..MOST_SERVICE - 1]);
    }

    #[test]
    fn an_exec_keeps_what_it_cannot_change() {
        let check = |cgroup: &str, was: &str, executable: Option<&str>, comm: &str, service: &str| {
            let before = Program {
                comm: "sh".into(),
                executable: Some("/bin/sh".into()),
                build_id: Some("abc".into()),
                cgroup: Some(cgroup.into()),
                unit: Some("b.service".into()),
                service: was.into(),
                ..Program::default()
            };
            let after = Labels::after_exec(&before, 4, executable.map(Arc::from));
            assert_eq!((after.generation, &*after.comm, &*after.service), (4, comm, service));
            assert_eq!((after.cgroup, after.unit, after.build_id), (before.cgroup, before.unit, None));
        };
        check("/system.slice/b.service", "b", Some("/bin/true"), "true", "b");
        check("/", "sh", Some("/usr/bin/a-rather-long-name"), "a-rather-long-n", "a-rather-long-name");
        check("/", "sh", None, "sh", "sh");
        // Only its environment can have named it so.
        check("/system.slice/b.service", "shop", Some("/bin/true"), "true", "shop");
        check("/", "shop", Some("/bin/true"), "true", "shop");
    }

    #[test]
    fn the_service_of_a_program_is_asked_of_its_environment_first() {
        let sleeper = Sleeper::start(Command::new("sleep").arg("100").env_clear().env("OTEL_SERVICE_NAME", "shop"));
        let labels = sleeper.labels(|labels| &*labels.service == "shop");
        let inherited = Program { service: "parent's".into(), executable: Some("/bin/sleep".into()), ..labels };
        assert_eq!(Labels::service(&inherited).as_deref(), Some("shop"));
        let sleeper = Sleeper::start(Command::new("sleep").arg("100").env_clear());
        let unnamed = Program { pid: sleeper.0.id(), cgroup: None, ..inherited };
        assert!(Labels::service(&unnamed).is_some_and(|service| &*service == "sleep"));
        // Nobody has so high a process id.
        assert_eq!(Labels::service(&Program { pid: u32::MAX, ..unnamed }), None);
    }

    #[test]
    fn who_is_gone_has_no_labels() {
        let mut sleeper = Sleeper::start(Command::new("sleep").arg("100"));
        sleeper.0.kill().unwrap();
        sleeper.0.wait().unwrap();
        assert_eq!(Labels::new().read(sleeper.0.id(), 0), None);
        assert_eq!(Labels::new().read(u32::MAX, 0), None);
    }

    #[test]
    fn a_zombie_is_known_by_its_name() {
        let mut child = Command::new("true").spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while !super::super::has_ended(child.id()) {
            assert!(Instant::now() < deadline, "it does not end");
        }
        let labels = Labels::new().read(child.id(), 0).unwrap();
        assert_eq!((&*labels.comm, labels.executable), ("true", None));
        // Tests may run inside a unit themselves.
        assert!(labels.unit.is_some() || &*labels.service == "true", "{}", labels.service);
        child.wait().unwrap();
    }

    #[test]
    fn a_name_with_parentheses_is_a_name() {
        let rest = "S 7 1 1 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4242 1 2";
        let check = |stat: &str, expected: Option<(&str, u32, u64)>| {
            let expected =
                expected.map(|(comm, parent, start_ticks)| Stat { comm: comm.to_owned(), parent, start_ticks });
            assert_eq!(Stat::parse(stat.as_bytes()), expected, "{stat}");
        };
        check(&format!("9 (sh) {rest}"), Some(("sh", 7, 4242)));
        check(&format!("9 (a) R (b) {rest}"), Some(("a) R (b", 7, 4242)));
        check(&format!("9 () {rest}"), Some(("", 7, 4242)));
        check("9 (sh) S 7", None);
        check(")(", None);
        check("", None);
    }

    /// The bound leaves room for a slow machine; the figure is printed.
    #[test]
    fn three_hundred_processes_are_read() {
        let sleepers: Vec<_> = (0..300).map(|_| Sleeper::start(Command::new("sleep").arg("100"))).collect();
        let labels = Labels::new();
        assert!(sleepers.iter().all(|sleeper| labels.read(sleeper.0.id(), 0).is_some()));
    }
}
