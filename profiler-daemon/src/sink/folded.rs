//! Folded stacks, as FlameGraph's tools, speedscope and grep take them: one line a stack, frames
//! root first and parted by `;`, then a space and nanoseconds (whole, so that lines add up).
//!
//! `comm (pid);thread;main;work;futex_wait_[k];[lock/futex] 16100000000`. Kernel frames end in
//! `_[k]`. The last frame of off-CPU time is its state: `[run-queue]`, `[throttled]` (the part of waiting for a CPU that a
//! quota made), or the class of the wait.
//! Idle waits start with `[idle];`, so `grep -v '^\[idle\];'` leaves the work.

use std::borrow::Cow;
use std::io::{self, Write};

use super::Clock;
use super::flame_tree::{FlameTree, Label, Role};
use crate::model::Window;

pub(super) fn encode(window: &Window, clock: Clock, out: &mut dyn Write) -> io::Result<()> {
    let tree = FlameTree::new(window, clock);
    let tokens: Vec<String> = tree.labels().iter().map(token).collect();
    // The path of the node before, with the ends of its frames, cut back to what both share.
    let (mut path, mut open) = (String::new(), Vec::<(u32, usize)>::new());
    for node in tree.nodes() {
        while open.pop_if(|(before, _)| *before != tree.parent(node)).is_some() {}
        path.truncate(open.last().map_or(0, |(_, end)| *end));
        if !path.is_empty() {
            path.push(';');
        }
        path.push_str(&tokens[tree.label_index(node)]);
        open.push((node, path.len()));
        if tree.self_ns(node) > 0 {
            writeln!(out, "{} {}", unlike_a_number(&path), tree.self_ns(node))?;
        }
    }
    Ok(())
}

fn token(label: &Label) -> String {
    let mut token = label.name.replace(';', "\\u{3b}");
    // Readers skip lines that start with `# `, and a process comes first.
    if label.role == Role::Process && token.starts_with('#') {
        token.replace_range(..1, "\\u{23}");
    }
    if label.role == Role::Kernel {
        token.push_str("_[k]");
    }
    token
}

/// A last name such as `worker 2` would be read as the first of two counts.
fn unlike_a_number(path: &str) -> Cow<'_, str> {
    match path.rsplit_once(' ') {
        Some((before, last)) if last.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            Cow::Owned(format!("{before}\\u{{20}}{last}"))
        }
        _ => Cow::Borrowed(path),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::sink::sample_window::{self, HOSTILE};

    fn folded(window: &Window, clock: Clock) -> String {
        let mut out = Vec::new();
        encode(window, clock, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stacks_are_lines_with_their_state_last() {
        let text = folded(&sample_window::window(), Clock::Wall);
        for line in [
            "checkout (4242);worker-1;main;Handler::run;Cache::get;sha256 2500000000",
            "checkout (4242);worker-1;main;Handler::run;Cache::get;futex_wait_[k];[lock/futex] 3990000000",
            "checkout (4242);worker-1;main;Handler::run;Cache::get;futex_wait_[k];[run-queue] 10000000",
            "checkout (4242);worker-1;main;Handler::run;[run-queue] 300000000",
            "checkout (4242);worker-1;[stolen] 50000000",
            "[idle];checkout (4242);reactor;main;poll_loop;do_epoll_wait_[k];[poll-idle] 9700000000",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nnot in\n{text}");
        }
        let mut sorted: Vec<_> = text.lines().collect();
        sorted.dedup();
        assert_eq!(sorted.len(), text.lines().count(), "a stack is one line");
    }

    #[test]
    fn a_quotas_part_is_a_line_of_its_own() {
        let text = folded(&sample_window::throttled(), Clock::Wall);
        for line in [
            "checkout (4242);worker-1;main;Handler::run;[run-queue] 100000000",
            "checkout (4242);worker-1;main;Handler::run;[throttled] 200000000",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn a_clock_leaves_the_other_times_out() {
        let cpu = folded(&sample_window::window(), Clock::Cpu);
        assert!(cpu.contains("sha256 ") && !cpu.contains(";["), "{cpu}");
        let off_cpu = folded(&sample_window::window(), Clock::OffCpu);
        let last = |line: &str| line.rsplit(';').next().is_some_and(|frame| frame.starts_with('['));
        assert!(off_cpu.contains("[lock/futex] ") && off_cpu.lines().all(last), "{off_cpu}");
    }

    #[test]
    fn hostile_names_are_one_token_of_one_line() {
        for name in HOSTILE {
            let text = folded(&sample_window::named(name), Clock::Wall);
            assert_eq!(text.lines().count(), 1, "{name:?}: {text}");
            let (stack, count) = text.trim_end().rsplit_once(' ').unwrap();
            assert_eq!(count, "1000");
            assert_eq!(stack.split(';').count(), 4, "{name:?}: {stack}");
            assert!(!text.starts_with('#') && !text.trim_end().contains(char::is_control), "{name:?}: {text}");
            let last = stack.rsplit(' ').next().unwrap();
            assert!(!last.chars().all(|c| c.is_ascii_digit()), "{name:?} would read as a second count");
        }
    }
}
