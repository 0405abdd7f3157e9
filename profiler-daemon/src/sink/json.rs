//! The JSON report: everything that the text report says, for scripts.

mod report;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use profiler_common::wire::outcome;

use self::report::{
    ByClass, Detail, Frame, FunctionTime, Gap, GapWaker, Ledger, Memo, Outcome, Overhead, Process, Quality, Report,
    SCHEMA_VERSION, Shed, Span, Thread, Wait, Waker,
};
use super::Clock;
use crate::model::text::printable;
use crate::model::{self, DetailLevels, StackId, StackQuality, Window};

pub(super) fn encode(window: &Window, _: Clock, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &report(window))?;
    writeln!(out)
}

/// The JSON Schema of the JSON report, with a line end.
pub fn schema() -> String {
    let schema = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
    format!("{:#}\n", schema.into_root_schema_for::<Report<'_>>().as_value())
}

fn report(window: &Window) -> Report<'_> {
    let memo = |(recognised, walked), not_walked| Memo { recognised, walked, not_walked };
    Report {
        schema_version: SCHEMA_VERSION,
        generator: concat!("profilerd ", env!("CARGO_PKG_VERSION")),
        target: printable(&window.target),
        window: Span { start_unix_ns: window.start.0, duration_ns: window.duration_ns },
        cpus: window.cpus,
        rate_hz: window.rate_hz,
        min_wait_ns: window.min_wait_ns,
        detail: Detail { windows: window.detail.known(), shed: window.detail.shed().map(shed).collect() },
        processes: window.processes.iter().map(|process| self::process(window, process)).collect(),
        threads: window.threads.iter().map(|thread| self::thread(window, thread)).collect(),
        gaps: window.gaps.iter().map(|gap| self::gap(window, gap)).collect(),
        on_cpu: window.on_cpu.iter().map(function_time).collect(),
        waits: window.waits.iter().map(|wait| self::wait(window, wait)).collect(),
        stack_quality: Quality {
            on_cpu: outcomes(&window.on_cpu_quality),
            off_cpu: outcomes(&window.off_cpu_quality),
            sampled_off_cpu_ns: window.off_cpu_quality.sampled_ns,
            frame_pointer: window.frame_pointer_quality.as_ref().map(outcomes),
        },
        losses: &window.losses.by_cause,
        overhead: Overhead {
            kernel_programs_ns: window.overhead.kernel_ns,
            kernel_program_runs: window.overhead.kernel_runs,
            daemon_ns: window.overhead.daemon_ns,
            finish_ns: window.overhead.finish_ns,
            peak_rss_bytes: window.overhead.peak_rss_bytes,
            kernel_memory_bytes: window.overhead.kernel_memory_bytes,
            unwind_tables_bytes: window.overhead.tables_bytes,
            unwind_tables_files: window.overhead.tables_files,
            user_stack_memo: memo(window.overhead.user_memo, window.overhead.user_skipped),
            kernel_stack_memo: memo(window.overhead.kernel_memo, 0),
        },
    }
}

fn shed((level, windows): (u32, u32)) -> Shed {
    Shed { level, windows, taken: DetailLevels::describe(level) }
}

fn process<'a>(window: &Window, process: &'a model::Process) -> Process<'a> {
    let threads = window.threads.iter().filter(|thread| thread.pid == process.pid);
    Process {
        pid: process.pid,
        comm: printable(&process.comm),
        threads: process.threads,
        ledger: ledger(&process.ledger),
        idle_ns: threads.map(|thread| thread.idle_ns).sum(),
    }
}

fn thread<'a>(window: &Window, thread: &'a model::Thread) -> Thread<'a> {
    Thread {
        pid: thread.pid,
        tid: thread.tid,
        comm: printable(&thread.comm),
        ledger: ledger(&thread.ledger),
        idle_ns: thread.idle_ns,
        start_unix_ns: window.start.0 + thread.start_ns,
        ended: thread.ended,
        blocks: thread.blocks,
        preemptions: thread.preemptions,
    }
}

fn ledger(ledger: &model::Ledger) -> Ledger {
    Ledger {
        wall_ns: ledger.wall_ns,
        on_cpu_ns: ledger.on_cpu_ns,
        user_ns: ledger.user_ns,
        kernel_ns: ledger.kernel_ns,
        stolen_ns: ledger.stolen_ns,
        run_queue_ns: ledger.run_queue_ns,
        preempted_ns: ledger.preempted_ns,
        throttled_ns: ledger.throttled_ns,
        blocked_ns: ledger.blocked_ns,
        off_cpu_by_class: ByClass(ledger.off_cpu_ns),
        unseen_ns: ledger.unseen_ns,
        residual_ns: ledger.residual_ns(),
    }
}

fn gap<'a>(window: &'a Window, gap: &'a model::Gap) -> Gap<'a> {
    Gap {
        class: gap.class.name(),
        idle: gap.idle,
        count: gap.count,
        total_ns: gap.total_ns,
        run_queue_ns: gap.run_queue_ns,
        p50_ns: gap.p50_ns,
        p99_ns: gap.p99_ns,
        max_ns: gap.max_ns,
        stack: stack(window, gap.stack),
        kernel_function: gap.kernel_function.as_deref().map(printable),
        pid: gap.pid,
        tids: &gap.tids,
        wakers: gap.wakers.iter().map(|(who, wait_ns)| GapWaker { waker: waker(who), wait_ns: *wait_ns }).collect(),
    }
}

fn wait<'a>(window: &'a Window, wait: &'a model::Wait) -> Wait<'a> {
    Wait {
        start_unix_ns: wait.start.0,
        duration_ns: wait.duration_ns,
        run_queue_ns: wait.run_queue_ns,
        class: wait.class.name(),
        idle: wait.idle,
        pid: wait.pid,
        tid: wait.tid,
        stack: stack(window, wait.stack),
        waker: wait.waker.as_ref().map(waker),
    }
}

fn waker(waker: &model::Waker) -> Waker<'_> {
    Waker { pid: waker.pid, tid: waker.tid, comm: waker.comm.as_deref().map(printable), interrupt: waker.interrupt }
}

fn stack(window: &Window, id: StackId) -> Vec<Frame<'_>> {
    window.stacks.get(id).map(frame).collect()
}

fn frame(frame: &model::Frame) -> Frame<'_> {
    Frame {
        function: frame.function.as_deref().map(printable),
        file: frame.file.as_deref().map(printable),
        line: frame.line,
        module: frame.module.as_deref().map(printable),
        build_id: frame.build_id.as_deref().map(printable),
        offset: frame.offset,
        kind: frame.kind.name(),
        inlined: frame.inlined,
    }
}

fn function_time(time: &model::FunctionTime) -> FunctionTime<'_> {
    let place = frame(&time.frame);
    FunctionTime {
        function: place.function.unwrap_or_else(|| Cow::Owned(printable(&time.frame.name()).into_owned())),
        self_ns: time.self_ns,
        total_ns: time.total_ns,
        file: place.file,
        line: place.line,
        module: place.module,
        kind: place.kind,
    }
}

fn outcomes(quality: &StackQuality) -> BTreeMap<&'static str, Outcome> {
    let walked = outcome::NAMES.into_iter().zip(quality.outcomes);
    let all = walked.chain([("missing", quality.missing)]);
    all.map(|(name, (samples, ns))| (name, Outcome { samples, ns })).collect()
}

#[cfg(test)]
mod tests;
