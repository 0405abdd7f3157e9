//! Files that were made to do harm cost no more than others.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use super::super::*;
use super::made::{CODE, CODE_BYTES, X86_64, X86_64_START, description, elf, shared};

/// Builds, within a time that the slowest test machine keeps if the work is bounded.
fn check(name: &str, bytes: &[u8]) -> Result<FileTable, BuildError> {
    let start = Instant::now();
    let table = build_from_bytes(bytes);
    assert!(start.elapsed() < Duration::from_secs(20), "{name} took {:?}", start.elapsed());
    if let Ok(table) = &table {
        let ids = Dictionary::new().ids(&table.rules);
        for part in pack(table, &ids) {
            assert!(part.start < part.end, "{name}");
        }
        assert!(table.rows.windows(2).all(|pair| pair[0].address() < pair[1].address()), "{name}");
    }
    table
}

#[test]
fn shared_instructions_are_not_carried_out_for_ever() {
    // One shared entry of 100 KB, and 10,000 descriptions that each carry it out.
    let mut frames = shared("", 16, &[0x0a, 0x0b].repeat(50_000));
    for number in 0..10_000 {
        frames.extend(description(frames.len(), CODE + number % CODE_BYTES, 1, false, &[]));
    }
    let error = check("shared", &elf(X86_64, ".eh_frame", 0, &frames)).unwrap_err();
    assert!(matches!(error, BuildError::TooLarge { .. }), "{error}");
}

#[test]
fn programs_that_advance_for_ever_end() {
    let entry = shared("", 16, X86_64_START);
    // By one byte, with another rule each time; far beyond the description.
    let steps: Vec<u8> = (0..200_000_u32).flat_map(|n| [0x41, 0x0e, (n % 100) as u8]).collect();
    let frames = [entry.clone(), description(entry.len(), CODE, CODE_BYTES, false, &steps)].concat();
    let table = check("bytes", &elf(X86_64, ".eh_frame", 0, &frames)).unwrap();
    assert_eq!(table.rows.len() as u64, CODE_BYTES + 1);
    // By nothing.
    let steps: Vec<u8> = (0..200_000_u32).flat_map(|n| [0x40, 0x0e, (n % 100) as u8]).collect();
    let frames = [entry.clone(), description(entry.len(), CODE, 64, false, &steps)].concat();
    assert_eq!(check("nothing", &elf(X86_64, ".eh_frame", 0, &frames)).unwrap().rows.len(), 2);
    // By 2^32 − 1, until addresses end.
    let steps = [0x04, 0xff, 0xff, 0xff, 0xff].repeat(100_000);
    let frames = [entry.clone(), description(entry.len(), CODE, u64::MAX - CODE, false, &steps)].concat();
    check("far", &elf(X86_64, ".eh_frame", 0, &frames)).unwrap();
}

#[test]
fn long_expressions_are_not_read_for_each_row() {
    let mut expression = vec![0x77, 8];
    expression.extend([0x96; 60_000]);
    let mut instructions = vec![0x0f, 0xe2, 0xd4, 0x03];
    instructions.extend(expression);
    instructions.extend([0x41; 2_000]);
    let entry = shared("", 16, X86_64_START);
    let mut frames = entry.clone();
    for _ in 0..20 {
        frames.extend(description(frames.len(), CODE, CODE_BYTES, false, &instructions));
    }
    let table = check("expressions", &elf(X86_64, ".eh_frame", 0, &frames)).unwrap();
    assert_eq!((table.rows.len(), table.counts.overlapping), (2, 19));
}

#[test]
fn segments_may_lie() {
    let frames = {
        let entry = shared("", 16, X86_64_START);
        [entry.clone(), description(entry.len(), CODE, 16, false, &[])].concat()
    };
    let good = elf(X86_64, ".eh_frame", 0, &frames);
    let rows = build_from_bytes(&good).unwrap().rows.len();
    // Each field of the program header, made huge: offset, address, bytes in the file, in memory.
    for at in [8, 16, 32, 40] {
        for value in [u64::MAX, 1 << 63, (1 << 48) - 1, 1 << 40] {
            let mut bytes = good.clone();
            bytes[64 + at..64 + at + 8].copy_from_slice(&value.to_le_bytes());
            let table = check("segment", &bytes).unwrap();
            assert!(table.segments.iter().all(|segment| segment.end() < 1 << 48), "{at}, {value:#x}");
            // The sizes are cut to what the file has.
            assert_eq!(table.rows.len(), if at >= 32 { rows } else { 0 }, "{at}, {value:#x}");
        }
    }
    // A section that is as large as can be said.
    let sections_at = u64::from_le_bytes(*good[40..].first_chunk().unwrap()) as usize;
    for value in [u64::MAX, 1 << 40, good.len() as u64 + 1] {
        let mut bytes = good.clone();
        bytes[sections_at + 128 + 32..sections_at + 128 + 40].copy_from_slice(&value.to_le_bytes());
        assert!(check("section", &bytes).is_err());
    }
}

#[test]
fn a_compressed_section_does_not_expand_beyond_its_limit() {
    let packed = |kind: u32, promised: u64, data: &[u8]| {
        let mut section = [kind.to_le_bytes(), [0; 4]].concat();
        section.extend([promised.to_le_bytes(), 1_u64.to_le_bytes()].concat());
        section.extend(data);
        check("compressed", &elf(X86_64, ".debug_frame", 0x800, &section))
    };
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut zlib, &vec![0; 64 << 20]).unwrap();
    let zlib = zlib.finish().unwrap();
    // Cut at what the header promises, not expanded to what is there.
    assert_eq!(packed(1, 1_000, &zlib).unwrap().counts.frame_bytes, 1_000);
    let zstd = zstd::encode_all(&[0; 5_000][..], 1).unwrap();
    assert_eq!(packed(2, 5_000, &zstd).unwrap().counts.frame_bytes, 5_000);
    assert!(matches!(packed(1, u64::MAX, &zlib), Err(BuildError::TooLarge { .. })));
    for (kind, promised, data) in [(1, 5_001, &[][..]), (2, 5_001, &zstd), (1, 10, &[1, 2, 3]), (3, 10, &[])] {
        assert!(matches!(packed(kind, promised, data), Err(BuildError::Compressed { .. })), "{kind}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused_or_read_as_far_as_it_goes() {
    let entry = shared("", 16, X86_64_START);
    let mut frames = entry.clone();
    for number in 0..40 {
        frames.extend(description(frames.len(), CODE + number * 16, 16, false, &[0x44, 0x0e, 16]));
    }
    let good = elf(X86_64, ".eh_frame", 0, &frames);
    for cut in (0..good.len()).step_by(7) {
        let _ = check("cut", &good[..cut]);
        // Bytes that were turned over, one at a time.
        let mut turned = good.clone();
        turned[cut] ^= 0xff;
        let _ = check("turned", &turned);
    }
}
