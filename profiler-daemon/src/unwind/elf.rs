use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use super::machine::Machine;
use super::table::PAGE_BYTES;
use super::{BuildError, BuildId, Row, Segment};

/// Program headers, section headers, section names and notes are read up to this many bytes each.
const MOST_HEADER_BYTES: u64 = 4 << 20;
/// Unwind information is read up to this many bytes; the largest known programs have some 30 MiB.
const MOST_FRAME_BYTES: u64 = 256 << 20;
/// Most executable segments; programs have one or two.
const MOST_SEGMENTS: usize = 64;
/// Most bytes of executable segments.
const MOST_CODE_BYTES: u64 = 4 << 30;

const HEADER_BYTES: u64 = 64;
const SEGMENT_BYTES: usize = 56;
const SECTION_BYTES: usize = 64;
const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const PF_X: u32 = 1;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 0x800;
const ELFCOMPRESS_ZLIB: u32 = 1;
const ELFCOMPRESS_ZSTD: u32 = 2;
const NT_GNU_BUILD_ID: u32 = 3;

/// Where a file's bytes come from. A file is read, never mapped: whoever cuts a mapped file short
/// kills its reader.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    File { file: &'a File, bytes: u64 },
    Bytes(&'a [u8]),
}

impl<'a> Source<'a> {
    pub(super) fn of_file(file: &'a File) -> io::Result<Source<'a>> {
        Ok(Source::File { file, bytes: file.metadata()?.len() })
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Source::File { bytes, .. } => *bytes,
            Source::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Exactly `len` bytes from `offset`.
    pub(super) fn read(&self, offset: u64, len: u64) -> io::Result<Cow<'a, [u8]>> {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Source::File { file, .. } => {
                let mut bytes = vec![0; len as usize];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
            Source::Bytes(bytes) => Ok(bytes[offset as usize..(offset + len) as usize].into()),
        }
    }
}

/// The headers of an ELF file, and what they lead to. Source: `elf.h`, "System V ABI", chapter 4 and 5.
#[derive(Debug)]
pub(super) struct Elf<'a> {
    source: Source<'a>,
    pub(super) machine: &'static Machine,
    segments: Vec<Header>,
    sections: Vec<Section>,
    names: Cow<'a, [u8]>,
    segment_table: Cow<'a, [u8]>,
}

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    bytes: u64,
    align: u64,
}

/// A section header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    name: u32,
    kind: u32,
    flags: u64,
    pub(super) address: u64,
    offset: u64,
    pub(super) bytes: u64,
}

impl<'a> Elf<'a> {
    pub(super) fn read(source: Source<'a>) -> Result<Elf<'a>, BuildError> {
        let read = |what, offset, len: u64| {
            if len > MOST_HEADER_BYTES {
                return Err(BuildError::TooLarge { what: "bytes of ELF headers", most: MOST_HEADER_BYTES });
            }
            source.read(offset, len).map_err(|source| BuildError::Read { what, source })
        };
        if source.len() < HEADER_BYTES {
            return Err(BuildError::NotElf);
        }
        let header = read("ELF header", 0, HEADER_BYTES)?;
        if !header.starts_with(b"\x7fELF") || !matches!(u16_at(&header, 16), ET_EXEC | ET_DYN) {
            return Err(BuildError::NotElf);
        }
        let (class, order, machine) = (header[4], header[5], u16_at(&header, 18));
        let machine = match Machine::of(machine) {
            Some(machine) if class == 2 && order == 1 => machine,
            _ => return Err(BuildError::Unsupported { class, machine }),
        };
        let (size, count) = (usize::from(u16_at(&header, 54)), u64::from(u16_at(&header, 56)));
        if size != SEGMENT_BYTES {
            return Err(BuildError::NotElf);
        }
        let segment_table = read("program headers", u64_at(&header, 32), count * size as u64)?;
        let segments = segment_table.chunks_exact(size).map(Header::from_bytes).collect();

        // A file runs without section headers: broken ones are as good as none.
        let (size, count) = (usize::from(u16_at(&header, 58)), u64::from(u16_at(&header, 60)));
        let table = read("section headers", u64_at(&header, 40), count * size as u64).unwrap_or_default();
        let sections: Vec<_> = match size {
            SECTION_BYTES => table.chunks_exact(size).map(Section::from_bytes).collect(),
            _ => Vec::new(),
        };
        let names = sections.get(usize::from(u16_at(&header, 62)));
        let names = names.and_then(|names| read("section names", names.offset, names.bytes).ok());
        Ok(Elf { source, machine, segments, sections, names: names.unwrap_or_default(), segment_table })
    }

    /// The executable segments, as far as they lie in the file: ascending, without overlaps.
    pub(super) fn code(&self) -> Result<Vec<Segment>, BuildError> {
        let executable = |header: &&Header| header.kind == PT_LOAD && header.flags & PF_X != 0;
        let mut segments: Vec<_> = self.segments.iter().filter(executable).filter_map(|h| self.segment(h)).collect();
        if segments.len() > MOST_SEGMENTS {
            return Err(BuildError::TooLarge { what: "executable segments", most: MOST_SEGMENTS as u64 });
        }
        if segments.iter().map(|segment| segment.bytes).sum::<u64>() > MOST_CODE_BYTES {
            return Err(BuildError::TooLarge { what: "bytes of code", most: MOST_CODE_BYTES });
        }
        segments.sort_by_key(|segment| segment.address);
        let mut end = 0;
        segments.retain(|segment| {
            let free = segment.address >= end;
            end = if free { segment.end() } else { end };
            free
        });
        Ok(segments)
    }

    /// A loaded segment, unless nothing of it is in the file or its addresses are none.
    fn segment(&self, header: &Header) -> Option<Segment> {
        let bytes = header.bytes.min(self.source.len().checked_sub(header.offset)?);
        let end = header.address.checked_add(bytes)?;
        (bytes > 0 && end < Row::MOST_ADDRESS - PAGE_BYTES).then_some(Segment {
            file_offset: header.offset,
            address: header.address,
            bytes,
        })
    }

    /// Tells apart files of one build id: stripped or not, relinked to other addresses.
    pub(super) fn variant(&self) -> u32 {
        let mut sum = crc32fast::Hasher::new();
        sum.update(&self.segment_table);
        sum.update(&self.source.len().to_le_bytes());
        sum.finalize()
    }

    pub(super) fn build_id(&self) -> Option<BuildId> {
        self.segments.iter().filter(|header| header.kind == PT_NOTE).find_map(|header| {
            let notes = (header.bytes <= MOST_HEADER_BYTES).then(|| self.source.read(header.offset, header.bytes).ok());
            build_id_in(&notes??, if header.align == 8 { 8 } else { 4 })
        })
    }

    /// The section of this name, if it has bytes in the file.
    pub(super) fn section(&self, name: &[u8]) -> Option<&Section> {
        self.sections.iter().find(|section| {
            let start = self.names.get(section.name as usize..);
            let named = start.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0));
            named && section.kind != SHT_NOBITS && section.bytes > 0
        })
    }

    /// A section's bytes, expanded if they are compressed.
    pub(super) fn bytes_of(&self, section: &Section) -> Result<Cow<'a, [u8]>, BuildError> {
        let bytes = self.frames(section.offset, section.bytes)?;
        if section.flags & SHF_COMPRESSED == 0 {
            return Ok(bytes);
        }
        expand(&bytes).map(Cow::Owned)
    }

    /// The first bytes of a section; none of one that is shorter.
    pub(super) fn first_bytes<const N: usize>(&self, section: &Section) -> Option<[u8; N]> {
        let bytes = self.source.read(section.offset, section.bytes.min(N as u64)).ok()?;
        bytes.first_chunk().copied()
    }

    /// Address and first bytes of what a program header announces as the index of `.eh_frame`.
    pub(super) fn frame_index(&self) -> Option<(u64, Cow<'a, [u8]>)> {
        let header = self.segments.iter().find(|header| header.kind == PT_GNU_EH_FRAME)?;
        Some((header.address, self.source.read(header.offset, header.bytes.min(64)).ok()?))
    }

    /// The bytes from an ELF address to the end of its segment.
    pub(super) fn bytes_from(&self, address: u64) -> Result<Cow<'a, [u8]>, BuildError> {
        let inside = |segment: &Segment| (segment.address..segment.end()).contains(&address);
        let loaded = self.segments.iter().filter(|header| header.kind == PT_LOAD);
        let Some(segment) = loaded.filter_map(|header| self.segment(header)).find(inside) else {
            return Ok(Cow::default());
        };
        let skipped = address - segment.address;
        self.frames(segment.file_offset + skipped, (segment.bytes - skipped).min(MOST_FRAME_BYTES))
    }

    fn frames(&self, offset: u64, bytes: u64) -> Result<Cow<'a, [u8]>, BuildError> {
        if bytes > MOST_FRAME_BYTES {
            return Err(BuildError::TooLarge { what: "bytes of unwind information", most: MOST_FRAME_BYTES });
        }
        self.source.read(offset, bytes).map_err(|source| BuildError::Read { what: "unwind information", source })
    }
}

/// Expands a section behind its compression header: kind, reserved, bytes, alignment.
fn expand(section: &[u8]) -> Result<Vec<u8>, BuildError> {
    let broken = |what: &str| BuildError::Compressed { source: io::Error::new(io::ErrorKind::InvalidData, what) };
    let (header, packed) = section.split_at_checked(24).ok_or_else(|| broken("its header is cut short"))?;
    let bytes = u64_at(header, 8);
    if bytes > MOST_FRAME_BYTES {
        return Err(BuildError::TooLarge { what: "bytes of unwind information", most: MOST_FRAME_BYTES });
    }
    let mut expanded = Vec::new();
    let done = match u32_at(header, 0) {
        ELFCOMPRESS_ZLIB => flate2::read::ZlibDecoder::new(packed).take(bytes).read_to_end(&mut expanded),
        ELFCOMPRESS_ZSTD => zstd::Decoder::new(packed).and_then(|from| from.take(bytes).read_to_end(&mut expanded)),
        _ => return Err(broken("unknown compression")),
    };
    match done {
        Ok(_) if expanded.len() as u64 == bytes => Ok(expanded),
        Ok(_) => Err(broken("it is shorter than its header says")),
        Err(source) => Err(BuildError::Compressed { source }),
    }
}

impl Header {
    fn from_bytes(bytes: &[u8]) -> Header {
        Header {
            kind: u32_at(bytes, 0),
            flags: u32_at(bytes, 4),
            offset: u64_at(bytes, 8),
            address: u64_at(bytes, 16),
            bytes: u64_at(bytes, 32),
            align: u64_at(bytes, 48),
        }
    }
}

impl Section {
    fn from_bytes(bytes: &[u8]) -> Section {
        Section {
            name: u32_at(bytes, 0),
            kind: u32_at(bytes, 4),
            flags: u64_at(bytes, 8),
            address: u64_at(bytes, 16),
            offset: u64_at(bytes, 24),
            bytes: u64_at(bytes, 32),
        }
    }
}

/// Notes are: name length, content length, kind; name; content, each padded.
fn build_id_in(mut notes: &[u8], align: usize) -> Option<BuildId> {
    loop {
        let (header, rest) = notes.split_at_checked(12)?;
        let (name_len, len, kind) = (u32_at(header, 0) as usize, u32_at(header, 4) as usize, u32_at(header, 8));
        let name = rest.get(..name_len)?;
        let at = (12 + name_len).next_multiple_of(align);
        let content = notes.get(at..)?.get(..len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && (1..=64).contains(&len) {
            return Some(BuildId(content.into()));
        }
        notes = notes.get((at + len).next_multiple_of(align)..)?;
    }
}

/// The caller has made sure that there are enough bytes.
fn u16_at(bytes: &[u8], at: usize) -> u16 {
    bytes[at..].first_chunk().map_or(0, |chunk| u16::from_le_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
