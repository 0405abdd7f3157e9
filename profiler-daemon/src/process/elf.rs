use std::fs::File;
use std::os::unix::fs::FileExt;

use super::FileOffset;

/// Program and section headers, and a segment of notes, are read up to this many bytes.
const MOST_BYTES: u64 = 4 << 20;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const SHT_SYMTAB: u32 = 2;
const SHT_STRTAB: u32 = 3;
const SHT_DYNSYM: u32 = 11;
const NT_GNU_BUILD_ID: u32 = 3;
const SHF_EXECINSTR: u64 = 4;
const SHF_COMPRESSED: u64 = 0x800;

/// Whether a file starts like an ELF file, of any class and machine.
pub(super) fn is_elf(file: &File) -> bool {
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0).is_ok() && magic == *b"\x7fELF"
}

/// The GNU build id in hex, if the file is a 64-bit ELF file that carries one in its notes.
pub(super) fn build_id(file: &File) -> Option<String> {
    let header = Header::read(file)?;
    let segments = header.table(file, 32, 54, 56)?;
    for segment in segments.entries(56) {
        if u32_at(segment, 0)? != PT_NOTE {
            continue;
        }
        let align = if u64_at(segment, 48)? == 8 { 8 } else { 4 };
        let notes = read(file, u64_at(segment, 8)?, u64_at(segment, 32)?)?;
        if let Some(id) = build_id_in(&notes, align) {
            return Some(id.iter().map(|byte| format!("{byte:02x}")).collect());
        }
    }
    None
}

/// Where the parts of an ELF file are: what a symbolizer has to know before it trusts the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Loaded segments: file offset, bytes in the file, ELF address.
    segments: Vec<(u64, u64, u64)>,
    /// ELF address ranges of the sections that hold code, half-open.
    code: Vec<(u64, u64)>,
    /// Bytes of all symbol and string tables, uncompressed.
    pub symbol_bytes: u64,
    /// Bytes of all debug information, uncompressed.
    pub debug_bytes: u64,
    /// Whether it names another file that has, or completes, its debug information.
    pub names_debug_file: bool,
}

impl Layout {
    /// Reads the headers. A file that is no 64-bit ELF file, or a broken one, has no parts.
    pub fn read(file: &File) -> Layout {
        let mut layout = Layout::default();
        let Some(header) = Header::read(file) else { return layout };
        let segments = header.table(file, 32, 54, 56);
        for segment in segments.iter().flat_map(|table| table.entries(56)) {
            let field = |at| u64_at(segment, at).unwrap_or_default();
            if u32_at(segment, 0) == Some(PT_LOAD) {
                layout.segments.push((field(8), field(32), field(16)));
            }
        }
        let Some(sections) = header.table(file, 40, 58, 60) else { return layout };
        let names = u16_at(&header.0, 62)
            .and_then(|index| sections.entries(64).nth(index.into()))
            .and_then(|section| read(file, u64_at(section, 24)?, u64_at(section, 32)?))
            .unwrap_or_default();
        for section in sections.entries(64) {
            layout.add(file, section, name_at(&names, u32_at(section, 0).unwrap_or_default()));
        }
        layout
    }

    fn add(&mut self, file: &File, section: &[u8], name: &[u8]) {
        let field = |at| u64_at(section, at).unwrap_or_default();
        let (kind, flags, address, offset, size) =
            (u32_at(section, 4).unwrap_or_default(), field(8), field(16), field(24), field(32));
        let bytes = if flags & SHF_COMPRESSED == 0 {
            size
        } else {
            read(file, offset, 24).and_then(|header| u64_at(&header, 8)).unwrap_or_default()
        };
        if flags & SHF_EXECINSTR != 0 {
            self.code.push((address, address.saturating_add(size)));
        }
        if matches!(kind, SHT_SYMTAB | SHT_STRTAB | SHT_DYNSYM) {
            self.symbol_bytes = self.symbol_bytes.saturating_add(bytes);
        } else if name.starts_with(b".debug") {
            self.debug_bytes = self.debug_bytes.saturating_add(bytes);
        }
        self.names_debug_file |= matches!(name, b".gnu_debuglink" | b".gnu_debugaltlink" | b".debug_sup");
    }

    /// The ELF address of the code at a file offset.
    pub fn elf_address(&self, offset: FileOffset) -> Option<u64> {
        let inside = |(start, bytes, _): &&(u64, u64, u64)| offset.0 >= *start && offset.0 - start < *bytes;
        let (start, _, address) = self.segments.iter().find(inside)?;
        address.checked_add(offset.0 - start)
    }

    /// Whether one section of code holds both ELF addresses.
    pub fn hold_both(&self, one: u64, other: u64) -> bool {
        self.code.iter().any(|(start, end)| (*start..*end).contains(&one) && (*start..*end).contains(&other))
    }
}

/// The file header of a little-endian 64-bit ELF file: nothing else runs on the machines that we
/// profile, 32-bit programs aside, whose files stay without a build id.
struct Header([u8; 64]);

impl Header {
    fn read(file: &File) -> Option<Header> {
        let mut bytes = [0; 64];
        file.read_exact_at(&mut bytes, 0).ok()?;
        (bytes.starts_with(b"\x7fELF\x02\x01")).then_some(Header(bytes))
    }

    /// The program or section headers, by where the file header says offset, entry size and count.
    fn table(&self, file: &File, offset: usize, entry_size: usize, count: usize) -> Option<Table> {
        let entry_bytes = usize::from(u16_at(&self.0, entry_size)?);
        let count = u64::from(u16_at(&self.0, count)?);
        let bytes = read(file, u64_at(&self.0, offset)?, count * entry_bytes as u64)?;
        Some(Table { bytes, entry_bytes })
    }
}

struct Table {
    bytes: Vec<u8>,
    entry_bytes: usize,
}

impl Table {
    /// The entries, none if they are shorter than what the format asks for.
    fn entries(&self, least_bytes: usize) -> impl Iterator<Item = &[u8]> {
        let bytes = if self.entry_bytes < least_bytes { &[] } else { self.bytes.as_slice() };
        bytes.chunks_exact(self.entry_bytes.max(1))
    }
}

fn read(file: &File, offset: u64, len: u64) -> Option<Vec<u8>> {
    if len > MOST_BYTES {
        return None;
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn build_id_in(mut notes: &[u8], align: usize) -> Option<&[u8]> {
    loop {
        let (name_len, desc_len, kind) = (u32_at(notes, 0)? as usize, u32_at(notes, 4)? as usize, u32_at(notes, 8)?);
        let name = notes.get(12..)?.get(..name_len)?;
        let desc_at = (12 + name_len).next_multiple_of(align);
        let desc = notes.get(desc_at..)?.get(..desc_len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" && (1..=64).contains(&desc_len) {
            return Some(desc);
        }
        notes = notes.get((desc_at + desc_len).next_multiple_of(align)..)?;
    }
}

fn name_at(names: &[u8], at: u32) -> &[u8] {
    let name = names.get(at as usize..).unwrap_or_default();
    name.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::io::Write;

    fn note(name: &[u8], kind: u32, desc: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for number in [name.len() as u32, desc.len() as u32, kind] {
            note.extend(number.to_le_bytes());
        }
        note.extend(name);
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend(desc);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let notes =
            [note(b"Go\0\0", 4, b"abc"), note(b"GNU\0", 1, &[0; 16]), note(b"GNU\0", 3, &[0xab, 0xcd])].concat();
        assert_eq!(build_id_in(&notes, 4), Some([0xab, 0xcd].as_slice()));
        for cut in 0..notes.len() - 2 {
            assert_eq!(build_id_in(&notes[..cut], 4), None, "cut at {cut}");
        }
        assert_eq!(build_id_in(&[0xff; 64], 4), None);
    }

    #[test]
    fn our_own_file_is_elf_with_code() {
        let file = File::open("/proc/self/exe").unwrap();
        assert!(is_elf(&file));
        let layout = Layout::read(&file);
        let (start, end) = layout.code[0];
        assert!(layout.hold_both(start, end - 1) && !layout.hold_both(start, end));
        assert!(layout.symbol_bytes > 0 && layout.debug_bytes > 0 && !layout.names_debug_file);
        let (offset, bytes, address) = layout.segments[1];
        assert_eq!(layout.elf_address(FileOffset(offset + 7)), Some(address + 7));
        assert_eq!(layout.elf_address(FileOffset(u64::MAX)), None);
        assert_ne!(layout.elf_address(FileOffset(offset + bytes)), Some(address + bytes));
    }

    #[test]
    fn a_file_that_only_claims_to_be_elf_has_nothing() {
        let mut whole = std::fs::read("/proc/self/exe").unwrap();
        whole.truncate(64);
        for (at, byte) in [(0, 0x7f), (32, 0xff), (39, 0xff), (40, 0xff), (47, 0xff), (54, 0), (56, 0xff), (60, 0xff)] {
            whole[at] = byte;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&whole).unwrap();
            assert_eq!(build_id(&file), None);
            assert_eq!(Layout::read(&file), Layout::default());
        }
        assert!(!is_elf(&tempfile::tempfile().unwrap()));
    }
}
