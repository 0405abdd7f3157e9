use std::collections::HashMap;

use profiler_common::unwind::{RULES, Rule};

use super::rule::UNSUPPORTED;

/// The rules of all files, numbered: what a row's lower half says. A number never changes its meaning, and
/// number 0 is [`Rule::default`], no rule.
#[derive(Debug)]
pub struct Dictionary {
    rules: Vec<Rule>,
    ids: HashMap<Rule, u16>,
    refused: u64,
}

/// The number of the rule that stands for those that have no number.
const UNSUPPORTED_ID: u16 = 1;
const _: () = assert!(RULES <= 1 << 16);

impl Dictionary {
    /// Knows two rules: that there is none, and that it is unsupported.
    pub fn new() -> Dictionary {
        let mut dictionary = Dictionary { rules: Vec::new(), ids: HashMap::new(), refused: 0 };
        dictionary.id(Rule::default());
        dictionary.id(UNSUPPORTED);
        dictionary
    }

    /// All rules, by number: to be appended to the kernel's copy from where that ends, before any row
    /// that uses them.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The numbers of a file's rules, in their order. New rules get a number; while all numbers are
    /// taken, that of the unsupported rule.
    pub fn ids(&mut self, rules: &[Rule]) -> Vec<u16> {
        rules.iter().map(|rule| self.id(*rule)).collect()
    }

    /// Rules that got no number of their own, each counted once for every file that has it.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    fn id(&mut self, rule: Rule) -> u16 {
        if let Some(id) = self.ids.get(&rule) {
            return *id;
        }
        match u16::try_from(self.rules.len()) {
            Ok(id) if u32::from(id) < RULES => {
                self.rules.push(rule);
                self.ids.insert(rule, id);
                id
            }
            _ => {
                self.refused += 1;
                UNSUPPORTED_ID
            }
        }
    }
}

impl Default for Dictionary {
    fn default() -> Dictionary {
        Dictionary::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::unwind::cfa;

    #[test]
    fn numbers_stay_and_end() {
        let rule = |offset| Rule { cfa: cfa::SP, cfa_offset: offset, ..Rule::default() };
        let mut dictionary = Dictionary::new();
        assert_eq!(dictionary.ids(&[Rule::default(), UNSUPPORTED, rule(8), rule(16), rule(8)]), [0, 1, 2, 3, 2]);
        let all: Vec<_> = (0..RULES as i32).map(rule).collect();
        let ids = dictionary.ids(&all);
        assert_eq!((ids[8], ids[16], dictionary.rules().len()), (2, 3, RULES as usize));
        assert_eq!((dictionary.refused(), ids[ids.len() - 1]), (2, UNSUPPORTED_ID));
        assert_eq!(dictionary.rules()[usize::from(ids[100])], rule(100));
    }
}
