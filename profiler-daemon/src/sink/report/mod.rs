//! The text report: what a person reads at the end of a capture.
//!
//! The answer first: where the wall time went, then the places that cost most, then the functions on
//! CPU, then how good these numbers are and what to do next.

mod diff;
mod folded;
mod functions;
mod gaps;
mod ledger;
mod line;
mod names;
mod parts;
mod place;
mod quality;
mod tables;
#[cfg(test)]
mod tests;
mod units;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::Window;
pub use diff::write_diff;
use line::{Line, Page, Style};
use parts::Parts;

/// How the report is to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Columns: nothing is wider.
    pub width: usize,
    /// Escape sequences for colours.
    pub color: bool,
    /// Bars beside the shares, where there is room.
    pub bars: bool,
    /// Whole stacks, every process and every idle place.
    pub full: bool,
    /// One line a thread.
    pub threads: bool,
    /// How many processes, gaps and functions to list.
    pub top: usize,
    /// Seconds that the clock on the wall is ahead of UTC.
    pub utc_offset_s: i32,
}

/// Below this the columns have no room: a narrower terminal wraps.
const NARROWEST: usize = 60;

/// Writes the report. `files` are those that were written, each with how to open it.
///
/// # Errors
/// Those of `out`.
pub fn write(window: &Window, files: &[(PathBuf, &str)], options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let view = View::new(window, options);
    let mut page = Page::new(out, options.width.max(NARROWEST), options.color);
    ledger::header(&view, &mut page)?;
    quality::warnings(&view, &mut page)?;
    if !window.threads.is_empty() {
        tables::processes(&view, &mut page)?;
        ledger::write(&view, &mut page)?;
        tables::threads(&view, &mut page)?;
        gaps::write(&view, &mut page)?;
        folded::preempted(&view, &mut page)?;
        folded::idle(&view, &mut page)?;
        functions::write(&view, &mut page)?;
    }
    page.blank()?;
    quality::lines(&view, &mut page)?;
    for (path, hint) in files {
        let line = Line::new().plain("wrote ").then(Style::Strong, &path.to_string_lossy());
        page.line(if hint.is_empty() { line } else { line.faint(&format!(" ({hint})")) })?;
    }
    quality::hint(&view, files, &mut page)
}

/// The window with what several sections need of it.
struct View<'a> {
    window: &'a Window,
    options: &'a Options,
    /// Of each thread, in the order of `window.threads`.
    threads: Vec<Parts>,
    sum: Parts,
    comms: HashMap<(u32, u32), &'a Arc<str>>,
}

impl<'a> View<'a> {
    fn new(window: &'a Window, options: &'a Options) -> View<'a> {
        let threads = Parts::of_threads(window);
        let sum = Parts::sum(threads.iter());
        let comms = window.threads.iter().map(|thread| ((thread.pid, thread.tid), &thread.comm)).collect();
        View { window, options, threads, sum, comms }
    }

    fn many_processes(&self) -> bool {
        self.window.processes.len() > 1
    }

    /// Name of the thread that bore these ids last; its number if it has none.
    fn thread_name(&self, pid: u32, tid: u32) -> String {
        named(self.comms.get(&(pid, tid)).map_or("", |comm| comm), tid)
    }

    /// Name of a process; its number if it has none.
    fn process_name(&self, pid: u32) -> String {
        let process = self.window.processes.iter().find(|process| process.pid == pid);
        process.map(|process| process.comm.to_string()).filter(|comm| !comm.is_empty()).unwrap_or(format!("pid {pid}"))
    }
}

/// The name of a thread, its number if it has none.
fn named(comm: &str, tid: u32) -> String {
    if comm.is_empty() { format!("tid {tid}") } else { comm.to_owned() }
}
