//! Builds, tests and demonstrates profilerd.

fn main() {}
