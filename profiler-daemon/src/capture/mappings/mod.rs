//! Which processes map code or begin another program, and which threads end: told by the kernel when it happens.
//!
//! A `perf_event` of the dummy kind a CPU counts nothing and writes a record at each executable mapping:
//! of a file (exec, `dlopen`), of anonymous memory, and by `mprotect`. Three things write none.
//! `munmap`: what it leaves behind in our tables is harmless until something else is mapped there, which
//! is an event. `fork`: the child has what its parent has. `mremap`: code that is moved, which hardly any
//! program does, is found at its process' next event. tests/kernel_mappings.rs shows each of them.
//!
//! Source: `perf_event_open(2)`; `perf_event_mmap` and its callers, Linux 6.18.

mod record;
mod ring;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

pub use record::MappingEvent;
use record::{Record, records};
use ring::Ring;

use crate::model::MonoNs;

/// Bytes of one CPU's ring: some 500 mappings with their paths, or 1,500 ends of threads.
pub const RING_BYTES: usize = 64 << 10;

/// Why the kernel's events of mappings cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MappingsError {
    /// Which CPUs there are could not be read.
    #[error("cannot read which CPUs are on line")]
    Cpus(#[source] io::Error),
    /// The event of a CPU was refused.
    #[error("cannot follow the mappings of processes on CPU {cpu}")]
    Open {
        /// Which.
        cpu: u32,
        /// Why.
        source: io::Error,
    },
    /// The descriptor that stands for all rings could not be made.
    #[error("cannot wait for the mappings of processes")]
    Wait(#[source] io::Error),
}

impl MappingsError {
    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        super::preflight::way_out()
    }
}

/// The CPUs that are on line, in ascending order.
///
/// # Errors
/// When `/sys` cannot be read.
pub fn online_cpus() -> Result<Vec<u32>, MappingsError> {
    aya::util::online_cpus().map_err(|(_, error)| MappingsError::Cpus(error))
}

/// The events of all CPUs that are followed.
#[derive(Debug)]
pub struct MappingEvents {
    ring_bytes: usize,
    rings: BTreeMap<u32, Ring>,
    /// Readable when any ring is half full.
    any: Epoll,
    /// One ring's records while they are read.
    bytes: Vec<u8>,
    /// The events of all rings, to be put in order.
    events: Vec<(MonoNs, MappingEvent)>,
    lost: u64,
}

impl MappingEvents {
    /// Follows what happens on these CPUs from now on. `ring_bytes` is a power of two of at least a page:
    /// [`RING_BYTES`] but for tests.
    ///
    /// # Errors
    /// When a CPU is off line, or when the kernel lets us not watch other processes.
    pub fn open(cpus: &[u32], ring_bytes: usize) -> Result<MappingEvents, MappingsError> {
        let any = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|error| MappingsError::Wait(error.into()))?;
        let mut events =
            MappingEvents { ring_bytes, rings: BTreeMap::new(), any, bytes: Vec::new(), events: Vec::new(), lost: 0 };
        events.follow(cpus)?;
        Ok(events)
    }

    /// Follows these CPUs and no others: to be called with those on line, as CPUs come and go. The event of
    /// a CPU that goes off line is dead, also when the CPU comes back: the ring has to be made anew, so
    /// one that was away between two calls is not followed. Returns whether a CPU was added, on which
    /// mappings may have been missed until now.
    ///
    /// # Errors
    /// As [`MappingEvents::open`]; the other CPUs are followed nevertheless.
    pub fn follow(&mut self, cpus: &[u32]) -> Result<bool, MappingsError> {
        self.rings.retain(|cpu, _| cpus.contains(cpu));
        let (mut added, mut refused) = (false, Ok(()));
        for cpu in cpus.iter().copied() {
            if self.rings.contains_key(&cpu) {
                continue;
            }
            match self.add(cpu) {
                Ok(()) => added = true,
                Err(error) => refused = Err(error),
            }
        }
        refused.map(|()| added)
    }

    fn add(&mut self, cpu: u32) -> Result<(), MappingsError> {
        let ring = Ring::open(cpu, self.ring_bytes).map_err(|source| MappingsError::Open { cpu, source })?;
        // A ring that is dropped leaves the set with its descriptor.
        let event = EpollEvent::new(EpollFlags::EPOLLIN, cpu.into());
        self.any.add(ring.as_fd(), event).map_err(|error| MappingsError::Wait(error.into()))?;
        self.rings.insert(cpu, ring);
        Ok(())
    }

    /// Hands over what happened since the last call, in its order: what a process does on one CPU never comes before what
    /// it did on another one. Returns false if anything may be missing: then every process may have changed.
    #[must_use]
    pub fn drain(&mut self, take: impl FnMut(MappingEvent)) -> bool {
        let mut is_whole = true;
        // What is written while we read may follow from something that we missed: it waits for the next call.
        let until = MonoNs::now();
        for ring in self.rings.values_mut() {
            is_whole &= ring.read(&mut self.bytes);
            for record in records(&self.bytes) {
                match record {
                    Record::Event(at, event) => self.events.push((at, event)),
                    Record::Lost(count) => {
                        self.lost = self.lost.saturating_add(count);
                        is_whole = false;
                    }
                    Record::Other => {}
                }
            }
        }
        self.events.sort_by_key(|(at, _)| *at);
        let due = self.events.partition_point(|(at, _)| *at <= until);
        self.events.drain(..due).map(|(_, event)| event).for_each(take);
        is_whole
    }

    /// Records that the kernel could not write since a ring was full, as far as it has said so: it does
    /// with the next record of that CPU that fits. A record that makes no sense counts, too.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Becomes readable when a ring gets half full: far sooner than that, [`MappingEvents::drain`] is to be
    /// called by the clock. Each half that is filled is told once, whoever asks.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.any.0.as_fd()
    }
}
