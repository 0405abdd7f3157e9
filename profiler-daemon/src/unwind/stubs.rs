//! Code that nobody describes, but whose form is known: stubs of the procedure linkage table, since lld writes no unwind
//! information for them, and no linker does on aarch64.

mod aarch64;

use profiler_common::unwind::{Rule, cfa, saved};

use super::eh_frame::Description;
use super::elf::Elf;
use super::rows::Rows;
use super::{BuildError, Segment};

/// Stubs are this long, and begin at multiples of it.
const STUB_BYTES: u64 = 16;
/// Length of `push` with an operand in memory, which the first stub begins with.
const PUSH_BYTES: u64 = 6;
/// `push [rip + …]`
const PUSH: [u8; 2] = [0xff, 0x35];
/// `jmp [rip + …]`, 6 bytes; a `push` of 5 bytes follows.
const JUMP: [u8; 2] = [0xff, 0x25];
/// `endbr64`, 4 bytes; a `push` of 5 bytes follows.
const BRANCH_TARGET: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// What code of a known form looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The first stub calls the linker; the others push a word before they jump there, done at this
    /// distance from their start.
    Lazy { pushed: i32 },
    /// Stubs that only jump.
    Jumps,
    /// Stubs of aarch64: they only jump, but the first one, which has a frame from this distance on.
    Linked { framed: u64 },
    /// The return from a signal's handler on aarch64.
    SignalReturn,
}

/// Such code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stubs {
    pub(super) code: Description,
    form: Form,
}

/// Such code in `code`, sorted and without overlaps.
pub(super) fn list(elf: &Elf<'_>, code: &[Segment]) -> Vec<Stubs> {
    let is_inside = |start: u64, end: u64| code.iter().any(|segment| segment.address <= start && end <= segment.end());
    let mut found = Vec::new();
    if elf.machine.links {
        found = aarch64::list(elf);
        found.retain(|stubs| is_inside(stubs.code.start, stubs.code.end));
    }
    for name in [b".plt".as_slice(), b".plt.sec", b".plt.got", b".iplt"].into_iter().filter(|_| !elf.machine.links) {
        let Some(section) = elf.section(name) else { continue };
        let (start, Some(end)) = (section.address, section.address.checked_add(section.bytes)) else { continue };
        let form = elf.first_bytes(section).and_then(|bytes| form(&bytes));
        if let Some(form) = form.filter(|_| is_inside(start, end) && start.is_multiple_of(STUB_BYTES)) {
            found.push(Stubs { code: Description::of_stubs(start, end), form });
        }
    }
    found.sort_by_key(|stubs| stubs.code.start);
    let mut free = 0;
    found.retain(|stubs| {
        let apart = stubs.code.start >= free;
        free = if apart { stubs.code.end } else { free };
        apart
    });
    found
}

/// By the first two stubs; none for those that are built otherwise.
fn form(bytes: &[u8; 2 * STUB_BYTES as usize]) -> Option<Form> {
    let (first, second) = bytes.split_at(STUB_BYTES as usize);
    if first.starts_with(&PUSH) {
        return match second {
            second if second.starts_with(&JUMP) => Some(Form::Lazy { pushed: 11 }),
            second if second.starts_with(&BRANCH_TARGET) => Some(Form::Lazy { pushed: 9 }),
            _ => None,
        };
    }
    (first.starts_with(&JUMP) || first.starts_with(&BRANCH_TARGET)).then_some(Form::Jumps)
}

impl Stubs {
    /// Adds the rows of this code, as GNU ld describes such stubs.
    pub(super) fn rows(&self, rows: &mut Rows) -> Result<(), BuildError> {
        let rule = |kind, cfa_offset, cfa_add| Rule {
            cfa: kind,
            cfa_offset,
            cfa_add,
            return_address: saved::AT_CFA,
            return_address_offset: -8,
            ..Rule::default()
        };
        let Description { start, end, .. } = self.code;
        match self.form {
            Form::Jumps => rows.start(start, rule(cfa::SP, 8, 0))?,
            Form::Lazy { pushed } => {
                // A stub came here with one word pushed, and another one follows.
                rows.start(start, rule(cfa::SP, 16, 0))?;
                rows.start(start + PUSH_BYTES, rule(cfa::SP, 24, 0))?;
                rows.start(start + STUB_BYTES, rule(cfa::PLT, 8, pushed))?;
            }
            Form::Linked { framed } => aarch64::linked(rows, start, framed)?,
            Form::SignalReturn => rows.start(start, aarch64::SIGNAL_RETURN)?,
        }
        rows.end(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_stubs_are_told_apart() {
        let check = |first: &[u8], second: &[u8], expected| {
            let mut bytes = [0xcc; 32];
            bytes[..first.len()].copy_from_slice(first);
            bytes[16..16 + second.len()].copy_from_slice(second);
            assert_eq!(form(&bytes), expected, "{first:02x?} {second:02x?}");
        };
        check(&PUSH, &JUMP, Some(Form::Lazy { pushed: 11 }));
        check(&PUSH, &BRANCH_TARGET, Some(Form::Lazy { pushed: 9 }));
        check(&JUMP, &JUMP, Some(Form::Jumps));
        check(&BRANCH_TARGET, &[], Some(Form::Jumps));
        // A retpoline.
        check(&PUSH, &[0x4c, 0x8b, 0x1d], None);
        check(&[0x90], &JUMP, None);
    }
}
