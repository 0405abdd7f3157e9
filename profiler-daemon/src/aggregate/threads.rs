//! The window's threads and processes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::mix::IdMap;
use super::visit::Visit;
use crate::model::{Process, Thread, ThreadTime, Waker};

/// The threads by pid and tid, with a way to find them.
///
/// Samples and waits name a thread by pid and tid alone. So threads that bore the same ones after
/// each other (a tid used again, or an exec that passed the leader's tid on) are one row here.
#[derive(Debug, Default)]
pub(super) struct Threads {
    list: Vec<Thread>,
    index: IdMap<(u32, u32), u32>,
    /// Names of others, by pid and tid.
    strangers: HashMap<(u32, u32), Arc<str>>,
}

impl Threads {
    pub(super) fn new(times: &[ThreadTime], strangers: HashMap<(u32, u32), Arc<str>>) -> Threads {
        let mut rows: BTreeMap<(u32, u32), Thread> = BTreeMap::new();
        let mut in_time: Vec<&ThreadTime> = times.iter().collect();
        in_time.sort_by_key(|time| time.start_ns);
        for time in in_time {
            let row = rows.entry((time.pid, time.tid)).or_insert_with(|| Thread {
                pid: time.pid,
                tid: time.tid,
                start_ns: time.start_ns,
                ..Thread::default()
            });
            row.comm = time.comm.clone();
            row.ledger.add(&time.ledger);
            row.blocks += time.blocks;
            row.preemptions += time.preemptions;
            row.ended = time.ended;
        }
        let index = rows.keys().zip(0..).map(|(key, index)| (*key, index)).collect();
        Threads { list: rows.into_values().collect(), index, strangers }
    }

    /// The threads in the order of their index.
    pub(super) fn list(&self) -> &[Thread] {
        &self.list
    }

    pub(super) fn into_list(self) -> Vec<Thread> {
        self.list
    }

    /// Index of a thread.
    pub(super) fn find(&self, pid: u32, tid: u32) -> Option<u32> {
        self.index.get(&(pid, tid)).copied()
    }

    /// The thread as somebody's waker, by name if it is known.
    pub(super) fn waker(&self, pid: u32, tid: u32) -> Waker {
        let ours = self.find(pid, tid).map(|index| &self.list[index as usize].comm);
        let comm = ours.or_else(|| self.strangers.get(&(pid, tid))).cloned();
        Waker { pid, tid, comm, interrupt: false }
    }

    /// Notes the idle time of each thread: never more than it was blocked at all.
    pub(super) fn set_idle(&mut self, visits: &[Visit<'_>]) {
        for visit in visits.iter().filter(|visit| visit.idle) {
            self.list[visit.thread as usize].idle_ns += visit.blocked_ns;
        }
        for thread in &mut self.list {
            thread.idle_ns = thread.idle_ns.min(thread.ledger.blocked_ns);
        }
    }

    /// The processes by pid, named like their leader, or like their first thread without one.
    pub(super) fn processes(&self) -> Vec<Process> {
        let mut processes: Vec<Process> = Vec::new();
        for threads in self.list.chunk_by(|a, b| a.pid == b.pid) {
            let leader = threads.iter().find(|thread| thread.tid == thread.pid).unwrap_or(&threads[0]);
            let mut process =
                Process { pid: leader.pid, comm: leader.comm.clone(), threads: threads.len(), ..Process::default() };
            threads.iter().for_each(|thread| process.ledger.add(&thread.ledger));
            processes.push(process);
        }
        processes
    }
}
