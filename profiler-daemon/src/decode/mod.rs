//! Ring bytes to records.
