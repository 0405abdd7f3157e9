//! Every kernel object that was built is taken by this kernel's verifier.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use aya::programs::loaded_programs;
use profilerd::capture::btf::Btf;
use profilerd::capture::features;
use profilerd::capture::kernel::{Filter, Kernel};
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
    let Some(object) = std::env::var_os("PROFILERD_BPF_OBJECT") else {
        support::skip::<()>("needs PROFILERD_BPF_OBJECT: run `cargo xtask test`");
        return;
    };
    let folder = Path::new(&object).parent().unwrap();
    let files = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let objects: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "o")).collect();
    assert!(!objects.is_empty(), "no objects in {}", folder.display());
    let btf = Btf::of_kernel().unwrap();
    println!("missing: {:?}", features::missing(&btf).iter().map(|feature| feature.name).collect::<Vec<_>>());
    for path in objects {
        if path.file_name() == Some("profilerd.o".as_ref()) && !features::takes_first_object(&btf) {
            println!("{} is not for this kernel", path.display());
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        for (what, filter, verify_memo) in tried() {
            let mut settings = settings::of_kernel(&btf).unwrap();
            settings.verify_memo = verify_memo;
            let loaded = Kernel::load(&bytes, settings, &filter);
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
