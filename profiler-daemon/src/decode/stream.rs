use super::{DecodeError, Record, length, record};
use profiler_common::wire::ThreadTotals;

/// Splits what an iterator program wrote, records of any kind back to back, into records.
///
/// Where a record ends follows from the record itself. After one that is wrong nothing more can be
/// found, so the first error is the last item.
pub fn records(bytes: &[u8]) -> Records<'_> {
    Records { rest: bytes }
}

/// See [`records`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl Iterator for Records<'_> {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.rest);
        Some(length(bytes).and_then(|length| {
            // A record that is cut short goes to `record` as it is, which says by how much.
            let (first, rest) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
            let found = record(first)?;
            self.rest = rest;
            Ok(found)
        }))
    }
}

/// The thread totals that an iterator program wrote back to back, up to the first record that is
/// something else or broken, and what was wrong with that one.
pub fn totals(bytes: &[u8]) -> (Vec<ThreadTotals>, Option<DecodeError>) {
    let mut found = Vec::with_capacity(bytes.len() / size_of::<ThreadTotals>());
    for record in records(bytes) {
        match record {
            Ok(Record::Thread(totals)) => found.push(*totals),
            Ok(other) => return (found, Some(DecodeError::NoTotals { found: other.name() })),
            Err(error) => return (found, Some(error)),
        }
    }
    (found, None)
}
