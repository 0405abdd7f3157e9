//! What samples refer to by number. Entry 0 of each table is the empty one, each other entry occurs once, and there
//! is none that nobody refers to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::Hash;

use opentelemetry_proto::tonic::common::v1::{AnyValue, any_value};
use opentelemetry_proto::tonic::profiles::v1development::{
    Function, KeyValueAndUnit, Line, Link, Location, ProfilesDictionary, Stack,
};

use crate::model::text::printable;

/// Longest text in bytes; longer ones are cut and say so. Names come from strangers, and a request has a size.
const LONGEST_TEXT: usize = 4_096;

/// Value of an attribute.
pub(super) enum Value<'a> {
    Int(i64),
    Text(&'a str),
}

/// An attribute whose texts are numbers: what it is found by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
struct Attribute {
    key: i32,
    text: i32,
    int: i64,
}

/// The tables, without mappings, which grow while addresses are added.
pub(super) struct Dictionary {
    strings: Table<String>,
    /// Texts of attributes: values, which are no entries of the string table.
    texts: Table<String>,
    attributes: Table<Attribute>,
    functions: Table<Function>,
    locations: Table<(i32, u64, Vec<Line>, Vec<i32>)>,
    stacks: Table<Vec<i32>>,
}

impl Dictionary {
    pub(super) fn new() -> Dictionary {
        Dictionary {
            strings: Table::new(),
            texts: Table::new(),
            attributes: Table::new(),
            functions: Table::new(),
            locations: Table::new(),
            stacks: Table::new(),
        }
    }

    /// A text, made printable.
    pub(super) fn string(&mut self, text: &str) -> i32 {
        self.strings.text(&fitting(text))
    }

    /// An attribute.
    pub(super) fn attribute(&mut self, key: &str, value: Value<'_>) -> i32 {
        let key = self.strings.text(key);
        let attribute = match value {
            Value::Int(int) => Attribute { key, text: 0, int },
            Value::Text(text) => Attribute { key, text: self.texts.text(&fitting(text)), int: 0 },
        };
        self.attributes.index(attribute)
    }

    pub(super) fn function(&mut self, function: Function) -> i32 {
        self.functions.index(function)
    }

    pub(super) fn location(&mut self, mapping: i32, address: u64, lines: Vec<Line>, attributes: Vec<i32>) -> i32 {
        self.locations.index((mapping, address, lines, attributes))
    }

    /// A stack of locations, leaf first.
    pub(super) fn stack(&mut self, locations: Vec<i32>) -> i32 {
        self.stacks.index(locations)
    }

    /// All of it, mappings still missing.
    pub(super) fn finish(self) -> ProfilesDictionary {
        let texts = self.texts.list();
        let attribute = |attribute: Attribute| match attribute {
            Attribute { key: 0, .. } => KeyValueAndUnit::default(),
            Attribute { key, text: 0, int } => key_value(key, any_value::Value::IntValue(int)),
            Attribute { key, text, .. } => key_value(key, any_value::Value::StringValue(texts[text as usize].clone())),
        };
        let location = |(mapping_index, address, lines, attribute_indices)| Location {
            mapping_index,
            address,
            lines,
            attribute_indices,
        };
        ProfilesDictionary {
            mapping_table: Vec::new(),
            location_table: self.locations.list().into_iter().map(location).collect(),
            function_table: self.functions.list(),
            link_table: vec![Link::default()],
            string_table: self.strings.list(),
            attribute_table: self.attributes.list().into_iter().map(attribute).collect(),
            stack_table: self.stacks.list().into_iter().map(|location_indices| Stack { location_indices }).collect(),
        }
    }
}

fn key_value(key_strindex: i32, value: any_value::Value) -> KeyValueAndUnit {
    KeyValueAndUnit { key_strindex, value: Some(AnyValue { value: Some(value) }), unit_strindex: 0 }
}

/// The text as it is sent.
fn fitting(text: &str) -> Cow<'_, str> {
    // Escapes make it longer, so what is beyond is out in any case.
    let head = cut(text, LONGEST_TEXT);
    let shown = printable(head);
    if head.len() == text.len() && shown.len() <= LONGEST_TEXT {
        return shown;
    }
    Cow::Owned(format!("{}…", cut(&shown, LONGEST_TEXT - '…'.len_utf8())))
}

/// As much of the text as fits into so many bytes.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// Distinct values by number; the default is 0.
struct Table<T>(HashMap<T, i32>);

impl<T: Default + Clone + Eq + Hash> Table<T> {
    fn new() -> Table<T> {
        Table(HashMap::from([(T::default(), 0)]))
    }

    /// A request has far fewer than 2^31 bytes, so its entries have numbers.
    fn index(&mut self, value: T) -> i32 {
        let next = self.0.len() as i32;
        *self.0.entry(value).or_insert(next)
    }

    fn list(self) -> Vec<T> {
        let mut list = vec![T::default(); self.0.len()];
        for (value, index) in self.0 {
            list[index as usize] = value;
        }
        list
    }
}

impl Table<String> {
    fn text(&mut self, text: &str) -> i32 {
        match self.0.get(text) {
            Some(index) => *index,
            None => self.index(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = LONGEST_TEXT + 1;
        for (text, is_cut) in [
            ("short".to_owned(), false),
            ("x".repeat(LONGEST_TEXT), false),
            ("x".repeat(long), true),
            ("größe".repeat(long), true),
            ("\x1b".repeat(1_000), true),
        ] {
            let sent = fitting(&text);
            assert_eq!(sent.ends_with('…'), is_cut, "{sent}");
            // A character that does not fit leaves up to three bytes free.
            assert!(sent.len() <= LONGEST_TEXT && (!is_cut || sent.len() > LONGEST_TEXT - 4), "{}", sent.len());
        }
    }

    #[test]
    fn equal_entries_are_one_and_empty_ones_none() {
        let mut dictionary = Dictionary::new();
        let indices =
            [("a", "x"), ("a", "y"), ("a", "x")].map(|(key, value)| dictionary.attribute(key, Value::Text(value)));
        assert_eq!(indices, [1, 2, 1]);
        assert_eq!((dictionary.string(""), dictionary.string("a"), dictionary.string("x\n")), (0, 1, 2));
        let tables = dictionary.finish();
        assert_eq!(tables.string_table, ["", "a", "x\\n"]);
        assert_eq!((tables.attribute_table.len(), tables.stack_table.len(), tables.link_table.len()), (3, 1, 1));
    }
}
