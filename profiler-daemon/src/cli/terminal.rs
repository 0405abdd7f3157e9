//! What stdout and stderr are: how wide, and whether colour is welcome.

use std::io::{self, IsTerminal};

use super::args::{Color, OutputArgs};
use crate::sink::report::Options;

/// Columns of a report that goes into a pipe or a file.
const PIPE_COLUMNS: usize = 120;
/// Narrower and wider terminals are treated like these: below, nothing fits; above, eyes lose the line.
const COLUMNS: std::ops::RangeInclusive<usize> = 60..=140;

/// How the text report is to look on this stdout.
pub fn report_options(args: &OutputArgs) -> Options {
    let terminal = io::stdout().is_terminal();
    Options {
        width: columns(),
        color: stdout_colors(args.color),
        bars: terminal,
        full: args.full,
        threads: args.threads,
        top: args.top,
        utc_offset_s: utc_offset_s(),
    }
}

/// Columns to write into.
pub(super) fn columns() -> usize {
    if !io::stdout().is_terminal() {
        return PIPE_COLUMNS;
    }
    let width = terminal_size::terminal_size().map_or(80, |(width, _)| usize::from(width.0));
    width.clamp(*COLUMNS.start(), *COLUMNS.end())
}

/// Whether to colour stdout.
pub(super) fn stdout_colors(wish: Color) -> bool {
    match wish {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => welcome(io::stdout().is_terminal()),
    }
}

/// Whether to colour stderr.
pub(super) fn stderr_colors() -> bool {
    welcome(io::stderr().is_terminal())
}

fn welcome(terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    terminal && !dumb && !set("NO_COLOR")
}

/// Seconds that local time is ahead of UTC now; 0 if the machine does not know.
fn utc_offset_s() -> i32 {
    // SAFETY: `time` accepts a null pointer; `localtime_r` reads the time and fills the zeroed `tm`,
    // both live on this stack. Its pointer result is only compared with null. A zeroed `tm` is valid:
    // integers and a nullable pointer.
    unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut local: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut local).is_null() { 0 } else { local.tm_gmtoff as i32 }
    }
}
