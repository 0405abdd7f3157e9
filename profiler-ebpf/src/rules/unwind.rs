//! One step of unwinding: from a frame to its caller, by a rule of the unwind tables.
//!
//! Where no table describes the code, the frame pointer has to do: a function that keeps one starts
//! with `push rbp; mov rbp, rsp`, so at `rbp` lies the caller's frame pointer, above it the return
//! address. Such a step is likely right, not proven.

use profiler_common::unwind::{Rule, cfa, saved};
use profiler_common::wire::outcome;

/// A frame pointer further than this above the stack pointer is no frame pointer.
pub const MAX_STACK_BYTES: u64 = 16 << 20;

/// Where a walk stands. Zeroed memory is a valid start.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Where execution goes on in this frame.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer. Code without frame pointers keeps anything in that register.
    pub fp: u64,
    /// Where that was read from; 0 while it is the register's own value.
    pub fp_at: u64,
    /// 1 if `pc` is not a return address: the leaf, or a frame that a signal interrupted.
    pub exact: u32,
    /// 1 if the frame was found by a frame pointer alone.
    pub approximate: u32,
}

impl Cursor {
    /// The address whose rule counts: a return address may be the first of the next function.
    #[inline(always)]
    pub fn lookup_pc(&self) -> u64 {
        if self.exact != 0 { self.pc } else { self.pc.wrapping_sub(1) }
    }
}

/// Whether a step by this rule looks at the frame pointer: only then does its value decide the walk.
#[inline(always)]
pub fn uses_frame_pointer(rule: &Rule) -> bool {
    rule.cfa == cfa::FP
        || rule.cfa == cfa::DEREF_FP
        || rule.frame_pointer == saved::AT_FP
        || rule.return_address == saved::AT_FP
}

/// Whether a step by this rule can do without the stack pointer.
#[inline(always)]
pub fn ignores_stack_pointer(rule: &Rule) -> bool {
    (rule.cfa == cfa::FP || rule.cfa == cfa::DEREF_FP || rule.cfa == cfa::END)
        && rule.frame_pointer != saved::AT_SP
        && rule.return_address != saved::AT_SP
}

/// What a word is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// The way of the walk.
    Way,
    /// The caller's frame pointer, of which nobody knows yet whether the walk looks at it.
    FramePointer,
}

/// How a walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To the caller.
    Caller(Cursor),
    /// Not at all, with an outcome of [`outcome`].
    End(u32),
    /// Not before the word at this address was read.
    Missing(u64),
}

/// Reads a word of the stack, or returns [`Step::Missing`] with the lower of it and its neighbour.
macro_rules! word {
    ($read:ident, $address:expr, $lowest:expr) => {
        word!($read, $address, $lowest, For::Way)
    };
    ($read:ident, $address:expr, $lowest:expr, $for:expr) => {
        match $read($address, $for) {
            Some(word) => word,
            None => return Step::Missing($lowest),
        }
    };
}

/// What only the leaf's registers say; callers have other values in them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leaf {
    /// The register that the rule names.
    pub register: Option<u64>,
    /// The link register, on machines that have one, with the bits of pointer authentication stripped.
    pub link: Option<u64>,
}

/// Applies `rule`, which is neither a gap nor unsupported. `read` returns a word of stack that is at hand.
#[inline(always)]
pub fn by_rule(rule: &Rule, at: &Cursor, leaf: Leaf, mut read: impl FnMut(u64, For) -> Option<u64>) -> Step {
    let offset = |base: u64, bytes: i32| base.wrapping_add(bytes as i64 as u64);
    let frame = match rule.cfa {
        cfa::SP => offset(at.sp, rule.cfa_offset),
        cfa::FP => offset(at.fp, rule.cfa_offset),
        cfa::REGISTER => match leaf.register {
            Some(value) => offset(value, rule.cfa_offset),
            None => return Step::End(outcome::BAD_RULE),
        },
        cfa::PLT => {
            let pushed = if (at.pc & 15) as i64 >= i64::from(rule.cfa_add) { 8 } else { 0 };
            offset(at.sp, rule.cfa_offset).wrapping_add(pushed)
        }
        cfa::DEREF_FP | cfa::DEREF_SP => {
            let base = if rule.cfa == cfa::DEREF_FP { at.fp } else { at.sp };
            let address = offset(base, rule.cfa_offset);
            offset(word!(read, address, address), rule.cfa_add)
        }
        cfa::SIGNAL => return by_signal(rule, at, read),
        cfa::END => return Step::End(outcome::COMPLETE),
        _ => return Step::End(outcome::BAD_RULE),
    };
    // A caller's frame lies above, but for a leaf that has pushed nothing, its return address in the link
    // register; this is also what makes every walk end.
    let is_linked = rule.return_address == saved::SAME && leaf.link.is_some();
    if frame < at.sp || (frame == at.sp && !is_linked) {
        return Step::End(outcome::BAD_RULE);
    }
    let place = |kind: u8, bytes: i32| match kind {
        saved::AT_FP => offset(at.fp, bytes),
        saved::AT_SP => offset(at.sp, bytes),
        _ => offset(frame, bytes),
    };
    let pc_at = place(rule.return_address, rule.return_address_offset);
    let fp_at = place(rule.frame_pointer, rule.frame_pointer_offset);
    let lowest = if fp_at < pc_at && pc_at - fp_at < NEIGHBOURS { fp_at } else { pc_at };
    // In order of address, which is how the memo keeps them.
    let (fp, fp_at) = match rule.frame_pointer {
        saved::SAME => (at.fp, at.fp_at),
        saved::LOST => (0, at.fp_at),
        _ => (word!(read, fp_at, if fp_at < pc_at { lowest } else { fp_at }, For::FramePointer), fp_at),
    };
    let saves_fp = rule.frame_pointer != saved::SAME && rule.frame_pointer != saved::LOST;
    let pc = match (rule.return_address, leaf.link) {
        (saved::SAME, Some(link)) => link,
        (saved::SAME, None) | (saved::LOST, _) => return Step::End(outcome::BAD_RULE),
        _ => word!(read, pc_at, if saves_fp { lowest } else { pc_at }),
    };
    if pc == 0 {
        return Step::End(outcome::COMPLETE);
    }
    Step::Caller(Cursor { pc, sp: frame, fp, fp_at, exact: 0, approximate: 0 })
}

/// Two words closer than this are read together.
const NEIGHBOURS: u64 = 256;

#[inline(always)]
fn by_signal(rule: &Rule, at: &Cursor, mut read: impl FnMut(u64, For) -> Option<u64>) -> Step {
    let place = |bytes: i32| at.sp.wrapping_add(bytes as i64 as u64);
    // The kernel saves them in this order: frame pointer, stack pointer, program counter.
    let first = place(rule.frame_pointer_offset);
    let fp = word!(read, first, first, For::FramePointer);
    let sp = word!(read, place(rule.cfa_offset), first);
    let pc = word!(read, place(rule.return_address_offset), first);
    if pc == 0 {
        return Step::End(outcome::COMPLETE);
    }
    Step::Caller(Cursor { pc, sp, fp, fp_at: first, exact: 1, approximate: 0 })
}

/// The step where no rule is known. `is_leaf` for the frame that the walk started in.
#[inline(always)]
pub fn by_frame_pointer(at: &Cursor, is_leaf: bool, mut read: impl FnMut(u64, For) -> Option<u64>) -> Step {
    if at.fp < at.sp || at.fp & 7 != 0 || at.fp - at.sp > MAX_STACK_BYTES {
        // The ABI zeroes it in the outermost frame.
        let is_root = at.fp == 0 && !is_leaf;
        return Step::End(if is_root { outcome::COMPLETE } else { outcome::NO_INFO });
    }
    let fp = word!(read, at.fp, at.fp, For::FramePointer);
    let pc = word!(read, at.fp + 8, at.fp);
    if pc == 0 {
        return Step::End(outcome::COMPLETE);
    }
    // The saved pointer may be anything in the outermost frame: only its own step judges it.
    Step::Caller(Cursor { pc, sp: at.fp + 16, fp, fp_at: at.fp, exact: 0, approximate: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x7fff_0000;

    /// Words of a drawn stack from `BASE` upwards.
    fn stack(words: &[u64]) -> impl FnMut(u64, For) -> Option<u64> + '_ {
        |address, _| words.get(address.checked_sub(BASE)? as usize / 8).copied()
    }

    /// Without where the frame pointer came from.
    fn bare(step: Step) -> Step {
        match step {
            Step::Caller(caller) => Step::Caller(Cursor { fp_at: 0, ..caller }),
            other => other,
        }
    }

    fn at(sp: u64, fp: u64) -> Cursor {
        Cursor { pc: 0x1000, sp, fp, exact: 1, ..Cursor::default() }
    }

    fn to(pc: u64, sp: u64, fp: u64) -> Step {
        Step::Caller(Cursor { pc, sp, fp, ..Cursor::default() })
    }

    const CALL: Rule = Rule {
        cfa: cfa::SP,
        frame_pointer: saved::SAME,
        return_address: saved::AT_CFA,
        register: 0,
        cfa_offset: 8,
        cfa_add: 0,
        frame_pointer_offset: 0,
        return_address_offset: -8,
    };

    #[test]
    fn rules_find_the_caller() {
        let pushed = Rule { cfa_offset: 16, frame_pointer: saved::AT_CFA, frame_pointer_offset: -16, ..CALL };
        let realigned =
            Rule { cfa: cfa::DEREF_FP, cfa_offset: -8, frame_pointer: saved::AT_FP, frame_pointer_offset: 0, ..CALL };
        let signal =
            Rule { cfa: cfa::SIGNAL, cfa_offset: 8, frame_pointer_offset: 0, return_address_offset: 16, ..CALL };
        let plt = Rule { cfa: cfa::PLT, cfa_offset: 8, cfa_add: 11, ..CALL };
        type Case<'a> = (&'a str, Rule, Cursor, &'a [u64], Step);
        let cases: &[Case<'_>] = &[
            ("right after the call", CALL, at(BASE, 5), &[0xa], to(0xa, BASE + 8, 5)),
            ("after a push", pushed, at(BASE, 5), &[7, 0xa], to(0xa, BASE + 16, 7)),
            (
                "by frame pointer",
                Rule { cfa: cfa::FP, cfa_offset: 16, ..pushed },
                at(BASE, BASE + 8),
                &[0, 7, 0xa],
                to(0xa, BASE + 24, 7),
            ),
            ("realigned", realigned, at(BASE, BASE + 8), &[BASE + 32, 7, 0, 0xa], to(0xa, BASE + 32, 7)),
            (
                "frame pointer lost",
                Rule { frame_pointer: saved::LOST, ..CALL },
                at(BASE, 5),
                &[0xa],
                to(0xa, BASE + 8, 0),
            ),
            ("stub before its push", plt, Cursor { pc: 0x100a, ..at(BASE, 5) }, &[0xa], to(0xa, BASE + 8, 5)),
            ("stub after its push", plt, Cursor { pc: 0x100b, ..at(BASE, 5) }, &[0, 0xa], to(0xa, BASE + 16, 5)),
            (
                "signal",
                signal,
                at(BASE, 5),
                &[7, 0x9000, 0xb],
                Step::Caller(Cursor { pc: 0xb, sp: 0x9000, fp: 7, exact: 1, ..Cursor::default() }),
            ),
            ("outermost", Rule { cfa: cfa::END, ..CALL }, at(BASE, 5), &[], Step::End(outcome::COMPLETE)),
            ("return address zero", CALL, at(BASE, 5), &[0], Step::End(outcome::COMPLETE)),
            ("no way up", Rule { cfa_offset: -8, ..CALL }, at(BASE + 8, 5), &[1, 2], Step::End(outcome::BAD_RULE)),
            ("word not at hand", pushed, at(BASE, 5), &[], Step::Missing(BASE)),
            ("return address not at hand", pushed, at(BASE, 5), &[7], Step::Missing(BASE)),
            ("unknown kind", Rule { cfa: 99, ..CALL }, at(BASE, 5), &[1], Step::End(outcome::BAD_RULE)),
        ];
        for (name, rule, from, words, expected) in cases {
            assert_eq!(bare(by_rule(rule, from, Leaf::default(), stack(words))), *expected, "{name}");
        }
    }

    #[test]
    fn the_leaf_has_registers_that_its_callers_do_not_have() {
        let none = Leaf::default();
        let other = Rule { cfa: cfa::REGISTER, register: 10, cfa_offset: 8, ..CALL };
        let known = Leaf { register: Some(BASE + 8), ..none };
        assert_eq!(bare(by_rule(&other, &at(BASE, 5), known, stack(&[0, 0xa]))), to(0xa, BASE + 16, 5));
        assert_eq!(by_rule(&other, &at(BASE, 5), none, stack(&[0, 0xa])), Step::End(outcome::BAD_RULE));
        let linked = Rule { return_address: saved::SAME, cfa_offset: 0, ..CALL };
        let known = Leaf { link: Some(0xb), ..none };
        assert_eq!(by_rule(&linked, &at(BASE, 5), known, stack(&[])), to(0xb, BASE, 5));
        assert_eq!(by_rule(&linked, &at(BASE, 5), none, stack(&[])), Step::End(outcome::BAD_RULE));
    }

    #[test]
    fn a_frame_pointer_that_nobody_looks_at_is_not_on_the_way() {
        let pushed = Rule { cfa_offset: 16, frame_pointer: saved::AT_CFA, frame_pointer_offset: -16, ..CALL };
        let mut on_the_way = Vec::new();
        let words = [7, 0xa];
        let step = by_rule(&pushed, &at(BASE, 5), Leaf::default(), |address, what| {
            if what == For::Way {
                on_the_way.push(address);
            }
            words.get((address - BASE) as usize / 8).copied()
        });
        assert_eq!(on_the_way, [BASE + 8], "the return address");
        // Should a caller look at it, this is the place that counts.
        assert_eq!(step, Step::Caller(Cursor { pc: 0xa, sp: BASE + 16, fp: 7, fp_at: BASE, ..Cursor::default() }));
        let uses =
            [cfa::SP, cfa::FP, cfa::DEREF_FP, cfa::DEREF_SP].map(|cfa| uses_frame_pointer(&Rule { cfa, ..CALL }));
        assert_eq!(uses, [false, true, true, false]);
        assert!(uses_frame_pointer(&Rule { frame_pointer: saved::AT_FP, ..CALL }));
    }

    #[test]
    fn without_rules_the_frame_pointer_leads() {
        let found = |pc, sp, fp| Step::Caller(Cursor { pc, sp, fp, approximate: 1, ..Cursor::default() });
        type Case<'a> = (&'a str, u64, &'a [u64], Step);
        let cases: &[Case<'_>] = &[
            ("a pair", BASE, &[BASE + 16, 0x1], found(0x1, BASE + 16, BASE + 16)),
            ("garbage saved by the root", BASE, &[0x77, 0x1], found(0x1, BASE + 16, 0x77)),
            ("return address zero", BASE, &[BASE + 16, 0], Step::End(outcome::COMPLETE)),
            ("below the stack", BASE - 8, &[0; 4], Step::End(outcome::NO_INFO)),
            ("odd", BASE + 4, &[0; 4], Step::End(outcome::NO_INFO)),
            ("none", 0, &[0; 4], Step::End(outcome::COMPLETE)),
            ("not at hand", BASE + 64, &[0; 4], Step::Missing(BASE + 64)),
        ];
        for (name, fp, words, expected) in cases {
            assert_eq!(bare(by_frame_pointer(&at(BASE, *fp), false, stack(words))), *expected, "{name}");
        }
        assert_eq!(by_frame_pointer(&at(BASE, 0), true, stack(&[])), Step::End(outcome::NO_INFO), "a leaf is no root");
    }

    #[test]
    fn a_return_address_belongs_to_the_call_before_it() {
        assert_eq!(Cursor { pc: 9, exact: 0, ..Cursor::default() }.lookup_pc(), 8);
        assert_eq!(Cursor { pc: 9, exact: 1, ..Cursor::default() }.lookup_pc(), 9);
    }
}
