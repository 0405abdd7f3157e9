use gimli::{CfaRule, Encoding, Register, RegisterRule, UnwindExpression, UnwindSection, UnwindTableRow};
use profiler_common::unwind::{Rule, cfa, saved};

use super::eh_frame::Bytes;
use super::expression::{Value, evaluate};
use super::machine::Machine;

/// A rule that says that the format cannot say it.
pub(super) const UNSUPPORTED: Rule = only(cfa::UNSUPPORTED);

/// A row of a frame description in the words of the kernel's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    pub(super) rule: Rule,
    /// The caller's frame pointer exists, but the format cannot say where.
    pub(super) frame_pointer_lost: bool,
}

/// A rule that consists of its kind alone.
const fn only(kind: u8) -> Rule {
    Rule {
        cfa: kind,
        frame_pointer: saved::SAME,
        return_address: saved::SAME,
        register: 0,
        cfa_offset: 0,
        cfa_add: 0,
        frame_pointer_offset: 0,
        return_address_offset: 0,
    }
}

/// Translates the rows of one section.
pub(super) struct Translator<'a, S> {
    pub(super) section: &'a S,
    pub(super) machine: &'static Machine,
    /// Of the frame description that is read.
    pub(super) encoding: Encoding,
    /// Whether its function returns from a signal handler.
    pub(super) signal: bool,
}

/// Where a register of the caller is.
enum Place {
    /// One of [`saved`], and its offset.
    Saved(u8, i64),
    /// Somewhere that the format cannot say.
    Elsewhere,
}

impl<'b, S: UnwindSection<Bytes<'b>>> Translator<'_, S> {
    /// One row; [`UNSUPPORTED`] if the format cannot say it.
    pub(super) fn row(&self, row: &UnwindTableRow<usize, impl gimli::UnwindContextStorage<usize>>) -> Translated {
        let machine = self.machine;
        let column = |register| row.register(register);
        if column(machine.return_address) == Some(RegisterRule::Undefined) {
            return only(cfa::END).into();
        }
        let Some(return_address) = self.return_address(column(machine.return_address)) else {
            return UNSUPPORTED.into();
        };
        let (frame_pointer, lost) = match self.place(column(machine.frame_pointer)) {
            Place::Saved(place, offset) => ((place, offset), false),
            Place::Elsewhere => ((saved::LOST, 0), true),
        };
        let stack_pointer = column(machine.stack_pointer);
        let signal = self.signal.then(|| self.signal_return(&stack_pointer, frame_pointer, return_address));
        let rule = signal.flatten().or_else(|| {
            // The format has no place for it: the caller's stack pointer is the CFA.
            let ordinary = matches!(
                stack_pointer,
                None | Some(RegisterRule::Undefined | RegisterRule::SameValue | RegisterRule::ValOffset(0))
            );
            let rule = ordinary.then(|| self.cfa(row.cfa()))??;
            with_saved(rule, frame_pointer, return_address)
        });
        rule.map_or(UNSUPPORTED.into(), |rule| Translated { rule, frame_pointer_lost: lost })
    }

    fn return_address(&self, rule: Option<RegisterRule<usize>>) -> Option<(u8, i64)> {
        match self.place(rule) {
            Place::Saved(saved::SAME, _) if !self.machine.links => None,
            Place::Saved(place, offset) => Some((place, offset)),
            Place::Elsewhere => None,
        }
    }

    fn place(&self, rule: Option<RegisterRule<usize>>) -> Place {
        match rule {
            None | Some(RegisterRule::SameValue) => Place::Saved(saved::SAME, 0),
            Some(RegisterRule::Undefined) => Place::Saved(saved::LOST, 0),
            Some(RegisterRule::Offset(offset)) => Place::Saved(saved::AT_CFA, offset),
            Some(RegisterRule::Expression(expression)) => match self.evaluate(&expression) {
                Some(Value::Sum { register, offset }) if register == self.machine.frame_pointer => {
                    Place::Saved(saved::AT_FP, offset)
                }
                Some(Value::Sum { register, offset }) if register == self.machine.stack_pointer => {
                    Place::Saved(saved::AT_SP, offset)
                }
                _ => Place::Elsewhere,
            },
            Some(_) => Place::Elsewhere,
        }
    }

    /// The rule of a signal trampoline whose three registers lie at fixed distances from the stack
    /// pointer, as in glibc's `__restore_rt`.
    fn signal_return(
        &self,
        stack_pointer: &Option<RegisterRule<usize>>,
        frame_pointer: (u8, i64),
        return_address: (u8, i64),
    ) -> Option<Rule> {
        match (self.place(stack_pointer.clone()), frame_pointer, return_address) {
            (Place::Saved(saved::AT_SP, sp), (saved::AT_SP, fp), (saved::AT_SP, pc)) => Some(Rule {
                cfa_offset: sp.try_into().ok()?,
                frame_pointer_offset: fp.try_into().ok()?,
                return_address_offset: pc.try_into().ok()?,
                ..only(cfa::SIGNAL)
            }),
            _ => None,
        }
    }

    fn cfa(&self, rule: &CfaRule<usize>) -> Option<Rule> {
        let value = match rule {
            CfaRule::RegisterAndOffset { register, offset } => Value::Sum { register: *register, offset: *offset },
            CfaRule::Expression(expression) => self.evaluate(expression)?,
        };
        let Machine { stack_pointer, frame_pointer, general, .. } = *self.machine;
        match value {
            Value::Sum { register, offset } => {
                let kind = match register {
                    register if register == stack_pointer => cfa::SP,
                    register if register == frame_pointer => cfa::FP,
                    Register(number) if number < general.into() => cfa::REGISTER,
                    _ => return None,
                };
                let register = if kind == cfa::REGISTER { register.0 as u8 } else { 0 };
                Some(Rule { register, cfa_offset: offset.try_into().ok()?, ..only(kind) })
            }
            Value::Loaded { register, offset, add } => {
                let kind = match register {
                    register if register == stack_pointer => cfa::DEREF_SP,
                    register if register == frame_pointer => cfa::DEREF_FP,
                    _ => return None,
                };
                Some(Rule { cfa_offset: offset.try_into().ok()?, cfa_add: add.try_into().ok()?, ..only(kind) })
            }
            Value::Stub { register, offset, threshold } if register == stack_pointer => Some(Rule {
                cfa_offset: offset.try_into().ok()?,
                cfa_add: threshold.try_into().ok()?,
                ..only(cfa::PLT)
            }),
            _ => None,
        }
    }

    fn evaluate(&self, expression: &UnwindExpression<usize>) -> Option<Value> {
        // Only the x86-64 numbering has a column of its own for the program counter.
        evaluate(expression.get(self.section).ok()?, self.encoding, self.machine.return_address)
    }
}

impl From<Rule> for Translated {
    fn from(rule: Rule) -> Translated {
        Translated { rule, frame_pointer_lost: false }
    }
}

fn with_saved(rule: Rule, frame_pointer: (u8, i64), return_address: (u8, i64)) -> Option<Rule> {
    Some(Rule {
        frame_pointer: frame_pointer.0,
        frame_pointer_offset: frame_pointer.1.try_into().ok()?,
        return_address: return_address.0,
        return_address_offset: return_address.1.try_into().ok()?,
        ..rule
    })
}
