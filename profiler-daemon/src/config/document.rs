//! The file as keys with values and places. What they mean is not asked here.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Mistake, Place};
use super::value::Value;

/// One key of the file.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Section and name, such as `capture.window`.
    pub(super) name: String,
    /// Where the name stands.
    pub(super) name_at: Place,
    pub(super) value: Value,
    /// Where the value stands.
    pub(super) value_at: Place,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Keys outside of sections.
    pub(super) entries: Vec<Entry>,
    /// Each `[name]`: the name, where it stands, its keys with the section in their names.
    pub(super) sections: Vec<(String, Place, Vec<Entry>)>,
    /// The tables of each `[[name]]`: the name, where it stands, its keys.
    pub(super) tables: Vec<(String, Place, Vec<Entry>)>,
}

impl Document {
    /// Reads all that can be read, and says what cannot.
    pub(super) fn parse(text: &str, path: &Path) -> (Document, Vec<Mistake>) {
        let places = Places::new(text, path);
        let (table, errors) = DeTable::parse_recoverable(text);
        let wrong = |error: &toml::de::Error| Mistake {
            place: places.at(error.span().unwrap_or_default()),
            what: error.message().replace('\n', ", "),
            remedy: None,
        };
        let mistakes = errors.iter().map(wrong).collect();
        let mut document = Document::default();
        for (key, value) in table.get_ref() {
            match value.get_ref() {
                DeValue::Table(section) => {
                    let entries = places.entries(section, Some(key.get_ref()));
                    document.sections.push((key.get_ref().to_string(), places.at(key.span()), entries));
                }
                DeValue::Array(tables) if tables.iter().any(|table| table.get_ref().is_table()) => {
                    for table in tables.iter() {
                        let entries = table.get_ref().as_table().map(|table| places.entries(table, None));
                        let place = places.at(table.span());
                        document.tables.push((key.get_ref().to_string(), place, entries.unwrap_or_default()));
                    }
                }
                _ => document.entries.push(places.entry(key, value, None)),
            }
        }
        (document, mistakes)
    }
}

/// Turns offsets into lines and columns.
struct Places<'a> {
    text: &'a str,
    path: &'a Path,
    /// Where each line starts.
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    fn new(text: &'a str, path: &'a Path) -> Places<'a> {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Places { text, path, lines: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn entries(&self, table: &DeTable<'_>, section: Option<&str>) -> Vec<Entry> {
        table.iter().map(|(key, value)| self.entry(key, value, section)).collect()
    }

    fn entry(
        &self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        section: Option<&str>,
    ) -> Entry {
        let name = section.map_or_else(|| key.get_ref().to_string(), |section| format!("{section}.{}", key.get_ref()));
        let value_of = |value: &Spanned<DeValue<'_>>| self.value(value);
        Entry { name, name_at: self.at(key.span()), value: value_of(value), value_at: self.at(value.span()) }
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        let written = || Value::Other(self.text.get(value.span()).unwrap_or_default().to_owned());
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).map_or_else(|_| written(), Value::Whole)
            }
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Array(values) => Value::List(values.iter().map(|value| self.value(value)).collect()),
            DeValue::Table(table) => {
                Value::Table(table.iter().map(|(key, value)| (key.get_ref().to_string(), self.value(value))).collect())
            }
            DeValue::Float(_) | DeValue::Datetime(_) => written(),
        }
    }

    fn at(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let line = self.lines.partition_point(|line_start| *line_start <= start);
        let line_start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Place::File { path: self.path.to_owned(), line, column: self.text[line_start..start].chars().count() + 1 }
    }
}
