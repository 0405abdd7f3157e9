//! The main job: watch the target, then report.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, Progress, RecordArgs, Target, output};
use crate::capture::preflight;
use crate::daemon::command::{Held, Invoker, Released, UnknownUser};
use crate::daemon::{Pipeline, PipelineError, Plan, TABLES_BYTES};
use crate::model::Window;
use crate::model::text::printable;
use crate::process;

/// How often the target is asked whether it is still there.
const POLL: Duration = Duration::from_millis(50);

/// Profiles what the arguments name.
///
/// # Errors
/// What could not start or finish, with its remedy.
pub fn run(args: &RecordArgs) -> Result<ExitCode, CliError> {
    args.out.check()?;
    let target = args.target()?;
    if let Some(verdict) = preflight::foreign_process_ids() {
        let remedy = verdict.remedy.unwrap_or_default();
        eprintln!("warning: {}\n  try: {remedy}", verdict.reason);
    }
    let mut sinks = output::open(&args.out)?;
    let (plan, watched) = plan(args, &target)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (window, command) = runtime.block_on(capture(args, plan, watched, &target))?;
    let status = match command {
        Some(command) if command.has_ended() => Some(command.finish().map_err(|error| not_executed(&target, error))?),
        // It runs on, as `--duration` asked.
        _ => None,
    };
    something_was_seen(&target, &window)?;
    output::write(&args.out, &window, &mut sinks)?;
    Ok(exit_code(status))
}

/// What to capture, and which processes' end ends the capture.
fn plan(args: &RecordArgs, target: &Target) -> Result<(Plan, Vec<u32>), CliError> {
    let mut plan = Plan {
        tables_bytes: args.tables_memory.unwrap_or(TABLES_BYTES),
        rate_hz: args.rate,
        min_wait_ns: u64::try_from(args.min_wait.as_nanos()).unwrap_or(u64::MAX),
        verify_memo: args.verify_memo,
        walk_all: args.walk_all,
        compare_walks: args.compare_walks,
        hashed_threads: args.hashed_threads,
        ..Plan::default()
    };
    let mut watched = Vec::new();
    match target {
        Target::Pids { pids, tree } => {
            for pid in pids {
                if !process::exists(*pid) {
                    return Err(CliError::message(format!("no process {pid}"))
                        .remedy("pgrep -a NAME to find it; a pid inside a container is not its pid here"));
                }
                if process::is_kernel_thread(*pid) {
                    return Err(CliError::message(format!("{} is a kernel thread", named(*pid)))
                        .remedy("profile the processes that it works for: only they have a ledger"));
                }
            }
            plan.target = pids.iter().map(|pid| named(*pid)).collect::<Vec<_>>().join(", ");
            plan.filter.pids.clone_from(pids);
            if *tree {
                plan.filter.pids.extend(pids.iter().flat_map(|pid| process::children(*pid)));
            }
            watched.clone_from(pids);
        }
        Target::Comms(names) => {
            plan.target = format!("processes named {}", names.join(", "));
            plan.filter.comms.clone_from(names);
        }
        Target::Cgroups(paths) => {
            let paths_text = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            plan.target = format!("cgroup {}", paths_text.join(", "));
            plan.cgroups.clone_from(paths);
        }
        Target::All => {
            plan.target = "all processes".to_owned();
            plan.filter.all = true;
        }
        Target::Command(command) => {
            plan.target = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        }
    }
    Ok((plan, watched))
}

fn named(pid: u32) -> String {
    match process::comm(pid) {
        Some(comm) => format!("{comm} (pid {pid})"),
        None => format!("pid {pid}"),
    }
}

/// From loading the kernel programs to the finished window.
async fn capture(
    args: &RecordArgs,
    mut plan: Plan,
    watched: Vec<u32>,
    target: &Target,
) -> Result<(Window, Option<Released>), CliError> {
    // Always installed: a shell script's background jobs inherit SIGINT ignored.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let held = match target {
        Target::Command(command) => {
            let invoker = Invoker::of_sudo().map_err(|error| CliError::new(error).remedy(UnknownUser::REMEDY))?;
            let held = Held::start(command, invoker).map_err(|error| not_executed(target, error))?;
            plan.filter.pids = vec![held.pid()];
            Some(held)
        }
        _ => None,
    };
    let label = format!("profiling {}", printable(&plan.target));
    let mut pipeline = Pipeline::load(plan).map_err(pipeline_error)?;
    pipeline.start().map_err(pipeline_error)?;
    let mut released = held.map(Held::release).transpose()?;
    let command_ended = released.as_mut().map(Released::ended);
    let progress = Progress::start(&label, args.duration);
    let until = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            () = for_duration(args.duration) => {}
            () = end_of(&watched) => {}
            () = async {
                match command_ended {
                    Some(ended) => ended.await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    };
    pipeline.run(until, |elapsed| progress.tick(elapsed)).await.map_err(pipeline_error)?;
    let window = pipeline.finish().map_err(pipeline_error)?;
    progress.finish();
    note_early_end(args, &watched, &window);
    Ok((window, released))
}

async fn for_duration(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Is done when none of the processes is left; never without processes.
async fn end_of(pids: &[u32]) {
    if pids.is_empty() {
        std::future::pending::<()>().await;
    }
    while pids.iter().any(|pid| process::exists(*pid)) {
        tokio::time::sleep(POLL).await;
    }
}

/// A capture that was cut short by its target's end says so: there is a report, so it is no error.
fn note_early_end(args: &RecordArgs, watched: &[u32], window: &Window) {
    let gone = !watched.is_empty() && watched.iter().all(|pid| !process::exists(*pid));
    if args.duration.is_some() && gone {
        let seconds = window.duration_ns as f64 / 1e9;
        let (subject, object) = if watched.len() == 1 { ("the process", "it") } else { ("all processes", "them") };
        eprintln!("note: {subject} ended after {seconds:.1} s; the report covers {object} until then");
    }
}

/// A name or a cgroup that nobody had is most likely misspelled.
fn something_was_seen(target: &Target, window: &Window) -> Result<(), CliError> {
    if !window.threads.is_empty() {
        return Ok(());
    }
    let error = CliError::message(format!("nothing was profiled: no thread belonged to {}", printable(&window.target)));
    Err(match target {
        Target::Comms(_) => error.remedy("ps -eo pid,comm shows the names as they are compared"),
        Target::Cgroups(_) => error.remedy("cgroup.procs in its folder lists who belongs to it"),
        _ => error.remedy("a thread may be hidden from this machine's tracing; try another process"),
    })
}

fn pipeline_error(error: PipelineError) -> CliError {
    let remedy = error.remedy();
    CliError::new(error).maybe_remedy(remedy)
}

/// As a shell does: 127 if it was not found, 126 if it cannot be executed.
fn not_executed(target: &Target, error: io::Error) -> CliError {
    let program: OsString = match target {
        Target::Command(command) => command.first().cloned().unwrap_or_default(),
        _ => OsString::new(),
    };
    let (code, remedy) = if error.kind() == io::ErrorKind::NotFound {
        (127, "check its spelling, or give its path; sudo may look in other folders than your shell")
    } else {
        (126, "check that it is a program and that the user it runs as may execute it")
    };
    let context = format!("cannot execute `{}`", program.to_string_lossy());
    CliError::new(error).context(context).remedy(remedy).exit_with(code)
}

/// The command's own exit code, 128 plus the signal's number if a signal ended it.
fn exit_code(status: Option<ExitStatus>) -> ExitCode {
    match status {
        None => ExitCode::SUCCESS,
        Some(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
            ExitCode::from(code as u8)
        }
    }
}
