//! What this kernel and these privileges allow, found by trying: versions do not tell.

mod facts;
mod judge;
mod process;
mod programs;
mod rights;
mod try_call;

pub use process::{NoProcess, probe_process};

use crate::model::{Capability, Support};

/// Tries what a capture needs, up to loading the kernel programs, without leaving anything behind, and
/// says what works, in the order in which a person should read it.
pub fn probe() -> Vec<Capability> {
    judge::judge(&facts::Facts::gather(), &programs::load())
}

/// How an ordinary user gets the rights that are of use, in lines; `None` if none is missing.
pub fn how_to_grant() -> Option<String> {
    judge::how_to_grant(&facts::Facts::gather())
}

/// What to do about what keeps a capture from running, as far as that is known without loading anything: in `doctor`'s
/// words, for errors of captures.
pub(super) fn way_out() -> String {
    match judge::obstacle(&facts::Facts::gather()) {
        Some(Capability { reason, remedy: Some(remedy), .. }) => {
            format!("{remedy}\nsince {reason}; `profilerd doctor` says more")
        }
        _ => "`profilerd doctor` says what this kernel and these privileges allow".to_owned(),
    }
}

/// What is wrong with the process ids that `/proc` shows here, if anything is. Whatever is captured then has the wrong
/// names, and nothing fails by itself.
pub fn foreign_process_ids() -> Option<Capability> {
    Some(judge::process_ids(facts::host_pids())).filter(|verdict| verdict.support != Support::Yes)
}
