use std::collections::HashMap;

use profiler_common::unwind::Rule;

use super::rule::UNSUPPORTED;
use super::{BuildError, Row};

/// Most rows of one file; the largest known programs have some 5 million.
const MOST_ROWS: usize = 16 << 20;

/// Rows and rules of a file while they are put together, in ascending order.
#[derive(Debug)]
pub(super) struct Rows {
    rows: Vec<Row>,
    rules: Vec<Rule>,
    ids: HashMap<Rule, u16>,
    /// Rules found before, each at its slot: nearly all look-ups end here. `ids` hashes with a secret, so
    /// that a file cannot be made slow, but takes a quarter of the time that a row may cost.
    recent: Box<[(Rule, u16); RECENT]>,
}

const RECENT: usize = 256;

/// Most distinct rules of one file; the largest programs have 730.
const MOST_RULES: u16 = 4_096;

/// Index of the rule that says that there is none.
pub(super) const GAP: u16 = 0;

impl Rows {
    pub(super) fn new() -> Rows {
        let gap = Rule::default();
        let recent = Box::new([(gap, GAP); RECENT]);
        Rows { rows: Vec::new(), rules: vec![gap], ids: HashMap::from([(gap, GAP)]), recent }
    }

    /// A rule holds from an address on; not below the last one. The later of two at one address counts.
    pub(super) fn start(&mut self, address: u64, rule: Rule) -> Result<(), BuildError> {
        let id = self.id(rule);
        self.push(Row::new(address, id))
    }

    /// The code that was described ends here.
    pub(super) fn end(&mut self, address: u64) -> Result<(), BuildError> {
        self.push(Row::new(address, GAP))
    }

    pub(super) fn finish(mut self) -> (Vec<Row>, Vec<Rule>) {
        self.rows.shrink_to_fit();
        (self.rows, self.rules)
    }

    fn push(&mut self, row: Row) -> Result<(), BuildError> {
        if self.rows.last().is_some_and(|last| last.address() == row.address()) {
            self.rows.pop();
        }
        debug_assert!(self.rows.last().is_none_or(|last| last.address() < row.address()));
        let before = self.rows.last().map_or(GAP, |last| last.rule());
        if before == row.rule() {
            return Ok(());
        }
        if self.rows.len() == MOST_ROWS {
            return Err(BuildError::TooLarge { what: "rows", most: MOST_ROWS as u64 });
        }
        self.rows.push(row);
        Ok(())
    }

    /// The index of a rule. Files have some hundred; one with very many gets no more of them, since all files share
    /// the kernel's.
    fn id(&mut self, rule: Rule) -> u16 {
        let slot = slot(&rule);
        if let (known, id) = self.recent[slot]
            && known == rule
        {
            return id;
        }
        let id = match self.ids.get(&rule) {
            Some(id) => *id,
            None => match u16::try_from(self.rules.len()) {
                // One place is kept for the rule that stands for all further ones.
                Ok(id) if id < MOST_RULES || rule == UNSUPPORTED => {
                    self.rules.push(rule);
                    self.ids.insert(rule, id);
                    id
                }
                _ => return self.id(UNSUPPORTED),
            },
        };
        self.recent[slot] = (rule, id);
        id
    }
}

/// Where a rule is among the recent ones: those that differ in their offsets lie apart.
fn slot(rule: &Rule) -> usize {
    let offsets = u64::from(rule.cfa_offset as u32) | u64::from(rule.frame_pointer_offset as u32) << 32;
    let kinds = u64::from(rule.cfa) << 8 | u64::from(rule.register);
    ((offsets ^ kinds << 20).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % RECENT
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use profiler_common::unwind::cfa;

    fn sp(cfa_offset: i32) -> Rule {
        Rule { cfa: cfa::SP, cfa_offset, ..Rule::default() }
    }

    /// Letters are rules, `-` is the end of what is described; each with its address.
    fn check(input: &[(u64, char)], expected: &[(u64, char)]) {
        let mut rows = Rows::new();
        for (address, rule) in input {
            match rule {
                '-' => rows.end(*address).unwrap(),
                letter => rows.start(*address, sp(*letter as i32)).unwrap(),
            }
        }
        let (rows, rules) = rows.finish();
        let letter = |row: &Row| match rules[usize::from(row.rule())] {
            Rule { cfa: cfa::GAP, .. } => '-',
            rule => char::from(rule.cfa_offset as u8),
        };
        assert_eq!(rows.iter().map(|row| (row.address(), letter(row))).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_description_wins_over_the_end_of_the_one_before() {
        check(&[(1, 'a'), (5, '-'), (5, 'b'), (9, '-')], &[(1, 'a'), (5, 'b'), (9, '-')]);
    }

    #[test]
    fn neighbours_with_one_rule_are_one_row() {
        check(&[(1, 'a'), (5, '-'), (5, 'a'), (9, '-')], &[(1, 'a'), (9, '-')]);
        check(&[(1, 'a'), (3, 'a'), (5, 'b'), (5, 'a'), (9, '-'), (9, '-')], &[(1, 'a'), (9, '-')]);
        check(&[(1, '-'), (2, '-')], &[]);
    }

    #[test]
    fn a_file_has_so_many_rules_and_no_more() {
        let mut rows = Rows::new();
        for number in 0..5_000 {
            rows.start(number, sp(number as i32)).unwrap();
        }
        let (rows, rules) = rows.finish();
        assert_eq!(rules.len(), 4_097);
        assert_eq!((rules[4_095], rules[4_096]), (sp(4_094), UNSUPPORTED));
        assert_eq!(rows.last().unwrap(), &Row::new(4_095, 4_096), "all further ones are one row");
    }
}
