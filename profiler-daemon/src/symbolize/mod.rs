//! Addresses to frames.

mod failures;
mod kept;
mod kernel;
mod locate;
mod names;
mod native;
mod perf_map;
mod resolve;

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Frame;
use crate::process::{FileOffset, Identity, Image, Module};
use failures::Failures;
use kept::Kept;
use kernel::Kallsyms;
pub use locate::{Located, Locator};
use names::Names;

/// Ends a user stack whose next "return address" is no code: what the walk took for a frame was data,
/// so neither it nor anything further out is a caller.
pub const NOT_CODE: &str = "[unwinding stopped: not code]";

/// Most places whose frames are remembered; then all are forgotten at once.
const MOST_CACHED: usize = 65_536;

/// Names functions, with inlined ones and source lines where there is debug information.
///
/// What was once looked up is remembered, the files are not: their parsed form is dropped after
/// each batch, so look up in large batches.
#[derive(Debug, Default)]
pub struct Symbolizer {
    names: Names,
    cache: HashMap<(Identity, FileOffset), Arc<[Frame]>>,
    kernel: Option<Kallsyms>,
    /// What is kept between batches; `None` if nothing is.
    kept: Option<Kept>,
    /// The loaded modules that the kernel's symbols are of, if those are kept.
    kernel_modules: Vec<u8>,
    failures: Failures,
}

impl Symbolizer {
    /// Knows nothing yet; reads nothing until it is asked.
    pub fn new() -> Symbolizer {
        Symbolizer::default()
    }

    /// One that names small batches one after the other for days: some files stay parsed, but no debug information is
    /// read, and the kernel's symbols are read again only when other modules are loaded.
    pub fn lasting() -> Symbolizer {
        Symbolizer { kept: Some(Kept::default()), ..Symbolizer::default() }
    }

    /// Before a batch: what is loaded now counts.
    fn refresh_kernel(&mut self) {
        if self.kept.is_some() {
            let modules = std::fs::read("/proc/modules").unwrap_or_default();
            if modules == self.kernel_modules {
                return;
            }
            self.kernel_modules = modules;
        }
        self.kernel = None;
    }

    /// After a batch: the symbols are large.
    fn release_kernel(&mut self) {
        if self.kept.is_none() {
            self.kernel = None;
        }
    }

    /// The frames at file offsets of one module, in the order of `offsets`: for each at least one,
    /// innermost inlined function first. Code without a symbol is a frame without a function.
    pub fn native(&mut self, module: &Arc<Module>, offsets: &[FileOffset]) -> Vec<Arc<[Frame]>> {
        let Image::Elf { identity, .. } = &module.image else { return self.look_up(module, offsets) };
        let mut missing: Vec<FileOffset> =
            offsets.iter().filter(|offset| !self.cache.contains_key(&(*identity, **offset))).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() && self.cache.len() + missing.len() > MOST_CACHED {
            self.cache.clear();
            self.names.clear();
            missing = offsets.to_vec();
            missing.sort_unstable();
            missing.dedup();
        }
        let found = self.look_up(module, &missing);
        self.cache.extend(missing.into_iter().map(|offset| (*identity, offset)).zip(found));
        offsets.iter().filter_map(|offset| self.cache.get(&(*identity, *offset)).cloned()).collect()
    }

    /// The frames at exact addresses of the kernel, in their order. Its symbols are read at the
    /// first call, and kept until [`Symbolizer::resolve_all`] has run.
    pub fn kernel(&mut self, addresses: &[u64]) -> Vec<Frame> {
        addresses.iter().map(|address| self.kernel_frame(*address, *address)).collect()
    }

    /// What could not be named, by cause; a cause that did not happen is there with 0.
    pub fn failures(&self) -> [(&'static str, u64); 7] {
        self.failures.by_cause()
    }

    fn kernel_frame(&mut self, address: u64, shown: u64) -> Frame {
        let kernel = self.kernel.get_or_insert_with(Kallsyms::load);
        let (frame, named) = kernel.frame(address, shown, &mut self.names);
        self.failures.kernel += u64::from(!named);
        frame
    }

    fn look_up(&mut self, module: &Arc<Module>, offsets: &[FileOffset]) -> Vec<Arc<[Frame]>> {
        if offsets.is_empty() {
            return Vec::new();
        }
        let found = native::look_up(module, offsets, &mut self.names, &mut self.failures, self.kept.as_mut());
        found.into_iter().map(Arc::from).collect()
    }
}

#[cfg(test)]
mod tests;
