//! What the programs of a window are known by. Read when a program is first seen: it may be gone when its window ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{Program, ThreadTime};
use crate::process::{Backing, Labels, Processes};

/// Most programs that are known at a time.
const MOST: usize = 65_536;

/// The programs of each process, by generation.
#[derive(Debug, Default)]
pub(super) struct Programs {
    labels: Labels,
    known: HashMap<u32, BTreeMap<u32, Program>>,
}

impl Programs {
    /// Reads what a program is known by, whose mappings have just been read.
    pub(super) fn see(&mut self, pid: u32, generation: u32, processes: &Processes) {
        if self.known.len() >= MOST {
            return;
        }
        if let Some(mut program) = self.labels.read(pid, generation) {
            let executable = program.executable.as_deref();
            program.build_id = processes.mappings(pid, generation).iter().find_map(|mapping| match &mapping.backing {
                Backing::File(module) if Some(&*module.path) == executable => module.build_id.clone(),
                _ => None,
            });
            self.known.entry(pid).or_default().insert(generation, program);
        }
    }

    /// A child is what its parent is, until its exec.
    pub(super) fn born(&mut self, parent: u32, child: u32, generation: u32) {
        let newest = self.known.get(&parent).and_then(|programs| programs.values().next_back());
        if let Some(program) = newest
            && self.known.len() < MOST
        {
            let born = crate::model::MonoNs::now().to_unix();
            let program = Program { pid: child, generation, parent, born, ..program.clone() };
            self.known.entry(child).or_default().insert(generation, program);
        }
    }

    /// The programs of these threads. One that nobody saw in time is known by its name only.
    pub(super) fn of(&mut self, threads: &[ThreadTime]) -> Vec<Program> {
        let wanted: BTreeSet<(u32, u32)> = threads.iter().map(|thread| (thread.pid, thread.generation)).collect();
        for thread in threads.iter().filter(|thread| thread.tid == thread.pid) {
            if let Some(program) =
                self.known.get_mut(&thread.pid).and_then(|programs| programs.get_mut(&thread.generation))
                && program.comm != thread.comm
            {
                program.comm = thread.comm.clone();
            }
        }
        let name = |pid: u32| threads.iter().find(|thread| thread.pid == pid).map(|thread| thread.comm.clone());
        let by_name = |pid, generation| {
            let comm = name(pid).unwrap_or_default();
            Program { pid, generation, service: comm.clone(), comm, ..Program::default() }
        };
        let known = |(pid, generation)| {
            let program = self.known.get(&pid).and_then(|programs| programs.get(&generation));
            program.cloned().unwrap_or_else(|| by_name(pid, generation))
        };
        wanted.into_iter().map(known).collect()
    }

    /// Processes are gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&u32) -> bool) {
        self.known.retain(|pid, _| !is_gone(pid));
        for programs in self.known.values_mut() {
            while programs.len() > 1 {
                programs.pop_first();
            }
        }
    }
}
