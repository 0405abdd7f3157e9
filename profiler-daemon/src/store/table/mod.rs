//! Rows to Parquet files and back: a table is a Rust struct, its columns are the fields.
//!
//! A file begins with a column `segment` that is the same in all its rows, so that tables of several segments can be
//! read as one and still be joined. Row groups hold some windows each; their range is in the statistics of `window`.

mod read;
mod value;
mod write;

use parquet::errors::ParquetError;
use parquet::schema::types::{ColumnPath, Type, TypePtr};

pub(super) use read::{Columns, TableReader};
pub(super) use value::{Text, Time, Value};
pub(super) use write::{FileSum, Group, TableWriter};

/// How a column is laid out before it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// Distinct values and numbers of them: names, and numbers of which there are few.
    Dictionary,
    /// As it is: what hardly repeats.
    Plain,
    /// Differences to the value before: what rises.
    Delta,
}

/// One column of a table.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) schema: Type,
    pub(super) path: ColumnPath,
    pub(super) packing: Packing,
}

impl Column {
    /// The column of this name that holds values of type `T`.
    pub(super) fn of<T: Value>(name: &str, packing: Packing) -> Result<Column, ParquetError> {
        let mut path = vec![name.to_owned()];
        path.extend(T::INNER.iter().map(|part| (*part).to_owned()));
        Ok(Column { schema: T::schema(name)?, path: ColumnPath::new(path), packing })
    }
}

/// A struct that is a row. Made by [`table!`].
pub(super) trait Row: Sized {
    /// Name of the table, and of its file without `.parquet`.
    const TABLE: &'static str;

    /// The columns in the order of the fields.
    fn columns() -> Result<Vec<Column>, ParquetError>;

    /// Writes all columns of one row group.
    fn write(rows: &[Self], group: &mut Group<'_>) -> Result<(), ParquetError>;

    /// Reads all columns of a batch.
    fn read(columns: &mut Columns<'_>) -> Result<Vec<Self>, ParquetError>;
}

/// The schema of a table's file: `segment`, then the columns.
fn schema(name: &str, columns: &[Column]) -> Result<TypePtr, ParquetError> {
    let mut fields = vec![TypePtr::new(u64::schema(SEGMENT)?)];
    fields.extend(columns.iter().map(|column| TypePtr::new(column.schema.clone())));
    Ok(TypePtr::new(Type::group_type_builder(name).with_fields(fields).build()?))
}

/// Name of the first column.
const SEGMENT: &str = "segment";
/// Name of the column whose statistics tell which windows a row group has.
const WINDOW: &str = "window";

/// Defines a table: `Name in "file" { field: Type = Packing, … }`.
macro_rules! table {
    ($(#[$about:meta])* $name:ident in $file:literal { $($(#[$field_about:meta])* $field:ident: $type:ty = $packing:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub(in crate::store) struct $name {
            $($(#[$field_about])* pub(in crate::store) $field: $type,)+
        }

        impl $crate::store::table::Row for $name {
            const TABLE: &'static str = $file;

            fn columns() -> Result<Vec<$crate::store::table::Column>, parquet::errors::ParquetError> {
                Ok(vec![$(
                    $crate::store::table::Column::of::<$type>(
                        stringify!($field),
                        $crate::store::table::Packing::$packing,
                    )?,
                )+])
            }

            fn write(
                rows: &[Self],
                group: &mut $crate::store::table::Group<'_>,
            ) -> Result<(), parquet::errors::ParquetError> {
                $(group.column(rows.iter().map(|row| &row.$field))?;)+
                Ok(())
            }

            fn read(
                columns: &mut $crate::store::table::Columns<'_>,
            ) -> Result<Vec<Self>, parquet::errors::ParquetError> {
                let mut rows = Vec::with_capacity(columns.rows());
                $(let mut $field = columns.next::<$type>()?.into_iter();)+
                // All columns have as many values: `next` saw to it.
                while let ($(Some($field),)+) = ($($field.next(),)+) {
                    rows.push($name { $($field,)+ });
                }
                Ok(rows)
            }
        }
    };
}
pub(super) use table;
