//! Files whose symbols stay parsed between batches, for those who name a few new places every few seconds.

use std::collections::HashMap;
use std::sync::Arc;

use crate::process::{Identity, Layout, Module};
use blazesym::symbolize::Symbolizer;

/// Most files that stay parsed.
const MOST_FILES: usize = 24;
/// Most bytes of symbol tables that stay parsed: as much of them may be resident, in the end. The file used last stays
/// whatever its size.
const MOST_BYTES: u64 = 32 << 20;

/// Parsed files, by identity.
#[derive(Debug, Default)]
pub(super) struct Kept {
    files: HashMap<Identity, KeptFile>,
    uses: u64,
}

/// One file.
#[derive(Debug)]
pub(super) struct KeptFile {
    pub(super) layout: Layout,
    pub(super) symbolizer: Symbolizer,
    /// Keeps the descriptor open by whose number the parser knows the file.
    _module: Arc<Module>,
    used: u64,
}

impl Kept {
    /// The file of a module; of those that do not fit the one goes that was unused for longest.
    pub(super) fn file(
        &mut self,
        identity: Identity,
        module: &Arc<Module>,
        read: impl FnOnce() -> Layout,
    ) -> &KeptFile {
        self.uses += 1;
        let layout = match self.files.remove(&identity) {
            Some(known) => Ok(known),
            None => Err(read()),
        };
        let bytes = layout.as_ref().map_or_else(|new| new.symbol_bytes, |known| known.layout.symbol_bytes);
        self.make_room(bytes);
        let file = layout.unwrap_or_else(|layout| KeptFile {
            layout,
            symbolizer: Symbolizer::builder().enable_demangling(false).enable_auto_reload(false).build(),
            _module: module.clone(),
            used: 0,
        });
        let file = self.files.entry(identity).or_insert(file);
        file.used = self.uses;
        file
    }

    /// Lets go of the files unused for longest until another one of so many bytes fits.
    fn make_room(&mut self, bytes: u64) {
        while self.files.len() >= MOST_FILES || self.bytes() + bytes > MOST_BYTES {
            let oldest = self.files.iter().min_by_key(|(_, file)| file.used).map(|(identity, _)| *identity);
            if oldest.and_then(|oldest| self.files.remove(&oldest)).is_none() {
                break;
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.layout.symbol_bytes).sum()
    }
}
