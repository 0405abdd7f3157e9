//! `profilerd ls`: what the store holds.

use std::io::{self, Write};
use std::process::ExitCode;

use super::instant::{self, shown};
use super::query::{self, Span, open, store_error};
use super::{CliError, LsArgs};
use crate::model::text::printable;
use crate::model::{DetailLevels, UnixNs};
use crate::store::{Service, StoredWindow, TimeRange};

/// Most services that are listed.
const SERVICES: usize = 20;
/// Most hours that are listed one by one.
const HOURS: usize = 48;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Prints spans, hours and services.
///
/// # Errors
/// There is no store, or it cannot be read.
pub(super) fn run(args: &LsArgs) -> Result<ExitCode, CliError> {
    let range = match &args.since {
        Some(since) => instant::range(since, &args.until)?,
        None => TimeRange { since: UnixNs(0), until: instant::one(&args.until)? },
    };
    let reader = open(&args.store)?;
    let found = reader.windows(range).map_err(store_error)?;
    for error in &found.damaged {
        eprintln!("note: left out: {error}");
    }
    let bytes = reader.bytes().map_err(store_error)?;
    // Of all that is stored the ledgers would take long: the last hour says what there is.
    let newest = found.windows.last().map_or(0, |window| window.end().0);
    let recent = TimeRange { since: UnixNs(newest.saturating_sub(HOUR_NS)), until: UnixNs(newest) };
    let services = reader.services(if args.since.is_some() { range } else { recent }).map_err(store_error)?;
    super::print(|out| {
        writeln!(out, "{}: {:.1} MB", args.store.store.display(), bytes as f64 / 1e6)?;
        if found.windows.is_empty() {
            return writeln!(out, "no windows{}", if args.since.is_some() { " in this range" } else { "" });
        }
        spans(&query::spans(&found.windows), out)?;
        hours(&found.windows, out)?;
        self::services(&services, if args.since.is_some() { "" } else { " in the last hour" }, out)
    })
}

fn spans(spans: &[Span], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{:<19}  {:<19}  {:>9}  {:>7}", "from", "to", "length", "windows")?;
    let mut before: Option<&Span> = None;
    for span in spans {
        if let Some(before) = before {
            writeln!(out, "  not stored: {}", length(span.start.0.saturating_sub(before.end.0)))?;
        }
        let took = length(span.end.0 - span.start.0);
        writeln!(out, "{:<19}  {:<19}  {took:>9}  {:>7}", shown(span.start), shown(span.end), span.windows)?;
        before = Some(span);
    }
    Ok(())
}

fn hours(windows: &[StoredWindow], out: &mut dyn Write) -> io::Result<()> {
    let of_hour = |a: &StoredWindow, b: &StoredWindow| a.start.0 / HOUR_NS == b.start.0 / HOUR_NS;
    let hours: Vec<&[StoredWindow]> = windows.chunk_by(of_hour).collect();
    let heads = ["hour of", "windows", "processes", "threads", "samples", "sums", "long waits", "shed"];
    let [first, rest @ ..] = heads;
    write!(out, "\n{first:<19}")?;
    rest.iter().try_for_each(|head| write!(out, "  {head:>10}"))?;
    writeln!(out)?;
    if hours.len() > HOURS {
        writeln!(out, "({} earlier hours)", hours.len() - HOURS)?;
    }
    for hour in &hours[hours.len().saturating_sub(HOURS)..] {
        let most = |of: fn(&StoredWindow) -> u32| u64::from(hour.iter().map(of).max().unwrap_or(0));
        let sum = |of: fn(&StoredWindow) -> u64| hour.iter().map(of).sum::<u64>();
        write!(out, "{:<19}", shown(hour[0].start))?;
        for value in [
            hour.len() as u64,
            most(|it| it.processes),
            most(|it| it.threads),
            sum(|it| it.cpu_samples),
            sum(|it| it.off_cpu),
            sum(|it| it.waits),
            sum(|it| u64::from(it.detail_level > Some(0))),
        ] {
            write!(out, "  {value:>10}")?;
        }
        writeln!(out)?;
    }
    let mut detail = DetailLevels::default();
    windows.iter().filter_map(|it| it.detail_level).for_each(|level| detail.add(&DetailLevels::one(level)));
    match detail.note() {
        Some(note) => writeln!(out, "{note}"),
        None => Ok(()),
    }
}

fn services(services: &[Service], when: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{:<40}  {:>9}  {:>12}  {:>12}", format!("service{when}"), "processes", "on-CPU", "run-queue")?;
    for service in services.iter().take(SERVICES) {
        let name = printable(&service.name);
        let name = if name.is_empty() { "[unknown]".into() } else { name };
        let (on_cpu, run_queue) = (seconds(service.on_cpu_ns), seconds(service.run_queue_ns));
        writeln!(out, "{name:<40}  {:>9}  {on_cpu:>12}  {run_queue:>12}", service.processes)?;
    }
    if services.len() > SERVICES {
        writeln!(out, "({} more)", services.len() - SERVICES)?;
    }
    Ok(())
}

fn seconds(ns: u64) -> String {
    format!("{:.2} s", ns as f64 / 1e9)
}

/// A length to the second.
fn length(ns: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs((ns + 500_000_000) / 1_000_000_000)).to_string()
}
