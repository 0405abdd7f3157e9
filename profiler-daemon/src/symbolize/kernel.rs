use std::sync::Arc;

use super::names::Names;
use crate::model::{Frame, FrameKind, text};

/// No function of the kernel is this long: what lies farther from the symbol before it, such as
/// the end of a module, has no name.
const MOST_FUNCTION_BYTES: u64 = 64 << 10;

/// The functions of the running kernel, its modules and loaded eBPF programs.
///
/// Source: `/proc/kallsyms`, kernel/kallsyms.c: `address type name [module]`, with tabs before the
/// module, and all addresses 0 for those who may not see them.
#[derive(Debug, Default)]
pub(super) struct Kallsyms {
    /// By address, one each.
    symbols: Vec<Symbol>,
    /// All names, one after the other.
    names: String,
    modules: Vec<Arc<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    address: u64,
    name_start: u32,
    name_bytes: u16,
    /// Index into `modules`.
    module: u16,
}

impl Kallsyms {
    /// Reads the symbols of the running kernel; none if they are hidden.
    pub(super) fn load() -> Kallsyms {
        Kallsyms::parse(&std::fs::read("/proc/kallsyms").unwrap_or_default())
    }

    fn parse(kallsyms: &[u8]) -> Kallsyms {
        let mut found = Kallsyms { modules: vec![Arc::from("[kernel]")], ..Kallsyms::default() };
        for line in kallsyms.split(|byte| *byte == b'\n') {
            found.add(line);
        }
        found.symbols.sort_by_key(|symbol| symbol.address);
        let names = &found.names;
        let name = |symbol: &Symbol| &names[symbol.name_start as usize..][..symbol.name_bytes.into()];
        // Of several names for one address, the one with the fewest leading underscores is the one
        // that people know; the sort above is stable, so among equals the first one stays.
        found.symbols.dedup_by(|next, kept| {
            let same = next.address == kept.address;
            if same && underscores(name(next)) < underscores(name(kept)) {
                *kept = *next;
            }
            same
        });
        found.symbols.shrink_to_fit();
        found
    }

    fn add(&mut self, line: &[u8]) {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { return };
        if !matches!(kind, b"t" | b"T" | b"w" | b"W") {
            return;
        }
        let address = str::from_utf8(address).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
        let Some(address) = address.filter(|address| *address != 0) else { return };
        let module = words.next().map_or(Some(0), |module| {
            let module =
                text::from_bytes(module.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(module));
            // Symbols come module by module.
            if self.modules.last().is_none_or(|last| **last != *module) {
                self.modules.push(module.into());
            }
            u16::try_from(self.modules.len() - 1).ok()
        });
        let name = text::from_bytes(name);
        let start = self.names.len();
        if let (Some(module), Ok(name_start), Ok(name_bytes)) = (module, start.try_into(), name.len().try_into()) {
            self.names.push_str(&name);
            self.symbols.push(Symbol { address, name_start, name_bytes, module });
        }
    }

    /// Name and module of the function that holds an address.
    fn at(&self, address: u64) -> Option<(&str, &Arc<str>)> {
        let next = self.symbols.partition_point(|symbol| symbol.address <= address);
        let symbol = self.symbols.get(next.checked_sub(1)?)?;
        let name = &self.names[symbol.name_start as usize..][..symbol.name_bytes.into()];
        let is_end = matches!(name, "_etext" | "_einittext");
        if is_end || address - symbol.address >= MOST_FUNCTION_BYTES {
            return None;
        }
        Some((name, &self.modules[usize::from(symbol.module)]))
    }

    /// The frame of an address, and whether it has a name. Without one it carries the address `shown`; a
    /// name is enough, and addresses in a file would give away where the kernel lies.
    pub(super) fn frame(&self, address: u64, shown: u64, names: &mut Names) -> (Frame, bool) {
        let found = self.at(address);
        let frame = Frame {
            kind: FrameKind::Kernel,
            function: found.map(|(name, _)| names.function(name)),
            file: None,
            line: None,
            module: Some(found.map_or_else(|| names.plain("[kernel]"), |(_, module)| module.clone())),
            build_id: None,
            offset: if found.is_some() { None } else { Some(shown) },
            inlined: false,
        };
        (frame, found.is_some())
    }
}

fn underscores(name: &str) -> usize {
    name.bytes().take_while(|byte| *byte == b'_').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &[u8] = b"0000000000001000 D a_variable\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000010 t __do_sleep\n\
        ffffffff81000010 T do_sleep\n\
        ffffffff81000010 W sleep_alias\n\
        garbage\n\
        ffffffff81000100 T __schedule\n\
        ffffffff81000200 T _etext\n\
        ffffffffc0279010 t fuse_dev_init\t[fuse]\n\
        ffffffffc0300000 t bpf_prog_6deef7357e7b4530_sched_switch\t[bpf]\n\
        0000000000000000 T hidden\n";

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Kallsyms::parse(KALLSYMS);
        for (address, expected) in [
            (0x1000, "[kernel]+0x1000 [kernel]"),
            (0xffff_ffff_8100_000f, "_stext [kernel]"),
            (0xffff_ffff_8100_0010, "do_sleep [kernel]"),
            (0xffff_ffff_8100_00ff, "do_sleep [kernel]"),
            (0xffff_ffff_8100_01ff, "__schedule [kernel]"),
            (0xffff_ffff_8100_0200, "[kernel]+0xffffffff81000200 [kernel]"),
            (0xffff_ffff_c027_9020, "fuse_dev_init fuse"),
            (0xffff_ffff_c02a_0000, "[kernel]+0xffffffffc02a0000 [kernel]"),
            (0xffff_ffff_c030_0004, "bpf_prog_6deef7357e7b4530_sched_switch bpf"),
            (u64::MAX, "[kernel]+0xffffffffffffffff [kernel]"),
        ] {
            let (frame, named) = symbols.frame(address, address, &mut Names::default());
            assert_eq!(format!("{} {}", frame.name(), frame.module.as_deref().unwrap_or("-")), expected);
            assert_eq!(named, frame.function.is_some());
        }
    }

    #[test]
    fn hidden_addresses_name_nothing() {
        let symbols = Kallsyms::parse(b"0000000000000000 T _stext\n0000000000000000 T schedule\n\xff\xff");
        assert!(!symbols.frame(0xffff_ffff_8100_0000, 0, &mut Names::default()).1);
        assert!(!Kallsyms::default().frame(5, 5, &mut Names::default()).1);
    }
}
