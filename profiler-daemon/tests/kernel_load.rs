//! Every kernel object that was built is taken by this kernel's verifier.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use aya::programs::loaded_programs;
use profiler_common::settings::Settings;
use profilerd::capture::btf::Btf;
use profilerd::capture::features;
use profilerd::capture::kernel::{Filter, Kernel, Kind};
use profilerd::capture::settings;
use support::bpf::held_by;

/// Rules that are compiled in or out by what is asked for: the verifier sees other code for each.
fn filters() -> [(&'static str, Filter); 4] {
    [
        ("pids", Filter { pids: vec![1], ..Filter::default() }),
        ("comms", Filter { comms: vec!["init".to_owned()], ..Filter::default() }),
        ("cgroups", Filter { cgroups: vec![1], ..Filter::default() }),
        ("all", Filter { all: true, ..Filter::default() }),
    ]
}

/// What is tried: everything by itself, or, where that takes too long, all rules at once.
fn tried() -> Vec<(&'static str, Filter, u32)> {
    if support::is_emulated() {
        let [(_, pids), (_, comms), (_, cgroups), _] = filters();
        let rules = Filter { all: true, comms: comms.comms, cgroups: cgroups.cgroups, ..pids };
        return vec![("all rules", rules, 0)];
    }
    filters().into_iter().flat_map(|(what, filter)| [0, 1].map(|memo| (what, filter.clone(), memo))).collect()
}

#[test]
fn every_object_loads_with_every_filter_and_in_test_mode() {
    let Some(_kernel) = support::kernel() else { return };
    let btf = Btf::of_kernel().unwrap();
    println!("missing: {:?}", features::missing(&btf).iter().map(|feature| feature.name).collect::<Vec<_>>());
    for (path, bytes) in objects(&btf) {
        for (what, filter, verify_memo) in tried() {
            let mut settings = settings::of_kernel(&btf).unwrap();
            settings.verify_memo = verify_memo;
            if kind(&path) == Kind::Untyped {
                settings.has_task_pt_regs = 0;
            }
            let loaded = Kernel::load(&bytes, kind(&path), settings, &filter);
            let _held = loaded.unwrap_or_else(|error| panic!("{} for {what}: {error:?}", path.display()));
            let ours = held_by(std::process::id()).programs;
            let programs = loaded_programs().flatten().filter(|program| ours.contains(&program.id()));
            let mut verified: Vec<_> = programs
                .map(|it| {
                    format!("{} {}", it.name_as_str().unwrap_or("?"), it.verified_instruction_count().unwrap_or(0))
                })
                .collect();
            verified.sort();
            println!("{} {what} {verify_memo}: {}", path.file_name().unwrap().display(), verified.join(", "));
            assert!(verified.len() >= 6, "scheduler hooks, iterator and sampler: {verified:?}");
        }
    }
}

/// What the object is made for.
fn kind(path: &Path) -> Kind {
    if path.file_stem() == Some("profilerd-untyped".as_ref()) { Kind::Untyped } else { Kind::Typed }
}

/// The objects that this kernel takes.
fn objects(btf: &Btf) -> Vec<(PathBuf, Vec<u8>)> {
    let Some(object) = std::env::var_os("PROFILERD_BPF_OBJECT") else {
        support::skip::<()>("needs PROFILERD_BPF_OBJECT: run `cargo xtask test`");
        return Vec::new();
    };
    let folder = Path::new(&object).parent().unwrap();
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut objects: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "o")).collect();
    assert!(!objects.is_empty(), "no objects in {}", folder.display());
    // Where it takes too long, not those that the kernel has no use for.
    objects.retain(|path| match path.file_stem().and_then(|name| name.to_str()) {
        Some("profilerd") => features::takes_first_object(btf),
        Some("profilerd-hashed") => !support::is_emulated() || !features::takes_first_object(btf),
        _ => true,
    });
    objects.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// What a lockdown does to the objects, on a kernel that has none: the helpers that read memory by its address become
/// helpers that no kernel has. Programs load as long as they call none of them.
#[test]
fn without_reads_of_memory_no_call_of_one_is_left() {
    let Some(_kernel) = support::kernel() else { return };
    let btf = Btf::of_kernel().unwrap();
    let filter = Filter { all: true, ..Filter::default() };
    // The one that reads everything so is not for such a kernel.
    for (path, mut bytes) in objects(&btf).into_iter().filter(|(path, _)| kind(path) == Kind::Typed) {
        let calls = forbid_reads(&mut bytes);
        println!("{}: {calls} calls", path.display());
        assert!(calls > 3, "the object has calls of these helpers");
        let settings = Settings { kernel_reads: 1, user_reads: 1, ..settings::of_kernel(&btf).unwrap() };
        assert!(
            Kernel::load(&bytes, Kind::Typed, settings, &filter).is_err(),
            "{} calls what is not there",
            path.display()
        );
        let locked_down = Settings { kernel_reads: 0, user_reads: 0, ..settings };
        let loaded = Kernel::load(&bytes, Kind::Typed, locked_down, &filter);
        drop(loaded.unwrap_or_else(|error| panic!("{}: {error:?}", path.display())));
    }
}

/// Replaces the helpers in all calls of those that read memory by its address. Returns how many there were.
fn forbid_reads(object: &mut [u8]) -> usize {
    // Source: include/uapi/linux/bpf.h: the numbers of `bpf_probe_read`, its `_str`, and both for `_user` and `_kernel`.
    const READS: [u32; 6] = [4, 45, 112, 113, 114, 115];
    const NO_HELPER: u32 = 0x7fff_ffff;
    // Operation, registers, offset: of a call of a helper the last two are 0. Sections of instructions begin at multiples
    // of their size.
    const CALL: [u8; 4] = [0x85, 0, 0, 0];
    let mut calls = 0;
    for instruction in object.as_chunks_mut::<8>().0 {
        let helper = u32::from_le_bytes(*instruction.last_chunk().unwrap());
        if instruction.starts_with(&CALL) && READS.contains(&helper) {
            instruction[4..].copy_from_slice(&NO_HELPER.to_le_bytes());
            calls += 1;
        }
    }
    calls
}
