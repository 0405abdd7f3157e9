use profiler_common::unwind::{Rule, cfa, saved};

use super::super::BuildError;
use super::super::eh_frame::Description;
use super::super::elf::Elf;
use super::super::rows::Rows;
use super::{Form, Stubs};

/// Bytes of an instruction.
const INSTRUCTION: usize = 4;
/// The first stub takes two of the others.
const FIRST_STUB_BYTES: u64 = 32;
/// `bti c`, which branches may be made to land on.
const LANDING: [u8; INSTRUCTION] = [0x5f, 0x24, 0x03, 0xd5];
/// `stp x16, x30, [sp, #-16]!`, which the first stub begins with.
const PUSH: [u8; INSTRUCTION] = [0xf0, 0x7b, 0xbf, 0xa9];
/// `mov x8, #139; svc #0`: the call `rt_sigreturn`.
const SIGNAL_RETURN_CODE: [u8; 2 * INSTRUCTION] = [0x68, 0x11, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4];
/// The code of a vDSO has less.
const MOST_CODE_BYTES: u64 = 16 << 10;

/// Where the kernel keeps the registers of what a signal interrupted, from the stack pointer of the handler on.
/// Source: `struct rt_sigframe`, arch/arm64/kernel/signal.c: 128 bytes of `siginfo`, 176 of `ucontext`, the address of a
/// fault, the registers x0 to x30, sp, pc.
pub(super) const SIGNAL_RETURN: Rule = Rule {
    cfa: cfa::SIGNAL,
    frame_pointer: saved::AT_SP,
    return_address: saved::AT_SP,
    register: 0,
    cfa_offset: REGISTERS + 31 * 8,
    cfa_add: 0,
    frame_pointer_offset: REGISTERS + 29 * 8,
    return_address_offset: REGISTERS + 32 * 8,
};
const REGISTERS: i32 = 128 + 176 + 8;

/// Stubs, and the return from a signal's handler, which the vDSO has. It describes all of its code but that, on purpose.
pub(super) fn list(elf: &Elf<'_>) -> Vec<Stubs> {
    let mut found = Vec::new();
    if let Some(section) = elf.section(b".plt")
        && let Some(end) = section.address.checked_add(section.bytes)
        && let Some(framed) = elf.first_bytes(section).and_then(|bytes| framed(&bytes))
    {
        found.push(Stubs { code: Description::of_stubs(section.address, end), form: Form::Linked { framed } });
    }
    if let Some(section) = elf.section(b".text")
        && section.bytes <= MOST_CODE_BYTES
        && let Ok(bytes) = elf.bytes_of(section)
        && let Some(at) = signal_return(&bytes)
        && let Some(start) = section.address.checked_add(at)
    {
        let code = Description::of_stubs(start, start + (INSTRUCTION + SIGNAL_RETURN_CODE.len()) as u64);
        found.push(Stubs { code, form: Form::SignalReturn });
    }
    found
}

/// From where on the first stub has a frame; none for those that are built otherwise.
fn framed(bytes: &[u8; 2 * INSTRUCTION]) -> Option<u64> {
    let (first, second) = bytes.split_at(INSTRUCTION);
    match (first, second) {
        (first, _) if first == PUSH => Some(INSTRUCTION as u64),
        (first, second) if first == LANDING && second == PUSH => Some(2 * INSTRUCTION as u64),
        _ => None,
    }
}

/// Where the return from a signal's handler begins: one instruction early, since that is where a handler's return
/// address is looked up.
fn signal_return(code: &[u8]) -> Option<u64> {
    let mut at = (INSTRUCTION..code.len()).step_by(INSTRUCTION);
    at.find(|at| code[*at..].starts_with(&SIGNAL_RETURN_CODE)).map(|at| (at - INSTRUCTION) as u64)
}

/// The rows of stubs that begin at an address.
pub(super) fn linked(rows: &mut Rows, start: u64, framed: u64) -> Result<(), BuildError> {
    let leaf = Rule { cfa: cfa::SP, ..Rule::default() };
    rows.start(start, leaf)?;
    let pushed = Rule { cfa_offset: 16, return_address: saved::AT_CFA, return_address_offset: -8, ..leaf };
    rows.start(start + framed, pushed)?;
    rows.start(start + FIRST_STUB_BYTES, leaf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_code_is_told_apart() {
        let first = |one: [u8; 4], other: [u8; 4]| framed([one, other].concat().first_chunk().unwrap_or(&[0; 8]));
        assert_eq!(first(PUSH, [0; 4]), Some(4));
        assert_eq!(first(LANDING, PUSH), Some(8));
        assert_eq!(first(LANDING, [0; 4]), None);
    }

    #[test]
    fn a_signal_return_begins_before_its_first_instruction() {
        let nop = [0x1f, 0x20, 0x03, 0xd5];
        let code = [&nop[..], &nop, &SIGNAL_RETURN_CODE, &nop].concat();
        assert_eq!(signal_return(&code), Some(4));
        assert_eq!(signal_return(&code[1..]), None, "not at an instruction");
        assert_eq!(signal_return(&SIGNAL_RETURN_CODE), None, "nothing before it");
        assert_eq!(signal_return(&[]), None);
    }

    #[test]
    fn registers_lie_where_the_kernel_puts_them() {
        let Rule { cfa_offset, frame_pointer_offset, return_address_offset, .. } = SIGNAL_RETURN;
        assert_eq!((frame_pointer_offset, cfa_offset, return_address_offset), (544, 560, 568));
    }
}
