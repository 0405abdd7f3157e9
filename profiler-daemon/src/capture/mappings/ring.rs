use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use aya_obj::generated::{perf_event_attr, perf_event_mmap_page, perf_event_sample_format, perf_sw_ids, perf_type_id};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

/// The largest record that a mapping makes: its numbers and a path of `PATH_MAX` bytes.
const LARGEST_RECORD: usize = 4_096 + 128;

/// The event of one CPU and the memory that the kernel writes its records to: a page of positions, then
/// the data. Positions only ever grow; modulo the size of the data they are places in it.
#[derive(Debug)]
pub(super) struct Ring {
    event: OwnedFd,
    /// Start of the page of positions.
    page: NonNull<libc::c_void>,
    page_bytes: usize,
    data_bytes: usize,
}

// SAFETY: the memory belongs to this value alone and is reached only through it; nothing in it depends
// on the thread.
unsafe impl Send for Ring {}

impl Ring {
    /// `data_bytes` is a power of two of at least a page.
    pub(super) fn open(cpu: u32, data_bytes: usize) -> io::Result<Ring> {
        let cpu = i32::try_from(cpu).map_err(|_| io::ErrorKind::InvalidInput)?;
        let event = open_event(cpu, data_bytes / 2)?;
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| usize::try_from(bytes).ok());
        let page_bytes = page_bytes.ok_or(io::ErrorKind::Unsupported)?;
        let bytes = NonZeroUsize::MIN.saturating_add(page_bytes + data_bytes - 1);
        // Writable: only then the kernel respects how far we have read, instead of writing over it.
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let page = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, &event, 0)? };
        Ok(Ring { event, page, page_bytes, data_bytes })
    }

    /// Replaces `bytes` by the records that were not read yet, and frees their place. Returns whether
    /// there was room left for one more: otherwise some may have been lost, which the kernel says only with
    /// the next that fits.
    pub(super) fn read(&mut self, bytes: &mut Vec<u8>) -> bool {
        bytes.clear();
        let (head, tail) = self.positions();
        // Acquire: what the kernel wrote before it moved the head is there for us.
        let (to, from) = (head.load(Ordering::Acquire), tail.load(Ordering::Relaxed));
        let length = usize::try_from(to.wrapping_sub(from)).unwrap_or(usize::MAX);
        if length <= self.data_bytes {
            let start = from as usize & (self.data_bytes - 1);
            let before_end = length.min(self.data_bytes - start);
            self.copy(start, before_end, bytes);
            self.copy(0, length - before_end, bytes);
        }
        // Release: the kernel writes there only after we have copied.
        tail.store(to, Ordering::Release);
        length.saturating_add(LARGEST_RECORD) <= self.data_bytes
    }

    /// Appends a part of the data that the kernel has written and we have not freed.
    fn copy(&self, start: usize, length: usize, bytes: &mut Vec<u8>) {
        debug_assert!(start + length <= self.data_bytes);
        bytes.reserve(length);
        // SAFETY: source: `start + length` is within the data (the callers see to it), which is mapped as
        // long as `self` lives, and the kernel writes nothing there before `tail` moves. Destination: reserved
        // above, and initialized by the copy before the length grows over it.
        unsafe {
            let data = self.page.as_ptr().cast::<u8>().add(self.page_bytes);
            ptr::copy_nonoverlapping(data.add(start), bytes.as_mut_ptr().add(bytes.len()), length);
            bytes.set_len(bytes.len() + length);
        }
    }

    /// Up to where the kernel has written, and up to where we have read.
    fn positions(&self) -> (&AtomicU64, &AtomicU64) {
        let page = self.page.cast::<perf_event_mmap_page>().as_ptr();
        // SAFETY: the page is mapped as long as `self` lives and starts with this structure; both are aligned
        // 64-bit numbers, which both sides access atomically.
        unsafe { (AtomicU64::from_ptr(&raw mut (*page).data_head), AtomicU64::from_ptr(&raw mut (*page).data_tail)) }
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `open` made, with its whole length; no reference into it outlives `self`.
        // It cannot fail for such a range.
        let _ = unsafe { munmap(self.page, self.page_bytes + self.data_bytes) };
    }
}

/// An event that counts nothing and tells of executable mappings, of programs and of threads on one CPU. Its
/// descriptor is readable each time that another `watermark_bytes` were written.
fn open_event(cpu: i32, watermark_bytes: usize) -> io::Result<OwnedFd> {
    // SAFETY: a structure of integers, for which zeros are values: nothing is asked for.
    let mut attr: perf_event_attr = unsafe { std::mem::zeroed() };
    attr.size = size_of::<perf_event_attr>() as u32;
    attr.type_ = perf_type_id::PERF_TYPE_SOFTWARE as u32;
    attr.config = perf_sw_ids::PERF_COUNT_SW_DUMMY as u64;
    // The kernel counts who wants mappings by `mmap`, and writes the better record for `mmap2`.
    attr.set_mmap(1);
    attr.set_mmap2(1);
    // Forks come along; without `inherit` the ends of threads cannot be had without them.
    attr.set_task(1);
    // Names, for they say when a process begins another program.
    attr.set_comm(1);
    attr.set_comm_exec(1);
    // Each record ends with its time, by the clock that our programs read.
    attr.set_sample_id_all(1);
    attr.sample_type = perf_event_sample_format::PERF_SAMPLE_TIME as u64;
    attr.set_use_clockid(1);
    attr.clockid = libc::CLOCK_MONOTONIC;
    attr.set_exclude_kernel(1);
    attr.set_watermark(1);
    attr.__bindgen_anon_2.wakeup_watermark = u32::try_from(watermark_bytes).unwrap_or(u32::MAX);
    let (every_process, no_group) = (-1, -1);
    // SAFETY: `attr` is a valid structure of the size that it states, which the call only reads.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            every_process,
            cpu,
            no_group,
            libc::c_ulong::from(aya_obj::generated::PERF_FLAG_FD_CLOEXEC),
        )
    };
    match i32::try_from(fd) {
        // SAFETY: a new descriptor that nobody else knows.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
