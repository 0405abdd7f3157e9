//! Rust types as columns.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;
use parquet::schema::types::{Type, TypePtr};

/// A type that can be a field of a row.
pub(in crate::store) trait Value: Sized {
    /// What follows the name in the path of the column: lists have two levels more.
    const INNER: &'static [&'static str] = &[];

    /// Schema of a column of this name.
    fn schema(name: &str) -> Result<Type, ParquetError>;

    /// Writes a whole column of a row group.
    fn write<'a>(
        values: impl Iterator<Item = &'a Self>,
        out: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError>
    where
        Self: 'a;

    /// The value of a row whose file has no such column; `None` if it must have one.
    fn absent() -> Option<Self> {
        None
    }

    /// Reads the next `rows` values of a column; as many are returned.
    fn read(rows: usize, from: &mut ColumnReader) -> Result<Vec<Self>, ParquetError>;
}

/// An instant in nanoseconds since 1970-01-01 UTC, which readers show as such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Time(pub(in crate::store) u64);

/// A value inside a column: never absent, not a list.
trait Cell: Sized {
    type Data: DataType;
    const PHYSICAL: Physical;
    fn logical() -> Option<LogicalType>;
    fn to(&self) -> <Self::Data as DataType>::T;
    fn from(data: Vec<<Self::Data as DataType>::T>) -> Vec<Self>;
    /// The reader of a column of such values; `None` if it is of others.
    fn reader(from: &mut ColumnReader) -> Option<&mut ColumnReaderImpl<Self::Data>>;
}

macro_rules! integer {
    ($type:ty, $data:ty, $physical:ident, $reader:ident, $repr:ty, $logical:expr, $to:expr, $from:expr) => {
        impl Cell for $type {
            type Data = $data;
            const PHYSICAL: Physical = Physical::$physical;

            fn logical() -> Option<LogicalType> {
                $logical
            }

            fn to(&self) -> $repr {
                let to: fn(&$type) -> $repr = $to;
                to(self)
            }

            fn from(data: Vec<$repr>) -> Vec<Self> {
                data.into_iter().map($from).collect()
            }

            fn reader(from: &mut ColumnReader) -> Option<&mut ColumnReaderImpl<$data>> {
                match from {
                    ColumnReader::$reader(reader) => Some(reader),
                    _ => None,
                }
            }
        }
        required!($type);
    };
}

/// A cell as a column without absent values.
macro_rules! required {
    ($type:ty) => {
        impl Value for $type {
            fn schema(name: &str) -> Result<Type, ParquetError> {
                cell_schema::<$type>(name, Repetition::REQUIRED)
            }

            fn write<'a>(
                values: impl Iterator<Item = &'a Self>,
                out: &mut SerializedColumnWriter<'_>,
            ) -> Result<(), ParquetError> {
                let data: Vec<_> = values.map(Cell::to).collect();
                out.typed::<<$type as Cell>::Data>().write_batch(&data, None, None)?;
                Ok(())
            }

            fn read(rows: usize, from: &mut ColumnReader) -> Result<Vec<Self>, ParquetError> {
                let data = read_next::<$type>(rows, from, None, None)?;
                checked(rows, <$type as Cell>::from(data))
            }
        }
    };
}

integer!(
    u32,
    Int32Type,
    INT32,
    Int32ColumnReader,
    i32,
    Some(LogicalType::integer(32, false)),
    |it| *it as i32,
    |it| it as u32
);
integer!(i32, Int32Type, INT32, Int32ColumnReader, i32, None, |it| *it, |it| it);
integer!(
    u64,
    Int64Type,
    INT64,
    Int64ColumnReader,
    i64,
    Some(LogicalType::integer(64, false)),
    |it| *it as i64,
    |it| it as u64
);
integer!(i64, Int64Type, INT64, Int64ColumnReader, i64, None, |it| *it, |it| it);
integer!(
    Time,
    Int64Type,
    INT64,
    Int64ColumnReader,
    i64,
    Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
    |it| it.0 as i64,
    |it| Time(it as u64)
);
integer!(bool, BoolType, BOOLEAN, BoolColumnReader, bool, None, |it| *it, |it| it);

/// Text as it lies in a file: what is read is a part of its page, so a name that nobody asks for costs nothing.
#[derive(Clone)]
pub(in crate::store) struct Text(ByteArray);

impl Text {
    /// The text; what is not UTF-8 was not written by us.
    pub(in crate::store) fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.0.data())
    }

    /// The same in memory of its own: it does not keep its page.
    pub(in crate::store) fn alone(&self) -> Text {
        Text(ByteArray::from(Bytes::copy_from_slice(self.0.data())))
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text(ByteArray::from(Bytes::copy_from_slice(text.as_bytes())))
    }
}

impl Default for Text {
    fn default() -> Text {
        Text(ByteArray::from(Bytes::new()))
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.0.data() == other.0.data()
    }
}

impl Eq for Text {}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        self.0.data().cmp(other.0.data())
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.data().hash(state);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().fmt(out)
    }
}

impl Cell for Text {
    type Data = ByteArrayType;
    const PHYSICAL: Physical = Physical::BYTE_ARRAY;

    fn logical() -> Option<LogicalType> {
        Some(LogicalType::String)
    }

    fn to(&self) -> ByteArray {
        self.0.clone()
    }

    fn from(data: Vec<ByteArray>) -> Vec<Self> {
        data.into_iter().map(Text).collect()
    }

    fn reader(from: &mut ColumnReader) -> Option<&mut ColumnReaderImpl<ByteArrayType>> {
        match from {
            ColumnReader::ByteArrayColumnReader(reader) => Some(reader),
            _ => None,
        }
    }
}
required!(Text);

impl<T: Cell> Value for Option<T> {
    fn schema(name: &str) -> Result<Type, ParquetError> {
        cell_schema::<T>(name, Repetition::OPTIONAL)
    }

    fn write<'a>(
        values: impl Iterator<Item = &'a Self>,
        out: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError>
    where
        T: 'a,
    {
        let (mut data, mut levels) = (Vec::new(), Vec::new());
        for value in values {
            levels.push(i16::from(value.is_some()));
            data.extend(value.iter().map(Cell::to));
        }
        out.typed::<T::Data>().write_batch(&data, Some(&levels), None)?;
        Ok(())
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn read(rows: usize, from: &mut ColumnReader) -> Result<Vec<Self>, ParquetError> {
        let mut levels = Vec::with_capacity(rows);
        let data = read_next::<T>(rows, from, Some(&mut levels), None)?;
        let mut present = T::from(data).into_iter();
        checked(rows, levels.iter().map(|level| if *level > 0 { present.next() } else { None }).collect())
    }
}

impl<T: Cell> Value for Vec<T> {
    const INNER: &'static [&'static str] = &["list", "element"];

    fn schema(name: &str) -> Result<Type, ParquetError> {
        let element = cell_schema::<T>("element", Repetition::REQUIRED)?;
        let list = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![TypePtr::new(element)])
            .build()?;
        Type::group_type_builder(name)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![TypePtr::new(list)])
            .build()
    }

    fn write<'a>(
        values: impl Iterator<Item = &'a Self>,
        out: &mut SerializedColumnWriter<'_>,
    ) -> Result<(), ParquetError>
    where
        T: 'a,
    {
        let (mut data, mut present, mut goes_on) = (Vec::new(), Vec::new(), Vec::new());
        for list in values {
            // A list without elements is one level pair of its own.
            present.extend(std::iter::repeat_n(i16::from(!list.is_empty()), list.len().max(1)));
            goes_on.push(0);
            goes_on.extend(std::iter::repeat_n(1, list.len().saturating_sub(1)));
            data.extend(list.iter().map(Cell::to));
        }
        out.typed::<T::Data>().write_batch(&data, Some(&present), Some(&goes_on))?;
        Ok(())
    }

    fn read(rows: usize, from: &mut ColumnReader) -> Result<Vec<Self>, ParquetError> {
        let (mut present, mut goes_on) = (Vec::new(), Vec::new());
        let data = read_next::<T>(rows, from, Some(&mut present), Some(&mut goes_on))?;
        let mut elements = T::from(data).into_iter();
        let mut lists: Vec<Vec<T>> = Vec::with_capacity(rows);
        let mut at = 0;
        while at < goes_on.len() {
            let more = goes_on[at + 1..].iter().take_while(|level| **level > 0).count();
            let is_empty = present.get(at).is_none_or(|level| *level == 0);
            let count = if is_empty { 0 } else { more + 1 };
            lists.push(elements.by_ref().take(count).collect());
            at += more + 1;
        }
        checked(rows, lists)
    }
}

fn cell_schema<T: Cell>(name: &str, repetition: Repetition) -> Result<Type, ParquetError> {
    Type::primitive_type_builder(name, T::PHYSICAL).with_repetition(repetition).with_logical_type(T::logical()).build()
}

/// The next rows of a column. Its type was compared with the schema before.
fn read_next<T: Cell>(
    rows: usize,
    from: &mut ColumnReader,
    mut present: Option<&mut Vec<i16>>,
    mut goes_on: Option<&mut Vec<i16>>,
) -> Result<Vec<<T::Data as DataType>::T>, ParquetError> {
    let reader = T::reader(from).ok_or_else(|| ParquetError::General("another type".to_owned()))?;
    let mut data = Vec::with_capacity(rows);
    let mut left = rows;
    while left > 0 {
        let (records, ..) = reader.read_records(left, present.as_deref_mut(), goes_on.as_deref_mut(), &mut data)?;
        if records == 0 {
            break;
        }
        left -= records;
    }
    Ok(data)
}

fn checked<T>(rows: usize, values: Vec<T>) -> Result<Vec<T>, ParquetError> {
    if values.len() == rows {
        return Ok(values);
    }
    Err(ParquetError::General(format!("a column has {} values for {rows} rows", values.len())))
}
