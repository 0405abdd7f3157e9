//! The daemon side of profilerd. The modules are the data path, in order:
//! `capture` and `decode` (bytes in), `accounting` (time), `process` and `symbolize` (places),
//! `aggregate` (a finished window), `store` (windows kept), `sink` (files and the report), `export` (collectors), `cli`
//! (people). `signal` says what is measured, `config`, `log`, `notify` and `telemetry` are what surrounds a service, and
//! `daemon` is the only module that knows the order of the stages.

pub mod accounting;
pub mod aggregate;
pub mod capture;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod decode;
pub mod export;
pub mod log;
pub mod model;
pub mod notify;
pub mod process;
pub mod signal;
pub mod sink;
pub mod store;
pub mod symbolize;
pub mod telemetry;
pub mod unwind;
