//! Any bytes as the unwind information of a program. The first byte chooses machine and section.
#![no_main]

use libfuzzer_sys::fuzz_target;
use profilerd::unwind::build_from_bytes;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, section)) = bytes.split_first() else { return };
    let machine = if choice & 1 == 0 { 62 } else { 183 };
    let name = if choice & 2 == 0 { ".eh_frame" } else { ".debug_frame" };
    match build_from_bytes(&profiler_fuzz::elf(machine, name, section)) {
        Ok(table) => profiler_fuzz::check(&table),
        // The file around the section is in order.
        Err(error) => assert!(error.to_string().starts_with("more than"), "{error}"),
    }
});
