//! Folded stacks, as FlameGraph's tools, speedscope and grep take them: one line a stack, frames
//! root first and parted by `;`, then a space and nanoseconds (whole, so that lines add up).
//!
//! `comm (pid);thread;main;work;futex_wait_[k];[lock/futex] 16100000000`. Kernel frames end in
//! `_[k]`. The last frame of off-CPU time is its state: `[run-queue]` or the class of the wait.
//! Idle waits start with `[idle];`, so `grep -v '^\[idle\];'` leaves the work.

use std::borrow::Cow;
use std::io::{self, Write};

use super::Clock;
use super::flame_tree::{FlameTree, Label, Role};
use crate::model::Window;

pub(super) fn encode(window: &Window, clock: Clock, out: &mut dyn Write) -> io::Result<()> {
    let tree = FlameTree::new(window, clock);
    let mut path = String::new();
    // Depth first without recursion: stacks may be deep. Each entry has the length of its caller's path.
    let mut todo: Vec<(u32, usize)> = sorted(&tree, FlameTree::ROOT).map(|root| (root, 0)).collect();
    while let Some((node, caller)) = todo.pop() {
        path.truncate(caller);
        if caller > 0 {
            path.push(';');
        }
        push_token(&mut path, tree.label(node));
        if tree.self_ns(node) > 0 {
            writeln!(out, "{} {}", unlike_a_number(&path), tree.self_ns(node))?;
        }
        todo.extend(sorted(&tree, node).map(|child| (child, path.len())));
    }
    Ok(())
}

/// Last name first, since the work list is taken from its end.
fn sorted(tree: &FlameTree, node: u32) -> impl Iterator<Item = u32> {
    let mut children: Vec<u32> = tree.children(node).collect();
    children.sort_unstable_by(|a, b| tree.label(*b).cmp(tree.label(*a)));
    children.into_iter()
}

fn push_token(path: &mut String, label: &Label) {
    // Readers skip lines that start with `# `.
    let name = match label.name.strip_prefix('#') {
        Some(rest) if path.is_empty() => Cow::Owned(format!("\\u{{23}}{rest}")),
        _ => Cow::Borrowed(label.name.as_str()),
    };
    for (index, part) in name.split(';').enumerate() {
        if index > 0 {
            path.push_str("\\u{3b}");
        }
        path.push_str(part);
    }
    if label.role == Role::Kernel {
        path.push_str("_[k]");
    }
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
