#![expect(clippy::unwrap_used, reason = "tests")]
//! Tables of real files, against what gimli computes for single addresses with made-up registers
//! and memory.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EvaluationResult, Location, Register, RegisterRule, UnwindContext,
    UnwindSection, Value,
};
use object::{Object, ObjectSection, ObjectSymbol};
use profiler_common::unwind::{Rule, cfa, rule_at, saved};

use super::super::*;

type Bytes<'a> = gimli::EndianSlice<'a, gimli::LittleEndian>;

/// What one step finds: the caller's stack pointer, frame pointer and pc; `None` at the end.
type Step = Option<(u64, u64, u64)>;

const RBP: u16 = 6;
const RSP: u16 = 7;
const RIP: u16 = 16;

/// A register's value in the frame that is stepped out of.
fn register(number: u16, pc: u64) -> u64 {
    if number == RIP { pc } else { 0x7fff_0000_0000 + u64::from(number) * 0x1000_0001 }
}

/// The word at an address: another one for each.
fn word(address: u64) -> u64 {
    (address ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// What a kernel program would do with a rule. `None` if it would give up.
fn by_rule(rule: Rule, pc: u64) -> Option<Step> {
    let plus = |number: u16, offset: i32| register(number, pc).wrapping_add_signed(offset.into());
    let cfa = match rule.cfa {
        cfa::END => return Some(None),
        cfa::SP => plus(RSP, rule.cfa_offset),
        cfa::FP => plus(RBP, rule.cfa_offset),
        cfa::REGISTER => plus(rule.register.into(), rule.cfa_offset),
        cfa::PLT => plus(RSP, rule.cfa_offset + if (pc & 15) as i32 >= rule.cfa_add { 8 } else { 0 }),
        cfa::DEREF_FP => word(plus(RBP, rule.cfa_offset)).wrapping_add_signed(rule.cfa_add.into()),
        cfa::DEREF_SP => word(plus(RSP, rule.cfa_offset)).wrapping_add_signed(rule.cfa_add.into()),
        cfa::SIGNAL => {
            let saved = |offset| word(plus(RSP, offset));
            let (sp, fp) = (saved(rule.cfa_offset), saved(rule.frame_pointer_offset));
            return Some(Some((sp, fp, saved(rule.return_address_offset))));
        }
        _ => return None,
    };
    let get = |place, offset: i32, same| match place {
        saved::SAME => same,
        saved::AT_CFA => word(cfa.wrapping_add_signed(offset.into())),
        saved::AT_FP => word(plus(RBP, offset)),
        saved::AT_SP => word(plus(RSP, offset)),
        _ => 0,
    };
    let fp = get(rule.frame_pointer, rule.frame_pointer_offset, register(RBP, pc));
    Some(Some((cfa, fp, get(rule.return_address, rule.return_address_offset, pc))))
}

/// The same by gimli. Fails for what the format is not meant to say.
fn by_gimli<'a, S: UnwindSection<Bytes<'a>>>(
    section: &S,
    row: &gimli::UnwindTableRow<usize>,
    encoding: gimli::Encoding,
    pc: u64,
) -> Step {
    if row.register(Register(RIP)) == Some(RegisterRule::Undefined) {
        return None;
    }
    let run = |expression: &gimli::UnwindExpression<usize>| {
        let mut evaluation = expression.get(section).unwrap().evaluation(encoding);
        let mut result = evaluation.evaluate().unwrap();
        loop {
            result = match result {
                EvaluationResult::RequiresRegister { register: of, .. } => {
                    evaluation.resume_with_register(Value::Generic(register(of.0, pc))).unwrap()
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(Value::Generic(word(address))).unwrap()
                }
                EvaluationResult::Complete => break,
                other => panic!("{other:?}"),
            };
        }
        match evaluation.as_result()[0].location {
            Location::Address { address } => address,
            other => panic!("{other:?}"),
        }
    };
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register: of, offset } => register(of.0, pc).wrapping_add_signed(*offset),
        CfaRule::Expression(expression) => run(expression),
    };
    let get = |number, default| match row.register(Register(number)) {
        None | Some(RegisterRule::SameValue) => default,
        Some(RegisterRule::Offset(offset)) => word(cfa.wrapping_add_signed(offset)),
        Some(RegisterRule::Expression(expression)) => word(run(&expression)),
        other => panic!("{other:?} at {pc:#x}"),
    };
    Some((get(RSP, cfa), get(RBP, register(RBP, pc)), get(RIP, pc)))
}

/// Looks up an address as a walk does.
fn look_up(parts: &[Part], dictionary: &Dictionary, address: u64) -> Rule {
    let part = parts.iter().find(|part| (part.start..part.end).contains(&address)).unwrap();
    let id = rule_at(|at| part.words.get(at as usize).copied(), part.shift.into(), address - part.start).unwrap();
    dictionary.rules()[usize::from(id)]
}

/// Compares the table of a file at each row's first and last byte and at addresses in between.
fn check(name: &str, bytes: &[u8], table: &FileTable) {
    let file = object::File::parse(bytes).unwrap();
    let data = |name| {
        let section = file.section_by_name(name).unwrap();
        (section.address(), section.data().unwrap())
    };
    let ((frames_at, frames), (index_at, index)) = (data(".eh_frame"), data(".eh_frame_hdr"));
    let bases = BaseAddresses::default().set_eh_frame(frames_at).set_eh_frame_hdr(index_at);
    let frames = EhFrame::new(frames, gimli::LittleEndian);
    let index = EhFrameHdr::new(index, gimli::LittleEndian).parse(&bases, 8).unwrap();
    let index = index.table().unwrap();

    let stubs = file.section_by_name(".plt").map(|section| section.address()..section.address() + section.size());
    let stubs = stubs.unwrap_or_default();
    let mut dictionary = Dictionary::new();
    let parts = pack(table, &dictionary.ids(&table.rules));
    let mut context = UnwindContext::new();
    let (mut described, mut gaps, mut unsupported) = (0_u64, 0_u64, 0_u64);
    let stride = (table.rows.len() / 6_000).max(1);
    let mut compare = |address: u64| {
        let rule = look_up(&parts, &dictionary, address);
        assert_eq!(rule, table.rule_at(address));
        let fde = index.fde_for_address(&frames, &bases, address, EhFrame::cie_from_offset);
        let Ok(fde) = fde else {
            if stubs.contains(&address) && rule != Rule::default() {
                // lld's, which we describe ourselves: as GNU ld does in libc.
                let offset = address - stubs.start;
                let pushed = match offset {
                    0..6 => 16,
                    6..16 => 24,
                    _ if offset % 16 >= 11 => 16,
                    _ => 8,
                };
                let sp = register(RSP, address);
                let expected = Some((sp + pushed, register(RBP, address), word(sp + pushed - 8)));
                assert_eq!(by_rule(rule, address), Some(expected), "{name}: {rule:?} at {address:#x}");
                return;
            }
            assert_eq!(rule, Rule::default(), "{name}: {address:#x} is not described");
            gaps += 1;
            return;
        };
        let row = fde.unwind_info_for_address(&frames, &bases, &mut context, address).unwrap();
        if rule.cfa == cfa::UNSUPPORTED {
            unsupported += 1;
            return;
        }
        let expected = by_gimli(&frames, row, fde.cie().encoding(), address);
        assert_eq!(by_rule(rule, address), Some(expected), "{name}: {rule:?} at {address:#x}");
        described += 1;
    };
    for pair in table.rows.windows(2).step_by(stride) {
        let (start, end) = (pair[0].address(), pair[1].address());
        for address in [start, start + (end - start) / 2, end - 1] {
            compare(address);
        }
    }
    stubs.clone().for_each(&mut compare);
    // Anywhere in the code, rows or not.
    let mut seed = 1_u64;
    for segment in &table.segments {
        for _ in 0..2_000 {
            seed = word(seed);
            compare(segment.address + seed % segment.bytes);
        }
    }
    println!("{name}: {described} described, {gaps} gaps, {unsupported} unsupported, {:?}", table.counts);
    assert!(described > 0 && unsupported <= 9 + described / 1_000);
}

#[test]
fn tables_of_real_files_say_what_gimli_says() {
    let mut files = 0;
    for path in [
        "/proc/self/exe",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
        "/usr/bin/python3",
        "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
        "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    ] {
        let Ok(file) = File::open(path) else { continue };
        let table = build(&file).unwrap();
        assert_eq!(table, build_from_bytes(&fs::read(path).unwrap()).unwrap());
        check(path, &fs::read(path).unwrap(), &table);
        files += 1;
    }
    assert!(files >= 2, "the test itself, and something else");
}

#[test]
fn the_vdso_has_a_table() {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else { return println!("skipped: no vDSO") };
    let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
    let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
    let mut image = vec![0; (end - start) as usize];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut image, start).unwrap();
    let table = build_from_bytes(&image).unwrap();
    check("vdso", &image, &table);
    assert!(table.build_id.is_some());
}

const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

#[test]
fn libc_has_stubs_and_signal_returns() {
    let Ok(file) = File::open(LIBC) else { return println!("skipped: no {LIBC}") };
    let rules = build(&file).unwrap().rules;
    let find = |kind| *rules.iter().find(|rule| rule.cfa == kind).unwrap();
    let signal = find(cfa::SIGNAL);
    let offsets = (signal.cfa_offset, signal.frame_pointer_offset, signal.return_address_offset);
    assert_eq!(offsets, (160, 120, 168));
    let stub = find(cfa::PLT);
    assert_eq!((stub.cfa_offset, stub.return_address, stub.return_address_offset), (8, saved::AT_CFA, -8));
}

#[test]
fn a_file_without_section_headers_has_the_same_table() {
    let Ok(mut bytes) = fs::read(LIBC) else { return println!("skipped: no {LIBC}") };
    let whole = build_from_bytes(&bytes).unwrap();
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    let stripped = build_from_bytes(&bytes).unwrap();
    assert_eq!((stripped.rows, stripped.rules), (whole.rows, whole.rules));
}

#[test]
fn debug_frame_alone_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("work.c");
    let code = "int other(int *); int work(int n) { int a[64]; a[n & 63] = n; return other(a) + a[3]; }";
    fs::write(&source, code).unwrap();
    let compile = |name: &str, args: &[&str]| -> Option<Vec<u8>> {
        let output = folder.path().join(name);
        let mut gcc = Command::new("gcc");
        gcc.args(["-O2", "-g", "-shared", "-fPIC", "-nostdlib", "-o"]).args([&output, &source]).args(args);
        gcc.status().ok()?.success().then(|| fs::read(&output).unwrap())
    };
    let without = &["-fno-asynchronous-unwind-tables", "-fno-exceptions"][..];
    let Some(usual) = compile("usual", &[]) else { return println!("skipped: needs gcc") };
    let expected = rules_of_work(&usual);
    assert!(expected.len() > 20 && expected[0].cfa == cfa::SP, "{expected:?}");
    for packing in ["none", "zlib", "zstd"] {
        let option = format!("-Wl,--compress-debug-sections={packing}");
        // Not each linker knows zstd.
        let Some(bytes) = compile(packing, &[without, &[&option]].concat()) else { continue };
        let file = object::File::parse(&*bytes).unwrap();
        assert!(file.section_by_name(".debug_frame").is_some());
        assert_eq!(rules_of_work(&bytes), expected, "{packing}");
    }
    assert!(Path::new(&folder.path().join("none")).exists());
}

/// The rule at each byte of the function `work`.
fn rules_of_work(bytes: &[u8]) -> Vec<Rule> {
    let file = object::File::parse(bytes).unwrap();
    let work = file.dynamic_symbols().find(|symbol| symbol.name() == Ok("work")).unwrap();
    let table = build_from_bytes(bytes).unwrap();
    (work.address()..work.address() + work.size()).map(|address| table.rule_at(address)).collect()
}
