use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::failures::Failures;
use super::kept::{Kept, KeptFile};
use super::names::Names;
use crate::model::{Frame, FrameKind};
use crate::process::{FileOffset, Image, Layout, Module};
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{CodeInfo, Input, Sym, Symbolized, Symbolizer};

/// More debug information, or more symbols, than this is not read: the largest browsers stay
/// below it, and a file may claim any size.
const MOST_DEBUG_BYTES: u64 = 2 << 30;
const MOST_SYMBOL_BYTES: u64 = 512 << 20;

/// Looks up the code at file offsets of one module: for each offset its frames, innermost inlined
/// function first, and always at least one.
///
/// All memory that reading the file took is free again on return; a large file is thus read again
/// for the next batch, and batches should be large.
///
/// With `kept` files stay parsed instead, and debug information is not read: names, but no lines and no inlined functions.
pub(super) fn look_up(
    module: &Arc<Module>,
    offsets: &[FileOffset],
    names: &mut Names,
    failures: &mut Failures,
    kept: Option<&mut Kept>,
) -> Vec<Vec<Frame>> {
    let mut found: Vec<Vec<Frame>> = vec![Vec::new(); offsets.len()];
    if let Image::Elf { file, identity, .. } = &module.image {
        match kept {
            _ if !module.is_unchanged() => failures.file_changed += 1,
            None => look_up_elf(module, file, offsets, names, failures, &mut found),
            Some(kept) => {
                let kept = kept.file(*identity, module, || Layout::read(file));
                look_up_kept(module, file, kept, (offsets, &mut found), names, failures);
            }
        }
    }
    for (frames, offset) in found.iter_mut().zip(offsets) {
        if frames.is_empty() {
            failures.no_symbol += 1;
            frames.push(frame(module, *offset));
        }
    }
    found
}

fn look_up_elf(
    module: &Module,
    file: &File,
    offsets: &[FileOffset],
    names: &mut Names,
    failures: &mut Failures,
    found: &mut [Vec<Frame>],
) {
    let layout = Layout::read(file);
    if layout.symbol_bytes > MOST_SYMBOL_BYTES {
        failures.file_failed += 1;
        return;
    }
    let own = by_descriptor(file);
    let debug_file = module.build_id.as_deref().and_then(debug_file);
    // A file that names its debug file is read for its own symbols only: the name is a stranger's,
    // and to follow it as root could open, and wait on, anything.
    let with_debug = match debug_file {
        Some(path) => Some(path),
        None if layout.names_debug_file || layout.debug_bytes > MOST_DEBUG_BYTES => None,
        None if layout.debug_bytes > 0 => Some(own.clone()),
        None => None,
    };
    let mut batch = Batch { module, layout, names, offsets, found };
    if let Some(path) = with_debug
        && batch.run(Elf { debug_syms: true, ..Elf::new(path) }).is_err()
    {
        failures.debug_info_failed += 1;
    }
    // Whatever has no name in the debug information may still have one in the symbol table.
    if batch.run(Elf { debug_syms: false, ..Elf::new(own) }).is_err() {
        failures.file_failed += 1;
    }
}

fn look_up_kept(
    module: &Module,
    file: &File,
    kept: &KeptFile,
    (offsets, found): (&[FileOffset], &mut [Vec<Frame>]),
    names: &mut Names,
    failures: &mut Failures,
) {
    if kept.layout.symbol_bytes > MOST_SYMBOL_BYTES {
        failures.file_failed += 1;
        return;
    }
    let mut batch = Batch { module, layout: kept.layout.clone(), names, offsets, found };
    if batch.run_by(&kept.symbolizer, Elf { debug_syms: false, ..Elf::new(by_descriptor(file)) }).is_err() {
        failures.file_failed += 1;
    }
}

/// The open file, whatever became of its name.
fn by_descriptor(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Separate debug information as distributions install it; only root can place it there.
fn debug_file(build_id: &str) -> Option<PathBuf> {
    let (directory, name) = build_id.split_at_checked(2)?;
    let path = PathBuf::from(format!("/usr/lib/debug/.build-id/{directory}/{name}.debug"));
    let metadata = fs::metadata(&path).ok()?;
    (metadata.is_file() && metadata.uid() == 0).then_some(path)
}

struct Batch<'a> {
    module: &'a Module,
    layout: Layout,
    names: &'a mut Names,
    offsets: &'a [FileOffset],
    found: &'a mut [Vec<Frame>],
}

impl Batch<'_> {
    /// Looks up in one source all that has no frames yet. Either all of it is done, or nothing.
    fn run(&mut self, source: Elf) -> Result<(), ()> {
        let symbolizer = Symbolizer::builder().enable_demangling(false).enable_auto_reload(false).build();
        self.run_by(&symbolizer, source)
    }

    /// The same by a parser that may know the file.
    fn run_by(&mut self, symbolizer: &Symbolizer, source: Elf) -> Result<(), ()> {
        let (mut indices, mut addresses) = (Vec::new(), Vec::new());
        for (index, offset) in self.offsets.iter().enumerate() {
            if self.found[index].is_empty()
                && let Some(address) = self.layout.elf_address(*offset)
            {
                indices.push(index);
                addresses.push(address);
            }
        }
        if indices.is_empty() {
            return Ok(());
        }
        // A file that lies about its own layout may make the parser overflow: that costs this file.
        let frames = catch_unwind(AssertUnwindSafe(|| {
            let symbols = symbolizer.symbolize(&Source::Elf(source), Input::VirtOffset(&addresses)).map_err(drop)?;
            let frames = indices.iter().zip(&addresses).zip(&symbols);
            Ok(frames.map(|((index, address), symbol)| self.frames(self.offsets[*index], *address, symbol)).collect())
        }));
        let frames: Vec<Vec<Frame>> = frames.unwrap_or(Err(()))?;
        for (index, frames) in indices.into_iter().zip(frames) {
            self.found[index] = frames;
        }
        Ok(())
    }

    fn frames(&mut self, offset: FileOffset, address: u64, symbol: &Symbolized<'_>) -> Vec<Frame> {
        let Symbolized::Sym(symbol) = symbol else { return Vec::new() };
        if symbol.name.is_empty() || !self.covers(symbol, address) {
            return Vec::new();
        }
        let here = frame(self.module, offset);
        let mut frames = Vec::with_capacity(symbol.inlined.len() + 1);
        for inlined in symbol.inlined.iter().rev() {
            let name = self.names.function(&inlined.name);
            let code = inlined.code_info.as_ref();
            frames.push(self.named(Frame { function: Some(name), inlined: true, ..here.clone() }, code));
        }
        let name = self.names.function(&symbol.name);
        frames.push(self.named(Frame { function: Some(name), ..here }, symbol.code_info.as_deref()));
        frames
    }

    /// A symbol without a size, such as `_init`, ends at the latest with its section; the parser
    /// itself would extend it to the next symbol, over the whole procedure linkage table.
    fn covers(&self, symbol: &Sym<'_>, address: u64) -> bool {
        match symbol.size {
            Some(_) => true,
            None => self.layout.hold_both(symbol.addr, address),
        }
    }

    fn named(&mut self, frame: Frame, code: Option<&CodeInfo<'_>>) -> Frame {
        let Some(code) = code else { return frame };
        let file = self.names.plain(&code.to_path().to_string_lossy());
        Frame { file: Some(file), line: code.line.filter(|line| *line > 0), ..frame }
    }
}

fn frame(module: &Module, offset: FileOffset) -> Frame {
    Frame {
        kind: FrameKind::Native,
        function: None,
        file: None,
        line: None,
        module: Some(module.path.clone()),
        build_id: module.build_id.clone(),
        offset: Some(offset.0),
        inlined: false,
    }
}
