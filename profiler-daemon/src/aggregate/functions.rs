//! Functions on CPU: self time and time with callees.

use std::cmp::Ordering;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::FastMap;
use crate::model::{Frame, FrameKind, FunctionTime, Sample, Stacks, State};

/// Numbers of the functions of frames: the same for all places in one function. Without a symbol each address is a
/// function of its own.
#[derive(Debug, Default)]
pub(super) struct Functions<'a> {
    known: FastMap<Function<'a>, u32>,
    /// By number of the frame.
    numbers: Vec<u32>,
}

/// What makes a function one: kind, name and module, and the address if there is no name.
type Function<'a> = (FrameKind, Option<&'a str>, Option<&'a str>, Option<u64>);

impl<'a> Functions<'a> {
    pub(super) fn of(frames: &'a [Arc<Frame>]) -> Functions<'a> {
        let mut functions = Functions {
            known: FastMap::with_capacity_and_hasher(frames.len(), RandomState::default()),
            numbers: Vec::with_capacity(frames.len()),
        };
        functions.add(frames);
        functions
    }

    /// Goes on with these frames.
    pub(super) fn add(&mut self, frames: &'a [Arc<Frame>]) {
        let mut last: Option<(&Frame, u32)> = None;
        for frame in frames {
            // Those of a store are sorted by name, and share it: to hash a name is to fetch it.
            let number = match last {
                Some((last, number)) if is_surely_same(last, frame) => number,
                _ => self.number(frame),
            };
            last = Some((&**frame, number));
            self.numbers.push(number);
        }
    }

    fn number(&mut self, frame: &'a Frame) -> u32 {
        let offset = if frame.function.is_none() { frame.offset } else { None };
        let function = (frame.kind, frame.function.as_deref(), frame.module.as_deref(), offset);
        let next = self.known.len() as u32;
        *self.known.entry(function).or_insert(next)
    }

    /// The number of each frame's function.
    pub(super) fn numbers(&self) -> &[u32] {
        &self.numbers
    }

    pub(super) fn into_numbers(self) -> Vec<u32> {
        self.numbers
    }
}

/// Whether two frames name their function by the same texts in memory. If not they may still be of the same one.
fn is_surely_same(a: &Frame, b: &Frame) -> bool {
    let same = |a: &Option<Arc<str>>, b: &Option<Arc<str>>| match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    a.kind == b.kind && a.function.is_some() && same(&a.function, &b.function) && same(&a.module, &b.module)
}

/// On-CPU time by function, largest self time first. A function counts once a stack, however often
/// it calls itself. A note at the root of a torn stack is no function; a note that is all there is
/// of a stack stays, so that self times sum to the on-CPU time.
pub(super) fn table(samples: &[Sample], stacks: &Stacks, functions: &[u32]) -> Vec<FunctionTime> {
    let mut times = vec![Time::default(); functions.iter().max().map_or(0, |last| *last as usize + 1)];
    let notes: Vec<bool> = stacks.frames.iter().map(|frame| frame.kind == FrameKind::Note).collect();
    let on_cpu = samples.iter().filter(|sample| sample.state == State::OnCpu && sample.on_cpu_ns > 0);
    for (number, sample) in (1..).zip(on_cpu) {
        for (depth, index) in stacks.indices(sample.stack).iter().enumerate() {
            let is_leaf = depth == 0;
            let time = &mut times[functions[*index as usize] as usize];
            let is_root_note = !is_leaf && notes[*index as usize];
            if !is_root_note && time.last_sample != number {
                time.last_sample = number;
                time.add(*index, sample.on_cpu_ns, is_leaf);
            }
        }
    }
    times.retain(|time| time.last_sample > 0);
    let frame = |time: &Time| &stacks.frames[time.frame as usize];
    times.sort_by(|a, b| {
        (b.self_ns, b.total_ns).cmp(&(a.self_ns, a.total_ns)).then_with(|| by_name(frame(a), frame(b)))
    });
    let row = |time: &Time| FunctionTime { frame: frame(time).clone(), self_ns: time.self_ns, total_ns: time.total_ns };
    times.iter().map(row).collect()
}

fn by_name(a: &Frame, b: &Frame) -> Ordering {
    match (&a.function, &b.function) {
        (Some(a), Some(b)) => a.cmp(b),
        _ => a.name().cmp(&b.name()),
    }
}

#[derive(Clone, Default)]
struct Time {
    /// Number of the sample that was added last, from 1.
    last_sample: u32,
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

    fn identities(frames: &[Arc<Frame>]) -> Vec<u32> {
        let (first, rest) = frames.split_at(frames.len() / 2);
        let mut functions = Functions::of(first);
        functions.add(rest);
        functions.into_numbers()
    }

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
                    stacks.frames.push(Frame { kind, line: at_line.parse().ok(), ..Frame::note(name) }.into());
                    stacks.frames.len() as u32 - 1
                })
                .collect();
            stack.reverse();
            stacks.stacks.push(stack.into());
            samples.push(Sample {
                thread: 0,
                stack: StackId(stacks.stacks.len() as u32 - 1),
                state: State::OnCpu,
                idle: false,
                count: 1,
                on_cpu_ns: ns.parse().expect("a number"),
                run_queue_ns: 0,
                throttled_ns: 0,
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
        assert_eq!(identities(&[at(1), at(2), at(1)].map(Arc::new)), [0, 1, 0]);
        let module = |module: &str| Frame { module: Some(module.into()), offset: Some(7), ..Frame::note("run") };
        assert_eq!(
            identities(&[module("a"), module("b"), Frame { offset: Some(8), ..module("a") }].map(Arc::new)),
            [0, 1, 0]
        );
    }
}
