//! Holds a profile against the chains of its program.

use std::collections::BTreeMap;
use std::fmt;

use crate::pattern::{Chains, Extent, Place};
use crate::profile::Stack;
use crate::programs::Program;

/// Wrong stacks that are shown.
const SHOWN: usize = 4;
/// The root of a stack that was met before the unwind tables of its code were there.
const LATE: &str = "[unwinding stopped: no unwind info yet]";

/// How a program's stacks were.
pub(crate) struct Verdict {
    name: &'static str,
    /// Samples.
    pub(crate) on_cpu: Share,
    /// Nanoseconds.
    pub(crate) off_cpu: Share,
    /// Samples and nanoseconds of stacks that say nothing.
    excused: (u64, u64),
    /// Samples and nanoseconds of stacks that were cut short because tables were not there yet: how soon they come is a promise
    /// of its own.
    pub(crate) late: (u64, u64),
    /// Chains that no stack was.
    pub(crate) not_met: Vec<String>,
    /// The heaviest stacks that are no chain, with how much there is of them.
    pub(crate) wrong: Vec<(String, String)>,
}

#[derive(Default)]
pub(crate) struct Share {
    pub(crate) right: u64,
    /// The part of `right` that is not at the end of a chain.
    pub(crate) on_the_way: u64,
    pub(crate) all: u64,
}

impl Share {
    /// Right ones of all, from 0 to 1. Of nothing, nothing is right.
    pub(crate) fn right(&self) -> f64 {
        self.right as f64 / self.all.max(1) as f64
    }

    pub(crate) fn on_the_way(&self) -> f64 {
        self.on_the_way as f64 / self.all.max(1) as f64
    }
}

impl Verdict {
    pub(crate) fn of(program: &Program, stacks: &[Stack]) -> Verdict {
        let known = (program.chains)();
        let chains = Chains::of(&known, program.libc());
        let mut met = vec![false; chains.all.len()];
        let (mut on_cpu, mut off_cpu) = (Share::default(), Share::default());
        let (mut excused, mut late) = ((0, 0), (0, 0));
        let mut wrong = BTreeMap::<(bool, String), u64>::new();
        for stack in stacks.iter().filter(|stack| program.thread.is_none_or(|thread| thread == stack.thread)) {
            let leaf = stack.places.first().map(|leaf| leaf.function.as_str());
            let is_excused = leaf.is_some() && leaf == program.excused_leaf;
            let is_late = stack.places.last().is_some_and(|root| root.function == LATE);
            if is_excused || is_late {
                let (samples, ns) = if is_excused { &mut excused } else { &mut late };
                if stack.on_cpu {
                    *samples += stack.count
                } else {
                    *ns += stack.ns
                }
                continue;
            }
            let (share, weight) = if stack.on_cpu { (&mut on_cpu, stack.count) } else { (&mut off_cpu, stack.ns) };
            share.all += weight;
            match chains.find(&stack.places) {
                Some((chain, extent)) => {
                    share.right += weight;
                    if extent == Extent::Whole { met[chain] = true } else { share.on_the_way += weight }
                }
                None => *wrong.entry((stack.on_cpu, shown(&stack.places))).or_default() += weight,
            }
        }
        let met = chains.all.iter().zip(met).take(known.met.len());
        let not_met = met.filter(|(_, met)| !met).map(|(chain, _)| chain.text.clone()).collect();
        let share = |on_cpu_: bool, weight| weight as f64 / if on_cpu_ { &on_cpu } else { &off_cpu }.all.max(1) as f64;
        let mut wrong: Vec<_> =
            wrong.into_iter().map(|((on_cpu, stack), weight)| (share(on_cpu, weight), on_cpu, stack)).collect();
        wrong.sort_by(|a, b| b.0.total_cmp(&a.0));
        wrong.truncate(SHOWN);
        let wrong = wrong.into_iter().map(|(share, on_cpu, stack)| {
            (stack, format!("{:.2} % {}", share * 100.0, if on_cpu { "on-CPU" } else { "off-CPU" }))
        });
        let wrong = wrong.collect();
        Verdict { name: program.name, on_cpu, off_cpu, excused, late, not_met, wrong }
    }
}

/// A stack in the form of a chain: root first, repetitions counted.
pub(crate) fn shown(places: &[Place]) -> String {
    let mut parts: Vec<(String, usize)> = Vec::new();
    for place in places.iter().rev() {
        let name = if place.function.is_empty() { format!("@{}", place.file_name()) } else { place.function.clone() };
        match parts.last_mut().filter(|(before, _)| *before == name) {
            Some((_, times)) => *times += 1,
            None => parts.push((name, 1)),
        }
    }
    let part = |(name, times)| if times == 1 { name } else { format!("{name}*{times}") };
    parts.into_iter().map(part).collect::<Vec<_>>().join("; ")
}

pub(crate) const HEAD: &str = "program         samples   right on-CPU (on the way)   off-CPU ms   right off-CPU (on the way)   excused   too early";

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { name, on_cpu, off_cpu, excused: (samples, ns), late: (late, late_ns), .. } = self;
        let right = |share: &Share| format!("{:.2} % ({:.2} %)", share.right() * 100.0, share.on_the_way() * 100.0);
        let (off_cpu_ms, excused_ms) = (off_cpu.all / 1_000_000, ns / 1_000_000);
        write!(
            f,
            "{name:14} {:8} {:>26} {off_cpu_ms:12} {:>28}   {samples}, {excused_ms} ms   {late}, {} ms",
            on_cpu.all,
            right(on_cpu),
            right(off_cpu),
            late_ns / 1_000_000
        )
    }
}
