//! Unwind tables on their way to the kernel.

use std::io;

use profiler_common::unwind::{ProcessMappings, Rule};

use crate::capture::tables::Tables;
use crate::unwind::KernelTables;

impl KernelTables for Tables {
    fn write(&mut self, slab: u32, word: u32, words: &[u32]) -> io::Result<()> {
        Tables::write(self, slab, word, words)
    }

    fn take(&mut self, slab: u32, word: u32) -> u32 {
        Tables::take(self, slab, word)
    }

    fn rules(&mut self, first: usize, rules: &[Rule]) -> io::Result<()> {
        Tables::rules(self, first, rules)
    }

    fn process(&mut self, pid: u32, mappings: Option<ProcessMappings>) -> io::Result<()> {
        Tables::process(self, pid, mappings)
    }
}
