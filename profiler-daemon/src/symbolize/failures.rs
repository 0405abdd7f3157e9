/// What could not be named, by cause.
#[derive(Clone, Debug, Default)]
pub(super) struct Failures {
    /// Files that were overwritten after they were mapped.
    pub(super) file_changed: u64,
    /// Files that could not be read as ELF files at all.
    pub(super) file_failed: u64,
    /// Files whose debug information could not be read; their symbols may have served.
    pub(super) debug_info_failed: u64,
    /// Distinct places in files without a symbol.
    pub(super) no_symbol: u64,
    /// Addresses of processes of which nothing is known.
    pub(super) process_gone: u64,
    /// Addresses at which nothing executable was ever seen.
    pub(super) unmapped: u64,
    /// Addresses of the kernel without a symbol, or with symbols hidden.
    pub(super) kernel: u64,
}

impl Failures {
    pub(super) fn by_cause(&self) -> [(&'static str, u64); 7] {
        [
            ("symbol_file_changed", self.file_changed),
            ("symbol_file_failed", self.file_failed),
            ("symbol_debug_info_failed", self.debug_info_failed),
            ("symbol_missing", self.no_symbol),
            ("symbol_process_gone", self.process_gone),
            ("symbol_address_unmapped", self.unmapped),
            ("symbol_kernel_missing", self.kernel),
        ]
    }
}
