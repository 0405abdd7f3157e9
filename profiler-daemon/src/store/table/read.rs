//! A file to rows.

use std::marker::PhantomData;
use std::ops::RangeInclusive;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::statistics::Statistics;

use super::{Row, Value, WINDOW, schema};

/// Reads the file of a table. The bytes must be those that were written: their checksum was compared before, since a
/// decoder of damaged Parquet may panic or ask for any amount of memory.
pub(in crate::store) struct TableReader<R> {
    file: SerializedFileReader<Bytes>,
    row: PhantomData<fn() -> R>,
}

/// The columns of one row group, in order.
pub(in crate::store) struct Columns<'a> {
    group: Box<dyn RowGroupReader + 'a>,
    next: usize,
    rows: usize,
}

impl<R: Row> TableReader<R> {
    /// Opens a file and compares its columns with those of the table.
    pub(in crate::store) fn open(bytes: Bytes) -> Result<TableReader<R>, ParquetError> {
        let file = SerializedFileReader::new(bytes)?;
        let expected = schema(R::TABLE, &R::columns()?)?;
        if file.metadata().file_metadata().schema() != &*expected {
            return Err(ParquetError::General(format!("table `{}` has other columns", R::TABLE)));
        }
        Ok(TableReader { file, row: PhantomData })
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
    pub(in crate::store) fn groups(&self, windows: &RangeInclusive<u64>) -> Vec<usize> {
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
    pub(in crate::store) fn group(&self, group: usize) -> Result<Vec<R>, ParquetError> {
        let group = self.file.get_row_group(group)?;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        // The first column is `segment`.
        R::read(&mut Columns { group, next: 1, rows })
    }
}

impl Columns<'_> {
    /// Rows of the row group.
    pub(in crate::store) fn rows(&self) -> usize {
        self.rows
    }

    /// The values of the next column, as many as there are rows.
    pub(in crate::store) fn next<T: Value>(&mut self) -> Result<Vec<T>, ParquetError> {
        let column = self.group.get_column_reader(self.next)?;
        self.next += 1;
        T::read(self.rows, column)
    }
}
