//! Time by call path, root first: what folded stacks and the flame graph are drawn from.
//!
//! `process → thread → frames → [state]`, and the same below one root `[idle]` for idle waits: so a
//! process' own root holds its work alone, and threads that sleep all the time do not drown it.
//! Threads of one process that share a name share a path. On-CPU time is the self time of the
//! function that executed; all other time is the self time of a last frame that names its state.

use std::collections::HashMap;

use super::Clock;
use crate::model::text::printable;
use crate::model::{Frame, FrameKind, Sample, StackId, State, WaitClass, Window};

/// What kind of time a frame's self time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Time {
    OnCpu,
    RunQueue,
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
    first_child: Option<u32>,
    next_sibling: Option<u32>,
    self_ns: u64,
    total_ns: u64,
}

/// Time by call path. Node 0 is the root that holds everything and has no label of its own.
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

    pub(super) fn label(&self, node: u32) -> &Label {
        &self.labels[self.nodes[node as usize].label as usize]
    }

    pub(super) fn self_ns(&self, node: u32) -> u64 {
        self.nodes[node as usize].self_ns
    }

    /// Self time and that of everything above.
    pub(super) fn total_ns(&self, node: u32) -> u64 {
        self.nodes[node as usize].total_ns
    }

    /// The frames called from this one, in no order.
    pub(super) fn children(&self, node: u32) -> impl Iterator<Item = u32> {
        std::iter::successors(self.nodes[node as usize].first_child, |child| self.nodes[*child as usize].next_sibling)
    }

    /// The number of nodes, with the root.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The caller of a node; the root's is itself.
    pub(super) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].parent
    }
}

/// The kinds of time of one sample that a clock counts.
fn parts(sample: &Sample, clock: Clock) -> impl Iterator<Item = (Time, u64)> {
    let class = match sample.state {
        State::OnCpu => WaitClass::Other, // never read: on-CPU samples have no blocked time
        State::OffCpu(class) => class,
    };
    let on_cpu = [(Time::OnCpu, sample.on_cpu_ns)];
    let off_cpu = [(Time::Blocked(class), sample.blocked_ns), (Time::RunQueue, sample.run_queue_ns)];
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
    children: HashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn new(window: &'a Window) -> Builder<'a> {
        let root = Node { label: 0, parent: 0, first_child: None, next_sibling: None, self_ns: 0, total_ns: 0 };
        let mut builder = Builder {
            window,
            labels: HashMap::new(),
            frames: vec![None; window.stacks.frames.len()],
            threads: Vec::with_capacity(window.threads.len()),
            children: HashMap::new(),
            nodes: vec![root],
        };
        builder.label("all", Role::User);
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
        let Some(&path) = self.threads.get(thread as usize).filter(|_| ns > 0) else { return };
        let mut node = FlameTree::ROOT;
        if idle {
            let label = self.label("[idle]", Role::Idle);
            node = self.child(node, label);
        }
        for label in path {
            node = self.child(node, label);
        }
        let window = self.window;
        for frame in stack.map_or(&[][..], |stack| window.stacks.indices(stack)).iter().rev() {
            let label = self.frame(*frame);
            node = self.child(node, label);
        }
        if let Some(state) = time.label() {
            let label = self.label(&format!("[{state}]"), Role::State(time));
            node = self.child(node, label);
        }
        self.nodes[node as usize].self_ns += ns;
    }

    fn frame(&mut self, index: u32) -> u32 {
        if let Some(label) = self.frames[index as usize] {
            return label;
        }
        let frame: &Frame = &self.window.stacks.frames[index as usize];
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

    fn child(&mut self, parent: u32, label: u32) -> u32 {
        let next = self.nodes.len() as u32;
        let child = *self.children.entry((parent, label)).or_insert(next);
        if child == next {
            let next_sibling = self.nodes[parent as usize].first_child.replace(next);
            self.nodes.push(Node { label, parent, first_child: None, next_sibling, self_ns: 0, total_ns: 0 });
        }
        child
    }

    fn finish(mut self) -> FlameTree {
        // A node is made after its parent, so backwards every total is whole before it is passed on.
        for node in (0..self.nodes.len()).rev() {
            self.nodes[node].total_ns += self.nodes[node].self_ns;
            if node > 0 {
                let (parent, total) = (self.nodes[node].parent, self.nodes[node].total_ns);
                self.nodes[parent as usize].total_ns += total;
            }
        }
        let mut labels: Vec<_> = self.labels.into_iter().collect();
        labels.sort_unstable_by_key(|(_, index)| *index);
        FlameTree { labels: labels.into_iter().map(|(label, _)| label).collect(), nodes: self.nodes }
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
    fn a_window_without_samples_is_an_empty_tree() {
        let tree = FlameTree::new(&Window::default(), Clock::Wall);
        assert_eq!((tree.len(), tree.total_ns(FlameTree::ROOT)), (1, 0));
    }
}
