//! What the programs of a window are known by. Found out when a program is first seen: it may be gone when its window ends.

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
    /// Programs of which nobody was asked since their exec.
    begun: Vec<(u32, u32)>,
    /// Programs that are known by what they were before their exec, since the last turn and since the one before it.
    fresh: [Vec<(u32, u32)>; 2],
}

impl Programs {
    /// Notes a program, whose mappings have just been read. Most programs that are begun live for milliseconds: to ask
    /// /proc about each costs more than all that they do. So what was another program is known by what it was; if it is still
    /// there at the next look its environment is asked what its service is, and a turn later the rest.
    pub(super) fn see(&mut self, pid: u32, generation: u32, processes: &Processes) {
        if self.known.len() >= MOST {
            return;
        }
        let before = self.known.get(&pid).and_then(|programs| programs.range(..generation).next_back());
        match before.map(|(_, before)| before.clone()) {
            Some(before) => {
                // Programs lie below their libraries.
                let module = processes.mappings(pid, generation).iter().find_map(|mapping| match &mapping.backing {
                    Backing::File(module) => Some(module),
                    Backing::Anonymous(_) => None,
                });
                let mut program = Labels::after_exec(&before, generation, module.map(|module| module.path.clone()));
                program.build_id = module.and_then(|module| module.build_id.clone());
                self.known.entry(pid).or_default().insert(generation, program);
                self.begun.push((pid, generation));
            }
            None => self.ask(pid, generation, processes),
        }
    }

    /// Asks the programs that have begun for their service: to be called when it is known which of them have ended.
    pub(super) fn look(&mut self, processes: &Processes) {
        for (pid, generation) in std::mem::take(&mut self.begun) {
            if is_there(processes, pid, generation)
                && let Some(program) = self.known.get_mut(&pid).and_then(|programs| programs.get_mut(&generation))
            {
                program.service = Labels::service(program).unwrap_or_else(|| program.service.clone());
                self.fresh[0].push((pid, generation));
            }
        }
    }

    /// Asks about programs that have been there for a turn.
    pub(super) fn turn(&mut self, processes: &Processes) {
        self.look(processes);
        for (pid, generation) in std::mem::take(&mut self.fresh[1]) {
            if is_there(processes, pid, generation) {
                self.ask(pid, generation, processes);
            }
        }
        self.fresh.swap(0, 1);
    }

    /// Asks /proc what a program is known by. One that is gone stays what it is.
    fn ask(&mut self, pid: u32, generation: u32, processes: &Processes) {
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

/// Whether a program runs still, as far as is known.
fn is_there(processes: &Processes, pid: u32, generation: u32) -> bool {
    processes.version(pid, generation).is_some()
}
