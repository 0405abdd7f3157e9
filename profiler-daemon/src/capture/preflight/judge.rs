//! From facts to what a person can do: pure, so that every machine can be tested on any other.

use super::facts::Facts;
use super::rights::Right;
use crate::model::{Capability, Support};

/// The verdicts, the main job first.
pub(super) fn judge(facts: &Facts) -> Vec<Capability> {
    let ledger = ledger(facts);
    let runs = ledger.support != Support::No;
    vec![
        ledger,
        needs_ledger(runs, wait_classes(facts)),
        needs_ledger(runs, kernel_stacks(facts)),
        needs_ledger(runs, yes("stacks of programs", "by frame pointers")),
        cpu_samples(facts),
        kernel_symbols(facts),
        program_symbols(facts),
        process_ids(facts),
    ]
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

/// Whatever keeps the ledger from working was said there.
fn needs_ledger(runs: bool, verdict: Capability) -> Capability {
    if runs { verdict } else { no(verdict.name, AS_LEDGER, None) }
}

const AS_LEDGER: &str = "as the ledger";

/// What keeps kernel programs from running at all, and the way out.
fn programs_refused(facts: &Facts) -> Option<(String, &'static str)> {
    let as_root = "run as root: sudo profilerd …";
    let on_host = "run on the host, or in a container with --privileged and --pid=host";
    let found = match (facts.small_map, facts.rights.missing(&[Right::Bpf, Right::Perfmon])) {
        (Err(libc::ENOSYS), _) => ("this kernel, or a seccomp filter, has no bpf system call".to_owned(), on_host),
        (_, Some(missing)) => (format!("needs {missing}"), as_root),
        (Err(_), None) if !facts.host_users => {
            ("root inside a user namespace has no rights over the kernel".to_owned(), on_host)
        }
        (Err(errno), None) => (format!("bpf is refused ({}), perhaps by a seccomp filter", errno_name(errno)), on_host),
        (Ok(()), None) => return None,
    };
    Some(found)
}

fn ledger(facts: &Facts) -> Capability {
    const NAME: &str = "ledger (on-CPU, run-queue, blocked)";
    let verdict = if let Some((reason, remedy)) = programs_refused(facts) {
        no(NAME, reason, Some(remedy))
    } else if let Err(errno) = facts.btf {
        let (reason, remedy) = if errno == libc::ENOENT {
            (
                "/sys/kernel/btf/vmlinux is missing",
                "a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all large distributions ship",
            )
        } else {
            ("/sys/kernel/btf/vmlinux cannot be read", "run as root; in a container, mount the host's /sys")
        };
        no(NAME, reason, Some(remedy))
    } else if facts.large_map.is_err() {
        no(
            NAME,
            "RLIMIT_MEMLOCK is too low for the kernel's maps",
            Some("ulimit -l unlimited; in a unit: LimitMEMLOCK=infinity"),
        )
    } else {
        yes(NAME, "")
    };
    Capability { required: true, ..verdict }
}

fn kernel_reads(facts: &Facts) -> bool {
    facts.lockdown.as_deref() != Some("confidentiality")
}

const CONFIDENTIAL: &str = "lockdown=confidentiality forbids reading kernel memory";
const RELAX_LOCKDOWN: Option<&str> = Some("boot with lockdown=integrity");

fn wait_classes(facts: &Facts) -> Capability {
    const NAME: &str = "classes of waits";
    if kernel_reads(facts) {
        yes(NAME, "")
    } else {
        partly(NAME, format!("no socket or pipe behind read and write: {CONFIDENTIAL}"), RELAX_LOCKDOWN)
    }
}

fn kernel_stacks(facts: &Facts) -> Capability {
    const NAME: &str = "stacks of kernel code";
    if kernel_reads(facts) {
        yes(NAME, "")
    } else {
        partly(NAME, format!("every stack is walked afresh: {CONFIDENTIAL}"), RELAX_LOCKDOWN)
    }
}

fn cpu_samples(facts: &Facts) -> Capability {
    const NAME: &str = "CPU samples";
    let verdict = match (facts.software_clock, facts.hardware_cycles) {
        (Ok(()), Ok(())) => yes(NAME, "hardware cycles"),
        (Ok(()), Err(_)) => yes(NAME, "software clock (no hardware counters)"),
        (Err(libc::EACCES | libc::EPERM), _) => {
            let level = facts.perf_event_paranoid.map(|level| format!(" (kernel.perf_event_paranoid={level})"));
            let reason = format!("perf_event_open is refused{}", level.unwrap_or_default());
            no(NAME, reason, Some("run as root; with CAP_PERFMON alone: sysctl kernel.perf_event_paranoid=2"))
        }
        (Err(errno), _) => no(NAME, format!("perf_event_open fails ({})", errno_name(errno)), None),
    };
    Capability { required: true, ..verdict }
}

fn kernel_symbols(facts: &Facts) -> Capability {
    const NAME: &str = "kernel symbols";
    if facts.kernel_addresses {
        return yes(NAME, "");
    }
    match facts.kptr_restrict {
        Some(2) => no(NAME, "kernel.kptr_restrict=2 hides addresses", Some("sysctl kernel.kptr_restrict=1")),
        _ => {
            let missing = facts.rights.missing(&[Right::Syslog]).map(|missing| format!(" without {missing}"));
            let reason = format!("/proc/kallsyms hides addresses{}", missing.unwrap_or_default());
            no(NAME, reason, Some("run as root"))
        }
    }
}

fn program_symbols(facts: &Facts) -> Capability {
    const NAME: &str = "symbols of programs";
    let wanted = [Right::SysPtrace, Right::CheckpointRestore];
    match facts.rights.missing(&wanted) {
        None => yes(NAME, ""),
        Some(missing) => {
            let reason = format!("only of your own processes without {missing}");
            partly(NAME, reason, Some("run as root, or grant these rights"))
        }
    }
}

fn process_ids(facts: &Facts) -> Capability {
    const NAME: &str = "process ids of the host";
    if facts.host_pids {
        yes(NAME, "")
    } else {
        let reason = "inside a pid namespace: `--pid` takes the host's numbers, /proc shows others";
        partly(NAME, reason, Some("run on the host, or start the container with --pid=host"))
    }
}

fn errno_name(errno: i32) -> String {
    nix::errno::Errno::from_raw(errno).desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::rights::Rights;
    use super::*;

    fn root() -> Facts {
        Facts {
            rights: Rights(u64::MAX),
            host_users: true,
            host_pids: true,
            btf: Ok(()),
            small_map: Ok(()),
            large_map: Ok(()),
            software_clock: Ok(()),
            hardware_cycles: Err(libc::ENOENT),
            perf_event_paranoid: Some(2),
            kernel_addresses: true,
            kptr_restrict: Some(1),
            lockdown: Some("none".to_owned()),
        }
    }

    /// What is not a plain yes: `name: support, reason`.
    #[track_caller]
    fn check(facts: Facts, expected: &[&str]) {
        let short: Vec<String> = judge(&facts)
            .iter()
            .filter(|verdict| verdict.support != Support::Yes)
            .map(|verdict| format!("{}: {:?}, {}", verdict.name, verdict.support, verdict.reason))
            .collect();
        assert_eq!(short, expected);
    }

    #[test]
    fn root_on_a_plain_host_can_do_all() {
        check(root(), &[]);
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
            &[
                "ledger (on-CPU, run-queue, blocked): No, needs CAP_BPF and CAP_PERFMON",
                "classes of waits: No, as the ledger",
                "stacks of kernel code: No, as the ledger",
                "stacks of programs: No, as the ledger",
                "CPU samples: No, perf_event_open is refused (kernel.perf_event_paranoid=3)",
                "kernel symbols: No, /proc/kallsyms hides addresses without CAP_SYSLOG",
                "symbols of programs: Partly, only of your own processes without CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE",
            ],
        );
    }

    #[test]
    fn each_obstacle_has_its_own_reason() {
        let first = |facts: Facts| judge(&facts)[0].reason.clone();
        assert_eq!(first(Facts { btf: Err(libc::ENOENT), ..root() }), "/sys/kernel/btf/vmlinux is missing");
        assert_eq!(first(Facts { btf: Err(libc::EACCES), ..root() }), "/sys/kernel/btf/vmlinux cannot be read");
        assert_eq!(
            first(Facts { large_map: Err(libc::EPERM), ..root() }),
            "RLIMIT_MEMLOCK is too low for the kernel's maps"
        );
        assert_eq!(
            first(Facts { small_map: Err(libc::EPERM), host_users: false, ..root() }),
            "root inside a user namespace has no rights over the kernel"
        );
        assert_eq!(
            first(Facts { small_map: Err(libc::ENOSYS), ..root() }),
            "this kernel, or a seccomp filter, has no bpf system call"
        );
    }

    #[test]
    fn limits_that_do_not_stop_the_job_are_partly() {
        check(
            Facts {
                lockdown: Some("confidentiality".to_owned()),
                host_pids: false,
                kernel_addresses: false,
                kptr_restrict: Some(2),
                ..root()
            },
            &[
                "classes of waits: Partly, no socket or pipe behind read and write: \
                 lockdown=confidentiality forbids reading kernel memory",
                "stacks of kernel code: Partly, every stack is walked afresh: \
                 lockdown=confidentiality forbids reading kernel memory",
                "kernel symbols: No, kernel.kptr_restrict=2 hides addresses",
                "process ids of the host: Partly, inside a pid namespace: `--pid` takes the host's numbers, \
                 /proc shows others",
            ],
        );
    }

    #[test]
    fn whatever_does_not_work_says_what_to_do() {
        for facts in [
            Facts { rights: Rights(0), small_map: Err(libc::EPERM), ..root() },
            Facts { btf: Err(libc::ENOENT), ..root() },
            Facts { software_clock: Err(libc::EPERM), kernel_addresses: false, ..root() },
        ] {
            for verdict in judge(&facts).iter().filter(|verdict| verdict.support == Support::No) {
                assert!(verdict.remedy.is_some() || verdict.reason == AS_LEDGER, "{verdict:?}");
            }
        }
    }
}
