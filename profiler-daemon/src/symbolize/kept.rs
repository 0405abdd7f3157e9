//! Files whose symbols stay parsed between batches, for those who name a few new places every few seconds.

use std::collections::HashMap;
use std::sync::Arc;

use crate::process::{Identity, Layout, Module};
use blazesym::symbolize::Symbolizer;

/// Most files that stay parsed: symbol tables alone, some megabytes for the largest.
const MOST_FILES: usize = 24;

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
        if self.files.len() >= MOST_FILES && !self.files.contains_key(&identity) {
            let oldest = self.files.iter().min_by_key(|(_, file)| file.used).map(|(identity, _)| *identity);
            oldest.map(|oldest| self.files.remove(&oldest));
        }
        let file = self.files.entry(identity).or_insert_with(|| KeptFile {
            layout: read(),
            symbolizer: Symbolizer::builder().enable_demangling(false).enable_auto_reload(false).build(),
            _module: module.clone(),
            used: 0,
        });
        file.used = self.uses;
        file
    }
}
