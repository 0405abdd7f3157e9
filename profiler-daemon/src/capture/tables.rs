//! The maps that unwind tables are written to.

use std::collections::VecDeque;
use std::io;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use profiler_common::unwind::{ProcessMappings, Rule, SLAB_WORDS};

use super::pod::Plain;

const SLAB_BYTES: usize = SLAB_WORDS * 4;
/// Most slabs that are mapped into our memory at a time: all of a mapping counts as resident.
const MOST_VIEWS: usize = 6;

/// Unwind tables in kernel memory.
pub struct Tables {
    outer: ArrayOfMaps<MapData, Array<MapData, Plain<[u32; SLAB_WORDS]>>>,
    rules: Array<MapData, Plain<Rule>>,
    processes: HashMap<MapData, u32, Plain<ProcessMappings>>,
    slabs: Vec<OwnedFd>,
    /// The slabs that were used last, the latest one first.
    views: VecDeque<(u32, View)>,
}

/// A slab as the kernel and we see it. Dropping it ends our view.
#[derive(Debug)]
struct View {
    words: NonNull<u32>,
}

// SAFETY: the memory is shared with the kernel anyway, and reached through `&mut Tables` only.
unsafe impl Send for View {}

impl Tables {
    pub(super) fn new(slabs: Map, rules: Map, processes: Map) -> Result<Tables, aya::maps::MapError> {
        Ok(Tables {
            outer: ArrayOfMaps::try_from(slabs)?,
            rules: Array::try_from(rules)?,
            processes: HashMap::try_from(processes)?,
            slabs: Vec::new(),
            views: VecDeque::new(),
        })
    }

    /// Writes words into a slab, which is made if it is the next one.
    ///
    /// # Errors
    /// The kernel gives no memory, or the words lie outside of the slab.
    pub fn write(&mut self, slab: u32, word: u32, words: &[u32]) -> io::Result<()> {
        let outside = || io::Error::from(io::ErrorKind::InvalidInput);
        if slab as usize == self.slabs.len() {
            let made = self.make(slab)?;
            self.slabs.push(made);
        }
        if (word as usize).checked_add(words.len()).is_none_or(|end| end > SLAB_WORDS) {
            return Err(outside());
        }
        let view = self.view(slab)?;
        // SAFETY: the range lies inside the mapping, which nothing in this process refers to.
        unsafe { view.words.add(word as usize).copy_from_nonoverlapping(NonNull::from(words).cast(), words.len()) };
        Ok(())
    }

    /// Reads a word of a slab and sets it to 0. Words that do not exist are 0.
    pub fn take(&mut self, slab: u32, word: u32) -> u32 {
        match self.view(slab) {
            Ok(view) if (word as usize) < SLAB_WORDS => {
                // SAFETY: inside of the mapping. A walk may set it to 1 between the two: it does so again.
                unsafe {
                    let at = view.words.add(word as usize);
                    let value = at.read_volatile();
                    if value != 0 {
                        at.write_volatile(0);
                    }
                    value
                }
            }
            _ => 0,
        }
    }

    /// The slab in our memory, where it replaces the one unused for longest.
    fn view(&mut self, slab: u32) -> io::Result<&View> {
        match self.views.iter().position(|(number, _)| *number == slab) {
            Some(index) => self.views.make_contiguous()[..=index].rotate_right(1),
            None => {
                let fd = self.slabs.get(slab as usize).ok_or(io::ErrorKind::InvalidInput)?;
                self.views.truncate(MOST_VIEWS - 1);
                self.views.push_front((slab, View::new(fd.as_fd())?));
            }
        }
        Ok(&self.views[0].1)
    }

    /// Writes the rules from number `first` on.
    ///
    /// # Errors
    /// There is no room for that many, or the kernel refuses.
    pub fn rules(&mut self, first: usize, rules: &[Rule]) -> io::Result<()> {
        for (number, rule) in (first as u32..).zip(rules) {
            self.rules.set(number, Plain(*rule), 0).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Says where a process' mappings lie, or that they are no longer known.
    ///
    /// # Errors
    /// The map is full.
    pub fn process(&mut self, pid: u32, mappings: Option<ProcessMappings>) -> io::Result<()> {
        match mappings {
            Some(mappings) => self.processes.insert(pid, Plain(mappings), 0).map_err(io::Error::other),
            None => {
                // One that was never told is not there.
                let _ = self.processes.remove(&pid);
                Ok(())
            }
        }
    }

    fn make(&mut self, number: u32) -> io::Result<OwnedFd> {
        let fd = create()?;
        let data = MapData::from_fd(fd.try_clone()?).map_err(io::Error::other)?;
        let map = Map::from_map_data(data).map_err(io::Error::other)?;
        let inner: Array<MapData, Plain<[u32; SLAB_WORDS]>> = Array::try_from(map).map_err(io::Error::other)?;
        self.outer.set(number, &inner, 0).map_err(io::Error::other)?;
        Ok(fd)
    }
}

impl View {
    fn new(slab: BorrowedFd<'_>) -> io::Result<View> {
        let length = const { NonZero::new(SLAB_BYTES).unwrap() };
        // SAFETY: a new shared mapping of our own map.
        let words =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, slab, 0) }?;
        Ok(View { words: words.cast() })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: our own mapping, which nobody refers to any more. If it fails the memory stays mapped.
        let _ = unsafe { munmap(self.words.cast(), SLAB_BYTES) };
    }
}

/// Makes an array with one value of a slab's size that can be mapped into memory: aya can only make one
/// without giving its descriptor. Source: `union bpf_attr`, include/uapi/linux/bpf.h.
fn create() -> io::Result<OwnedFd> {
    #[repr(C)]
    #[derive(Default)]
    struct Create {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
        inner_map_fd: u32,
        numa_node: u32,
        map_name: [u8; 16],
        rest: [u32; 8],
    }
    const BPF_MAP_CREATE: libc::c_long = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    const BPF_F_MMAPABLE: u32 = 1 << 10;
    let create = Create {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: SLAB_BYTES as u32,
        max_entries: 1,
        map_flags: BPF_F_MMAPABLE,
        map_name: *b"UNWIND_SLAB\0\0\0\0\0",
        ..Create::default()
    };
    // SAFETY: the kernel reads the structure, whose unused rest is zero.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const create, size_of::<Create>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel just gave us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
