//! The places where threads wait in the middle of work.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use super::line::{Line, Page, Style};
use super::place::{Place, Shown, function_name, location};
use super::units;
use super::{View, names};
use crate::model::{Gap, WaitClass};

/// Frames of a stack that are shown.
const FRAMES: usize = 5;
/// Where the functions of a stack start, the mark before the own one, and the details of a gap.
const FUNCTION: usize = 7;
const MARK: &str = "     ▸ ";

/// The gaps, longest first.
pub(super) fn write(view: &View, page: &mut Page) -> io::Result<()> {
    let blocked = view.sum.blocked();
    let mut gaps: Vec<&Gap> = view.window.gaps.iter().filter(|gap| !gap.idle && blocked_ns(gap) > 0).collect();
    sort(view, &mut gaps);
    if !gaps.is_empty() {
        page.blank()?;
        let title = format!(" (blocked in the middle of work: {})", units::time(blocked));
        page.line(Line::new().then(Style::Strong, "longest gaps").plain(&title))?;
        for (index, gap) in gaps.iter().take(view.options.top).enumerate() {
            entry(view, page, index + 1, gap, blocked)?;
        }
        let rest = &gaps[gaps.len().min(view.options.top)..];
        if !rest.is_empty() {
            let time = units::time(rest.iter().map(|gap| blocked_ns(gap)).sum());
            let places = units::counted(rest.len() as u64, "more place", "more places");
            page.line(Line::new().faint(&format!("  {places}: {time} (--top {})", gaps.len())))?;
        }
    } else if blocked == 0 {
        page.blank()?;
        page.line(Line::new().then(Style::Strong, "no gaps").plain(" (nothing blocked in the middle of work)"))?;
    }
    Ok(())
}

/// The time of a gap that is in the ledger's blocked lines.
pub(super) fn blocked_ns(gap: &Gap) -> u64 {
    gap.total_ns.saturating_sub(gap.run_queue_ns)
}

/// Longest first; equals by class and by the names in their stacks, which are made only for them.
pub(super) fn sort(view: &View, gaps: &mut [&Gap]) {
    let names = |gap: &Gap| view.window.stacks.get(gap.stack).map(function_name);
    gaps.sort_by(|a, b| {
        let by_time = (Reverse(blocked_ns(a)), a.class.name()).cmp(&(Reverse(blocked_ns(b)), b.class.name()));
        by_time.then_with(|| names(a).cmp(names(b))).then_with(|| a.pid.cmp(&b.pid))
    });
}

fn entry(view: &View, page: &mut Page, number: usize, gap: &Gap, blocked: u64) -> io::Result<()> {
    let mut line = Line::new().plain(&format!("{number:>3}. ")).then(Style::Blocked(gap.class), gap.class.name());
    line = line.right(Style::Strong, &units::time(blocked_ns(gap)), 28);
    line = line.right(Style::Plain, &units::rough_share(blocked_ns(gap), blocked), 34);
    line = line.right(Style::Plain, &units::counted(gap.count, "wait", "waits"), 48);
    let lengths = lengths(gap);
    let wide = page.width >= 110;
    line = if wide { line.to(50).faint(&lengths).to(87) } else { line.to(50) };
    let room = page.width.saturating_sub(line.width());
    page.line(line.plain(&who(view, gap, room)))?;
    if !wide && !lengths.is_empty() {
        page.line(Line::new().to(FUNCTION).faint(&lengths))?;
    }
    if view.options.full {
        whole_stack(view, page, gap)?
    } else {
        short_stack(view, page, gap)?
    }
    after(view, page, gap)
}

/// `p50 3.9 ms   p99 12 ms   max 31.0 ms`; a single wait's length is its time.
fn lengths(gap: &Gap) -> String {
    if gap.count <= 1 {
        return String::new();
    }
    let (p50, p99) = (units::rough_time(gap.p50_ns), units::rough_time(gap.p99_ns));
    format!("p50 {p50:<7} p99 {p99:<7} max {}", units::time(gap.max_ns))
}

/// Threads that wait here, in at most `width` columns; with their process if there are several.
pub(super) fn who(view: &View, gap: &Gap, width: usize) -> String {
    let names: Vec<String> = gap.tids.iter().map(|tid| view.thread_name(gap.pid, *tid)).collect();
    let threads = names::collapse(names.iter().map(String::as_str));
    if !view.many_processes() {
        return names::list(&threads, width);
    }
    let process = format!("{} ({})", view.process_name(gap.pid), gap.pid);
    // A process of one thread is named once.
    let only = names.len() == 1 && names[0] == view.process_name(gap.pid);
    if only {
        return names::fit(&process, width);
    }
    let room = width.saturating_sub(process.chars().count() + 2);
    names::fit(&format!("{process}: {}", names::list(&threads, room)), width)
}

fn short_stack(view: &View, page: &mut Page, gap: &Gap) -> io::Result<()> {
    let place = Place::of(&view.window.stacks, gap.stack, FRAMES);
    let kernel = gap.kernel_function.as_deref();
    match (place.entry.map(function_name), kernel) {
        (Some(call), Some(kernel)) => {
            let room = page.width.saturating_sub(FUNCTION + 3);
            let call = names::fit(&call, room / 2);
            page.line(Line::new().to(FUNCTION).plain(&call).faint(&format!(" → {kernel}")))?;
        }
        (Some(call), None) => page.line(Line::new().to(FUNCTION).plain(&call))?,
        (None, Some(kernel)) => page.line(Line::new().to(FUNCTION).faint(&format!("→ {kernel}")))?,
        (None, None) => {}
    }
    if place.entry.is_none() && place.frames.is_empty() {
        return page.line(Line::new().to(FUNCTION).faint("(no stack of the program)"));
    }
    let last = place.frames.len().saturating_sub(1);
    for (index, shown) in place.frames.iter().enumerate() {
        let more = if index == last && place.hidden > 0 {
            format!("({} more)", units::count(place.hidden as u64))
        } else {
            String::new()
        };
        frame(page, shown, &more)?;
    }
    Ok(())
}

pub(super) fn whole_stack(view: &View, page: &mut Page, gap: &Gap) -> io::Result<()> {
    let place = Place::whole(&view.window.stacks, gap.stack);
    if place.frames.is_empty() {
        return page.line(Line::new().to(FUNCTION).faint("(no stack)"));
    }
    place.frames.iter().try_for_each(|shown| frame(page, shown, if shown.frame.inlined { "(inlined)" } else { "" }))
}

/// `     ▸ Cache::get                     cache.cpp:118   (3 more)`
fn frame(page: &mut Page, shown: &Shown, more: &str) -> io::Result<()> {
    let name_columns = (page.width * 2 / 5).clamp(24, 56);
    let place_column = FUNCTION + name_columns + 2;
    let name = function_name(shown.frame);
    let place = location(shown.frame);
    // With nothing beside it a name may be as long as the line.
    let room = if place.is_empty() && more.is_empty() { page.width - FUNCTION } else { name_columns };
    let (lead, style) = if shown.own { (MARK, Style::Strong) } else { ("       ", Style::Plain) };
    let mut line = Line::new().then(style, lead).then(style, &names::fit(&name, room));
    let room = page.width.saturating_sub(place_column + if more.is_empty() { 0 } else { more.len() + 3 });
    if !place.is_empty() {
        line =
            line.to(place_column).then(if shown.own { Style::Strong } else { Style::Faint }, &names::fit(&place, room));
    }
    if !more.is_empty() {
        line = if place.is_empty() { line.to(place_column) } else { line.plain("   ") };
        line = line.faint(more);
    }
    page.line(line)
}

/// What ended the waits, and how long the CPU took to come.
fn after(view: &View, page: &mut Page, gap: &Gap) -> io::Result<()> {
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for (waker, ns) in &gap.wakers {
        let thread = waker.comm.as_deref().filter(|comm| !comm.is_empty()).map(str::to_owned);
        // Over loopback the sender's own call ends in the interrupt that wakes the receiver.
        let may_have_sent =
            matches!(gap.class, WaitClass::SocketRecv | WaitClass::SocketSend | WaitClass::SocketAccept);
        let name = match waker.pid {
            0 => "an interrupt or timer".to_owned(),
            _ if waker.interrupt && !may_have_sent => "an interrupt or timer".to_owned(),
            pid => {
                let thread = thread.unwrap_or_else(|| view.thread_name(pid, waker.tid));
                if pid == gap.pid { thread } else { format!("{thread} (pid {pid})") }
            }
        };
        *by_name.entry(name).or_default() += ns;
    }
    let mut wakers: Vec<(String, u64)> = by_name.into_iter().collect();
    wakers.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    // A waker of less than a fiftieth explains nothing.
    wakers.retain(|(_, ns)| ns * 50 >= gap.total_ns);
    let named: Vec<(String, usize)> = wakers
        .iter()
        .enumerate()
        .map(|(index, (name, ns))| {
            let share = units::rough_share((*ns).min(gap.total_ns), gap.total_ns);
            let of = if index == 0 { " of the time" } else { "" };
            (format!("{} ({share}{of})", names::fit(name, 32)), 1)
        })
        .collect();
    if !named.is_empty() {
        const LEAD: &str = "woken by ";
        let room = page.width.saturating_sub(FUNCTION + LEAD.len());
        page.line(Line::new().to(FUNCTION).plain(LEAD).plain(&names::list(&named, room)))?;
    }
    // Worth a line only where it is a tenth of what the program felt.
    if gap.run_queue_ns * 10 >= gap.total_ns && gap.run_queue_ns > 0 {
        let text = format!("then {} more waiting for a CPU", units::time(gap.run_queue_ns));
        page.line(Line::new().to(FUNCTION).then(Style::Waiting, &text))?;
    }
    Ok(())
}
