//! The tracers that are compared, one row each.

use std::path::Path;
use std::process::Command;

use super::process::bound_to_us;

/// What a tracer's command is made from.
pub(super) struct Context<'a> {
    pub(super) profilerd: &'a Path,
    /// The load's process, for a tracer of one process.
    pub(super) target: u32,
    /// Where files may go.
    pub(super) folder: &'a Path,
}

/// One way to trace.
pub(super) struct Tracer {
    /// As `--tracer` takes it.
    pub(super) name: &'static str,
    /// As the table shows it.
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// Program and Debian package of what is not ours.
    pub(super) needs: Option<(&'static str, &'static str)>,
    /// Whether it runs without being asked for.
    pub(super) by_default: bool,
    pub(super) command: fn(&Context<'_>) -> Command,
}

/// What a tracer is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Traces nothing: the method's own error.
    Control,
    Ours,
    /// What ours must stay below.
    Rival,
}

/// All tracers, in the order of the table. The first of ours is the one with budgets.
pub(super) static ALL: &[Tracer] = &[
    Tracer {
        name: "none",
        title: "nothing",
        kind: Kind::Control,
        needs: None,
        by_default: true,
        command: |_| until_interrupted("sleep", &["infinity"]),
    },
    Tracer {
        name: "profilerd-all",
        title: "profilerd --all",
        kind: Kind::Ours,
        needs: None,
        by_default: true,
        command: |context| profilerd(context, &["--all"]),
    },
    Tracer {
        name: "profilerd-pid",
        title: "profilerd --pid",
        kind: Kind::Ours,
        needs: None,
        by_default: true,
        command: |context| profilerd(context, &["--pid", &context.target.to_string()]),
    },
    Tracer {
        name: "offcputime",
        title: "offcputime",
        kind: Kind::Rival,
        needs: Some(("offcputime", "libbpf-tools")),
        by_default: true,
        command: |_| until_interrupted("offcputime", &[]),
    },
    Tracer {
        name: "bpftrace",
        title: "bpftrace",
        kind: Kind::Rival,
        needs: Some(("bpftrace", "bpftrace")),
        by_default: true,
        command: |_| until_interrupted("bpftrace", &["-e", BPFTRACE]),
    },
    Tracer {
        name: "perf-sched",
        title: "perf sched record",
        kind: Kind::Rival,
        needs: Some(("perf", "linux-perf")),
        by_default: false,
        command: |context| {
            let mut command = until_interrupted("perf", &["sched", "record", "-o"]);
            command.arg(context.folder.join("perf.data"));
            command
        },
    },
];

/// The well-known off-CPU one-liner, on the tracepoint: `finish_task_switch` cannot be probed on every
/// kernel. The tracepoint runs while the old thread is still on the CPU, so its stacks wait in maps until
/// the thread returns.
const BPFTRACE: &str = "\
    tracepoint:sched:sched_switch { \
      if (tid != 0) { @since[tid] = nsecs; @kernel[tid] = kstack; @user[tid] = ustack; } \
      $since = @since[args->next_pid]; \
      if ($since != 0) { \
        @off_cpu[args->next_comm, @kernel[args->next_pid], @user[args->next_pid]] = sum(nsecs - $since); \
        delete(@since[args->next_pid]); \
      } \
    } \
    END { clear(@since); clear(@kernel); clear(@user); clear(@off_cpu); }";

/// Where [`profilerd`] leaves its report.
pub(super) const REPORT: &str = "profile.json";

fn profilerd(context: &Context<'_>, what: &[&str]) -> Command {
    let mut command = until_interrupted(&context.profilerd.to_string_lossy(), what);
    command.args(["--quiet", "--output"]).arg(context.folder.join(REPORT));
    command
}

/// A command that SIGINT ends, even if we ignore it, as what a script starts in the background does.
pub(super) fn until_interrupted(program: &str, args: &[&str]) -> Command {
    let mut command = bound_to_us("env");
    command.args(["--default-signal=INT", program]).args(args);
    command
}
