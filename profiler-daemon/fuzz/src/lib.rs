//! What fuzz targets demand of every table, and a file around a section.

use std::fs::File;
use std::io;

use nix::sys::memfd::{MFdFlags, memfd_create};
use profiler_common::unwind::rule_at;
use profilerd::unwind::{Dictionary, FileTable, pack};

/// A table is in order, and its parts say the same as the table.
pub fn check(table: &FileTable) {
    assert!(table.rows.windows(2).all(|pair| pair[0].address() < pair[1].address()));
    assert!(table.segments.windows(2).all(|pair| pair[0].end() <= pair[1].address));
    let mut dictionary = Dictionary::new();
    let ids = dictionary.ids(&table.rules);
    let parts = pack(table, &ids);
    assert!(parts.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for row in table.rows.iter().take(1_000) {
        // The last row of a segment may lie at its end, where no part is.
        let address = row.address();
        let Some(part) = parts.iter().find(|part| (part.start..part.end).contains(&address)) else { continue };
        let id = rule_at(|at| part.words.get(at as usize).copied(), part.shift.into(), address - part.start);
        let rule = id.map(|id| dictionary.rules()[usize::from(id)]);
        assert_eq!(rule, Some(table.rule_at(address)), "at {address:#x}");
    }
}

/// A file in memory.
///
/// # Errors
/// As `memfd_create`.
pub fn memory_file() -> io::Result<File> {
    Ok(File::from(memfd_create(c"fuzz", MFdFlags::MFD_CLOEXEC)?))
}

/// An ELF program with a segment of code at 0x1000 to 0x11000, the address that `section` has there too, and
/// nothing else.
pub fn elf(machine: u16, name: &str, section: &[u8]) -> Vec<u8> {
    const CODE_BYTES: usize = 0x1_0000;
    let names = format!("\0.shstrtab\0{name}\0");
    let (code, frames) = (64 + 56, 64 + 56 + CODE_BYTES);
    let names_at = frames + section.len();
    let headers = names_at + names.len();
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    let mut put = |number: u64, bytes: usize| out.extend(&number.to_le_bytes()[..bytes]);
    for (number, bytes) in [(3, 2), (machine.into(), 2), (1, 4), (0, 8), (64, 8), (headers as u64, 8), (0, 4), (64, 2)]
    {
        put(number, bytes);
    }
    for number in [56, 1, 64, 3, 1] {
        put(number, 2);
    }
    put(1, 4);
    put(5, 4);
    for number in [code, 0x1000, 0, CODE_BYTES, CODE_BYTES, 0x1000] {
        put(number as u64, 8);
    }
    out.resize(frames, 0x90);
    out.extend(section);
    out.extend(names.bytes());
    out.resize(headers + 64, 0);
    let sections = [(1_u64, 3_u64, 0, names_at, names.len()), (11, 1, 0x2000, frames, section.len())];
    for (name, kind, address, offset, bytes) in sections {
        out.extend(&name.to_le_bytes()[..4]);
        out.extend(&kind.to_le_bytes()[..4]);
        for number in [0, address, offset, bytes, 0, 1, 0] {
            out.extend((number as u64).to_le_bytes());
        }
    }
    out
}
