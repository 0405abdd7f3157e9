//! The processors that the program is built for.

use std::env::consts::ARCH;

use anyhow::{Context, Result};

/// A processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Machine {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Machine {
    /// As the compiler calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Machine::X86_64 => "x86_64",
            Machine::Aarch64 => "aarch64",
        }
    }

    /// As Debian calls it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Machine::X86_64 => "amd64",
            Machine::Aarch64 => "arm64",
        }
    }

    /// The one that builds.
    ///
    /// # Errors
    /// It is none of these.
    pub(crate) fn ours() -> Result<Machine> {
        let all = [Machine::X86_64, Machine::Aarch64];
        all.into_iter().find(|machine| machine.is_ours()).with_context(|| format!("no kernel programs for {ARCH}"))
    }

    /// Whether it is the one that builds.
    pub(crate) fn is_ours(self) -> bool {
        self.name() == ARCH
    }
}
