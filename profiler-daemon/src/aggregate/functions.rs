//! Functions on CPU: self time and time with callees.

use std::collections::HashMap;

use super::mix::IdMap;
use crate::model::{Frame, FrameKind, FunctionTime, Sample, Stacks, State};

/// A number for the function of each frame: the same for all places in one function. Without a
/// symbol each address is a function of its own.
pub(super) fn identities(frames: &[Frame]) -> Vec<u32> {
    let mut known = HashMap::new();
    frames
        .iter()
        .map(|frame| {
            let function = frame.function.as_deref();
            let offset = if function.is_none() { frame.offset } else { None };
            let next = known.len() as u32;
            *known.entry((frame.kind, function, frame.module.as_deref(), offset)).or_insert(next)
        })
        .collect()
}

/// On-CPU time by function, largest self time first. A function counts once a stack, however often
/// it calls itself. A note at the root of a torn stack is no function; a note that is all there is
/// of a stack stays, so that self times sum to the on-CPU time.
pub(super) fn table(samples: &[Sample], stacks: &Stacks, functions: &[u32]) -> Vec<FunctionTime> {
    let mut times: IdMap<u32, Time> = IdMap::default();
    let mut seen = Vec::new();
    for sample in samples.iter().filter(|sample| sample.state == State::OnCpu && sample.on_cpu_ns > 0) {
        seen.clear();
        for (depth, index) in stacks.indices(sample.stack).iter().enumerate() {
            let is_leaf = depth == 0;
            let function = functions[*index as usize];
            let is_root_note = !is_leaf && stacks.frames[*index as usize].kind == FrameKind::Note;
            if is_root_note || seen.contains(&function) {
                continue;
            }
            seen.push(function);
            times.entry(function).or_default().add(*index, sample.on_cpu_ns, is_leaf);
        }
    }
    let mut table: Vec<FunctionTime> = times
        .into_values()
        .map(|time| FunctionTime {
            frame: stacks.frames[time.frame as usize].clone(),
            self_ns: time.self_ns,
            total_ns: time.total_ns,
        })
        .collect();
    table.sort_by_cached_key(|time| (std::cmp::Reverse((time.self_ns, time.total_ns)), time.frame.name()));
    table
}

#[derive(Default)]
struct Time {
    self_ns: u64,
    total_ns: u64,
    /// The frame with the most time in one stack, leaves before callers: where a reader looks first.
    frame: u32,
    rank: (bool, u64),
}

impl Time {
    fn add(&mut self, frame: u32, ns: u64, is_leaf: bool) {
        self.total_ns += ns;
        if is_leaf {
            self.self_ns += ns;
        }
        if (is_leaf, ns) > self.rank {
            self.rank = (is_leaf, ns);
            self.frame = frame;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::StackId;

    /// Stacks root first, as `main>work 40`: the function table as `name self total`.
    fn check(drawn: &[&str], expected: &[&str]) {
        let mut stacks = Stacks::default();
        let mut samples = Vec::new();
        for line in drawn {
            let (path, ns) = line.rsplit_once(' ').expect("a stack and its time");
            let mut stack: Vec<u32> = path
                .split('>')
                .map(|name| {
                    let (name, at_line) = name.split_once(':').unwrap_or((name, "1"));
                    let kind = if name.starts_with('[') { FrameKind::Note } else { FrameKind::Native };
                    stacks.frames.push(Frame { kind, line: at_line.parse().ok(), ..Frame::note(name) });
                    stacks.frames.len() as u32 - 1
                })
                .collect();
            stack.reverse();
            stacks.stacks.push(stack);
            samples.push(Sample {
                thread: 0,
                stack: StackId(stacks.stacks.len() as u32 - 1),
                state: State::OnCpu,
                idle: false,
                count: 1,
                on_cpu_ns: ns.parse().expect("a number"),
                run_queue_ns: 0,
                blocked_ns: 0,
            });
        }
        let table = table(&samples, &stacks, &identities(&stacks.frames));
        let lines: Vec<String> = table
            .iter()
            .map(|time| {
                format!("{}:{} {} {}", time.frame.name(), time.frame.line.unwrap_or(0), time.self_ns, time.total_ns)
            })
            .collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn self_time_is_the_leafs_and_totals_are_the_callers() {
        check(&["main>work 60", "main>rest 30", "main 10"], &["work:1 60 60", "rest:1 30 30", "main:1 10 100"]);
    }

    #[test]
    fn recursion_counts_once_a_stack() {
        check(&["main>walk>walk>walk 50", "main>walk>leaf 20"], &["walk:1 50 70", "leaf:1 20 20", "main:1 0 70"]);
    }

    #[test]
    fn the_hottest_line_stands_for_the_function() {
        check(&["main:9>work:3 10", "main:9>work:5 40"], &["work:5 50 50", "main:9 0 50"]);
    }

    #[test]
    fn equals_are_sorted_by_name() {
        check(&["b 5", "a 5", "c 5"], &["a:1 5 5", "b:1 5 5", "c:1 5 5"]);
    }

    #[test]
    fn notes_count_only_where_they_are_all_there_is() {
        check(
            &["[unwinding stopped]>work 40", "[on-CPU, not sampled] 2"],
            &["work:1 40 40", "[on-CPU, not sampled]:1 2 2"],
        );
    }

    #[test]
    fn without_a_symbol_the_address_is_the_function() {
        let at = |offset| Frame { function: None, offset: Some(offset), ..Frame::note("") };
        assert_eq!(identities(&[at(1), at(2), at(1)]), [0, 1, 0]);
        let module = |module: &str| Frame { module: Some(module.into()), offset: Some(7), ..Frame::note("run") };
        assert_eq!(identities(&[module("a"), module("b"), Frame { offset: Some(8), ..module("a") }]), [0, 1, 0]);
    }
}
