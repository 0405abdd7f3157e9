//! `profilerd query`: a stored range, reported like a capture.

use std::process::ExitCode;

use super::instant::{self, shown};
use super::{CliError, QueryArgs, StoreArgs, output};
use crate::aggregate;
use crate::model::text::printable;
use crate::model::{Recording, UnixNs};
use crate::store::{Filter, Found, Reader, StoreError, StoredWindow, TimeRange};

/// Most spans that are named when a range has nothing.
const SPANS: usize = 5;

/// Reports what was stored in a range.
///
/// # Errors
/// There is no store, nothing in the range, or a file could not be written.
pub(super) fn run(args: &QueryArgs) -> Result<ExitCode, CliError> {
    args.out.check()?;
    let range = instant::range(&args.since, &args.until)?;
    let mut sinks = output::open(&args.out)?;
    let filter = Filter {
        pids: args.pid.clone(),
        comms: args.comm.clone(),
        units: args.unit.clone(),
        containers: args.container.clone(),
        services: args.service.clone(),
    };
    let recording = read(&open(&args.store)?, range, &filter)?;
    let window = aggregate::window(recording);
    output::write(&args.out, &window, &mut sinks)?;
    // The program ends here: the kernel takes all of it back at once, much sooner than piece by piece.
    std::mem::forget(window);
    Ok(ExitCode::SUCCESS)
}

/// Opens the store that the arguments name.
pub(super) fn open(args: &StoreArgs) -> Result<Reader, CliError> {
    Reader::open(&args.store).map_err(store_error)
}

/// Reads a range, with words for what it is as its target. Damaged segments are told on stderr.
pub(super) fn read(reader: &Reader, range: TimeRange, filter: &Filter) -> Result<Recording, CliError> {
    let Found { recording, windows, damaged } = reader.read(range, filter).map_err(store_error)?;
    for error in &damaged {
        eprintln!("note: left out: {error}");
    }
    let Some(mut recording) = recording else { return Err(nothing_stored(reader, range)?) };
    let target = if filter.is_empty() { recording.context.target.clone() } else { asked(filter) };
    if recording.capture.threads.is_empty() {
        let (since, until) = (shown(range.since), shown(range.until));
        return Err(CliError::message(format!("no process matched {} from {since} to {until}", printable(&target)))
            .remedy("`profilerd ls` shows which services ran when"));
    }
    recording.context.target = format!("{target}, {}", span(&windows));
    Ok(recording)
}

/// What a filter asks for, in words.
fn asked(filter: &Filter) -> String {
    let pids = filter.pids.iter().map(|pid| format!("pid {pid}"));
    let named =
        |kind: &'static str, names: &[String]| names.iter().map(|name| format!("{kind}{name}")).collect::<Vec<_>>();
    let mut words: Vec<String> = pids.collect();
    words.extend(named("", &filter.comms));
    words.extend(named("unit ", &filter.units));
    words.extend(named("container ", &filter.containers));
    words.extend(named("service ", &filter.services));
    words.join(", ")
}

/// From when to when windows are, and how much between is not there.
fn span(windows: &[StoredWindow]) -> String {
    let spans = spans(windows);
    let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return "nothing".to_owned() };
    let missing_ns: u64 = spans.windows(2).map(|pair| pair[1].start.0.saturating_sub(pair[0].end.0)).sum();
    let text = format!("{} to {}", shown(first.start), shown(last.end));
    if missing_ns == 0 { text } else { format!("{text} ({:.0} s of it not stored)", missing_ns as f64 / 1e9) }
}

/// A stretch of time without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: UnixNs,
    pub(super) end: UnixNs,
    pub(super) windows: usize,
}

/// The stretches that windows make, which are given by start. Between two windows there may be half of one: closing one
/// takes its time.
pub(super) fn spans(windows: &[StoredWindow]) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for window in windows {
        match spans.last_mut() {
            Some(span) if window.start.0 <= span.end.0.saturating_add(window.duration_ns / 2) => {
                span.end = span.end.max(window.end());
                span.windows += 1;
            }
            _ => spans.push(Span { start: window.start, end: window.end(), windows: 1 }),
        }
    }
    spans
}

/// Says what is stored instead: what is nearest to the range.
fn nothing_stored(reader: &Reader, range: TimeRange) -> Result<CliError, CliError> {
    let windows = reader.windows(TimeRange::ALL).map_err(store_error)?.windows;
    let mut spans = spans(&windows);
    let error = CliError::message(format!("nothing is stored from {} to {}", shown(range.since), shown(range.until)));
    if spans.is_empty() {
        return Ok(error.remedy("the store is empty; `profilerd serve` fills it"));
    }
    let distance =
        |span: &Span| span.start.0.saturating_sub(range.until.0).max(range.since.0.saturating_sub(span.end.0));
    spans.sort_by_key(distance);
    spans.truncate(SPANS);
    spans.sort_by_key(|span| span.start);
    let lines: Vec<String> = spans.iter().map(|span| format!("{} to {}", shown(span.start), shown(span.end))).collect();
    Ok(error.remedy(format!("one of these is stored:\n{}", lines.join("\n"))))
}

/// An error of the store with its remedy.
pub(super) fn store_error(error: StoreError) -> CliError {
    let remedy = error.remedy();
    CliError::new(error).maybe_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(starts: &[u64]) -> Vec<StoredWindow> {
        let window = |start: &u64| StoredWindow { start: UnixNs(*start), duration_ns: 10, ..StoredWindow::default() };
        starts.iter().map(window).collect()
    }

    #[test]
    fn windows_that_follow_each_other_are_one_span() {
        let spans: Vec<_> =
            spans(&windows(&[0, 10, 24, 50, 55, 90])).iter().map(|it| (it.start.0, it.end.0, it.windows)).collect();
        assert_eq!(spans, [(0, 34, 3), (50, 65, 2), (90, 100, 1)]);
    }

    #[test]
    fn what_is_not_stored_is_said() {
        let second = 1_000_000_000;
        let mut stored = windows(&[0, 40 * second]);
        stored.iter_mut().for_each(|window| window.duration_ns = 10 * second);
        assert!(span(&stored).ends_with("(30 s of it not stored)"), "{}", span(&stored));
        assert!(!span(&stored[..1]).contains("not stored"));
    }
}
