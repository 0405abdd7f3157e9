//! One line of the report: styled pieces, never wider than the page, never able to act on the
//! terminal.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::WaitClass;
use crate::model::text::printable;

/// What a piece is, which decides its colour. Colour only repeats what the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// Headings, and the frame that a person can change.
    Strong,
    /// What is there for completeness.
    Faint,
    /// Something is wrong.
    Alarm,
    OnCpu,
    Waiting,
    /// Blocked in this class; cool colours by family.
    Blocked(WaitClass),
}

impl Style {
    /// Parameters of the escape sequence. Only the sixteen colours that every terminal lets its owner
    /// choose.
    fn ansi(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Strong => "1",
            Style::Faint => "2",
            Style::Alarm => "1;31",
            Style::OnCpu => "33",
            Style::Waiting | Style::Blocked(WaitClass::Preempted) => "90",
            Style::Blocked(WaitClass::Lock) => "34",
            Style::Blocked(WaitClass::SocketRecv | WaitClass::SocketSend | WaitClass::SocketAccept) => "36",
            Style::Blocked(WaitClass::PollIdle | WaitClass::Pipe | WaitClass::WaitChild) => "96",
            Style::Blocked(WaitClass::DiskIo | WaitClass::FsSync | WaitClass::PageFault) => "35",
            Style::Blocked(WaitClass::Sleep | WaitClass::Other) => "94",
        }
    }
}

/// A line in the making.
#[derive(Debug, Default)]
pub(super) struct Line {
    pieces: Vec<(Style, String)>,
    width: usize,
}

impl Line {
    pub(super) fn new() -> Line {
        Line::default()
    }

    /// Columns used so far.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Adds a piece. Whatever it holds, only printable characters get through.
    #[must_use]
    pub(super) fn then(mut self, style: Style, text: &str) -> Line {
        let text = printable(text).into_owned();
        self.width += text.width();
        self.pieces.push((style, text));
        self
    }

    #[must_use]
    pub(super) fn plain(self, text: &str) -> Line {
        self.then(Style::Plain, text)
    }

    #[must_use]
    pub(super) fn faint(self, text: &str) -> Line {
        self.then(Style::Faint, text)
    }

    /// Blanks up to a column; two blanks if the line is beyond it already.
    #[must_use]
    pub(super) fn to(self, column: usize) -> Line {
        let blanks = if column >= self.width { column - self.width } else { 2 };
        self.plain(&" ".repeat(blanks))
    }

    /// A piece whose end stands at a column.
    #[must_use]
    pub(super) fn right(self, style: Style, text: &str, end: usize) -> Line {
        let start = end.saturating_sub(printable(text).width());
        let line = if start > self.width { self.to(start) } else { self.plain(" ") };
        line.then(style, text)
    }
}

/// Where lines go.
pub(super) struct Page<'a> {
    out: &'a mut dyn Write,
    pub(super) width: usize,
    color: bool,
}

impl<'a> Page<'a> {
    pub(super) fn new(out: &'a mut dyn Write, width: usize, color: bool) -> Page<'a> {
        Page { out, width, color }
    }

    pub(super) fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// Writes a line; what would be wider than the page ends in `…`.
    pub(super) fn line(&mut self, line: Line) -> io::Result<()> {
        let pieces = if line.width > self.width { cut(line.pieces, self.width) } else { line.pieces };
        // Blanks at the end of a line only get in the way when it is copied.
        let last = pieces.iter().rposition(|(_, text)| !text.trim_end().is_empty());
        for (index, (style, text)) in pieces.iter().enumerate().take(last.map_or(0, |last| last + 1)) {
            let text = if Some(index) == last { text.trim_end() } else { text };
            match style.ansi() {
                ansi if self.color && !ansi.is_empty() => write!(self.out, "\x1b[{ansi}m{text}\x1b[0m")?,
                _ => write!(self.out, "{text}")?,
            }
        }
        writeln!(self.out)
    }

    /// Items with ` · ` between them, on as many lines as they need; an item is split only if it is
    /// longer than a line.
    pub(super) fn items(&mut self, style: Style, items: &[String]) -> io::Result<()> {
        const BETWEEN: &str = " · ";
        let mut line = String::new();
        for item in items {
            let item = printable(item);
            if !line.is_empty() && line.width() + BETWEEN.width() + item.width() > self.width {
                self.words(style, 0, &line)?;
                line.clear();
            }
            if !line.is_empty() {
                line.push_str(BETWEEN);
            }
            line.push_str(&item);
        }
        self.words(style, 0, &line)
    }

    /// Words over as many lines as they need, each starting with `indent` blanks.
    pub(super) fn words(&mut self, style: Style, indent: usize, text: &str) -> io::Result<()> {
        let mut line = String::new();
        for word in printable(text).split(' ') {
            if !line.is_empty() && indent + line.width() + 1 + word.width() > self.width {
                self.line(Line::new().plain(&" ".repeat(indent)).then(style, &line))?;
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(Line::new().plain(&" ".repeat(indent)).then(style, &line))
    }
}

fn cut(pieces: Vec<(Style, String)>, width: usize) -> Vec<(Style, String)> {
    let mut room = width.saturating_sub(1);
    let mut kept = Vec::new();
    for (style, text) in pieces {
        if text.width() <= room {
            room -= text.width();
            kept.push((style, text));
            continue;
        }
        let mut short = String::new();
        for c in text.chars() {
            let wide = c.width().unwrap_or(0);
            if wide > room {
                break;
            }
            room -= wide;
            short.push(c);
        }
        short.push('…');
        kept.push((style, short));
        break;
    }
    kept
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(line: Line, width: usize, color: bool, expected: &str) {
        let mut out = Vec::new();
        Page::new(&mut out, width, color).line(line).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
    }

    #[test]
    fn a_line_ends_at_the_page() {
        check(Line::new().plain("0123456789"), 10, false, "0123456789");
        check(Line::new().plain("01234").plain("56789x"), 10, false, "012345678…");
        check(Line::new().plain("日本語日本語"), 6, false, "日本…");
    }

    #[test]
    fn columns_are_kept_and_blanks_at_the_end_are_not() {
        check(Line::new().plain("a").right(Style::Plain, "12", 6).to(8).plain("b").to(20), 80, false, "a   12  b");
        check(Line::new().plain("too long").right(Style::Plain, "12", 6), 80, false, "too long 12");
    }

    #[test]
    fn colour_is_added_only_if_asked_for() {
        check(Line::new().then(Style::OnCpu, "x").plain(" y"), 80, true, "\x1b[33mx\x1b[0m y");
        check(Line::new().then(Style::OnCpu, "x"), 80, false, "x");
    }

    #[test]
    fn no_name_reaches_the_terminal_as_it_is() {
        check(Line::new().plain("a\x1b[2Jb\nc"), 80, false, "a\\u{1b}[2Jb\\nc");
    }
}
