//! A file to rows.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::schema::types::TypePtr;

use super::{Column, Row, Value, WINDOW};

/// Reads the file of a table. The bytes must be those that were written: their checksum was compared before, since a
/// decoder of damaged Parquet may panic or ask for any amount of memory.
pub(in crate::store) struct TableReader<R> {
    file: SerializedFileReader<Bytes>,
    /// Where each column of the rows is in the file.
    places: Vec<usize>,
    row: PhantomData<fn() -> R>,
}

/// The columns of one row group, in the order of the fields.
pub(in crate::store) struct Columns<'a> {
    group: Box<dyn RowGroupReader + 'a>,
    places: &'a [usize],
    rows: usize,
}

impl<R: Row> TableReader<R> {
    /// Opens a file and finds the columns of the rows: it may have others, which are not read.
    pub(in crate::store) fn open(bytes: Bytes) -> Result<TableReader<R>, ParquetError> {
        let file = SerializedFileReader::new(bytes)?;
        let found = file.metadata().file_metadata().schema().get_fields();
        let place = |column: &Column| {
            let is_it = |field: &TypePtr| **field == column.schema;
            let unknown = || ParquetError::General(format!("there is no column `{}` of its type", column.path));
            found.iter().position(is_it).ok_or_else(unknown)
        };
        // No column has several leaves, so fields and leaves have the same numbers.
        let places = R::columns()?.iter().map(place).collect::<Result<_, _>>()?;
        Ok(TableReader { file, places, row: PhantomData })
    }

    /// All rows.
    pub(in crate::store) fn all(&self) -> Result<Vec<R>, ParquetError> {
        self.windows(&(0..=u64::MAX))
    }

    /// The rows of all row groups that may have some of these windows: others may be among them.
    pub(in crate::store) fn windows(&self, windows: &RangeInclusive<u64>) -> Result<Vec<R>, ParquetError> {
        let mut rows = Vec::new();
        for group in self.groups(windows) {
            let read = self.group(group)?;
            if rows.is_empty() { rows = read } else { rows.extend(read) }
        }
        Ok(rows)
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

    /// The rows of one row group.
    fn group(&self, group: usize) -> Result<Vec<R>, ParquetError> {
        let group = self.file.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        R::read(&mut Columns { group, places: &self.places, rows })
    }
}

impl Columns<'_> {
    /// Rows of the row group.
    pub(in crate::store) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of the next column, as many as there are rows.
    pub(in crate::store) fn next<T: Value>(&mut self) -> Result<Vec<T>, ParquetError> {
        let (place, rest) =
            self.places.split_first().ok_or_else(|| ParquetError::General("no column is left".to_owned()))?;
        self.places = rest;
        T::read(self.rows, self.group.get_column_reader(*place)?)
    }
}
