//! Rows to a file.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type};

use super::{Column, Packing, Row, SEGMENT, Value, schema};

/// Most bytes of a page, and of a dictionary: a column of a row group is one page unless it is huge.
const PAGE_BYTES: usize = 16 << 20;

/// Size and checksum of a finished file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct FileSum {
    /// Size.
    pub(in crate::store) bytes: u64,
    /// CRC-32 (IEEE 802.3) of all of it.
    pub(in crate::store) crc32: u32,
}

/// Writes the file of a table, row group by row group.
pub(in crate::store) struct TableWriter<R> {
    file: SerializedFileWriter<Summed>,
    segment: u64,
    row: PhantomData<fn(R)>,
}

/// One row group that is being written.
pub(in crate::store) struct Group<'a> {
    group: SerializedRowGroupWriter<'a, Summed>,
}

impl<R: Row> TableWriter<R> {
    /// Begins the file in `folder`. `about` goes into the footer.
    pub(in crate::store) fn create(
        folder: &Path,
        segment: u64,
        compression: Compression,
        about: &[(&str, String)],
    ) -> Result<TableWriter<R>, ParquetError> {
        let columns = R::columns()?;
        let file = File::create_new(folder.join(file_name::<R>()))?;
        let out = Summed { out: BufWriter::with_capacity(1 << 16, file), hash: crc32fast::Hasher::new(), bytes: 0 };
        let properties = Arc::new(properties(&columns, compression, about)?);
        let file = SerializedFileWriter::new(out, schema(R::TABLE, &columns)?, properties)?;
        Ok(TableWriter { file, segment, row: PhantomData })
    }

    /// Adds a row group, unless there are no rows.
    pub(in crate::store) fn write(&mut self, rows: &[R]) -> Result<(), ParquetError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut group = Group { group: self.file.next_row_group()? };
        group.column(std::iter::repeat_n(&self.segment, rows.len()))?;
        R::write(rows, &mut group)?;
        group.group.close()?;
        Ok(())
    }

    /// Ends the file and waits until it is on disk.
    pub(in crate::store) fn finish(self) -> Result<FileSum, ParquetError> {
        let mut out = self.file.into_inner()?;
        out.flush()?;
        out.out.get_ref().sync_all()?;
        Ok(FileSum { bytes: out.bytes, crc32: out.hash.finalize() })
    }
}

/// The name of a table's file.
pub(super) fn file_name<R: Row>() -> String {
    format!("{}.parquet", R::TABLE)
}

impl Group<'_> {
    /// Writes the next column.
    pub(in crate::store) fn column<'a, T: Value + 'a>(
        &mut self,
        values: impl Iterator<Item = &'a T>,
    ) -> Result<(), ParquetError> {
        let column = self.group.next_column()?;
        let mut column = column.ok_or_else(|| ParquetError::General("more columns than the schema".to_owned()))?;
        T::write(values, &mut column)?;
        column.close()
    }
}

fn properties(
    columns: &[Column],
    compression: Compression,
    about: &[(&str, String)],
) -> Result<WriterProperties, ParquetError> {
    let about = about.iter().map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone())).collect();
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("profilerd ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(compression)
        .set_key_value_metadata(Some(about))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_statistics_truncate_length(Some(64))
        .set_offset_index_disabled(true)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_data_page_row_count_limit(usize::MAX)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_column_dictionary_enabled(ColumnPath::from(SEGMENT), true);
    for Column { schema, path, packing } in columns {
        properties = properties.set_column_dictionary_enabled(path.clone(), *packing == Packing::Dictionary);
        if let Some(encoding) = encoding(*packing, schema) {
            properties = properties.set_column_encoding(path.clone(), encoding);
        }
    }
    Ok(properties.build())
}

/// The encoding of a column that has no dictionary; `None` for the plain one.
fn encoding(packing: Packing, schema: &Type) -> Option<Encoding> {
    let mut leaf = schema;
    // A list is a group in a group.
    while leaf.is_group() {
        leaf = leaf.get_fields().first()?;
    }
    match (packing, leaf.get_physical_type()) {
        (Packing::Delta, Physical::INT32 | Physical::INT64) => Some(Encoding::DELTA_BINARY_PACKED),
        // Lengths of time differ by orders of magnitude: their upper bytes are alike, and so compress when they lie together.
        (Packing::Plain, Physical::INT32 | Physical::INT64) => Some(Encoding::BYTE_STREAM_SPLIT),
        _ => None,
    }
}

/// Sums up what goes through to the file.
struct Summed {
    out: BufWriter<File>,
    hash: crc32fast::Hasher,
    bytes: u64,
}

impl Write for Summed {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.out.write(data)?;
        self.hash.update(&data[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
