//! A map of sums, emptied many at a time: with one call an entry most of the time goes into calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use aya::maps::{HashMap, Map, MapError};
use profiler_common::wire::{OffCpuMapKey, OffCpuValue};

use super::pod::Plain;

/// Entries taken at a time, at first. A bucket of the kernel's table that holds more needs more room.
const ENTRIES: usize = 256;
/// More than any map of ours has.
const MOST_ENTRIES: usize = 1 << 20;

/// One of the off-CPU maps.
#[derive(Debug)]
pub(super) struct Sums {
    fd: OwnedFd,
    keys: Vec<OffCpuMapKey>,
    values: Vec<OffCpuValue>,
}

/// Source: `union bpf_attr`, the part `batch`, include/uapi/linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

impl Sums {
    pub(super) fn new(map: Map) -> Result<Sums, MapError> {
        // Checks the sizes of keys and values, which the kernel goes by below.
        HashMap::<_, Plain<OffCpuMapKey>, Plain<OffCpuValue>>::try_from(&map)?;
        let Map::HashMap(data) = map else { return Err(MapError::InvalidMapType { map_type: 0 }) };
        Ok(Sums { fd: data.fd().as_fd().try_clone_to_owned()?, keys: Vec::new(), values: Vec::new() })
    }

    /// Hands every entry to `take` and removes it. Nobody may write to the map meanwhile.
    ///
    /// # Errors
    /// The kernel refuses. What was taken by then is removed.
    pub(super) fn drain(&mut self, mut take: impl FnMut(&OffCpuMapKey, &OffCpuValue)) -> io::Result<()> {
        const LOOKUP_AND_DELETE_BATCH: libc::c_long = 25;
        // Where the next call goes on: a number of the kernel's.
        let mut place = 0_u32;
        let mut is_first = true;
        let mut room = ENTRIES;
        loop {
            self.keys.resize(room, OffCpuMapKey::default());
            self.values.resize(room, OffCpuValue::NOTHING);
            let mut next = 0_u32;
            let mut batch = Batch {
                in_batch: if is_first { 0 } else { (&raw const place).addr() as u64 },
                out_batch: (&raw mut next).addr() as u64,
                keys: self.keys.as_mut_ptr().expose_provenance() as u64,
                values: self.values.as_mut_ptr().expose_provenance() as u64,
                count: room as u32,
                map_fd: self.fd.as_raw_fd() as u32,
                ..Batch::default()
            };
            // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, checked above, into buffers that hold
            // as many, and its place into `next`. Any bits are valid ones of both types.
            let done =
                unsafe { libc::syscall(libc::SYS_bpf, LOOKUP_AND_DELETE_BATCH, &raw mut batch, size_of::<Batch>()) };
            let error = if done == 0 { None } else { Some(io::Error::last_os_error()) };
            match error.as_ref().and_then(io::Error::raw_os_error) {
                // The last ones.
                None | Some(libc::ENOENT) => {}
                Some(libc::ENOSPC) if room < MOST_ENTRIES => {
                    room *= 2;
                    continue;
                }
                _ => return Err(error.unwrap_or_else(|| io::ErrorKind::Other.into())),
            }
            let count = (batch.count as usize).min(room);
            self.keys.iter().zip(&self.values).take(count).for_each(|(key, value)| take(key, value));
            if error.is_some() {
                return Ok(());
            }
            (place, is_first) = (next, false);
        }
    }
}
