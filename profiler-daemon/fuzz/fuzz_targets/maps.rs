//! Any bytes as `/proc/PID/maps`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(profilerd::process::executable_mappings(bytes) < lines);
});
