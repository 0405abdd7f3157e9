//! Who runs what code: from what the kernel tells of mappings, or a reading of /proc, to the unwinder.

use std::time::Duration;

use profiler_common::wire::Exec;

use super::follow::Since;
use super::news::News;
use super::pipeline::Pipeline;
use crate::capture::kernel::KernelError;
use crate::capture::mappings::MappingEvent;
use crate::model::MonoNs;
use crate::process;

/// How long the start waits for the unwind tables of what runs already. What is not there by then is
/// walked by frame pointers until it is.
const MOST_PREPARE: Duration = Duration::from_secs(5);

impl Pipeline {
    /// Makes the unwind tables of what runs already, so that the first stacks are whole.
    pub(super) fn prepare_tables(&mut self) {
        let filter = &self.plan.filter;
        let mut pids = filter.pids.clone();
        if filter.all || !self.plan.cgroups.is_empty() {
            pids = process::all();
        } else if !filter.comms.is_empty() {
            // The kernel keeps the first 15 bytes of a name.
            let cut = |name: &str| name.as_bytes().iter().take(15).copied().collect::<Vec<u8>>();
            let is_named = |comm: String| filter.comms.iter().any(|name| cut(name) == comm.as_bytes());
            pids.extend(process::all().into_iter().filter(|pid| process::comm(*pid).is_some_and(is_named)));
        }
        for pid in pids {
            for module in self.processes.modules(pid) {
                self.unwinder.prepare(&module);
            }
        }
        let start = std::time::Instant::now();
        while self.unwinder.building() > 0 && start.elapsed() < MOST_PREPARE {
            self.unwinder.load(&mut self.kernel.tables);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Listens to what the kernel tells of mappings, and notes it. What is to be done about it later is returned.
    pub(super) fn hear_mappings(&mut self) -> Vec<MappingEvent> {
        let (mut events, news) = (Vec::new(), &mut self.news);
        let mut is_whole = self.mappings.drain(|event| events.push(event));
        for event in &events {
            is_whole &= match *event {
                MappingEvent::Mapped(mapped) => news.mapped(mapped),
                MappingEvent::Exec { pid, at } => news.exec(pid, at),
                MappingEvent::Ended { pid, tid } => {
                    if pid == tid {
                        self.leaving.insert(pid);
                    }
                    true
                }
            };
        }
        if !is_whole {
            self.missed_mappings();
        }
        events
    }

    /// Something may not have been told: what was is of no use alone.
    pub(super) fn missed_mappings(&mut self) {
        self.news = News::default();
        self.followers.missed();
    }

    /// Marks for a look whom these events are of. To be called when it is known who is followed.
    pub(super) fn follow(&mut self, events: &[MappingEvent]) {
        let now = MonoNs::now();
        for event in events {
            match *event {
                // What came with an exec is known by now.
                MappingEvent::Mapped(mapped) if self.news.is_there(mapped.pid) => {
                    self.followers.mapped(mapped.pid, Since::Told);
                }
                MappingEvent::Ended { pid, tid } => {
                    if pid == tid && !self.followers.has(pid) {
                        self.news.forget(pid);
                    }
                    self.followers.ended(pid, tid, now);
                }
                MappingEvent::Mapped(_) | MappingEvent::Exec { .. } => {}
            }
        }
    }

    /// A process that was not seen before, or not since its last exec.
    pub(super) fn see(&mut self, pid: u32, generation: u32) {
        if self.known.insert((pid, generation)) {
            // Reading tells more, and its exec, if there was one, told nothing.
            self.news.forget(pid);
            if self.processes.observe(pid, generation) {
                self.follow_program(pid, generation);
            }
        }
    }

    /// A process began another program.
    pub(super) fn begin(&mut self, exec: &Exec) {
        let (pid, generation) = (exec.pid, exec.generation);
        let told = self.news.of_program(pid, MonoNs(exec.header.at_ns)).unwrap_or_default();
        if self.known.insert((pid, generation))
            && (self.processes.told(pid, generation, &told, false) || self.processes.observe(pid, generation))
        {
            self.follow_program(pid, generation);
        }
    }

    /// Goes on with a program whose mappings are known.
    fn follow_program(&mut self, pid: u32, generation: u32) {
        self.followers.follow(pid, generation, MonoNs::now());
        // What is over already needs no tables.
        if !(self.leaving.contains(&pid) && process::has_ended(pid)) {
            self.unwind(pid, generation);
        }
        if self.plan.windows {
            self.rotation.programs.see(pid, generation, &self.processes);
        }
    }

    /// Has a process' stacks unwound by the tables of what it has mapped now.
    pub(super) fn unwind(&mut self, pid: u32, generation: u32) {
        if let Some(version) = self.processes.version(pid, generation) {
            let mappings = self.processes.mappings(pid, generation);
            let epoch = self.processes.epoch(pid, generation);
            self.unwinder.follow(&mut self.kernel.tables, pid, generation, version, epoch, mappings);
            // If this fails stacks of the library before go on to be taken for the new one's.
            self.failed_rounds += u64::from(self.set_epoch().is_err());
        }
    }

    /// Stacks that are remembered from before the newest mapping, or the last time that some were forgotten, are walked again.
    pub(super) fn set_epoch(&mut self) -> Result<(), KernelError> {
        self.kernel.set_epoch(self.processes.newest_epoch().wrapping_add(self.rotation.forgettings))
    }

    /// Takes account of what was mapped, and lets go of those who ended.
    pub(super) fn look_at_mappings(&mut self) {
        self.drain_ring();
        for look in self.followers.due(MonoNs::now()) {
            if look.may_have_ended && process::has_ended(look.pid) {
                self.processes.ended(look.pid);
                self.followers.forget(look.pid);
                self.news.forget(look.pid);
                self.unwinder.forget(&mut self.kernel.tables, look.pid);
                continue;
            }
            let (pid, generation) = (look.pid, look.generation);
            let told = self.news.since(pid);
            let has_changed = match look.since {
                Since::Nothing => false,
                Since::Told if self.processes.told(pid, generation, &told, true) => true,
                Since::Told | Since::Anything => self.processes.refresh(pid, generation),
            };
            if has_changed {
                self.unwind(pid, generation);
            }
        }
        self.rotation.programs.look(&self.processes);
    }
}
