//! Any bytes as an executable file, for both of its readers.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use profilerd::process::{FileOffset, Layout};
use profilerd::unwind::{build, build_from_bytes};

/// One file in memory, written anew each time.
static FILE: Mutex<Option<File>> = Mutex::new(None);

fuzz_target!(|bytes: &[u8]| {
    let from_bytes = build_from_bytes(bytes);
    if let Ok(table) = &from_bytes {
        profiler_fuzz::check(table);
    }
    let mut file = FILE.lock().expect("a target that panicked ends the process");
    let file = file.get_or_insert_with(|| profiler_fuzz::memory_file().expect("memory for a file"));
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes)).expect("memory for a file");
    match (build(file), from_bytes) {
        (Ok(read), Ok(table)) => assert_eq!(read, table),
        (Err(_), Err(_)) => {}
        (read, table) => panic!("{read:?} is not {table:?}"),
    }
    let layout = Layout::read(file);
    if let Some(address) = layout.elf_address(FileOffset(64)) {
        layout.hold_both(address, address);
    }
});
