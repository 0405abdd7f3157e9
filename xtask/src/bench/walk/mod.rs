//! `cargo xtask bench walk`: what it costs to walk stacks without frame pointers.

mod samples;

use std::path::{self, Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use self::samples::{BPFTRACE, PROFILERD, Run, Sample};
use super::load::Load;
use super::price::{self, Price};
use super::process::{Folder, SYSTEM_PROGRAMS};
use super::table::{self, table};
use super::tracers::{self, Context, Tracer};
use super::{loads, machine};
use crate::build;
use crate::run::{self, say};

/// Frames of a stack, and what a sample of it may cost in nanoseconds.
const DEPTHS: [(u32, Option<f64>); 3] = [(10, None), (30, Some(6_000.0)), (100, Some(16_000.0))];
/// The usual rate of samples, and one that keeps the kernel's caches warm.
const RATES_HZ: [u32; 2] = [99, 999];
/// What a cycle of a wait may cost, ten frames deep.
const CYCLE_NS: f64 = 750.0;
/// Batches of a load.
const BATCHES: u32 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long each kind of stack is sampled
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Measure this profilerd instead of building one
    #[arg(long, value_name = "FILE")]
    profilerd: Option<PathBuf>,
    /// Fail if a budget is missed
    #[arg(long)]
    check: bool,
}

/// Measures and prints.
///
/// # Errors
/// We are not root, a load failed, or with `--check` a budget was missed.
pub(super) fn run(args: &Args) -> Result<()> {
    if !run::is_root() {
        bail!("tracing needs root\n  try: sudo env PATH=\"$PATH\" cargo xtask bench walk");
    }
    let profilerd = match &args.profilerd {
        Some(file) => path::absolute(file)?,
        None => build::run()?,
    };
    println!("`cargo xtask bench walk`, {}.\n", machine::machine());
    let (samples, mut missed) = samples(&profilerd, args.seconds)?;
    println!("{SAMPLE_METHOD}\n\n{}", table(&samples));
    let (waits, too_dear) = waits(&profilerd)?;
    println!("{WAIT_METHOD}\n\n{}", table(&waits));
    missed.extend(too_dear);
    for line in &missed {
        say(&format!("missed: {line}"));
    }
    if args.check && !missed.is_empty() {
        bail!("{} budgets were missed", missed.len());
    }
    Ok(())
}

const SAMPLE_METHOD: &str = "Time in the kernel program for one CPU sample, output included, by `bpf_stats`, whose own \
    50 ns are in it. The program has no frame pointers, but for bpftrace's, which walks by them. \"same\": it is always at \
    one stack, of which only the id is sent; \"new\": each sample has another stack, which is sent whole. Runs \
    on CPUs that execute something else are taken out at what they cost while the target sleeps. The median second \
    (least to most).";

const WAIT_METHOD: &str = "Time in profilerd's kernel programs, with `--all`, for one cycle of a thread (block, wake, run), \
    by `bpf_stats`, and the share of stacks that were recognised and not walked.";

/// The rows of the table, and the budgets that were missed.
fn samples(profilerd: &Path, seconds: u32) -> Result<(Vec<Vec<String>>, Vec<String>)> {
    let head = ["profiler", "rate", "stacks", "frames", "samples", "µs a sample", "whole", "mean depth"];
    let (mut rows, mut missed) = (vec![head.map(str::to_owned).to_vec()], Vec::new());
    let folder = Folder::new()?;
    let has_bpftrace = run::find_in_path("bpftrace").is_some();
    for profiler in [Some(&PROFILERD), has_bpftrace.then_some(&BPFTRACE)].into_iter().flatten() {
        let program = loads::compile(folder.path(), profiler.frame_pointers)?;
        for rate_hz in RATES_HZ {
            let run = Run { profiler, profilerd, folder: folder.path(), rate_hz, seconds };
            let empty_ns = run.empty_ns()?;
            say(&format!("{} at {rate_hz} Hz: {empty_ns:.0} ns for a run that meets others", profiler.title));
            for (stacks, vary) in [("same", None), ("new", Some("vary"))] {
                for (depth, budget_ns) in DEPTHS {
                    let number = depth.to_string();
                    let args: Vec<&str> = std::iter::once(number.as_str()).chain(vary).collect();
                    let sample = run.sample(&program, &args, empty_ns)?;
                    let what = format!("{} at {rate_hz} Hz, {stacks} stacks of {depth} frames", profiler.title);
                    let cost_ns = sample.ns.median;
                    say(&format!("{what}: {:.2} µs", cost_ns / 1e3));
                    let budget_ns = budget_ns.filter(|_| std::ptr::eq(profiler, &PROFILERD));
                    if let Some(budget_ns) = budget_ns.filter(|budget_ns| cost_ns > *budget_ns) {
                        let (cost, budget) = (cost_ns / 1e3, budget_ns / 1e3);
                        missed.push(format!("{what} take {cost:.2} µs a sample, budget {budget:.2}"));
                    }
                    let head = [profiler.title.to_owned(), format!("{rate_hz} Hz"), stacks.to_owned(), number.clone()];
                    rows.push(head.into_iter().chain(cells(&sample)).collect());
                }
            }
        }
    }
    Ok((rows, missed))
}

fn cells(sample: &Sample) -> [String; 4] {
    let figures = sample.figures.as_ref();
    let whole = figures.and_then(|figures| figures.on_cpu_complete);
    let depth = figures.and_then(|figures| figures.depth);
    [
        format!("{:.0}", sample.samples),
        format!("**{:.2}** ({:.2}–{:.2})", sample.ns.median / 1e3, sample.ns.min / 1e3, sample.ns.max / 1e3),
        whole.map_or("-".to_owned(), |whole| format!("{:.2} %", whole * 100.0)),
        depth.map_or("-".to_owned(), |depth| format!("{depth:.1}")),
    ]
}

/// The rows of the table, and the budgets that were missed.
fn waits(profilerd: &Path) -> Result<(Vec<Vec<String>>, Vec<String>)> {
    let head = ["load", "µs a cycle", "programs: runs a cycle × ns a run", "stacks recognised"];
    let (mut rows, mut missed) = (vec![head.map(str::to_owned).to_vec()], Vec::new());
    let ours = tracers::ALL.iter().find(|tracer| tracer.name == "profilerd-all").context("no tracer of ours")?;
    let others = loads::ALL.iter().copied().filter(|load| !["futex", "pipe"].contains(&load.name));
    for load in std::iter::once(&loads::WALK).chain(others).filter(|load| has(load)) {
        say(load.name);
        let Some(price) = of(load, ours, profilerd).with_context(|| format!("load `{}`", load.name))? else { continue };
        if load.name == loads::WALK.name && price.cycle_ns.median > CYCLE_NS {
            let (cost, budget) = (price.cycle_ns.median / 1e3, CYCLE_NS / 1e3);
            missed.push(format!("{}: {cost:.2} µs a cycle, budget {budget:.2}", load.name));
        }
        rows.push(std::iter::once(load.name.to_owned()).chain(table::price(&price)).collect());
    }
    Ok((rows, missed))
}

fn of(load: &Load, tracer: &Tracer, profilerd: &Path) -> Result<Option<Price>> {
    let folder = Folder::new()?;
    let mut running = (load.start)(folder.path())?;
    // What happens only the first time is not what we measure.
    running.batch()?;
    let context = Context { profilerd, target: running.target()?, folder: folder.path() };
    price::of(tracer, &context, &mut running, BATCHES)
}

fn has(load: &Load) -> bool {
    let missing =
        load.needs.iter().map(|(program, _)| program).find(|program| {
            run::find_in_path(program).is_none() && !Path::new(SYSTEM_PROGRAMS).join(program).is_file()
        });
    if let Some(missing) = missing {
        say(&format!("{} is left out: `{missing}` is not installed", load.name));
    }
    missing.is_none()
}
