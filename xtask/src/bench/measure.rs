//! The paired, interleaved runs of one load.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::load::{Batch, Load, Running};
use super::price::{self, Price};
use super::summary::{Pair, Slowdown};
use super::tracer::Attached;
use super::tracers::{Context, Kind, Tracer};
use crate::run::say;

/// Batches of one run. Other work on the machine comes in bursts, which the middle one of three escapes.
pub(super) const BATCHES: usize = 3;

/// What is measured with.
pub(super) struct Plan<'a> {
    pub(super) tracers: Vec<&'static Tracer>,
    pub(super) rounds: u32,
    pub(super) profilerd: &'a Path,
    pub(super) folder: &'a Path,
}

/// All that was found out about one load.
pub(super) struct Measured {
    pub(super) load: &'static Load,
    pub(super) slowdowns: Vec<(&'static Tracer, Slowdown)>,
    pub(super) prices: Vec<(&'static Tracer, Price)>,
}

impl Plan<'_> {
    /// Starts the load, measures it under every tracer in every round, then prices the tracers' programs.
    ///
    /// # Errors
    /// The load or a tracer failed.
    pub(super) fn measure(&self, load: &'static Load) -> Result<Measured> {
        let mut running = (load.start)(self.folder).with_context(|| format!("load `{}` does not start", load.name))?;
        // What happens only the first time is not what we measure.
        running.batch()?;
        let mut pairs = vec![Vec::new(); self.tracers.len()];
        for round in 1..=self.rounds {
            say(&format!("{}: round {round} of {}", load.name, self.rounds));
            let mut before = run(&mut running)?;
            for (tracer, pairs) in self.tracers.iter().zip(&mut pairs) {
                let attached = Attached::start(tracer, &self.context(&running)?)?;
                let traced = run(&mut running)?;
                drop(attached);
                let after = run(&mut running)?;
                pairs.push(Pair { before, traced, after });
                before = after;
            }
        }
        let slowdowns = self.tracers.iter().zip(&pairs);
        let slowdowns = slowdowns.filter_map(|(tracer, pairs)| Some((*tracer, Slowdown::of(pairs)?))).collect();
        let prices = self.prices(load, &mut running)?;
        Ok(Measured { load, slowdowns, prices })
    }

    /// Apart from the pairs, since timing the programs costs time of its own.
    fn prices(&self, load: &'static Load, running: &mut Running) -> Result<Vec<(&'static Tracer, Price)>> {
        let mut prices = Vec::new();
        for tracer in self.tracers.iter().filter(|tracer| tracer.kind != Kind::Control) {
            say(&format!("{}: price of {}", load.name, tracer.title));
            let context = self.context(running)?;
            if let Some(price) = price::of(tracer, &context, running, self.rounds)? {
                prices.push((*tracer, price));
            }
        }
        Ok(prices)
    }

    fn context(&self, running: &Running) -> Result<Context<'_>> {
        Ok(Context { profilerd: self.profilerd, target: running.target()?, folder: self.folder })
    }
}

/// The batch of middle cost of some in a row.
fn run(running: &mut Running) -> Result<Batch> {
    let mut batches = Vec::with_capacity(BATCHES);
    for _ in 0..BATCHES {
        batches.push(running.batch()?);
    }
    batches.sort_by(|a, b| a.cpu_ns().total_cmp(&b.cpu_ns()));
    Ok(batches[BATCHES / 2])
}
