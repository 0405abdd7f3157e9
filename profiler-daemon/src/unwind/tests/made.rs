#![expect(clippy::unwrap_used, reason = "tests")]
//! Tables of files made by hand: one description, and what becomes of it.

use profiler_common::unwind::{Rule, cfa, saved};

use super::super::rule::UNSUPPORTED;
use super::super::*;

pub(super) const X86_64: u16 = 62;
pub(super) const AARCH64: u16 = 183;
/// Where the code of a made file is.
pub(super) const CODE: u64 = 0x40_1000;
pub(super) const CODE_BYTES: u64 = 0x800;

/// A program with one segment of code and one section of unwind information.
pub(super) fn elf(machine: u16, section: &str, flags: u64, frames: &[u8]) -> Vec<u8> {
    let names = format!("\0.shstrtab\0{section}\0");
    let code_at = 64 + 56;
    let frames_at = code_at + CODE_BYTES as usize;
    let names_at = frames_at + frames.len();
    let sections_at = (names_at + names.len()).next_multiple_of(8);
    let mut out = vec![0; sections_at + 3 * 64];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &2_u16.to_le_bytes());
    put(18, &machine.to_le_bytes());
    put(32, &64_u64.to_le_bytes());
    put(40, &(sections_at as u64).to_le_bytes());
    for (at, number) in [(54, 56_u16), (56, 1), (58, 64), (60, 3), (62, 1)] {
        put(at, &number.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    put(64, &[1, 0, 0, 0, 5, 0, 0, 0]);
    for (at, number) in [(8, code_at as u64), (16, CODE), (32, CODE_BYTES), (40, CODE_BYTES)] {
        put(64 + at, &number.to_le_bytes());
    }
    put(frames_at, frames);
    put(names_at, names.as_bytes());
    let headers = [(1_u32, 3_u32, 0, 0, names_at, names.len()), (11, 1, flags, 0x50_0000, frames_at, frames.len())];
    for (index, (name, kind, flags, address, offset, bytes)) in headers.into_iter().enumerate() {
        let at = sections_at + (index + 1) * 64;
        put(at, &name.to_le_bytes());
        put(at + 4, &kind.to_le_bytes());
        for (field, number) in [(8, flags), (16, address as u64), (24, offset as u64), (32, bytes as u64)] {
            put(at + field, &number.to_le_bytes());
        }
    }
    out
}

/// What descriptions share: nothing but alignments and the instructions that each begins with.
pub(super) fn shared(augmentation: &str, return_address: u8, instructions: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 1];
    body.extend(augmentation.as_bytes());
    // Code is counted in bytes, data in words downwards.
    body.extend([0, 1, 0x78, return_address]);
    if augmentation.starts_with('z') {
        body.push(0);
    }
    body.extend(instructions);
    entry(body)
}

/// A description of code, whose shared entry is `back` bytes before it.
pub(super) fn description(back: usize, start: u64, bytes: u64, augmented: bool, instructions: &[u8]) -> Vec<u8> {
    let mut body = (back as u32 + 4).to_le_bytes().to_vec();
    body.extend(start.to_le_bytes());
    body.extend(bytes.to_le_bytes());
    if augmented {
        body.push(0);
    }
    body.extend(instructions);
    entry(body)
}

fn entry(mut body: Vec<u8>) -> Vec<u8> {
    body.resize(body.len().next_multiple_of(8) + 4, 0);
    [(body.len() as u32).to_le_bytes().as_slice(), &body].concat()
}

/// The CFA is rsp + 8, the return address right below.
pub(super) const X86_64_START: &[u8] = &[0x0c, 7, 8, 0x90, 1];

/// The rule that one description leads to.
fn rule(machine: u16, augmentation: &str, start: &[u8], instructions: &[u8]) -> Rule {
    let return_address = if machine == X86_64 { 16 } else { 30 };
    let shared = shared(augmentation, return_address, start);
    let description = description(shared.len(), CODE, 0x100, augmentation.starts_with('z'), instructions);
    let table = build_from_bytes(&elf(machine, ".eh_frame", 0, &[shared, description].concat())).unwrap();
    assert_eq!(table.segments, [Segment { file_offset: 120, address: CODE, bytes: CODE_BYTES }]);
    assert_eq!(table.rule_at(CODE + 0x100), Rule::default());
    assert_eq!(table.counts.unsupported, u64::from(table.rule_at(CODE) == UNSUPPORTED));
    table.rule_at(CODE)
}

const AT_CFA_MINUS_8: Rule = Rule {
    cfa: cfa::SP,
    cfa_offset: 8,
    return_address: saved::AT_CFA,
    return_address_offset: -8,
    frame_pointer: saved::SAME,
    register: 0,
    cfa_add: 0,
    frame_pointer_offset: 0,
};

#[test]
fn rules_of_x86_64() {
    let base = AT_CFA_MINUS_8;
    let check = |instructions: &[u8], expected: Rule| {
        assert_eq!(rule(X86_64, "", X86_64_START, instructions), expected, "{instructions:02x?}");
    };
    check(&[], base);
    // A frame of 540,128 bytes: def_cfa_offset.
    check(&[0x0e, 0xe0, 0xfb, 0x20], Rule { cfa_offset: 540_128, ..base });
    // push rbp; mov rsp, rbp: offset r6 at −16, def_cfa r6.
    let pushed = Rule { frame_pointer: saved::AT_CFA, frame_pointer_offset: -16, ..base };
    check(&[0x0e, 16, 0x86, 2, 0x0d, 6], Rule { cfa: cfa::FP, cfa_offset: 16, ..pushed });
    // def_cfa r10, 0
    check(&[0x0c, 10, 0], Rule { cfa: cfa::REGISTER, register: 10, cfa_offset: 0, ..base });
    // A realigned stack: *(rbp − 8), rbp saved at rbp + 0.
    let realigned = Rule { cfa: cfa::DEREF_FP, cfa_offset: -8, frame_pointer: saved::AT_FP, ..base };
    check(&[0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0], realigned);
    // OpenSSL: *(rsp + 40) + 8
    check(&[0x0f, 5, 0x77, 40, 0x06, 0x23, 8], Rule { cfa: cfa::DEREF_SP, cfa_offset: 40, cfa_add: 8, ..base });
    let stub = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    check(&stub, Rule { cfa: cfa::PLT, cfa_offset: 8, cfa_add: 11, ..base });
    // The return address is undefined: the outermost frame.
    check(&[0x07, 16], Rule { cfa: cfa::END, ..Rule::default() });
    // rbp is undefined, or in another register: the step is good, rbp is lost.
    check(&[0x07, 6], Rule { frame_pointer: saved::LOST, ..base });
    check(&[0x09, 6, 3], Rule { frame_pointer: saved::LOST, ..base });
    for unsupported in [
        &[0x09, 16, 5][..],                    // the return address is in a register: vfork
        &[0x08, 16],                           // it is unchanged
        &[0x87, 3],                            // the stack pointer is saved: setcontext
        &[0x0c, 17, 0],                        // CFA from a vector register
        &[0x0e, 0x80, 0x80, 0x80, 0x80, 0x10], // an offset of 2^32
        &[0x0f, 2, 0x79, 0],                   // fine …
    ] {
        let expected = if unsupported == [0x0f, 2, 0x79, 0] {
            Rule { cfa: cfa::REGISTER, register: 9, cfa_offset: 0, ..base }
        } else {
            UNSUPPORTED
        };
        check(unsupported, expected);
    }
}

#[test]
fn a_return_from_a_signal_handler_is_one_rule() {
    // As glibc writes it: rbp, rsp and rip at rsp + 120, 160 and 168.
    let saved: &[u8] = &[0x10, 6, 3, 0x77, 0xf8, 0, 0x10, 7, 3, 0x77, 0xa0, 1, 0x10, 16, 3, 0x77, 0xa8, 1];
    let instructions = [&[0x0f, 4, 0x77, 0xa0, 1, 0x06], saved].concat();
    let expected = Rule {
        cfa: cfa::SIGNAL,
        cfa_offset: 160,
        frame_pointer_offset: 120,
        return_address_offset: 168,
        ..Rule::default()
    };
    assert_eq!(rule(X86_64, "zS", &[], &instructions), expected);
    // Without the mark of a signal frame the stack pointer's place cannot be said.
    assert_eq!(rule(X86_64, "z", &[], &instructions), UNSUPPORTED);
}

#[test]
fn rules_of_aarch64() {
    let check = |instructions: &[u8], expected: Rule| {
        // The CFA is sp.
        assert_eq!(rule(AARCH64, "", &[0x0c, 31, 0], instructions), expected, "{instructions:02x?}");
    };
    let leaf = Rule { cfa: cfa::SP, ..Rule::default() };
    check(&[], leaf);
    // paciasp: DW_CFA_AARCH64_negate_ra_state
    check(&[0x2d], leaf);
    // stp x29, x30, [sp, −32]!
    let framed = Rule {
        cfa: cfa::SP,
        cfa_offset: 32,
        frame_pointer: saved::AT_CFA,
        frame_pointer_offset: -32,
        return_address: saved::AT_CFA,
        return_address_offset: -24,
        ..Rule::default()
    };
    check(&[0x0e, 32, 0x9d, 4, 0x9e, 3], framed);
    check(&[0x0e, 32, 0x9d, 4, 0x9e, 3, 0x0d, 29], Rule { cfa: cfa::FP, ..framed });
    check(&[0x07, 30], Rule { cfa: cfa::END, ..Rule::default() });
}

#[test]
fn descriptions_may_be_in_any_order_and_overlap() {
    let entry = shared("", 16, X86_64_START);
    let mut frames = entry.clone();
    // Each with another offset, to be told apart.
    for (start, bytes, offset) in [(0x300, 0x100, 48), (0x100, 0x180, 16), (0x200, 0x80, 32), (0x900, 8, 64)] {
        frames.extend(description(frames.len(), CODE + start, bytes, false, &[0x0e, offset]));
    }
    let table = build_from_bytes(&elf(X86_64, ".eh_frame", 0, &frames)).unwrap();
    let rows: Vec<_> =
        table.rows.iter().map(|row| (row.address() - CODE, table.rules[usize::from(row.rule())].cfa_offset)).collect();
    assert_eq!(rows, [(0x100, 16), (0x200, 32), (0x280, 0), (0x300, 48), (0x400, 0)]);
    assert_eq!((table.counts.descriptions, table.counts.overlapping, table.counts.outside), (4, 1, 1));
}

#[test]
fn instructions_that_break_off_leave_the_rest_unsupported() {
    let entry = shared("", 16, X86_64_START);
    // advance 16, def_cfa_offset 16, advance 16, restore a state that was not remembered
    let broken = description(entry.len(), CODE, 0x80, false, &[0x50, 0x0e, 16, 0x50, 0x0b]);
    let table = build_from_bytes(&elf(X86_64, ".eh_frame", 0, &[entry, broken].concat())).unwrap();
    let kinds: Vec<_> = [0, 0x0f, 0x10, 0x1f, 0x20, 0x7f, 0x80].map(|at| table.rule_at(CODE + at).cfa).into();
    assert_eq!(kinds, [cfa::SP, cfa::SP, cfa::SP, cfa::SP, cfa::UNSUPPORTED, cfa::UNSUPPORTED, cfa::GAP]);
    assert_eq!(table.counts.broken, 1);
}

#[test]
fn other_files_are_refused() {
    let good = elf(X86_64, ".eh_frame", 0, &[]);
    let check = |change: &[(usize, u8)], expected: &str| {
        let mut bytes = good.clone();
        for (at, byte) in change {
            bytes[*at] = *byte;
        }
        let result = build_from_bytes(&bytes);
        assert_eq!(
            result.map_or_else(|error| error.to_string(), |table| format!("{} rows", table.rows.len())),
            expected
        );
    };
    check(&[], "0 rows");
    check(&[(0, 0)], "not an ELF program or library");
    check(&[(16, 1)], "not an ELF program or library");
    check(&[(16, 4)], "not an ELF program or library");
    check(&[(4, 1)], "unwinding is not supported for ELF class 1, machine 62");
    check(&[(5, 2)], "unwinding is not supported for ELF class 2, machine 62");
    check(&[(18, 40)], "unwinding is not supported for ELF class 2, machine 40");
    check(&[(39, 0xff)], "cannot read the program headers");
    check(&[(47, 0xff)], "0 rows");
}
