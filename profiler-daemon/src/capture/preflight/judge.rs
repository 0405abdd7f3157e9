//! From facts to what a person can do: pure, so that every machine can be tested on any other.

use std::collections::BTreeSet;
use std::time::Duration;

use super::facts::{Facts, NoTypes};
use super::programs::Programs;
use super::rights::Right;
use crate::capture::features::TASK_STORAGE;
use crate::model::{Capability, Support};
use crate::signal::{self, Need, Signal};

/// The verdicts, the main job first.
pub(super) fn judge(facts: &Facts, programs: &Programs) -> Vec<Capability> {
    let loads = kernel_programs(facts, programs);
    let runs = loads.support != Support::No;
    let mut verdicts = vec![loads];
    verdicts.extend(signal::ALL.map(|signal| needs_programs(runs, of_signal(signal, facts, programs))));
    verdicts.extend([
        needs_programs(runs, thread_state(programs)),
        needs_programs(runs, wait_classes(facts, programs)),
        needs_programs(runs, kernel_stacks(facts)),
        needs_programs(runs, program_stacks(facts)),
        kernel_symbols(facts),
        program_symbols(facts),
        own_cost(facts),
        process_ids(facts.host_pids),
    ]);
    verdicts
}

fn yes(name: &'static str, reason: impl Into<String>) -> Capability {
    Capability { name, support: Support::Yes, reason: reason.into(), remedy: None, required: false }
}

fn partly(name: &'static str, reason: impl Into<String>, remedy: Option<&str>) -> Capability {
    Capability { support: Support::Partly, remedy: remedy.map(str::to_owned), ..yes(name, reason) }
}

fn no(name: &'static str, reason: impl Into<String>, remedy: Option<&str>) -> Capability {
    Capability { support: Support::No, ..partly(name, reason, remedy) }
}

/// Whatever keeps the programs from running was said there.
fn needs_programs(runs: bool, verdict: Capability) -> Capability {
    if runs { verdict } else { Capability { required: verdict.required, ..no(verdict.name, AS_PROGRAMS, None) } }
}

const AS_PROGRAMS: &str = "as the kernel programs";

/// What keeps kernel programs from running at all, and the way out.
fn programs_refused(facts: &Facts) -> Option<(String, String)> {
    let on_host = ON_HOST.to_owned();
    let found = match (facts.small_map, facts.rights.missing(&[Right::Bpf, Right::Perfmon])) {
        (Err(libc::ENOSYS), _) => ("this kernel, or a seccomp filter, has no bpf system call".to_owned(), on_host),
        (_, Some(missing)) => (format!("needs {missing}"), grant(&missing)),
        (Err(_), None) if !facts.host_users => {
            ("root inside a user namespace has no rights over the kernel".to_owned(), on_host)
        }
        (Err(errno), None) => (format!("bpf is refused ({}), perhaps by a seccomp filter", errno_name(errno)), on_host),
        (Ok(()), None) => return None,
    };
    Some(found)
}

fn kernel_programs(facts: &Facts, programs: &Programs) -> Capability {
    const NAME: &str = "kernel programs";
    let verdict = if let Some((reason, remedy)) = programs_refused(facts) {
        no(NAME, reason, Some(&remedy))
    } else if let Err(NoTypes { reason, remedy }) = &facts.types {
        no(NAME, reason.clone(), Some(remedy))
    } else if facts.large_map.is_err() {
        let limit = facts.locked_bytes.map(|bytes| format!(" of {} KiB", bytes >> 10)).unwrap_or_default();
        no(
            NAME,
            format!(
                "the limit of locked memory{limit} is too low: before Linux 5.11 the programs' maps count as locked"
            ),
            Some("as root: ulimit -l unlimited; in a unit: LimitMEMLOCK=infinity; or grant CAP_SYS_RESOURCE"),
        )
    } else {
        match programs {
            Programs::Loaded { names, took, types, .. } => {
                let did = format!("{} loaded and removed again in {} ms", names.len(), took.as_millis());
                match types {
                    None => yes(NAME, did),
                    Some(file) => {
                        let file = file.display();
                        partly(NAME, format!("{did}, without types of the kernel's own: those of `{file}`"), None)
                    }
                }
            }
            Programs::Refused { reason, remedy } => no(NAME, reason, Some(remedy)),
        }
    };
    Capability { required: true, ..verdict }
}

/// A signal whose programs run works if the machine offers the rest.
fn of_signal(signal: &Signal, facts: &Facts, programs: &Programs) -> Capability {
    let needed = signal.needs.iter().map(|need| match need {
        Need::SamplingClock => sampling_clock(signal.name, facts),
    });
    let without = signal.optional.iter().filter_map(|optional| match programs {
        Programs::Loaded { names, types, .. } if !names.contains(optional.program) => {
            // Which Linux has it says nothing where it lacks types.
            let without = optional.without;
            let reason = if types.is_some() { without.split(" (").next().unwrap_or(without) } else { without };
            Some(partly(signal.name, reason, None))
        }
        _ => None,
    });
    let worst = |support: Support| match support {
        Support::No => 0,
        Support::Partly => 1,
        Support::Yes => 2,
    };
    let verdict = needed.chain(without).min_by_key(|verdict| worst(verdict.support));
    Capability { required: true, ..verdict.unwrap_or_else(|| yes(signal.name, "")) }
}

/// Where the state of accounted threads lies.
fn thread_state(programs: &Programs) -> Capability {
    const NAME: &str = "thread state";
    match programs {
        Programs::Loaded { hashed_threads: true, .. } => partly(NAME, TASK_STORAGE.without, None),
        _ => yes(NAME, ""),
    }
}

const CONFIDENTIAL: &str = "lockdown=confidentiality forbids reading kernel memory";
/// The kernel alone would allow them, see `settings::memory_reads`.
const BY_KERNEL: &str = "by frame pointers alone, perhaps not whole: the loader makes of reads of their memory what \
                         lockdown=confidentiality forbids";
const RELAX_LOCKDOWN: Option<&str> = Some("boot with lockdown=integrity, under which all works");
const ON_HOST: &str = "run on the host, or in a container with --privileged and --pid=host";

/// The way to rights that are missing. How they are granted is said once, see [`how_to_grant`].
fn grant(missing: &str) -> String {
    format!("run as root, or grant {missing}")
}

/// All that a user needs to see as much as root does, but for the cost of the kernel programs.
const ALL_BUT_ADMIN: [Right; 6] =
    [Right::Bpf, Right::Perfmon, Right::SysPtrace, Right::CheckpointRestore, Right::DacReadSearch, Right::Syslog];

/// How an ordinary user gets all rights that are of use; `None` if none is missing, or if granting would change nothing.
pub(super) fn how_to_grant(facts: &Facts) -> Option<String> {
    if !facts.host_users {
        return None;
    }
    facts.rights.missing(&ALL_BUT_ADMIN)?;
    // One that is granted replaces those of before, so all are named.
    let names = ALL_BUT_ADMIN.map(Right::name);
    let small = names.map(str::to_lowercase).join(",");
    Some(format!(
        "to grant rights to whoever may run a file:\n  sudo setcap {small}+ep FILE\nto a unit with User=:\n  \
         AmbientCapabilities={}\n",
        names.join(" ")
    ))
}

/// What keeps a capture from running, as far as that is known without loading anything.
pub(super) fn obstacle(facts: &Facts) -> Option<Capability> {
    let loaded = Programs::Loaded { names: BTreeSet::new(), took: Duration::ZERO, hashed_threads: false, types: None };
    let verdicts = [kernel_programs(facts, &loaded), sampling_clock(signal::CPU.name, facts)];
    verdicts.into_iter().find(|verdict| verdict.support == Support::No)
}

fn wait_classes(facts: &Facts, programs: &Programs) -> Capability {
    const NAME: &str = "classes of waits";
    let hashed = matches!(programs, Programs::Loaded { hashed_threads: true, .. });
    let lost = match (facts.memory_reads, hashed) {
        (true, _) => return yes(NAME, ""),
        (false, false) => "no socket, pipe or file behind read and write",
        // Its programs find no registers, see `regs`, and so neither system calls nor who wakes whom.
        (false, true) => "none but preempted, disk-io and other, and nobody who ended a wait",
    };
    partly(NAME, format!("{lost}: {CONFIDENTIAL}"), RELAX_LOCKDOWN)
}

fn kernel_stacks(facts: &Facts) -> Capability {
    const NAME: &str = "stacks of kernel code";
    if facts.memory_reads {
        yes(NAME, "")
    } else {
        partly(NAME, format!("every stack is walked afresh: {CONFIDENTIAL}"), RELAX_LOCKDOWN)
    }
}

fn sampling_clock(name: &'static str, facts: &Facts) -> Capability {
    match facts.software_clock {
        Ok(()) => yes(name, "sampled by the kernel's software clock"),
        Err(libc::EACCES | libc::EPERM) => {
            let level = facts.perf_event_paranoid.unwrap_or(0);
            // A level of distributions: the kernel itself knows none above 2.
            if level > 2 && !facts.rights.has(Right::SysAdmin) {
                let reason = format!("kernel.perf_event_paranoid={level} forbids sampling without CAP_SYS_ADMIN");
                return no(name, reason, Some("sudo sysctl kernel.perf_event_paranoid=2, or run as root"));
            }
            no(name, "perf_event_open is refused, perhaps by a seccomp filter", Some(ON_HOST))
        }
        Err(errno) => no(name, format!("perf_event_open fails ({})", errno_name(errno)), None),
    }
}

/// Tables are made of the files that a process maps, which not everybody may open.
fn program_stacks(facts: &Facts) -> Capability {
    const NAME: &str = "stacks of programs";
    if !facts.memory_reads {
        return partly(NAME, BY_KERNEL, RELAX_LOCKDOWN);
    }
    match facts.rights.missing(&FILES_OF_OTHERS) {
        None => yes(NAME, "by unwind tables; by frame pointers where a file has none"),
        Some(missing) => {
            let reason =
                format!("of your own processes by unwind tables, of others by frame pointers without {missing}");
            partly(NAME, reason, Some(&grant(&missing)))
        }
    }
}

/// What it takes to read the mappings of others' processes and to open the files behind them.
const FILES_OF_OTHERS: [Right; 2] = [Right::SysPtrace, Right::CheckpointRestore];

fn kernel_symbols(facts: &Facts) -> Capability {
    const NAME: &str = "kernel symbols";
    if facts.kernel_addresses {
        return yes(NAME, "");
    }
    match facts.kptr_restrict {
        Some(2) => no(NAME, "kernel.kptr_restrict=2 hides addresses", Some("sysctl kernel.kptr_restrict=1")),
        _ => {
            let reason = "/proc/kallsyms hides addresses";
            match facts.rights.missing(&[Right::Syslog]) {
                Some(missing) => no(NAME, format!("{reason} without {missing}"), Some(&grant(&missing))),
                None => no(NAME, reason, Some(ON_HOST)),
            }
        }
    }
}

fn program_symbols(facts: &Facts) -> Capability {
    const NAME: &str = "symbols of programs";
    match facts.rights.missing(&FILES_OF_OTHERS) {
        None => yes(NAME, ""),
        Some(missing) => {
            let reason = format!("only of your own processes without {missing}");
            partly(NAME, reason, Some(&grant(&missing)))
        }
    }
}

fn own_cost(facts: &Facts) -> Capability {
    const NAME: &str = "own cost of a capture";
    match facts.rights.missing(&[Right::SysAdmin]) {
        None => yes(NAME, ""),
        Some(missing) => {
            let reason = format!("of the daemon; of its kernel programs not without {missing}");
            partly(NAME, reason, Some(&grant(&missing)))
        }
    }
}

pub(super) fn process_ids(host_pids: bool) -> Capability {
    const NAME: &str = "process ids of the host";
    if host_pids {
        yes(NAME, "")
    } else {
        let reason = "inside a pid namespace: the kernel counts by the host's process ids and /proc shows others, \
                      so processes are not found, or have no names or wrong ones";
        partly(
            NAME,
            reason,
            Some("run on the host, or start the container with --pid=host (Kubernetes: hostPID: true)"),
        )
    }
}

fn errno_name(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::super::rights::Rights;
    use super::*;
    use crate::capture::btf::{BtfError, KERNEL_BTF};

    const MOST: &[&str] = &[
        "cpu_sample",
        "sched_migrate_task",
        "sched_process_exec",
        "sched_switch",
        "sched_waking",
        "sched_wakeup_new",
        "threads",
    ];

    fn loaded(names: &[&str]) -> Programs {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Programs::Loaded { names, took: Duration::from_millis(60), hashed_threads: false, types: None }
    }

    fn all_loaded() -> Programs {
        loaded(&[MOST, &["sleepers"]].concat())
    }

    fn root() -> Facts {
        Facts {
            rights: Rights(u64::MAX),
            host_users: true,
            host_pids: true,
            types: Ok(()),
            small_map: Ok(()),
            large_map: Ok(()),
            locked_bytes: None,
            software_clock: Ok(()),
            perf_event_paranoid: Some(2),
            kernel_addresses: true,
            kptr_restrict: Some(1),
            memory_reads: true,
        }
    }

    fn no_types(path: &str, errno: i32) -> Result<(), NoTypes> {
        Err(BtfError::Read(path.into(), std::io::Error::from_raw_os_error(errno)).into())
    }

    /// What is not a plain yes: `name: support, reason`.
    #[track_caller]
    fn check(facts: Facts, programs: Programs, expected: &[&str]) {
        let short: Vec<String> = judge(&facts, &programs)
            .iter()
            .filter(|verdict| verdict.support != Support::Yes)
            .map(|verdict| format!("{}: {:?}, {}", verdict.name, verdict.support, verdict.reason))
            .collect();
        assert_eq!(short, expected);
    }

    #[test]
    fn root_on_a_plain_host_can_do_all() {
        check(root(), all_loaded(), &[]);
        assert_eq!(judge(&root(), &all_loaded())[0].reason, "8 loaded and removed again in 60 ms");
    }

    #[test]
    fn a_plain_user_is_told_what_is_missing() {
        check(
            Facts {
                rights: Rights(0),
                small_map: Err(libc::EPERM),
                large_map: Err(libc::EPERM),
                software_clock: Err(libc::EACCES),
                kernel_addresses: false,
                perf_event_paranoid: Some(3),
                ..root()
            },
            refused(),
            &[
                "kernel programs: No, needs CAP_BPF and CAP_PERFMON",
                "cpu: No, as the kernel programs",
                "off-cpu: No, as the kernel programs",
                "run-queue: No, as the kernel programs",
                "thread state: No, as the kernel programs",
                "classes of waits: No, as the kernel programs",
                "stacks of kernel code: No, as the kernel programs",
                "stacks of programs: No, as the kernel programs",
                "kernel symbols: No, /proc/kallsyms hides addresses without CAP_SYSLOG",
                "symbols of programs: Partly, only of your own processes without CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE",
                "own cost of a capture: Partly, of the daemon; of its kernel programs not without CAP_SYS_ADMIN",
            ],
        );
    }

    fn refused() -> Programs {
        Programs::Refused {
            reason: "cannot load kernel program `threads`".to_owned(),
            remedy: "a newer kernel".to_owned(),
        }
    }

    #[test]
    fn each_obstacle_has_its_own_reason() {
        let first = |facts: Facts| judge(&facts, &refused())[0].reason.clone();
        let without = |errno| Facts { types: no_types(KERNEL_BTF, errno), ..root() };
        assert_eq!(first(without(libc::ENOENT)), "/sys/kernel/btf/vmlinux is missing");
        assert_eq!(first(without(libc::EACCES)), "/sys/kernel/btf/vmlinux cannot be read");
        assert_eq!(
            first(Facts { types: no_types("/nowhere", libc::ENOENT), ..root() }),
            "cannot read the kernel's type information `/nowhere`: No such file or directory (os error 2)"
        );
        assert_eq!(
            first(Facts { large_map: Err(libc::EPERM), locked_bytes: Some(64 << 10), ..root() }),
            "the limit of locked memory of 64 KiB is too low: before Linux 5.11 the programs' maps count as locked"
        );
        assert_eq!(
            first(Facts { small_map: Err(libc::EPERM), host_users: false, ..root() }),
            "root inside a user namespace has no rights over the kernel"
        );
        assert_eq!(
            first(Facts { small_map: Err(libc::ENOSYS), ..root() }),
            "this kernel, or a seccomp filter, has no bpf system call"
        );
        assert_eq!(first(root()), "cannot load kernel program `threads`");
    }

    #[test]
    fn a_signal_lacks_what_its_optional_program_gives() {
        check(
            root(),
            loaded(MOST),
            &["off-cpu: Partly, threads that sleep all the time have no stack (Linux 5.18 can tell)"],
        );
    }

    #[test]
    fn what_an_old_kernel_lacks_is_told_by_its_consequence() {
        let programs = || match loaded(MOST) {
            Programs::Loaded { names, took, .. } => Programs::Loaded { names, took, hashed_threads: true, types: None },
            refused @ Programs::Refused { .. } => refused,
        };
        let lacks = [
            "off-cpu: Partly, threads that sleep all the time have no stack (Linux 5.18 can tell)",
            "thread state: Partly, kept in a table: at most 4096 threads are accounted at a time, those beyond are \
             counted as lost",
        ];
        check(root(), programs(), &lacks);
        let verdicts = judge(&Facts { memory_reads: false, ..root() }, &programs());
        let classes = verdicts.iter().find(|verdict| verdict.name == "classes of waits").unwrap();
        assert_eq!(
            classes.reason,
            "none but preempted, disk-io and other, and nobody who ended a wait: \
             lockdown=confidentiality forbids reading kernel memory"
        );
    }

    #[test]
    fn without_a_clock_there_are_no_samples_and_no_main_job() {
        let rights = Rights(1 << Right::Bpf as u32 | 1 << Right::Perfmon as u32);
        let facts = Facts { rights, software_clock: Err(libc::EACCES), perf_event_paranoid: Some(3), ..root() };
        let verdicts = judge(&facts, &all_loaded());
        let cpu = verdicts.iter().find(|verdict| verdict.name == signal::CPU.name).unwrap();
        assert_eq!((cpu.support, cpu.required), (Support::No, true));
        assert_eq!(cpu.reason, "kernel.perf_event_paranoid=3 forbids sampling without CAP_SYS_ADMIN");
        assert_eq!(obstacle(&facts).unwrap().reason, cpu.reason);
    }

    #[test]
    fn what_keeps_a_capture_from_running_is_known_without_loading() {
        let reason = |facts: Facts| obstacle(&facts).map(|verdict| verdict.reason);
        assert_eq!(reason(root()), None);
        assert_eq!(reason(Facts { rights: Rights(0), ..root() }).unwrap(), "needs CAP_BPF and CAP_PERFMON");
        assert_eq!(reason(Facts { memory_reads: false, ..root() }), None);
    }

    #[test]
    fn rights_are_granted_all_at_once() {
        assert_eq!(how_to_grant(&root()), None);
        let some = Facts { rights: Rights(1 << Right::Bpf as u32), ..root() };
        let text = how_to_grant(&some).unwrap();
        assert!(text.contains("setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_checkpoint_restore,"), "{text}");
        assert!(text.contains("AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_SYS_PTRACE"), "{text}");
        assert_eq!(how_to_grant(&Facts { host_users: false, ..some }), None);
    }

    #[test]
    fn tables_need_the_files_of_a_process() {
        let verdict =
            |facts: &Facts| judge(facts, &all_loaded()).into_iter().find(|it| it.name == "stacks of programs");
        assert_eq!(verdict(&root()).unwrap().support, Support::Yes);
        let without = !(1 << Right::SysPtrace as u32);
        let verdict = verdict(&Facts { rights: Rights(without), ..root() }).unwrap();
        assert_eq!(verdict.support, Support::Partly);
        assert_eq!(
            verdict.reason,
            "of your own processes by unwind tables, of others by frame pointers without CAP_SYS_PTRACE"
        );
    }

    #[test]
    fn limits_that_do_not_stop_the_job_are_partly() {
        check(
            Facts { memory_reads: false, host_pids: false, kernel_addresses: false, kptr_restrict: Some(2), ..root() },
            all_loaded(),
            &[
                "classes of waits: Partly, no socket, pipe or file behind read and write: \
                 lockdown=confidentiality forbids reading kernel memory",
                "stacks of kernel code: Partly, every stack is walked afresh: \
                 lockdown=confidentiality forbids reading kernel memory",
                "stacks of programs: Partly, by frame pointers alone, perhaps not whole: the loader makes of reads of their memory \
                 what lockdown=confidentiality forbids",
                "kernel symbols: No, kernel.kptr_restrict=2 hides addresses",
                "process ids of the host: Partly, inside a pid namespace: the kernel counts by the host's process ids \
                 and /proc shows others, so processes are not found, or have no names or wrong ones",
            ],
        );
    }

    #[test]
    fn whatever_does_not_work_says_what_to_do() {
        for (facts, programs) in [
            (Facts { rights: Rights(0), small_map: Err(libc::EPERM), ..root() }, refused()),
            (Facts { types: no_types(KERNEL_BTF, libc::ENOENT), ..root() }, refused()),
            (root(), refused()),
            (Facts { software_clock: Err(libc::EPERM), kernel_addresses: false, ..root() }, all_loaded()),
        ] {
            for verdict in judge(&facts, &programs).iter().filter(|verdict| verdict.support == Support::No) {
                assert!(verdict.remedy.is_some() || verdict.reason == AS_PROGRAMS, "{verdict:?}");
            }
        }
    }
}
