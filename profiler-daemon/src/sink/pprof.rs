//! pprof's profile.proto, gzipped: every sample with its thread, stack, state and all of its times.
//!
//! | sample type | holds |
//! |---|---|
//! | `samples` | CPU samples taken, or waits counted |
//! | `cpu` | time executed |
//! | `off_cpu` | waits that blocked: blocked, and the wait for a CPU after the wake-up |
//! | `run_queue` | all waiting for a CPU: after a wake-up, and of preempted threads |
//! | `throttled` | the part of `run_queue` that a CPU quota made |
//! | `wall` | on-CPU, run-queue and blocked; stolen and unseen time as frames of their own |
//!
//! The wait after a wake-up is in `off_cpu` and in `run_queue`, so these two overlap; `wall` has it
//! once. Labels: `pid`, `tid`, `process`, `thread`, `state` (`on-cpu`, `off-cpu`, `idle`, `stolen`,
//! `unseen`) and for waits `class`. `-tagignore=state:idle` leaves the work.

mod places;
mod proto;

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use self::places::Places;
use self::proto::{Label, Profile, Sample, ValueType};
use super::Clock;
use crate::model::{self, State, WaitClass, Window};

/// Names and units of the values of each sample.
const TYPES: [(&str, &str); 6] = [
    ("samples", "count"),
    ("cpu", "nanoseconds"),
    ("off_cpu", "nanoseconds"),
    ("run_queue", "nanoseconds"),
    ("throttled", "nanoseconds"),
    ("wall", "nanoseconds"),
];

pub(super) fn encode(window: &Window, _: Clock, out: &mut dyn Write) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::fast());
    gzip.write_all(&profile(window).encode_to_vec())?;
    gzip.finish()?.flush()
}

fn profile(window: &Window) -> Profile {
    let mut places = Places::new(&window.stacks);
    let mut sample = Vec::with_capacity(window.samples.len());
    let threads: Vec<_> = window.threads.iter().map(|thread| thread_labels(window, thread, &mut places)).collect();
    for one in &window.samples {
        let Some(thread) = threads.get(one.thread as usize) else { continue };
        let mut location_id = places.stack(one.stack);
        if location_id.is_empty() {
            location_id.push(places.note("[no stack]"));
        }
        let mut label = thread.to_vec();
        label.extend(state_labels(one, &mut places));
        sample.push(Sample { location_id, value: values(one).to_vec(), label });
    }
    for (thread, labels) in window.threads.iter().zip(&threads) {
        for (state, note, ns) in
            [("stolen", "[stolen]", thread.ledger.stolen_ns), ("unseen", "[unseen]", thread.ledger.unseen_ns)]
        {
            if ns > 0 {
                let mut label = labels.to_vec();
                label.push(text(&mut places, "state", state));
                sample.push(Sample {
                    location_id: vec![places.note(note)],
                    value: vec![0, 0, 0, 0, 0, number(ns)],
                    label,
                });
            }
        }
    }

    let value_type = |(name, unit), places: &mut Places<'_>| ValueType {
        r#type: places.strings.get(name),
        unit: places.strings.get(unit),
    };
    Profile {
        sample_type: TYPES.iter().map(|it| value_type(*it, &mut places)).collect(),
        sample,
        time_nanos: number(window.start.0),
        duration_nanos: number(window.duration_ns),
        period_type: Some(value_type(TYPES[1], &mut places)),
        period: 1_000_000_000_i64.checked_div(i64::from(window.rate_hz)).unwrap_or(0),
        comment: comments(window).iter().map(|line| places.strings.get(line)).collect(),
        default_sample_type: places.strings.get("wall"),
        mapping: places.mappings,
        location: places.locations,
        function: places.functions,
        string_table: places.strings.table,
    }
}

/// In the order of [`TYPES`].
fn values(sample: &model::Sample) -> [i64; TYPES.len()] {
    let blocked = !matches!(sample.state, State::OnCpu | State::OffCpu(WaitClass::Preempted));
    let off_cpu = if blocked { sample.blocked_ns + sample.run_queue_ns } else { 0 };
    [sample.count, sample.on_cpu_ns, off_cpu, sample.run_queue_ns, sample.throttled_ns, sample.wall_ns()].map(number)
}

fn thread_labels(window: &Window, thread: &model::Thread, places: &mut Places<'_>) -> [Label; 4] {
    let process = window.processes.binary_search_by_key(&thread.pid, |process| process.pid);
    let comm = process.map_or("", |index| &window.processes[index].comm);
    [
        Label { key: places.strings.get("pid"), num: i64::from(thread.pid), ..Label::default() },
        Label { key: places.strings.get("tid"), num: i64::from(thread.tid), ..Label::default() },
        text(places, "process", comm),
        text(places, "thread", &thread.comm),
    ]
}

fn state_labels(sample: &model::Sample, places: &mut Places<'_>) -> impl Iterator<Item = Label> {
    let (state, class) = match sample.state {
        State::OnCpu => ("on-cpu", None),
        State::OffCpu(class) => (if sample.idle { "idle" } else { "off-cpu" }, Some(class.name())),
    };
    let class = class.map(|class| text(places, "class", class));
    [text(places, "state", state)].into_iter().chain(class)
}

fn text(places: &mut Places<'_>, key: &str, value: &str) -> Label {
    Label { key: places.strings.get(key), str: places.strings.get(value), num: 0 }
}

fn comments(window: &Window) -> Vec<String> {
    vec![
        format!("profilerd {}", env!("CARGO_PKG_VERSION")),
        format!("target: {}", window.target),
        "off_cpu: waits that blocked, with the wait for a CPU after the wake-up".to_owned(),
        "run_queue: all waiting for a CPU, so it overlaps off_cpu; wall counts it once".to_owned(),
        "throttled: the part of run_queue that a CPU quota made".to_owned(),
    ]
}

/// pprof has signed numbers only; 2^63 ns are 292 years.
fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
