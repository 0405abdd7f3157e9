//! How good the numbers are, what was lost, what it cost, and what to do next.

use std::io;
use std::path::PathBuf;

use profiler_common::wire::outcome;

use super::View;
use super::line::{Page, Style};
use super::units;
use crate::model::StackQuality;

/// Above this share of the wall time, unseen time comes first: one part in …
const UNSEEN_ONE_IN: u64 = 20;

/// Nothing else makes the kernel walk user stacks.
const LOCKED_DOWN: &str = "lockdown=confidentiality: user stacks are by frame pointers alone and may lack callers; a wait whose \
                           system call or descriptor could not be read is `other`. The times are exact";

/// What is so bad that everything below has to be read with it in mind.
pub(super) fn warnings(view: &View, page: &mut Page) -> io::Result<()> {
    let found = found(view);
    if !found.is_empty() {
        page.blank()?;
    }
    found.iter().try_for_each(|text| page.words(Style::Alarm, 0, text))
}

fn found(view: &View) -> Vec<String> {
    let sum = &view.sum;
    let mut found = Vec::new();
    if view.window.threads.is_empty() {
        found.push("nothing was seen: no thread of what was asked for ran, woke up or slept in this time".to_owned());
        return found;
    }
    if sum.unseen * UNSEEN_ONE_IN > sum.wall {
        let share = units::rough_share(sum.unseen, sum.wall);
        let threads = view.threads.iter().filter(|parts| parts.unseen * UNSEEN_ONE_IN > parts.wall).count() as u64;
        let of = units::counted(threads, "thread", "threads");
        found.push(format!(
            "{share} of the time is unseen, in {of}: what they did then has no record and is in no part below"
        ));
    }
    let is_locked_down = [&view.window.on_cpu_quality, &view.window.off_cpu_quality]
        .iter()
        .any(|quality| quality.outcomes[outcome::FRAME_POINTERS as usize].0 > 0);
    if is_locked_down {
        found.push(LOCKED_DOWN.to_owned());
        return found;
    }
    for (kind, quality) in [("on-CPU", &view.window.on_cpu_quality), ("off-CPU", &view.window.off_cpu_quality)] {
        let (whole, all) = whole(quality);
        // A share of next to nothing says nothing: the line at the end has it all the same.
        if whole * 2 < all && all * 100 >= sum.wall {
            let share = units::rough_share(whole, all);
            found.push(format!("only {share} of the {kind} time has a whole stack: {}", reason(quality)));
        }
    }
    found
}

/// Time with a stack that reaches the root, and all time.
fn whole(quality: &StackQuality) -> (u64, u64) {
    let all = quality.outcomes.iter().map(|(_, ns)| ns).sum::<u64>() + quality.missing.1;
    let [complete, approximate] = [outcome::COMPLETE, outcome::APPROXIMATE].map(|o| quality.outcomes[o as usize].1);
    (complete + approximate, all)
}

/// What cut most of the stacks that are not whole.
fn reason(quality: &StackQuality) -> &'static str {
    let of = |outcome: u32| quality.outcomes[outcome as usize].1;
    let reasons = [
        (of(outcome::NO_INFO), "no unwind table describes the code, and it keeps no frame pointer"),
        (of(outcome::PENDING), "the code's unwind tables were not loaded yet"),
        (of(outcome::NOT_CODE), "what should be a return address points to no code"),
        (of(outcome::BAD_RULE), "an unwind table has a rule that could not be followed"),
        (of(outcome::READ_FAULT), "memory of the stack could not be read"),
        (of(outcome::TRUNCATED), "the stacks are deeper than 256 frames"),
        (quality.missing.1, "stacks could not be taken"),
    ];
    reasons.into_iter().reduce(|most, next| if next.0 > most.0 { next } else { most }).map_or("", |(_, words)| words)
}

/// CPU samples of the whole window.
pub(super) fn on_cpu_samples(view: &View) -> u64 {
    let quality = &view.window.on_cpu_quality;
    quality.outcomes.iter().map(|(samples, _)| samples).sum::<u64>() + quality.missing.0
}

/// `whole stacks: 99.7 % of on-CPU, 98.2 % of off-CPU time · nothing lost · profilerd itself: …`
pub(super) fn lines(view: &View, page: &mut Page) -> io::Result<()> {
    let window = view.window;
    let stacks: Vec<String> = [("on-CPU", &window.on_cpu_quality), ("off-CPU", &window.off_cpu_quality)]
        .into_iter()
        .filter_map(|(kind, quality)| {
            let (whole, all) = whole(quality);
            (all > 0).then(|| format!("{} of {kind}", units::share(whole, all)))
        })
        .collect();
    let losses: Vec<String> = window
        .losses
        .by_cause
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(cause, number)| format!("{cause} {}", units::count(*number)))
        .collect();
    let mut items = Vec::new();
    if !stacks.is_empty() {
        items.push(format!("whole stacks: {} time", stacks.join(", ")));
    }
    items.push(if losses.is_empty() { "nothing lost".to_owned() } else { format!("lost: {}", losses.join(", ")) });
    if !window.threads.is_empty() {
        let rate = units::count(u64::from(window.rate_hz));
        items.push(format!("on-CPU places sampled at {rate} Hz, waits exact"));
        let (_, off_cpu_ns) = whole(&window.off_cpu_quality);
        let sampled_ns = window.off_cpu_quality.sampled_ns;
        if sampled_ns > 0 {
            items.push(format!("{} of off-CPU time by sampled stacks", units::share(sampled_ns, off_cpu_ns)));
        }
    }
    items.extend(window.detail.note());
    items.push(cost(view));
    page.items(Style::Faint, &items)
}

/// `profilerd itself: 0.4 % of one CPU (kernel 0.3 %, daemon 0.1 %), 31 MiB and 17 MiB in the kernel`
fn cost(view: &View) -> String {
    let overhead = &view.window.overhead;
    let of = |ns| units::share(ns, view.window.duration_ns);
    let daemon = of(overhead.daemon_ns);
    let cpu = match overhead.kernel_ns {
        Some(kernel_ns) => {
            let both = of(kernel_ns + overhead.daemon_ns);
            format!("{both} of one CPU (kernel programs {}, daemon {daemon})", of(kernel_ns))
        }
        None => format!("{daemon} of one CPU, without its kernel programs (not measured)"),
    };
    let (own, kernel) = (units::memory(overhead.peak_rss_bytes), units::memory(overhead.kernel_memory_bytes));
    format!("profilerd itself: {cpu}, {own} and {kernel} in the kernel")
}

/// The one thing that would help most, if any.
pub(super) fn hint(view: &View, files: &[(PathBuf, &str)], page: &mut Page) -> io::Result<()> {
    let hint = match best_hint(view, files) {
        Some(hint) => hint,
        None => return Ok(()),
    };
    page.words(Style::Plain, 0, &format!("hint: {hint}"))
}

fn best_hint(view: &View, files: &[(PathBuf, &str)]) -> Option<String> {
    let window = view.window;
    if window.threads.is_empty() {
        return Some("`pgrep -a NAME` finds processes; `profilerd doctor` says what this machine allows".to_owned());
    }
    let cut = |quality: &StackQuality| {
        let (whole, all) = whole(quality);
        whole * 10 < all * 9
    };
    if view.sum.unseen * UNSEEN_ONE_IN > view.sum.wall {
        return Some("`profilerd explain unseen`".to_owned());
    }
    if cut(&window.on_cpu_quality) || cut(&window.off_cpu_quality) {
        return Some("some stacks end early: `profilerd explain stack-quality`".to_owned());
    }
    let unnamed = window.on_cpu.iter().filter(|function| function.frame.function.is_none());
    let unnamed: u64 = unnamed.map(|function| function.self_ns).sum();
    if unnamed * 5 > view.sum.on_cpu && unnamed > 0 {
        let pid = window.processes.first().map_or_else(|| "N".to_owned(), |process| process.pid.to_string());
        return Some(format!("functions without names: `profilerd doctor --pid {pid}` says what is missing"));
    }
    files.is_empty().then(|| "`-o wall.svg` draws all of this as a flame graph".to_owned())
}
