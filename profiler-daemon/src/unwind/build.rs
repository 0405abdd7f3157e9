use std::borrow::Cow;
use std::fs::File;

use gimli::{BaseAddresses, DebugFrame, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};

use super::eh_frame::{Bytes, Context, Description, Frames, STUBS, add_missing, untangle};
use super::elf::{Elf, Source};
use super::rows::Rows;
use super::stubs;
use super::{BuildError, Counts, FileTable, Segment};

/// Builds the table of an ELF file. It takes time and memory in proportion to its unwind information,
/// whatever the file says. A file without any has a table without rows.
///
/// # Errors
/// The file cannot be read, is no program or library for a processor that we can unwind, or is
/// larger than real ones are.
pub fn build(file: &File) -> Result<FileTable, BuildError> {
    let source = Source::of_file(file).map_err(|source| BuildError::Read { what: "size of the file", source })?;
    table_of(&Elf::read(source)?)
}

/// As [`build`], for a file in memory: the vDSO.
///
/// # Errors
/// As [`build`].
pub fn build_from_bytes(bytes: &[u8]) -> Result<FileTable, BuildError> {
    table_of(&Elf::read(Source::Bytes(bytes))?)
}

pub(super) fn table_of(elf: &Elf<'_>) -> Result<FileTable, BuildError> {
    let code = elf.code()?;
    let mut counts = Counts::default();
    let (eh_frame_at, eh_frame) = eh_frame(elf)?;
    // Debug information only helps: without it the table is still what the program itself carries.
    let debug_frame = match elf.section(b".debug_frame") {
        Some(section) => elf.bytes_of(section)?,
        None => Cow::default(),
    };

    let address_of = |name: &[u8]| elf.section(name).map_or(0, |section| section.address);
    let bases = BaseAddresses::default().set_eh_frame(eh_frame_at).set_text(address_of(b".text"));
    let bases = bases.set_got(address_of(b".got"));
    let mut section = EhFrame::new(&eh_frame, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(elf.machine.vendor);
    let mut first = Frames::new(section, eh_frame.len() as u64, bases.clone(), elf.machine);
    let mut section = DebugFrame::new(&debug_frame, LittleEndian);
    section.set_address_size(8);
    section.set_vendor(elf.machine.vendor);
    let mut second = Frames::new(section, debug_frame.len() as u64, bases, elf.machine);

    let mut descriptions = list(&mut first, &code, 0, &mut counts)?;
    if !debug_frame.is_empty() {
        let others = list(&mut second, &code, 1, &mut counts)?;
        add_missing(&mut descriptions, others, &mut counts);
    }
    let stubs = stubs::list(elf, &code);
    // Linkers that describe their stubs do it in full: the others overlap nothing.
    add_missing(&mut descriptions, stubs.iter().map(|stubs| stubs.code).collect(), &mut Counts::default());
    let mut context = Context::new_in();
    let mut rows = Rows::new();
    for description in &descriptions {
        match description.section {
            STUBS => {
                if let Some(stubs) = stubs.iter().find(|stubs| stubs.code == *description) {
                    stubs.rows(&mut rows)?;
                }
            }
            0 => first.rows(&mut context, description, &mut counts, &mut rows)?,
            _ => second.rows(&mut context, description, &mut counts, &mut rows)?,
        }
    }
    let (rows, rules) = rows.finish();
    Ok(FileTable { rules, rows, segments: code, build_id: elf.build_id(), counts })
}

fn list<'a, S: UnwindSection<Bytes<'a>>>(
    frames: &mut Frames<'a, S>,
    code: &[Segment],
    section: usize,
    counts: &mut Counts,
) -> Result<Vec<Description>, BuildError> {
    let mut found = Vec::new();
    frames.list(code, section, counts, &mut found)?;
    untangle(&mut found, counts);
    Ok(found)
}

/// Address and bytes of `.eh_frame`: by its section, or in a file without section headers by what a
/// program header says of its index. It ends by itself.
pub(super) fn eh_frame<'a>(elf: &Elf<'a>) -> Result<(u64, Cow<'a, [u8]>), BuildError> {
    if let Some(section) = elf.section(b".eh_frame") {
        return Ok((section.address, elf.bytes_of(section)?));
    }
    let Some((address, index)) = elf.frame_index() else { return Ok((0, Cow::default())) };
    let bases = BaseAddresses::default().set_eh_frame_hdr(address);
    let index = EhFrameHdr::new(&index, LittleEndian).parse(&bases, 8);
    match index.ok().and_then(|index| index.eh_frame_ptr().direct().ok()) {
        Some(address) => Ok((address, elf.bytes_from(address)?)),
        None => Ok((0, Cow::default())),
    }
}
