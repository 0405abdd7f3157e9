//! A load: a service, or threads that talk to each other, doing countable operations.

use std::path::Path;

use anyhow::{Context, Result, bail};

use super::driver::Driver;
use super::meter::{self, Usage};
use super::process::Process;

/// One row of [`super::loads::ALL`].
pub(super) struct Load {
    /// As `--only` takes it.
    pub(super) name: &'static str,
    /// What one operation is.
    pub(super) operation: &'static str,
    /// What runs where.
    pub(super) about: &'static str,
    /// Programs that it needs, and their Debian packages.
    pub(super) needs: &'static [(&'static str, &'static str)],
    /// Starts it; the folder is for its files.
    pub(super) start: fn(&Path) -> Result<Running>,
}

/// A load that has started and waits for its next batch.
pub(super) struct Running {
    // Dropped in this order: a driver's connection ends before its service does.
    pub(super) driver: Driver,
    /// What only has to be there, and ends with this.
    #[expect(dead_code, reason = "held")]
    pub(super) services: Vec<Process>,
    /// Processes that live on and do the work, the one to profile first; a driver that is a command
    /// is measured when it has ended.
    pub(super) workers: Vec<u32>,
    pub(super) operations: Operations,
}

/// How many operations a batch has.
pub(super) enum Operations {
    Fixed(u64),
    /// Read from what the driver prints.
    Printed(fn(&str) -> Option<u64>),
}

/// What one batch took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch {
    pub(super) operations: u64,
    pub(super) usage: Usage,
}

impl Running {
    /// Runs one batch.
    ///
    /// # Errors
    /// A part of the load failed.
    pub(super) fn batch(&mut self) -> Result<Batch> {
        let before = self.usage()?;
        let printed = self.driver.batch()?;
        let usage = self.usage()? - before;
        let operations = match self.operations {
            Operations::Fixed(number) => number,
            Operations::Printed(number) => number(&printed).context("the load's driver printed no number")?,
        };
        if operations == 0 {
            bail!("the load did nothing");
        }
        Ok(Batch { operations, usage })
    }

    fn usage(&self) -> Result<Usage> {
        let live = meter::of_processes(&self.workers)?;
        Ok(match self.driver {
            Driver::Session(_) => live,
            Driver::Command(_) => live + meter::of_ended_children()?,
        })
    }

    /// The process whose profile would be asked for.
    pub(super) fn target(&self) -> Result<u32> {
        self.workers.first().copied().context("the load has no process that stays")
    }
}
