//! The JSON report as the tests read it. A key that is missing fails the test.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

/// Nanoseconds of a millisecond.
pub(crate) const MS: u64 = 1_000_000;

#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) window: Window,
    pub(crate) processes: Vec<Process>,
    pub(crate) threads: Vec<Thread>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) on_cpu: Vec<OnCpu>,
    pub(crate) waits: Vec<Wait>,
    pub(crate) stack_quality: Quality,
    pub(crate) losses: BTreeMap<String, u64>,
    pub(crate) overhead: Overhead,
    /// The file as it was written.
    #[serde(skip)]
    pub(crate) text: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Window {
    pub(crate) duration_ns: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    pub(crate) threads: usize,
    pub(crate) ledger: Ledger,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Thread {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) comm: String,
    pub(crate) ledger: Ledger,
    pub(crate) ended: bool,
    pub(crate) blocks: u64,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Ledger {
    pub(crate) wall_ns: u64,
    pub(crate) on_cpu_ns: u64,
    pub(crate) user_ns: u64,
    pub(crate) kernel_ns: u64,
    pub(crate) stolen_ns: u64,
    pub(crate) run_queue_ns: u64,
    pub(crate) preempted_ns: u64,
    pub(crate) throttled_ns: u64,
    pub(crate) blocked_ns: u64,
    pub(crate) off_cpu_by_class: BTreeMap<String, u64>,
    pub(crate) unseen_ns: u64,
    pub(crate) residual_ns: i64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Gap {
    pub(crate) pid: u32,
    pub(crate) class: String,
    pub(crate) idle: bool,
    pub(crate) count: u64,
    pub(crate) total_ns: u64,
    pub(crate) stack: Vec<Frame>,
    pub(crate) kernel_function: Option<String>,
    pub(crate) tids: Vec<u32>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Frame {
    #[serde(default)]
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) module: String,
    #[serde(default)]
    pub(crate) file: String,
    pub(crate) kind: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct OnCpu {
    pub(crate) function: String,
    pub(crate) self_ns: u64,
    pub(crate) total_ns: u64,
    pub(crate) module: Option<String>,
    pub(crate) kind: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wait {
    pub(crate) tid: u32,
    pub(crate) class: String,
    pub(crate) duration_ns: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Quality {
    pub(crate) on_cpu: BTreeMap<String, Walks>,
    pub(crate) off_cpu: BTreeMap<String, Walks>,
    pub(crate) sampled_off_cpu_ns: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Walks {
    pub(crate) samples: u64,
    pub(crate) ns: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Overhead {
    pub(crate) kernel_programs_ns: Option<u64>,
    pub(crate) kernel_program_runs: Option<u64>,
    pub(crate) daemon_ns: u64,
    pub(crate) finish_ns: u64,
    pub(crate) peak_rss_bytes: u64,
    pub(crate) kernel_memory_bytes: u64,
    pub(crate) unwind_tables_bytes: u64,
    pub(crate) unwind_tables_files: u64,
    pub(crate) user_stack_memo: Memo,
    pub(crate) kernel_stack_memo: Memo,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Memo {
    pub(crate) recognised: u64,
    pub(crate) walked: u64,
    pub(crate) not_walked: u64,
}

impl Ledger {
    fn parts_ns(&self) -> u64 {
        self.on_cpu_ns + self.stolen_ns + self.run_queue_ns + self.blocked_ns + self.unseen_ns
    }

    /// Time of waits of this class.
    pub(crate) fn class(&self, name: &str) -> u64 {
        *self.off_cpu_by_class.get(name).unwrap_or_else(|| panic!("no class {name}"))
    }

    fn assert_closes(&self, whose: &str) {
        let residual = self.parts_ns() as i64 - self.wall_ns as i64;
        assert_eq!(self.residual_ns, residual, "{whose}: the residual is not the one of the parts: {self:?}");
        assert!(residual.unsigned_abs() * 1000 <= self.wall_ns, "{whose}: parts - wall = {residual} ns: {self:?}");
        assert_eq!(self.user_ns + self.kernel_ns, self.on_cpu_ns, "{whose}: user and kernel: {self:?}");
        assert!(self.throttled_ns <= self.run_queue_ns, "{whose}: throttled: {self:?}");
        let classes: u64 = self.off_cpu_by_class.values().sum();
        let off_cpu = self.run_queue_ns + self.blocked_ns;
        assert_eq!(classes + self.preempted_ns, off_cpu, "{whose}: classes and preempted: {self:?}");
    }

    fn add(&mut self, other: &Ledger) {
        self.wall_ns += other.wall_ns;
        self.on_cpu_ns += other.on_cpu_ns;
        self.user_ns += other.user_ns;
        self.kernel_ns += other.kernel_ns;
        self.stolen_ns += other.stolen_ns;
        self.run_queue_ns += other.run_queue_ns;
        self.preempted_ns += other.preempted_ns;
        self.throttled_ns += other.throttled_ns;
        self.blocked_ns += other.blocked_ns;
        self.unseen_ns += other.unseen_ns;
        self.residual_ns += other.residual_ns;
        for (class, ns) in &other.off_cpu_by_class {
            *self.off_cpu_by_class.entry(class.clone()).or_default() += ns;
        }
    }
}

impl Report {
    pub(crate) fn read(path: &Path) -> Report {
        let text = fs::read_to_string(path).unwrap();
        let report: Report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
        Report { text, ..report }
    }

    /// Of every thread the parts sum to its wall time, which lies in the window; of every process
    /// the ledger is the sum of its threads'.
    pub(crate) fn assert_closes(&self) {
        for thread in &self.threads {
            let whose = format!("{} ({}/{})", thread.comm, thread.pid, thread.tid);
            thread.ledger.assert_closes(&whose);
            // A thread may be born while the hooks are being attached, right before the window opens.
            assert!(thread.ledger.wall_ns <= self.window.duration_ns + 10 * MS, "{whose} is longer than the window");
        }
        for process in &self.processes {
            let threads: Vec<_> = self.threads.iter().filter(|thread| thread.pid == process.pid).collect();
            assert_eq!(threads.len(), process.threads, "{}", process.comm);
            assert_eq!(sum(threads), process.ledger, "{}", process.comm);
        }
    }

    /// The sum over all threads.
    pub(crate) fn total(&self) -> Ledger {
        sum(&self.threads)
    }

    /// The largest residual of a thread, in parts of a thousand of its wall time.
    pub(crate) fn worst_residual(&self) -> f64 {
        let share = |it: &Thread| it.ledger.residual_ns.unsigned_abs() as f64 * 1e3 / it.ledger.wall_ns.max(1) as f64;
        self.threads.iter().map(share).fold(0.0, f64::max)
    }

    pub(crate) fn thread(&self, tid: u64) -> &Thread {
        self.threads.iter().find(|thread| u64::from(thread.tid) == tid).unwrap_or_else(|| panic!("no thread {tid}"))
    }

    /// The only thread of this name.
    pub(crate) fn thread_named(&self, comm: &str) -> &Thread {
        let mut threads = self.threads_named(comm);
        let thread = threads.next().unwrap_or_else(|| panic!("no thread {comm} in {:?}", self.names()));
        assert!(threads.next().is_none(), "two threads {comm}");
        thread
    }

    pub(crate) fn threads_named(&self, comm: &str) -> impl Iterator<Item = &Thread> {
        self.threads.iter().filter(move |thread| thread.comm == comm)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.threads.iter().map(|thread| thread.comm.as_str()).collect()
    }

    /// The longest gap in which this thread waited.
    pub(crate) fn gap_of(&self, tid: u32) -> &Gap {
        self.gaps.iter().find(|gap| gap.tids.contains(&tid)).unwrap_or_else(|| panic!("thread {tid} has no gap"))
    }

    /// Self and total time on CPU of the function of this name, 0 if it is not there.
    pub(crate) fn on_cpu_of(&self, function: &str) -> (u64, u64) {
        self.on_cpu.iter().find(|it| it.function == function).map_or((0, 0), |it| (it.self_ns, it.total_ns))
    }

    pub(crate) fn loss(&self, cause: &str) -> u64 {
        *self.losses.get(cause).unwrap_or_else(|| panic!("{cause} is not watched"))
    }
}

impl Gap {
    pub(crate) fn has(&self, function: &str) -> bool {
        self.stack.iter().any(|frame| frame.function == function)
    }
}

fn sum<'a>(threads: impl IntoIterator<Item = &'a Thread>) -> Ledger {
    let mut sum = Ledger::default();
    for thread in threads {
        sum.add(&thread.ledger);
    }
    sum
}
