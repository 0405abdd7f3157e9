use std::collections::HashMap;

use crate::model::{Program, Recording};

/// The programs of a recording by process and generation, and those that it names without knowing them.
pub(super) struct Programs {
    index: HashMap<(u32, u32), usize>,
    /// By process, then generation.
    list: Vec<Program>,
}

impl Programs {
    pub(super) fn new(recording: &Recording) -> Programs {
        let mut list: Vec<Program> = recording.programs.clone();
        let mut index: HashMap<(u32, u32), usize> =
            list.iter().enumerate().map(|(at, program)| ((program.pid, program.generation), at)).collect();
        let capture = &recording.capture;
        // A leader's name is that of its program; it comes before names that only other threads have.
        let leaders = capture.threads.iter().filter(|thread| thread.tid == thread.pid);
        let others = capture.threads.iter().filter(|thread| thread.tid != thread.pid);
        let threads = leaders.map(|thread| (thread.pid, thread.generation, Some(&thread.comm)));
        let threads = threads.chain(others.map(|thread| (thread.pid, thread.generation, None)));
        let samples = capture.cpu_samples.iter().map(|sample| (sample.pid, sample.generation, None));
        let waits = capture.off_cpu.keys().map(|key| (key.pid, key.generation, None));
        for (pid, generation, comm) in threads.chain(samples).chain(waits) {
            index.entry((pid, generation)).or_insert_with(|| {
                let comm = comm.cloned().unwrap_or_default();
                list.push(Program { pid, generation, service: comm.clone(), comm, ..Program::default() });
                list.len() - 1
            });
        }
        list.sort_by_key(|program| (program.pid, program.generation));
        let index = list.iter().enumerate().map(|(at, program)| ((program.pid, program.generation), at)).collect();
        Programs { index, list }
    }

    /// Index of a program that the recording names.
    pub(super) fn find(&self, pid: u32, generation: u32) -> usize {
        self.index[&(pid, generation)]
    }

    pub(super) fn get(&self, index: usize) -> &Program {
        &self.list[index]
    }
}
