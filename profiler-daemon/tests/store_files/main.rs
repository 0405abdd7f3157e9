//! The store on a real disk: what goes in comes out, whatever happens to the files in between.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod cli;
mod duckdb;
mod full_disk;
mod made;
mod recovery;
mod round_trip;
