//! Waits that need no place: preemptions and idle threads, in a few lines.

use std::collections::BTreeMap;
use std::io;

use super::gaps::{blocked_ns, sort, who, whole_stack};
use super::ledger::parking_call;
use super::line::{Line, Page, Style};
use super::place::{Place, function_name, location};
use super::units;
use super::{View, names};
use crate::model::{Gap, StackId, WaitClass};

/// Idle places that are shown.
const IDLE_PLACES: usize = 3;
/// Where the names of idle threads start, and how long they get.
const IDLE_NAMES: usize = 37;
const IDLE_NAMES_WIDTH: usize = 30;

/// Preemptions: the place says nothing, the threads do.
pub(super) fn preempted(view: &View, page: &mut Page) -> io::Result<()> {
    let mut time = 0;
    let mut times = 0;
    let mut longest = 0;
    for gap in view.window.gaps.iter().filter(|gap| gap.class == WaitClass::Preempted) {
        time += gap.total_ns;
        times += gap.count;
        longest = longest.max(gap.max_ns);
    }
    // Below a hundredth of the time that is not idle nobody asks for it.
    if time == 0 || time * 100 < view.sum.busy() {
        return Ok(());
    }
    let most = view
        .window
        .threads
        .iter()
        .zip(&view.threads)
        .max_by(|(a, left), (b, right)| left.preempted.cmp(&right.preempted).then_with(|| b.comm.cmp(&a.comm)));
    page.blank()?;
    let times = units::counted(times, "time", "times");
    let mut text = format!(" {}, {times}, longest {}", units::time(time), units::time(longest));
    if let Some((thread, parts)) = most.filter(|_| view.threads.len() > 1) {
        let name = names::fit(&super::named(&thread.comm, thread.tid), 32);
        text.push_str(&format!("; most in {name} ({})", units::time(parts.preempted)));
    }
    page.line(Line::new().then(Style::Waiting, "preempted:").plain(&text))
}

/// Idle waits, folded into a few lines: one a place, or of several processes one a call.
pub(super) fn idle(view: &View, page: &mut Page) -> io::Result<()> {
    let mut gaps: Vec<&Gap> = view.window.gaps.iter().filter(|gap| gap.idle && blocked_ns(gap) > 0).collect();
    if gaps.is_empty() {
        return Ok(());
    }
    sort(view, &mut gaps);
    page.blank()?;
    let places = units::counted(gaps.len() as u64, "place", "places");
    page.line(Line::new().faint(&format!("idle: {} at {places}", units::time(view.sum.idle))))?;
    if view.options.full {
        for gap in gaps {
            idle_line(page, &parking_call(view, gap), blocked_ns(gap), &who(view, gap, IDLE_NAMES_WIDTH), None)?;
            whole_stack(view, page, gap)?;
        }
        return Ok(());
    }
    let mut folded: BTreeMap<(String, u32, StackId), Vec<&Gap>> = BTreeMap::new();
    for gap in gaps {
        let place = if view.many_processes() { (0, StackId(0)) } else { (gap.pid, gap.stack) };
        folded.entry((parking_call(view, gap), place.0, place.1)).or_default().push(gap);
    }
    let mut folded: Vec<(u64, String, Vec<&Gap>)> = folded
        .into_iter()
        .map(|((call, ..), gaps)| (gaps.iter().map(|gap| blocked_ns(gap)).sum(), call, gaps))
        .collect();
    folded.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    for (ns, call, gaps) in folded.iter().take(IDLE_PLACES) {
        match gaps[..] {
            [gap] => idle_line(page, call, *ns, &who(view, gap, IDLE_NAMES_WIDTH), Some((view, gap)))?,
            _ => {
                let names = gaps.iter().flat_map(|gap| gap.tids.iter().map(|tid| view.thread_name(gap.pid, *tid)));
                let names: Vec<String> = names.collect();
                let names = names::collapse(names.iter().map(String::as_str));
                let room = page.width.saturating_sub(IDLE_NAMES);
                idle_line(page, call, *ns, &names::list(&names, room), None)?;
            }
        }
    }
    let rest = &folded[folded.len().min(IDLE_PLACES)..];
    if !rest.is_empty() {
        let time = units::time(rest.iter().map(|(ns, ..)| ns).sum());
        page.line(Line::new().faint(&format!("  {} more: {time} (--full)", rest.len())))?;
    }
    Ok(())
}

/// `  epoll_wait   34.7 s  worker-1 … worker-8  in Loop::run loop.cpp:12`
fn idle_line(page: &mut Page, call: &str, ns: u64, who: &str, at: Option<(&View, &Gap)>) -> io::Result<()> {
    let mut line = Line::new().faint("  ").faint(&names::fit(call, 24));
    line = line.right(Style::Faint, &units::time(ns), IDLE_NAMES - 2).to(IDLE_NAMES).faint(who);
    let own = at.and_then(|(view, gap)| Place::of(&view.window.stacks, gap.stack, usize::MAX).own());
    let room = page.width.saturating_sub(line.width() + "  in ".len());
    if let Some(own) = own.filter(|_| room >= 16) {
        let at = [function_name(own), location(own)].join(" ");
        line = line.faint("  in ").faint(&names::fit(at.trim_end(), room));
    }
    page.line(line)
}
