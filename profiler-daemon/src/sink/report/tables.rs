//! One line a process, one line a thread: the same columns, the largest non-idle time first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::io;

use unicode_width::UnicodeWidthStr;

use super::line::{Line, Page, Style};
use super::parts::Parts;
use super::units::{self, Scale};
use super::{View, names};

/// Columns of one time at least.
const TIME: usize = 9;
/// Columns of a pid, a tid or a number of threads.
const NUMBER: usize = 8;

/// One line of a table.
struct Row<'a> {
    name: String,
    /// What stands between the name and the times, right-aligned.
    numbers: Vec<String>,
    parts: &'a Parts,
}

/// The processes, if there are several.
pub(super) fn processes(view: &View, page: &mut Page) -> io::Result<()> {
    if !view.many_processes() {
        return Ok(());
    }
    let mut by_pid: HashMap<u32, Vec<&Parts>> = HashMap::new();
    for (thread, parts) in view.window.threads.iter().zip(&view.threads) {
        by_pid.entry(thread.pid).or_default().push(parts);
    }
    let sums: Vec<(u32, usize, Parts)> = view
        .window
        .processes
        .iter()
        .map(|process| {
            let threads = by_pid.get(&process.pid).map_or(&[][..], Vec::as_slice);
            (process.pid, threads.len(), Parts::sum(threads.iter().copied()))
        })
        .collect();
    let mut rows: Vec<Row> = sums
        .iter()
        .map(|(pid, threads, parts)| Row {
            name: view.process_name(*pid),
            numbers: vec![pid.to_string(), units::count(*threads as u64)],
            parts,
        })
        .collect();
    sort(&mut rows);
    let limit = if view.options.full { rows.len() } else { view.options.top };
    let rest = rows.split_off(limit.min(rows.len()));
    let rest_parts = Parts::sum(rest.iter().map(|row| row.parts));
    let rest_threads = rest.iter().filter_map(|row| row.numbers[1].replace(',', "").parse::<u64>().ok()).sum();
    if !rest.is_empty() {
        let name = format!("{} more", units::count(rest.len() as u64));
        rows.push(Row { name, numbers: vec![String::new(), units::count(rest_threads)], parts: &rest_parts });
    }
    table(view, page, "processes", &["pid", "threads"], &rows)
}

/// The threads, if asked for.
pub(super) fn threads(view: &View, page: &mut Page) -> io::Result<()> {
    if !view.options.threads {
        return Ok(());
    }
    let many = view.many_processes();
    let mut rows: Vec<Row> = view
        .window
        .threads
        .iter()
        .zip(&view.threads)
        .map(|(thread, parts)| {
            let pid = many.then(|| thread.pid.to_string());
            let numbers = pid.into_iter().chain([thread.tid.to_string()]).collect();
            Row { name: super::named(&thread.comm, thread.tid), numbers, parts }
        })
        .collect();
    sort(&mut rows);
    table(view, page, "threads", if many { &["pid", "tid"] } else { &["tid"] }, &rows)
}

fn sort(rows: &mut [Row]) {
    // Cached: names and numbers are compared only where times are equal, but keys need both.
    rows.sort_by_cached_key(|row| {
        let numbers: Vec<u64> = row.numbers.iter().filter_map(|number| number.parse().ok()).collect();
        (Reverse(row.parts.busy()), row.name.clone(), numbers)
    });
}

/// A column of times.
struct Column {
    heading: &'static str,
    style: Style,
    of: fn(&Parts) -> u64,
}

fn columns(sum: &Parts) -> Vec<Column> {
    let column = |heading, style, of| Column { heading, style, of };
    let mut columns = vec![
        column("on-CPU", Style::OnCpu, |parts| parts.on_cpu),
        column("waiting", Style::Waiting, |parts| parts.run_queue),
        column("blocked", Style::Plain, Parts::blocked),
        column("idle", Style::Faint, |parts| parts.idle),
    ];
    // Only where they say something: most often both are empty.
    let worth = |ns: u64| ns * 1000 >= sum.wall && ns > 0;
    if worth(sum.stolen) {
        columns.push(column("stolen", Style::Faint, |parts| parts.stolen));
    }
    if worth(sum.unseen) {
        columns.push(column("unseen", Style::Faint, |parts| parts.unseen));
    }
    columns
}

fn table(view: &View, page: &mut Page, title: &str, numbers: &[&str], rows: &[Row]) -> io::Result<()> {
    const BUSY_WITH: &str = "busy with";
    let columns = columns(&view.sum);
    let words: Vec<(&str, Style)> = rows.iter().map(|row| busy_with(row.parts)).collect();
    let word_columns = words.iter().map(|(word, _)| word.len()).max().unwrap_or(0).max(BUSY_WITH.len());
    let largest = rows.iter().map(|row| row.parts.on_cpu.max(row.parts.run_queue).max(row.parts.blocked())).max();
    let scale = Scale::of(largest.filter(|ns| *ns > 0).unwrap_or(view.sum.idle));
    let cells = rows.iter().flat_map(|row| columns.iter().map(|column| scale.cell((column.of)(row.parts)).width() + 1));
    let time_columns = cells.max().unwrap_or(0).max(TIME);
    let fixed = 2 + NUMBER * numbers.len() + time_columns * columns.len();
    let longest = rows.iter().map(|row| names::fit(&row.name, 60).width()).max().unwrap_or(0).max(title.len());
    let room = page.width.saturating_sub(fixed);
    // The names come first; the words stay where there is room for both.
    let with_words = room >= longest.min(15) + 2 + word_columns;
    let room = if with_words { room - 2 - word_columns } else { room };
    let name_end = 2 + longest.min(room);

    page.blank()?;
    let mut line = Line::new().then(Style::Strong, title).to(name_end);
    for number in numbers {
        let end = line.width() + NUMBER;
        line = line.right(Style::Faint, number, end);
    }
    for column in &columns {
        let end = line.width() + time_columns;
        line = line.right(Style::Faint, column.heading, end);
    }
    page.line(if with_words { line.plain("  ").faint(BUSY_WITH) } else { line })?;

    for (row, (word, style)) in rows.iter().zip(words) {
        let mut line = Line::new().plain("  ").plain(&names::fit(&row.name, name_end - 2)).to(name_end);
        for number in &row.numbers {
            let end = line.width() + NUMBER;
            line = line.right(Style::Plain, number, end);
        }
        for column in &columns {
            let end = line.width() + time_columns;
            // A zero among many numbers is easier to skip than to read.
            line = match (column.of)(row.parts) {
                0 => line.right(Style::Faint, "·", end),
                ns => line.right(column.style, &scale.cell(ns), end),
            };
        }
        page.line(if with_words { line.plain("  ").then(style, word) } else { line })?;
    }
    Ok(())
}

/// The largest part that is not idle, in one word; none for who is idle but for a hundredth.
fn busy_with(parts: &Parts) -> (&'static str, Style) {
    let classes = parts.classes().into_iter();
    let classes = classes.map(|class| (parts.blocked[class as usize], class.name(), Style::Blocked(class)));
    [(parts.on_cpu, "on-CPU", Style::OnCpu), (parts.run_queue, "waiting", Style::Waiting)]
        .into_iter()
        .chain(classes)
        .filter(|(ns, _, _)| *ns > 0 && parts.busy() * 100 >= parts.wall)
        // The first of equals stays, so that two runs compare.
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map_or(("", Style::Faint), |(_, word, style)| (word, style))
}
