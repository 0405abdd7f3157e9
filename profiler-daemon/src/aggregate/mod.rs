//! Raw stacks, sums and samples to a finished, symbolized window.
//!
//! All time of a thread becomes visits: on-CPU samples scaled to its exact run time,
//! summed waits, and whatever of either has no place, so that visits add up to the ledger. Samples,
//! gaps, functions and stack quality are four ways of summing the same visits.

pub mod beside;
mod functions;
mod gaps;
mod idle;
mod intern;
mod kernel;
pub mod merge;
mod off_cpu;
mod on_cpu;
mod percentile;
mod quality;
mod sampled;
mod samples;
mod scale;
mod threads;
mod visit;
mod waits;

use std::collections::HashMap;

use crate::model::{Capture, Context, Recording, Stacks, Window};
use beside::both;
use functions::Functions;
use intern::Interner;
use threads::Threads;

/// A hash map that is several times as fast as the standard one. Its seed is chosen at random, so that nobody can make up
/// names and addresses that collide.
type FastMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// Gives the waits whose user stacks were not walked those of the ones that were, as the report shows them: for
/// outputs that are made of a recording itself. Sums by thread, class, system call and kernel stack stay what they
/// are, and [`window`] finds nothing left to do.
pub fn share_skipped(capture: &mut Capture) {
    sampled::share(&mut capture.off_cpu);
}

/// Makes the window of a recording.
///
/// Adds to the losses: `off_cpu_over_ledger_ns`, by how much the entries of a class exceed their
/// thread's exact total (they are kept, and the samples then exceed the ledger by as much);
/// `cpu_samples_without_thread` and `off_cpu_without_thread`, which belong to threads that have no
/// ledger and are left out.
pub fn window(recording: Recording) -> Window {
    let Recording { mut capture, frames, programs: _, context } = recording;
    let Context { target, cpus, rate_hz, min_wait_ns, detail, mut losses, overhead, start, waker_names } = context;
    let mut threads = Threads::new(&capture.threads, waker_names);
    sampled::share(&mut capture.off_cpu);
    let long_waits = waits::longest(&capture.waits);

    let name = || {
        let functions = Functions::of(frames.list());
        let paths = idle::paths(&frames, functions.numbers(), &capture.stacks);
        (functions, paths)
    };
    let place = || {
        let mut interner = Interner::new(&frames);
        let on_cpu = on_cpu::visits(&capture.cpu_samples, &threads, &mut interner);
        let off_cpu = off_cpu::visits(&capture.off_cpu, &threads, &mut interner);
        let wait_stacks = waits::stacks(&long_waits, &mut interner);
        (on_cpu, off_cpu, wait_stacks, interner.finish())
    };
    let ((mut functions, paths), ((mut visits, samples_without_thread), off_cpu, wait_stacks, interned)) =
        both(name, place);
    visits.extend(off_cpu.visits);
    visits.sort_by_key(|visit| visit.thread);
    idle::mark(&mut visits, &paths);
    threads.set_idle(&visits);
    functions.add(&interned.notes);
    let functions = functions.into_numbers();
    let mut all_frames = frames.into_list();
    all_frames.extend(interned.notes);
    let stacks = Stacks { frames: all_frames, stacks: interned.stacks };

    let on_cpu = || {
        let samples = samples::sum(&visits);
        let table = functions::table(&samples, &stacks, &functions);
        (samples, table, quality::of(&visits, &capture.stacks))
    };
    let off_cpu_places = || {
        let waits = waits::waits(&long_waits, &wait_stacks, &visits, &threads, (start, capture.start));
        (gaps::gaps(&visits, &waits, &threads, &stacks), waits::listed(waits))
    };
    let ((samples, on_cpu, quality), (gaps, waits)) = both(on_cpu, off_cpu_places);
    losses.by_cause.insert("cpu_samples_without_thread", samples_without_thread);
    losses.by_cause.insert("off_cpu_without_thread", off_cpu.without_thread);
    losses.by_cause.insert("off_cpu_over_ledger_ns", off_cpu.over_ledger_ns);
    Window {
        start,
        start_mono: capture.start,
        duration_ns: capture.end.since(capture.start),
        target,
        cpus,
        rate_hz,
        min_wait_ns,
        detail,
        processes: threads.processes(),
        gaps,
        on_cpu,
        waits,
        samples,
        on_cpu_quality: quality.on_cpu,
        off_cpu_quality: quality.off_cpu,
        frame_pointer_quality: None,
        threads: threads.into_list(),
        stacks,
        losses,
        overhead,
    }
}

#[cfg(test)]
mod tests;
