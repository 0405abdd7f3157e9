//! The head of the report: what was watched, and where its wall time went.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::line::{Line, Page, Style};
use super::place::{Place, function_name};
use super::units::{self, Scale};
use super::{View, names};
use crate::model::{Gap, WaitClass};

/// Columns: end of the times, end of the shares, start of what follows.
const TIME_END: usize = 30;
const SHARE_END: usize = 38;
const REST: usize = 40;
/// Columns that the longest note of a line needs beside its bar.
const NOTE: usize = 40;
const LONGEST_BAR: usize = 24;

/// `checkout-api (pid 4242) · 12 threads · 10.0 s from 19:04:11 · 2 CPUs`
pub(super) fn header(view: &View, page: &mut Page) -> io::Result<()> {
    let window = view.window;
    let mut rest = String::new();
    if view.many_processes() {
        rest.push_str(&format!(" · {}", units::counted(window.processes.len() as u64, "process", "processes")));
    }
    rest.push_str(&format!(" · {}", units::counted(window.threads.len() as u64, "thread", "threads")));
    let start = units::time_of_day(window.start.0, view.options.utc_offset_s);
    rest.push_str(&format!(" · {} from {start}", units::time(window.duration_ns)));
    rest.push_str(&format!(" · {}", units::counted(u64::from(window.cpus), "CPU", "CPUs")));
    let target = names::fit(&window.target, page.width.saturating_sub(rest.chars().count()));
    page.line(Line::new().then(Style::Strong, &target).plain(&rest))
}

/// The ledger: each moment of wall time in one line.
pub(super) fn write(view: &View, page: &mut Page) -> io::Result<()> {
    let sum = &view.sum;
    page.blank()?;
    page.line(Line::new().then(Style::Strong, &title(view)))?;
    let visible = sum.on_cpu.max(sum.run_queue).max(sum.blocked()).max(sum.stolen).max(sum.unseen);
    let rows = Rows { scale: Scale::of_parts(visible, sum.idle), longest_ns: visible, view };

    let note = format!("user {}, kernel {}", units::time(sum.user), units::time(sum.kernel));
    rows.row(page, "on-CPU", sum.on_cpu, Style::OnCpu, if sum.on_cpu > 0 { &note } else { "" })?;
    let woken = sum.run_queue.saturating_sub(sum.preempted);
    let note = format!("preempted {}, after a wake-up {}", units::time(sum.preempted), units::time(woken));
    rows.row(page, "waiting for a CPU", sum.run_queue, Style::Waiting, if sum.run_queue > 0 { &note } else { "" })?;
    if sum.throttled > 0 {
        rows.row(page, "  throttled", sum.throttled, Style::Waiting, "of it, by the CPU quota of a cgroup")?;
    }
    let classes = sum.classes();
    if let [class] = classes[..] {
        // One class needs no line under its own sum.
        let note = format!("all {}, {}", class.name(), waits(view, class));
        rows.row(page, "blocked", sum.blocked(), Style::Blocked(class), &note)?;
    } else {
        rows.row(page, "blocked", sum.blocked(), Style::Plain, "")?;
        for class in classes {
            let (label, ns) = (format!("  {}", class.name()), sum.blocked[class as usize]);
            rows.row(page, &label, ns, Style::Blocked(class), &waits(view, class))?;
        }
    }
    let parked = parked(view, page.width.saturating_sub(rows.note_column(page)));
    rows.row(page, "idle", sum.idle, Style::Faint, &parked)?;
    let residual = format!("parts − wall = {}", units::signed_time(sum.residual()));
    if sum.stolen == 0 && sum.unseen == 0 {
        return rows.row(page, "stolen, unseen", 0, Style::Faint, &residual);
    }
    rows.row(page, "stolen", sum.stolen, Style::Faint, "")?;
    rows.row(page, "unseen", sum.unseen, Style::Faint, &residual)
}

/// `where 12 threads × 10.0 s = 120 s went`, if each lived through the whole window.
fn title(view: &View) -> String {
    let wall = view.sum.wall;
    let threads = view.threads.len() as u64;
    let whole = threads.saturating_mul(view.window.duration_ns);
    let named = units::counted(threads, "thread", "threads");
    if threads == 1 {
        format!("where the {} of its thread went", units::time(wall))
    } else if wall.abs_diff(whole) <= whole / 1000 {
        format!("where {named} × {} = {} went", units::time(view.window.duration_ns), units::time(wall))
    } else {
        format!("where the {} of {named} went", units::time(wall))
    }
}

fn waits(view: &View, class: WaitClass) -> String {
    units::counted(view.sum.waits[class as usize], "wait", "waits")
}

/// What the lines of the ledger have in common.
struct Rows<'a> {
    view: &'a View<'a>,
    scale: Scale,
    longest_ns: u64,
}

impl Rows<'_> {
    fn bar_columns(&self, page: &Page) -> usize {
        let room = page.width.saturating_sub(REST + NOTE + 2);
        if self.view.options.bars && room >= 8 { room.min(LONGEST_BAR) } else { 0 }
    }

    fn note_column(&self, page: &Page) -> usize {
        match self.bar_columns(page) {
            0 => REST,
            bar => REST + bar + 2,
        }
    }

    fn row(&self, page: &mut Page, label: &str, ns: u64, style: Style, note: &str) -> io::Result<()> {
        let faint = if style == Style::Faint { Style::Faint } else { Style::Plain };
        let mut line = Line::new().plain("  ").then(style, label);
        line = line.right(faint, &self.scale.cell(ns), TIME_END);
        line = line.right(faint, &units::share(ns, self.view.sum.wall), SHARE_END);
        let columns = self.bar_columns(page);
        // Idle and the like have no bar: they would dwarf what matters.
        if columns > 0 && style != Style::Faint && self.longest_ns > 0 {
            let cells = (u128::from(ns) * columns as u128).div_ceil(u128::from(self.longest_ns)) as usize;
            line = line.to(REST).then(style, &"▇".repeat(if ns * 200 < self.longest_ns { 0 } else { cells }));
        }
        if !note.is_empty() {
            line = line.to(self.note_column(page)).faint(note);
        }
        page.line(line)
    }
}

/// Where idle threads are parked and how many: `parked in epoll_wait (8), pthread_cond_wait (1)`.
fn parked(view: &View, width: usize) -> String {
    let mut places: BTreeMap<String, BTreeSet<(u32, u32)>> = BTreeMap::new();
    for gap in view.window.gaps.iter().filter(|gap| gap.idle) {
        let tids = gap.tids.iter().map(|tid| (gap.pid, *tid));
        places.entry(parking_call(view, gap)).or_default().extend(tids);
    }
    if places.is_empty() {
        return String::new();
    }
    let mut places: Vec<(String, usize)> = places.into_iter().map(|(call, tids)| (call, tids.len())).collect();
    places.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let places: Vec<(String, usize)> =
        places.into_iter().map(|(call, threads)| (format!("{call} ({threads})"), 1)).collect();
    const LEAD: &str = "parked in ";
    format!("{LEAD}{}", names::list(&places, width.saturating_sub(LEAD.len())))
}

/// The call that parks a thread, by the name that a program uses for it.
pub(super) fn parking_call(view: &View, gap: &Gap) -> String {
    let place = Place::of(&view.window.stacks, gap.stack, usize::MAX);
    let frame = place.entry.or_else(|| place.frames.first().map(|shown| shown.frame));
    match (frame, &gap.kernel_function) {
        (Some(frame), _) => function_name(frame),
        (None, Some(function)) => function.to_string(),
        (None, None) => gap.class.name().to_owned(),
    }
}
