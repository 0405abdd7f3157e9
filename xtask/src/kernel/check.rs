//! What must hold for a kernel object before any kernel sees it. A panic compiles and links, and is
//! found only when the verifier refuses the program, with "last insn is not an exit or jmp" and no
//! word of the line that can panic. Here it has a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};
use object::elf::{R_BPF_64_32, R_BPF_64_64};
use object::{
    File, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, Section, SectionKind, Symbol,
    SymbolIndex, SymbolKind,
};

use crate::machine::Machine;
use crate::run::{self, say};

/// Parts of the names, in either mangling, of what a panic brings in.
const PANIC_NAMES: [&str; 3] = ["9panicking", "rust_begin_unwind", "panic_fmt"];

/// Bytes of one instruction.
const INSTRUCTION: usize = 8;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const JUMP: u8 = 0x05;
const JUMP_LONG: u8 = 0x06;
/// In the source register of a call: to another function of this object. 0 is a helper of the
/// kernel, 2 one of its functions by BTF id.
const CALL_LOCAL: u8 = 1;

/// Builds every variant and checks it.
///
/// # Errors
/// As [`super::build::all`], or an object has problems: all of them are printed.
pub(crate) fn all() -> Result<()> {
    let mut failed = Vec::new();
    let machines = [Machine::X86_64, Machine::Aarch64].map(super::build::all);
    for path in machines.into_iter().collect::<Result<Vec<_>>>()?.concat() {
        let name = run::short(&path).to_string();
        let bytes = fs::read(&path).with_context(|| format!("cannot read `{name}`"))?;
        let checked = check(&bytes).with_context(|| format!("`{name}` is no kernel object"))?;
        say(&format!("{name}: {} bytes, {} functions", bytes.len(), checked.functions));
        for problem in &checked.problems {
            eprintln!("error: {name}: {problem}");
        }
        if !checked.problems.is_empty() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("kernel programs that no kernel would load: {}", failed.join(", "));
    }
    Ok(())
}

/// What there is in an object, and what is wrong with it.
#[derive(Debug, Default, PartialEq)]
struct Checked {
    functions: usize,
    problems: BTreeSet<Problem>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Problem {
    /// A function of the panic machinery is left.
    Panic { symbol: String },
    /// A call of one: here is the panic.
    Panics { function: String, offset: usize, callee: String },
    /// A relocation to a symbol that is not in the object.
    Undefined { symbol: String, section: String },
    /// A call that the loader cannot point anywhere: no relocation says to which function.
    OpenCall { function: String, offset: usize },
    /// A function that runs past its end, as after a call that never returns.
    NoEnd { function: String },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic { symbol } => write!(f, "a panic path is left: `{symbol}`"),
            Self::Panics { function, offset, callee } => write!(f, "`{function}`+{offset:#x} can panic: `{callee}`"),
            Self::Undefined { symbol, section } => write!(f, "`{section}` refers to `{symbol}`, which is not defined"),
            Self::OpenCall { function, offset } => write!(f, "`{function}`+{offset:#x} calls nothing known"),
            Self::NoEnd { function } => {
                write!(f, "`{function}` ends in neither an exit nor a jump, as with a panic in it")
            }
        }
    }
}

fn is_panic(symbol: &str) -> bool {
    PANIC_NAMES.iter().any(|part| symbol.contains(part))
}

fn check(bytes: &[u8]) -> object::Result<Checked> {
    let file = File::parse(bytes)?;
    let mut checked = Checked::default();
    for symbol in file.symbols() {
        let name = symbol.name()?;
        if is_panic(name) {
            checked.problems.insert(Problem::Panic { symbol: name.to_owned() });
        }
    }
    for section in file.sections().filter(is_loaded) {
        let targets = relocations(&file, &section, &mut checked)?;
        for function in functions(&file, &section) {
            checked.functions += 1;
            if !is_panic(function.name()?) {
                check_function(&file, &section, &function, &targets, &mut checked)?;
            }
        }
    }
    Ok(checked)
}

/// Whether the loader reads this section: debug information may name what was optimized away.
fn is_loaded(section: &Section<'_, '_>) -> bool {
    matches!(section.kind(), SectionKind::Text | SectionKind::Data | SectionKind::ReadOnlyData)
}

/// Notes references to what is not there; returns what is referred to, by offset in the section.
fn relocations(
    file: &File<'_>,
    section: &Section<'_, '_>,
    checked: &mut Checked,
) -> object::Result<BTreeMap<u64, SymbolIndex>> {
    let mut targets = BTreeMap::new();
    for (offset, relocation) in section.relocations() {
        let RelocationTarget::Symbol(index) = relocation.target() else { continue };
        let symbol = file.symbol_by_index(index)?;
        let known = matches!(relocation.flags(), RelocationFlags::Elf { r_type: R_BPF_64_64 | R_BPF_64_32 });
        if symbol.is_undefined() {
            let problem = Problem::Undefined { symbol: symbol.name()?.to_owned(), section: section.name()?.to_owned() };
            checked.problems.insert(problem);
        } else if known {
            targets.insert(offset, index);
        }
    }
    Ok(targets)
}

fn functions<'data, 'file>(
    file: &'file File<'data>,
    section: &Section<'data, 'file>,
) -> impl Iterator<Item = Symbol<'data, 'file>> + use<'data, 'file> {
    let index = section.index();
    file.symbols().filter(move |symbol| symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(index))
}

fn check_function(
    file: &File<'_>,
    section: &Section<'_, '_>,
    function: &Symbol<'_, '_>,
    targets: &BTreeMap<u64, SymbolIndex>,
    checked: &mut Checked,
) -> object::Result<()> {
    let name = function.name()?.to_owned();
    let start = function.address() as usize;
    let code = section.data()?.get(start..start + function.size() as usize).unwrap_or_default();
    let (instructions, _) = code.as_chunks::<INSTRUCTION>();
    for (number, &[operation, registers, _, _, number_bytes @ ..]) in instructions.iter().enumerate() {
        if operation != CALL || registers >> 4 != CALL_LOCAL {
            continue;
        }
        let offset = number * INSTRUCTION;
        let distance = i32::from_le_bytes(number_bytes);
        match targets.get(&((start + offset) as u64)) {
            Some(&target) => {
                let callee = callee(file, target, distance)?;
                if let Some(callee) = callee.filter(|callee| is_panic(callee)) {
                    checked.problems.insert(Problem::Panics { function: name.clone(), offset, callee });
                }
            }
            // Any other distance is one that the compiler resolved, inside this section.
            None if distance == -1 => {
                checked.problems.insert(Problem::OpenCall { function: name.clone(), offset });
            }
            None => {}
        }
    }
    // The panic handler itself ends in a jump to itself, which is an end: names give it away, above.
    if !instructions.last().is_some_and(|last| matches!(last[0], EXIT | JUMP | JUMP_LONG)) {
        checked.problems.insert(Problem::NoEnd { function: name });
    }
    Ok(())
}

/// The function that a relocated call leads to. A symbol of a whole section stands for its start,
/// and the call says how far from there, in instructions and less one.
fn callee(file: &File<'_>, target: SymbolIndex, distance: i32) -> object::Result<Option<String>> {
    let symbol = file.symbol_by_index(target)?;
    if symbol.kind() != SymbolKind::Section {
        return Ok(Some(symbol.name()?.to_owned()));
    }
    let address = (i64::from(distance) + 1) * INSTRUCTION as i64;
    let found = file.symbols().find(|other| {
        other.kind() == SymbolKind::Text
            && other.section_index() == symbol.section_index()
            && i64::try_from(other.address()) == Ok(address)
    });
    found.map(|function| function.name().map(str::to_owned)).transpose()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use object::write::{self, Relocation, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolScope};

    const EXITS: [u8; 8] = [EXIT, 0, 0, 0, 0, 0, 0, 0];
    const CALLS_OTHER: [u8; 8] = [CALL, CALL_LOCAL << 4, 0, 0, 0xff, 0xff, 0xff, 0xff];
    const CALLS_HELPER: [u8; 8] = [CALL, 0, 0, 0, 5, 0, 0, 0];

    /// An object with one function of this name and code. `to` names a symbol that its first
    /// instruction refers to, and tells whether the object has it.
    fn program(name: &str, code: &[[u8; 8]], to: Option<(&str, bool)>) -> Vec<u8> {
        let mut file = write::Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
        let section = file.add_section(vec![], b"tp_btf/sched_switch".to_vec(), SectionKind::Text);
        let at = file.append_section_data(section, code.as_flattened(), 8);
        let symbol = |name: &str, section, kind, size| write::Symbol {
            name: name.into(),
            value: at,
            size,
            kind,
            scope: SymbolScope::Linkage,
            weak: false,
            section,
            flags: SymbolFlags::None,
        };
        let size = code.as_flattened().len() as u64;
        file.add_symbol(symbol(name, SymbolSection::Section(section), SymbolKind::Text, size));
        if let Some((to, is_defined)) = to {
            let other = file.add_section(vec![], b".text.unlikely.".to_vec(), SectionKind::Text);
            file.append_section_data(other, &EXITS, 8);
            let place = if is_defined { SymbolSection::Section(other) } else { SymbolSection::Undefined };
            let symbol = file.add_symbol(symbol(to, place, SymbolKind::Text, if is_defined { 8 } else { 0 }));
            let flags = RelocationFlags::Elf { r_type: R_BPF_64_32 };
            file.add_relocation(section, Relocation { offset: at, symbol, addend: 0, flags }).unwrap();
        }
        file.write().unwrap()
    }

    fn problems(object: &[u8]) -> Vec<String> {
        check(object).unwrap().problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_program_that_calls_helpers_and_exits_is_fine() {
        let object = program("sched_switch", &[CALLS_HELPER, EXITS], None);
        assert_eq!(check(&object).unwrap(), Checked { functions: 1, problems: BTreeSet::new() });
    }

    #[test]
    fn the_panic_machinery_is_named_in_both_manglings() {
        for name in ["_ZN4core9panicking18panic_bounds_check17h0E", "_RNvNtCsabc_4core9panicking9panic_fmt"] {
            let found = problems(&program(name, &[EXITS], None));
            assert_eq!(found, [format!("a panic path is left: `{name}`")]);
        }
    }

    #[test]
    fn a_call_that_never_returns_leaves_no_end() {
        let found = problems(&program("sched_switch", &[EXITS, CALLS_HELPER], None));
        assert_eq!(found, ["`sched_switch` ends in neither an exit nor a jump, as with a panic in it"]);
    }

    #[test]
    fn a_panic_has_a_place() {
        let callee = "_ZN4core9panicking5panic17h0E";
        let found = problems(&program("sched_switch", &[CALLS_OTHER, EXITS], Some((callee, true))));
        assert_eq!(
            found,
            [format!("a panic path is left: `{callee}`"), format!("`sched_switch`+0x0 can panic: `{callee}`"),]
        );
    }

    #[test]
    fn calls_must_lead_somewhere() {
        let open = problems(&program("sched_switch", &[CALLS_OTHER, EXITS], None));
        assert_eq!(open, ["`sched_switch`+0x0 calls nothing known"]);
        let undefined = problems(&program("sched_switch", &[CALLS_OTHER, EXITS], Some(("memcpy", false))));
        assert!(
            undefined[0].contains("`tp_btf/sched_switch` refers to `memcpy`, which is not defined"),
            "{undefined:?}"
        );
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        assert!(check(b"not an object").is_err());
    }
}
