//! The window's threads and processes.

use std::collections::HashMap;
use std::sync::Arc;

use super::FastMap;
use super::visit::Visit;
use crate::model::{Process, Thread, ThreadTime, Waker};

/// The threads by pid, tid and start, with a way to find them.
///
/// Samples and waits name a thread by pid, tid and generation. So threads of two processes that bore
/// the same pid after each other are two rows, and those of one program that bore the same tid are one.
/// An exec that passes the leader's tid on goes on in its row.
#[derive(Debug, Default)]
pub(super) struct Threads {
    list: Vec<Thread>,
    /// Last generation and index of each that bore the pid and tid, in time order.
    index: FastMap<(u32, u32), Vec<(u32, u32)>>,
    /// Names of others, by pid and tid.
    strangers: HashMap<(u32, u32), Arc<str>>,
}

impl Threads {
    pub(super) fn new(times: &[ThreadTime], strangers: HashMap<(u32, u32), Arc<str>>) -> Threads {
        let mut in_time: Vec<&ThreadTime> = times.iter().collect();
        in_time.sort_by_key(|time| (time.pid, time.tid, time.start_ns));
        let mut list: Vec<Thread> = Vec::new();
        let mut index = FastMap::default();
        for same_ids in in_time.chunk_by(|a, b| (a.pid, a.tid) == (b.pid, b.tid)) {
            let mut rows: Vec<(&ThreadTime, u32)> = Vec::new();
            for time in same_ids {
                let same = |other: &ThreadTime| other.generation == time.generation || other.born_ns == time.born_ns;
                let row = rows.iter().find(|(other, _)| same(other)).map_or(list.len(), |(_, row)| *row as usize);
                if row == list.len() {
                    let (pid, tid, start_ns) = (time.pid, time.tid, time.start_ns);
                    list.push(Thread { pid, tid, start_ns, ..Thread::default() });
                }
                add(&mut list[row], time);
                rows.push((time, row as u32));
            }
            let generations = rows.iter().map(|(time, row)| (time.generation, *row)).collect();
            index.insert((same_ids[0].pid, same_ids[0].tid), generations);
        }
        Threads { list, index, strangers }
    }

    /// The threads in the order of their index.
    pub(super) fn list(&self) -> &[Thread] {
        &self.list
    }

    pub(super) fn into_list(self) -> Vec<Thread> {
        self.list
    }

    /// Index of the thread that bore these ids at this generation: the one that took the fewest execs
    /// more until it ended. Generations start at a birth, so another process' is far off; they may wrap.
    pub(super) fn find(&self, pid: u32, tid: u32, generation: u32) -> Option<u32> {
        let bearers = self.index.get(&(pid, tid))?;
        bearers.iter().min_by_key(|(last, _)| last.wrapping_sub(generation)).map(|(_, row)| *row)
    }

    /// The thread as somebody's waker, by name if it is known; of several that bore the ids the last.
    pub(super) fn waker(&self, pid: u32, tid: u32) -> Waker {
        let last = self.index.get(&(pid, tid)).and_then(|bearers| bearers.last());
        let ours = last.map(|(_, row)| &self.list[*row as usize].comm);
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

    /// The processes by pid, named like their leader, or like their first thread without one. Of several
    /// that bore one pid the sum, named like the last.
    pub(super) fn processes(&self) -> Vec<Process> {
        let mut processes: Vec<Process> = Vec::new();
        for threads in self.list.chunk_by(|a, b| a.pid == b.pid) {
            let leader = threads.iter().rfind(|thread| thread.tid == thread.pid).unwrap_or(&threads[0]);
            let mut process =
                Process { pid: leader.pid, comm: leader.comm.clone(), threads: threads.len(), ..Process::default() };
            threads.iter().for_each(|thread| process.ledger.add(&thread.ledger));
            processes.push(process);
        }
        processes
    }
}

fn add(row: &mut Thread, time: &ThreadTime) {
    row.comm = time.comm.clone();
    row.ledger.add(&time.ledger);
    row.blocks += time.blocks;
    row.preemptions += time.preemptions;
    row.ended = time.ended;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads of process 7 as (tid, born, last generation, start, name).
    fn threads(drawn: &[(u32, u64, u32, u64, &str)]) -> Threads {
        let time = |(tid, born_ns, generation, start_ns, comm): &(u32, u64, u32, u64, &str)| ThreadTime {
            pid: 7,
            tid: *tid,
            born_ns: *born_ns,
            generation: *generation,
            start_ns: *start_ns,
            comm: (*comm).into(),
            blocks: 1,
            ..ThreadTime::default()
        };
        Threads::new(&drawn.iter().map(time).collect::<Vec<_>>(), HashMap::new())
    }

    fn found(threads: &Threads, tid: u32, generation: u32) -> Option<&str> {
        threads.find(7, tid, generation).map(|row| &*threads.list()[row as usize].comm)
    }

    #[test]
    fn two_programs_on_one_pid_keep_their_rows() {
        // Each was born in its own generation and called exec once or twice.
        let threads = threads(&[(7, 5_000, 5_001, 40, "second"), (7, 1_000, 1_002, 0, "first")]);
        let rows: Vec<_> = threads.list().iter().map(|row| (&*row.comm, row.blocks)).collect();
        assert_eq!(rows, [("first", 1), ("second", 1)], "in the order of time");
        for (generation, name) in [(1_000, "first"), (1_001, "first"), (1_002, "first"), (5_000, "second")] {
            assert_eq!(found(&threads, 7, generation), Some(name), "{generation}");
        }
        assert_eq!(found(&threads, 8, 1_000), None);
        assert_eq!(threads.waker(7, 7).comm.as_deref(), Some("second"));
        let processes = threads.processes();
        assert_eq!((processes.len(), &*processes[0].comm, processes[0].threads), (1, "second", 2));
    }

    #[test]
    fn generations_that_wrap_are_still_told_apart() {
        let threads = threads(&[(7, 1, u32::MAX - 10, 0, "first"), (7, 2, 1, 40, "second")]);
        assert_eq!(found(&threads, 7, u32::MAX - 11), Some("first"));
        assert_eq!(found(&threads, 7, u32::MAX), Some("second"));
    }

    #[test]
    fn what_one_program_used_again_or_passed_on_is_one_row() {
        let again = threads(&[(8, 10, 3, 0, "a"), (8, 20, 3, 40, "b")]);
        assert_eq!((again.list().len(), again.list()[0].blocks, found(&again, 8, 3)), (1, 2, Some("b")));
        let passed_on = threads(&[(7, 10, 3, 0, "before"), (7, 10, 4, 40, "after")]);
        assert_eq!((passed_on.list().len(), passed_on.list()[0].blocks), (1, 2));
        assert_eq!((found(&passed_on, 7, 3), found(&passed_on, 7, 4)), (Some("after"), Some("after")));
    }
}
