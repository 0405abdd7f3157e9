//! Time by service and unit, and which of them get series of their own.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::text::printable;
use crate::model::{Ledger, Program, Recording};

/// Everything without a series of its own.
const OTHER: &str = "[other]";
/// The kernel's own threads: their names are those of work that comes and goes.
const KERNEL: &str = "[kernel]";
/// Process that is the parent of the kernel's threads.
const KTHREADD: u32 = 2;
/// Part of a service's weight that is left after a window: half of it after 69.
const KEPT: f64 = 0.99;
/// How much heavier a newcomer must be to take the place of another one.
const HEAVIER: f64 = 2.0;
/// Longest label in bytes.
const MOST_LABEL: usize = 120;

/// What tells services apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) service: Arc<str>,
    pub(super) unit: Arc<str>,
}

/// The time of one service in a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceTime {
    /// Its name, printable.
    pub service: Arc<str>,
    /// Its unit, printable; empty if it has none.
    pub unit: Arc<str>,
    /// Sum over its threads.
    pub ledger: Ledger,
}

/// Sums the exact time of a window by service and unit, in order of names. Threads of the kernel are
/// one service; a thread whose program is not known counts for one of its own name.
pub fn by_service(recording: &Recording) -> Vec<ServiceTime> {
    let mut programs: HashMap<u32, Vec<&Program>> = HashMap::new();
    for program in &recording.programs {
        programs.entry(program.pid).or_default().push(program);
    }
    let mut times: HashMap<Key, Ledger> = HashMap::new();
    for thread in &recording.capture.threads {
        let of_pid = programs.get(&thread.pid).map_or(&[][..], Vec::as_slice);
        // The generation that it had, else the one before: labels may have been read late.
        let before = of_pid.iter().filter(|program| program.generation <= thread.generation);
        let program = before.max_by_key(|program| program.generation).or(of_pid.first());
        let key = match program {
            Some(program) if is_kernel(program) => Key { service: KERNEL.into(), unit: "".into() },
            Some(program) => {
                Key { service: label(&program.service), unit: label(program.unit.as_deref().unwrap_or("")) }
            }
            None => Key { service: label(&thread.comm), unit: "".into() },
        };
        times.entry(key).or_default().add(&thread.ledger);
    }
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by(|left, right| left.0.cmp(&right.0));
    times.into_iter().map(|(key, ledger)| ServiceTime { service: key.service, unit: key.unit, ledger }).collect()
}

fn is_kernel(program: &Program) -> bool {
    program.executable.is_none() && (program.pid == KTHREADD || program.parent == KTHREADD)
}

fn label(name: &str) -> Arc<str> {
    let name = printable(name);
    name[..name.floor_char_boundary(MOST_LABEL)].into()
}

/// The services that have series of their own: as many as there may be, the ones with the most on-CPU time
/// and wait for a CPU of late.
#[derive(Debug)]
pub(super) struct Shown {
    most: usize,
    /// Weight of each, fading.
    pub(super) weights: HashMap<Key, f64>,
}

/// What a window changes.
#[derive(Debug, Default)]
pub(super) struct Update {
    /// Services whose series end.
    pub(super) gone: Vec<Key>,
    /// Times to add, each service once; those without a series of their own as one.
    pub(super) times: Vec<ServiceTime>,
}

impl Shown {
    pub(super) fn new(most: usize) -> Shown {
        Shown { most, weights: HashMap::new() }
    }

    pub(super) fn update(&mut self, times: Vec<ServiceTime>) -> Update {
        let mut update = Update::default();
        self.weights.values_mut().for_each(|weight| *weight *= KEPT);
        let (known, mut new): (Vec<_>, Vec<_>) =
            times.into_iter().map(|time| (key(&time), time)).partition(|(key, _)| self.weights.contains_key(key));
        for (key, time) in known {
            *self.weights.entry(key).or_default() += weight(&time);
            update.times.push(time);
        }
        new.sort_by(|left, right| weight(&right.1).total_cmp(&weight(&left.1)));
        let mut rest: Option<Ledger> = None;
        for (key, time) in new {
            if self.admit(&key, weight(&time), &mut update.gone) {
                update.times.push(time);
            } else {
                rest.get_or_insert_default().add(&time.ledger);
            }
        }
        // Who lost its place just now has its time in the rest from this window on.
        update.times.retain(|time| {
            let gone = update.gone.contains(&key(time));
            if gone {
                rest.get_or_insert_default().add(&time.ledger);
            }
            !gone
        });
        update.times.extend(rest.map(|ledger| ServiceTime { service: OTHER.into(), unit: "".into(), ledger }));
        update
    }

    /// Gives a newcomer series of its own, if there is a place or one can be taken from a lighter one.
    fn admit(&mut self, newcomer: &Key, weight: f64, gone: &mut Vec<Key>) -> bool {
        if self.weights.len() >= self.most {
            let lightest =
                self.weights.iter().min_by(|left, right| left.1.total_cmp(right.1).then(left.0.cmp(right.0)));
            let Some((lightest, least)) = lightest.map(|(key, weight)| (key.clone(), *weight)) else { return false };
            if weight <= least * HEAVIER {
                return false;
            }
            self.weights.remove(&lightest);
            gone.push(lightest);
        }
        self.weights.insert(newcomer.clone(), weight);
        true
    }
}

fn key(time: &ServiceTime) -> Key {
    Key { service: Arc::clone(&time.service), unit: Arc::clone(&time.unit) }
}

/// Time that shows that a service is in use: sleep is the same for all.
fn weight(time: &ServiceTime) -> f64 {
    (time.ledger.on_cpu_ns + time.ledger.run_queue_ns) as f64
}
