use gimli::{Encoding, Expression, Operation, Reader, Register};

/// The longest expression that is looked at. Those that can be said have at most 20 bytes, and a rule is
/// read again for each row.
const MOST_BYTES: usize = 64;

/// What a DWARF expression computes, as far as an unwind rule can say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Number(i64),
    /// A register plus a number.
    Sum {
        register: Register,
        offset: i64,
    },
    /// The word at a register plus `offset`, plus `add`.
    Loaded {
        register: Register,
        offset: i64,
        add: i64,
    },
    /// `pc & 15`.
    PcLow,
    /// `unit` if `pc & 15` is at least `threshold`, else 0.
    Step {
        threshold: i64,
        unit: i64,
    },
    /// A register plus `offset`, plus 8 if `pc & 15` is at least `threshold`: a stub of the procedure
    /// linkage table, which pushes one word in its course.
    Stub {
        register: Register,
        offset: i64,
        threshold: i64,
    },
}

/// Computes an expression with unknown registers; none if the result is not one of [`Value`].
pub(super) fn evaluate<R: Reader<Offset = usize>>(
    expression: Expression<R>,
    encoding: Encoding,
    pc: Register,
) -> Option<Value> {
    if expression.0.len() > MOST_BYTES {
        return None;
    }
    let mut stack: Vec<Value> = Vec::new();
    let mut operations = expression.operations(encoding);
    while let Some(operation) = operations.next().ok()? {
        let value = match operation {
            Operation::RegisterOffset { register, offset, .. } => Value::Sum { register, offset },
            Operation::UnsignedConstant { value } => Value::Number(i64::try_from(value).ok()?),
            Operation::SignedConstant { value } => Value::Number(value),
            Operation::PlusConstant { value } => stack.pop()?.plus(Value::Number(i64::try_from(value).ok()?))?,
            Operation::Deref { size: 8, space: false, .. } => stack.pop()?.load()?,
            Operation::Nop => continue,
            _ => {
                let (second, first) = (stack.pop()?, stack.pop()?);
                first.with(&operation, second, pc)?
            }
        };
        stack.push(value);
    }
    match stack.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}

impl Value {
    /// The two-operand operations; `self` was pushed first.
    fn with<R: Reader>(self, operation: &Operation<R>, other: Value, pc: Register) -> Option<Value> {
        match (operation, self, other) {
            (Operation::Plus, one, other) => one.plus(other).or_else(|| other.plus(one)),
            (Operation::Minus, one, Value::Number(number)) => one.plus(Value::Number(number.checked_neg()?)),
            (Operation::And, Value::Sum { register, offset: 0 }, Value::Number(15)) if register == pc => {
                Some(Value::PcLow)
            }
            (Operation::Ge, Value::PcLow, Value::Number(threshold)) => Some(Value::Step { threshold, unit: 1 }),
            (Operation::Shl, Value::Step { threshold, unit: 1 }, Value::Number(3)) => {
                Some(Value::Step { threshold, unit: 8 })
            }
            _ => None,
        }
    }

    fn plus(self, other: Value) -> Option<Value> {
        match (self, other) {
            (Value::Number(one), Value::Number(other)) => Some(Value::Number(one.checked_add(other)?)),
            (Value::Sum { register, offset }, Value::Number(number)) => {
                Some(Value::Sum { register, offset: offset.checked_add(number)? })
            }
            (Value::Loaded { register, offset, add }, Value::Number(number)) => {
                Some(Value::Loaded { register, offset, add: add.checked_add(number)? })
            }
            (Value::Sum { register, offset }, Value::Step { threshold, unit: 8 }) => {
                Some(Value::Stub { register, offset, threshold })
            }
            _ => None,
        }
    }

    fn load(self) -> Option<Value> {
        match self {
            Value::Sum { register, offset } => Some(Value::Loaded { register, offset, add: 0 }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{EndianSlice, Format, LittleEndian};

    const RSP: Register = Register(7);
    const RBP: Register = Register(6);

    fn check(bytes: &[u8], expected: Option<Value>) {
        let encoding = Encoding { address_size: 8, format: Format::Dwarf32, version: 1 };
        let expression = Expression(EndianSlice::new(bytes, LittleEndian));
        assert_eq!(evaluate(expression, encoding, Register(16)), expected, "{bytes:02x?}");
    }

    #[test]
    fn what_linkers_and_compilers_write_is_understood() {
        // breg7 8; breg16 0; lit15; and; lit11; ge; lit3; shl; plus
        let stub = [0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
        check(&stub, Some(Value::Stub { register: RSP, offset: 8, threshold: 11 }));
        // breg6 -8; deref
        check(&[0x76, 0x78, 0x06], Some(Value::Loaded { register: RBP, offset: -8, add: 0 }));
        // breg7 40; deref; plus_uconst 8, and the same with lit8; plus, and with const1s -8; minus
        let expected = Some(Value::Loaded { register: RSP, offset: 40, add: 8 });
        check(&[0x77, 40, 0x06, 0x23, 8], expected);
        check(&[0x77, 40, 0x06, 0x38, 0x22], expected);
        check(&[0x77, 40, 0x06, 0x09, 0xf8, 0x1c], expected);
        // breg7 160; and breg7 128; lit31; lit1; plus; plus
        check(&[0x77, 0xa0, 0x01], Some(Value::Sum { register: RSP, offset: 160 }));
        check(&[0x77, 0x80, 0x01, 0x4f, 0x31, 0x22, 0x22], Some(Value::Sum { register: RSP, offset: 160 }));
        // lit8; breg7 0; plus
        check(&[0x38, 0x77, 0, 0x22], Some(Value::Sum { register: RSP, offset: 8 }));
    }

    #[test]
    fn the_rest_is_not() {
        for bytes in [
            &[][..],
            &[0x06],                                                                      // deref of nothing
            &[0x77],                                                                      // cut short
            &[0x77, 8, 0x77, 8],                                                          // two values
            &[0x77, 8, 0x77, 8, 0x22],                                                    // sum of two registers
            &[0x77, 8, 0x79, 0, 0x38, 0x1e, 0x22, 0x06, 0x23, 8],                         // OpenSSL's *(rsp + r9 * 8)
            &[0x77, 8, 0x06, 0x06],                                                       // two loads
            &[0x77, 8, 0x94, 4],                                                          // four bytes
            &[0x77, 8, 0x80, 1, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22],                // (pc + 1) & 15
            &[0x2f, 0xfd, 0xff],                                                          // a loop
            &[0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0x38, 0x22], // too large a number
        ] {
            check(bytes, None);
        }
        check(&[0x96; 65], None);
    }
}
