//! A file to rows.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::{slice, vec};

use bytes::Bytes;
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::schema::types::TypePtr;

use super::{Column, Row, Value, WINDOW};

/// Rows that are read at once: columns of them fit into the caches of a processor.
const BATCH: usize = 2_048;

/// Reads the file of a table. The bytes must be those that were written: their checksum was compared before, since a
/// decoder of damaged Parquet may panic or ask for any amount of memory.
pub(in crate::store) struct TableReader<R> {
    file: SerializedFileReader<Bytes>,
    /// Where each column of the rows is in the file; `None` for one that the file does not have.
    places: Vec<Option<usize>>,
    row: PhantomData<fn() -> R>,
}

/// The rows of some row groups, batch by batch. Nothing comes after an error.
pub(in crate::store) struct Rows<R> {
    table: TableReader<R>,
    groups: vec::IntoIter<usize>,
    /// Those of the row group, in the order of the fields.
    columns: Vec<Option<ColumnReader>>,
    /// Rows of the row group that were not read.
    left: usize,
    batch: vec::IntoIter<R>,
}

/// The columns of a batch, in the order of the fields.
pub(in crate::store) struct Columns<'a> {
    columns: slice::IterMut<'a, Option<ColumnReader>>,
    rows: usize,
}

impl<R: Row> TableReader<R> {
    /// Opens a file and finds the columns of the rows: it may have others, which are not read, and those that may be
    /// absent may be missing altogether, since older programs did not write them.
    pub(in crate::store) fn open(bytes: Bytes) -> Result<TableReader<R>, ParquetError> {
        let file = SerializedFileReader::new(bytes)?;
        let found = file.metadata().file_metadata().schema().get_fields();
        let place = |column: &Column| {
            let is_it = |field: &TypePtr| **field == column.schema;
            let unknown = || ParquetError::General(format!("there is no column `{}` of its type", column.path));
            let is_new =
                || column.schema.is_optional() && found.iter().all(|field| field.name() != column.schema.name());
            match found.iter().position(is_it) {
                None if !is_new() => Err(unknown()),
                place => Ok(place),
            }
        };
        // No column has several leaves, so fields and leaves have the same numbers.
        let places = R::columns()?.iter().map(place).collect::<Result<_, _>>()?;
        Ok(TableReader { file, places, row: PhantomData })
    }

    /// The rows of all row groups that may have some of these windows: others may be among them.
    pub(in crate::store) fn windows(self, windows: &RangeInclusive<u64>) -> Rows<R> {
        let groups = self.groups(windows).into_iter();
        Rows { table: self, groups, columns: Vec::new(), left: 0, batch: Vec::new().into_iter() }
    }

    /// The row groups that may have some of these windows.
    fn groups(&self, windows: &RangeInclusive<u64>) -> Vec<usize> {
        let metadata = self.file.metadata();
        let column = metadata.file_metadata().schema_descr().columns().iter().position(|it| it.name() == WINDOW);
        let may_have = |group: &usize| {
            let statistics = column.and_then(|column| metadata.row_group(*group).column(column).statistics());
            match statistics {
                // Window numbers are far below 2^63.
                Some(Statistics::Int64(range)) => match (range.min_opt(), range.max_opt()) {
                    (Some(min), Some(max)) => *min as u64 <= *windows.end() && *windows.start() <= *max as u64,
                    _ => true,
                },
                _ => true,
            }
        };
        (0..metadata.num_row_groups()).filter(may_have).collect()
    }
}

impl<R: Row> Rows<R> {
    /// Reads the next batch; `false` if there is none.
    fn fill(&mut self) -> Result<bool, ParquetError> {
        if self.left == 0 {
            let Some(group) = self.groups.next() else { return Ok(false) };
            let group = self.table.file.get_row_group(group)?;
            self.left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let places = self.table.places.iter();
            let reader = |place: &Option<usize>| place.map(|place| group.get_column_reader(place)).transpose();
            self.columns = places.map(reader).collect::<Result<_, _>>()?;
        }
        let rows = self.left.min(BATCH);
        self.left -= rows;
        self.batch = R::read(&mut Columns { columns: self.columns.iter_mut(), rows })?.into_iter();
        Ok(true)
    }
}

impl<R: Row> Iterator for Rows<R> {
    type Item = Result<R, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.batch.next() {
                return Some(Ok(row));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    (self.groups, self.left) = (Vec::new().into_iter(), 0);
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Columns<'_> {
    /// Rows of the batch.
    pub(in crate::store) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of the next column, as many as there are rows.
    pub(in crate::store) fn next<T: Value>(&mut self) -> Result<Vec<T>, ParquetError> {
        let error = |what: &str| ParquetError::General(what.to_owned());
        match self.columns.next().ok_or_else(|| error("no column is left"))? {
            Some(column) => T::read(self.rows, column),
            None => {
                let absent = std::iter::repeat_with(T::absent).take(self.rows);
                absent.collect::<Option<_>>().ok_or_else(|| error("a column is missing"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::store::table::{TableWriter, table};
    use parquet::basic::Compression;

    table! {
        Old in "t" { window: u64 = Delta, count: u32 = Plain, }
    }
    table! {
        New in "t" { window: u64 = Delta, level: Option<u32> = Dictionary, count: u32 = Plain, }
    }
    table! {
        Another in "t" { window: u64 = Delta, count: Option<u32> = Plain, }
    }
    table! {
        Wants in "t" { window: u64 = Delta, sum: u64 = Plain, }
    }

    fn file<R: Row>(rows: &[R]) -> Bytes {
        let folder = tempfile::tempdir().unwrap();
        let mut table = TableWriter::create(folder.path(), 1, Compression::UNCOMPRESSED, &[]).unwrap();
        table.write(rows).unwrap();
        table.finish().unwrap();
        std::fs::read(folder.path().join("t.parquet")).unwrap().into()
    }

    fn rows<R: Row>(file: &Bytes) -> Result<Vec<R>, ParquetError> {
        TableReader::<R>::open(file.clone())?.windows(&(0..=u64::MAX)).collect()
    }

    #[test]
    fn an_older_file_lacks_only_what_may_be_absent() {
        let many = 0..BATCH as u64 + 5;
        let old: Vec<Old> = many.clone().map(|window| Old { window, count: 7 }).collect();
        let old = file(&old);
        let read = rows::<New>(&old).unwrap();
        let expected: Vec<New> = many.map(|window| New { window, level: None, count: 7 }).collect();
        assert_eq!(read, expected);
        // A column of another type is no missing one, and one that must be there has no value to stand for it.
        assert!(rows::<Another>(&old).is_err() && rows::<Wants>(&old).is_err());
    }

    #[test]
    fn an_older_program_reads_a_newer_file() {
        let new = file(&[New { window: 3, level: Some(2), count: 7 }]);
        assert_eq!(rows::<Old>(&new).unwrap(), [Old { window: 3, count: 7 }]);
        assert_eq!(rows::<New>(&new).unwrap()[0].level, Some(2));
    }
}
