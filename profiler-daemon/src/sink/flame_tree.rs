//! Time by call path, root first: what folded stacks and the flame graph are drawn from.
//!
//! `process → thread → frames → [state]`, and the same below one root `[idle]` for idle waits: so a
//! process' own root holds its work alone, and threads that sleep all the time do not drown it.
//! Threads of one process that share a name share a path. On-CPU time is the self time of the
//! function that executed; all other time is the self time of a last frame that names its state.

use std::collections::HashMap;
use std::ops::Range;

use super::Clock;
use crate::model::text::printable;
use crate::model::{FrameKind, Sample, StackId, State, WaitClass, Window};

/// What kind of time a frame's self time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Time {
    OnCpu,
    /// Waiting for a CPU that a quota did not keep from the thread.
    RunQueue,
    Throttled,
    Blocked(WaitClass),
    Stolen,
    Unseen,
}

impl Time {
    /// The frame that holds such time; on-CPU time needs none.
    fn label(self) -> Option<&'static str> {
        match self {
            Time::OnCpu => None,
            Time::RunQueue => Some("run-queue"),
            Time::Throttled => Some("throttled"),
            Time::Blocked(class) => Some(class.name()),
            Time::Stolen => Some("stolen"),
            Time::Unseen => Some("unseen"),
        }
    }
}

/// What a frame of the tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    Process,
    Thread,
    /// A function of the program, or a note about a missing one.
    User,
    Kernel,
    /// The last frame of time that was not on a CPU.
    State(Time),
    /// The root of all idle waits.
    Idle,
}

/// A name as the tree shows it: printable, never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Label {
    pub(super) name: String,
    pub(super) role: Role,
}

#[derive(Debug)]
struct Node {
    label: u32,
    parent: u32,
    /// The first node after this one that is not above it.
    end: u32,
    self_ns: u64,
    total_ns: u64,
}

/// Time by call path, in the order of a walk: each node is followed by what it called, by name.
/// Node 0 is the root that holds everything and has no label of its own.
pub(super) struct FlameTree {
    labels: Vec<Label>,
    nodes: Vec<Node>,
}

impl FlameTree {
    pub(super) const ROOT: u32 = 0;

    /// The time that `clock` asks for. On the wall clock the root's total is the threads' wall time,
    /// but for rounding and waits that the kernel could not keep (both are in the report).
    pub(super) fn new(window: &Window, clock: Clock) -> FlameTree {
        let mut builder = Builder::new(window);
        for sample in &window.samples {
            for (time, ns) in parts(sample, clock) {
                builder.add(sample.thread, sample.idle, Some(sample.stack), time, ns);
            }
        }
        if clock == Clock::Wall {
            for (index, thread) in window.threads.iter().enumerate() {
                builder.add(index as u32, false, None, Time::Stolen, thread.ledger.stolen_ns);
                builder.add(index as u32, false, None, Time::Unseen, thread.ledger.unseen_ns);
            }
        }
        builder.finish()
    }

    /// All labels, by name.
    pub(super) fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Index into `labels`. Not of the root.
    pub(super) fn label_index(&self, node: u32) -> usize {
        self.nodes[node as usize].label as usize
    }

    pub(super) fn label(&self, node: u32) -> &Label {
        &self.labels[self.label_index(node)]
    }

    pub(super) fn self_ns(&self, node: u32) -> u64 {
        self.nodes[node as usize].self_ns
    }

    /// Self time and that of everything above.
    pub(super) fn total_ns(&self, node: u32) -> u64 {
        self.nodes[node as usize].total_ns
    }

    /// The caller of a node; the root's is itself. It has a smaller number.
    pub(super) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].parent
    }

    /// The frames called from this one, by name.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> {
        let end = self.nodes[node as usize].end;
        let inside = move |child: u32| (child < end).then_some(child);
        std::iter::successors(inside(node + 1), move |child| inside(self.nodes[*child as usize].end))
    }

    /// All nodes below the root, callers first.
    pub(super) fn nodes(&self) -> Range<u32> {
        1..self.nodes.len() as u32
    }
}

/// The kinds of time of one sample that a clock counts.
fn parts(sample: &Sample, clock: Clock) -> impl Iterator<Item = (Time, u64)> {
    let class = match sample.state {
        State::OnCpu => WaitClass::Other, // never read: on-CPU samples have no blocked time
        State::OffCpu(class) => class,
    };
    let on_cpu = [(Time::OnCpu, sample.on_cpu_ns)];
    let throttled_ns = sample.throttled_ns.min(sample.run_queue_ns);
    let off_cpu = [
        (Time::Blocked(class), sample.blocked_ns),
        (Time::RunQueue, sample.run_queue_ns - throttled_ns),
        (Time::Throttled, throttled_ns),
    ];
    let on_cpu = on_cpu.into_iter().filter(move |_| clock != Clock::OffCpu);
    on_cpu.chain(off_cpu.into_iter().filter(move |_| clock != Clock::Cpu))
}

struct Builder<'a> {
    window: &'a Window,
    labels: HashMap<Label, u32>,
    /// Labels of `window.stacks.frames`, as far as used.
    frames: Vec<Option<u32>>,
    /// Labels of process and thread of `window.threads`.
    threads: Vec<[u32; 2]>,
    states: HashMap<Time, u32>,
    /// All paths, one after the other.
    paths: Vec<u32>,
    /// A part of `paths`, and the self time of its last frame.
    times: Vec<(Range<usize>, u64)>,
}

impl<'a> Builder<'a> {
    fn new(window: &'a Window) -> Builder<'a> {
        let mut builder = Builder {
            window,
            labels: HashMap::new(),
            frames: vec![None; window.stacks.frames.len()],
            threads: Vec::with_capacity(window.threads.len()),
            states: HashMap::new(),
            paths: Vec::new(),
            times: Vec::with_capacity(window.samples.len()),
        };
        for thread in &window.threads {
            let process = window.processes.binary_search_by_key(&thread.pid, |process| process.pid);
            let comm = process.map_or("?", |index| &window.processes[index].comm);
            let process = builder.label(&format!("{} ({})", printable(comm), thread.pid), Role::Process);
            let thread = builder.label(&printable(&thread.comm), Role::Thread);
            builder.threads.push([process, thread]);
        }
        builder
    }

    fn add(&mut self, thread: u32, idle: bool, stack: Option<StackId>, time: Time, ns: u64) {
        let Some(&root) = self.threads.get(thread as usize).filter(|_| ns > 0) else { return };
        let start = self.paths.len();
        if idle {
            let label = self.label("[idle]", Role::Idle);
            self.paths.push(label);
        }
        self.paths.extend(root);
        let window = self.window;
        match stack.map(|stack| window.stacks.indices(stack)) {
            Some([]) => {
                let label = self.label("[no stack]", Role::User);
                self.paths.push(label);
            }
            Some(frames) => {
                for frame in frames.iter().rev() {
                    let label = self.frame(*frame);
                    self.paths.push(label);
                }
            }
            None => {}
        }
        if let Some(name) = time.label() {
            let label = match self.states.get(&time) {
                Some(label) => *label,
                None => self.label(&format!("[{name}]"), Role::State(time)),
            };
            self.states.insert(time, label);
            self.paths.push(label);
        }
        self.times.push((start..self.paths.len(), ns));
    }

    fn frame(&mut self, index: u32) -> u32 {
        if let Some(label) = self.frames[index as usize] {
            return label;
        }
        let frame = &self.window.stacks.frames[index as usize];
        let role = if frame.kind == FrameKind::Kernel { Role::Kernel } else { Role::User };
        let label = self.label(&printable(&frame.name()), role);
        self.frames[index as usize] = Some(label);
        label
    }

    fn label(&mut self, name: &str, role: Role) -> u32 {
        let name = if name.is_empty() { "[unnamed]" } else { name };
        let next = self.labels.len() as u32;
        *self.labels.entry(Label { name: name.to_owned(), role }).or_insert(next)
    }

    /// Sorts the paths; then each one branches off the one before, and no node has to be looked up.
    fn finish(mut self) -> FlameTree {
        let mut labels: Vec<(Label, u32)> = self.labels.into_iter().collect();
        labels.sort_unstable();
        let mut ranks = vec![0; labels.len()];
        labels.iter().enumerate().for_each(|(rank, (_, label))| ranks[*label as usize] = rank as u32);
        self.paths.iter_mut().for_each(|label| *label = ranks[*label as usize]);
        let paths = &self.paths;
        self.times.sort_unstable_by(|(a, _), (b, _)| paths[a.clone()].cmp(&paths[b.clone()]));

        let mut nodes = vec![Node { label: 0, parent: 0, end: 1, self_ns: 0, total_ns: 0 }];
        let mut open = vec![FlameTree::ROOT];
        for (path, ns) in self.times {
            let path = &paths[path];
            let is_open = |(node, label): &(&u32, &u32)| nodes[**node as usize].label == **label;
            let shared = open[1..].iter().zip(path).take_while(is_open).count();
            open.truncate(shared + 1);
            for &label in &path[shared..] {
                let node = nodes.len() as u32;
                nodes.push(Node { label, parent: open[open.len() - 1], end: node + 1, self_ns: 0, total_ns: 0 });
                open.push(node);
            }
            nodes[open[open.len() - 1] as usize].self_ns += ns;
        }
        // Backwards, every node is whole before it is added to its caller.
        for index in (0..nodes.len()).rev() {
            nodes[index].total_ns += nodes[index].self_ns;
            let Node { parent, end, total_ns, .. } = nodes[index];
            if index > 0 {
                let caller = &mut nodes[parent as usize];
                caller.total_ns += total_ns;
                caller.end = caller.end.max(end);
            }
        }
        FlameTree { labels: labels.into_iter().map(|(label, _)| label).collect(), nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Ledger;
    use crate::sink::sample_window;

    fn total(clock: Clock) -> u64 {
        FlameTree::new(&sample_window::window(), clock).total_ns(FlameTree::ROOT)
    }

    #[test]
    fn each_clock_shows_all_of_its_time() {
        let mut all = Ledger::default();
        sample_window::window().threads.iter().for_each(|thread| all.add(&thread.ledger));
        assert_eq!(total(Clock::Wall) as i64, all.wall_ns as i64 + all.residual_ns());
        assert_eq!(total(Clock::Cpu), all.on_cpu_ns);
        assert_eq!(total(Clock::OffCpu), all.run_queue_ns + all.blocked_ns);
    }

    #[test]
    fn what_a_quota_made_is_told_apart_at_its_place() {
        let [plain, throttled] =
            [sample_window::window(), sample_window::throttled()].map(|window| FlameTree::new(&window, Clock::Wall));
        let sum = |tree: &FlameTree, time| -> u64 {
            let nodes = tree.nodes().filter(|node| tree.label(*node).role == Role::State(time));
            nodes.map(|node| tree.self_ns(node)).sum()
        };
        let waited = sum(&plain, Time::RunQueue);
        assert_eq!(sum(&plain, Time::Throttled), 0);
        assert_eq!(sum(&throttled, Time::RunQueue) + sum(&throttled, Time::Throttled), waited);
        let of_threads =
            sample_window::throttled().threads.iter().map(|thread| thread.ledger.throttled_ns).sum::<u64>();
        assert_eq!(sum(&throttled, Time::Throttled), of_threads);
        assert!(of_threads > 0);
        assert_eq!(throttled.total_ns(FlameTree::ROOT), plain.total_ns(FlameTree::ROOT));
    }

    #[test]
    fn a_window_without_samples_is_an_empty_tree() {
        let tree = FlameTree::new(&Window::default(), Clock::Wall);
        assert_eq!((tree.nodes().len(), tree.total_ns(FlameTree::ROOT)), (0, 0));
        assert_eq!(tree.children(FlameTree::ROOT).count(), 0);
    }
    #[test]
    fn children_partition_the_time_of_their_caller() {
        let tree = FlameTree::new(&sample_window::window(), Clock::Wall);
        for node in tree.nodes().chain([FlameTree::ROOT]) {
            let above: u64 = tree.children(node).map(|child| tree.total_ns(child)).sum();
            assert_eq!(tree.total_ns(node), tree.self_ns(node) + above);
            assert!(tree.children(node).all(|child| tree.parent(child) == node));
        }
    }

    #[test]
    fn a_sample_without_a_stack_keeps_its_time() {
        let mut window = sample_window::named("main");
        window.stacks.stacks[0] = [].into();
        let tree = FlameTree::new(&window, Clock::Wall);
        let names: Vec<_> = tree.nodes().map(|node| (tree.label(node).name.as_str(), tree.self_ns(node))).collect();
        assert_eq!(names, [("main (1)", 0), ("main", 0), ("[no stack]", 1000)]);
    }
}
