//! The pipeline: which stage feeds which, how a capture starts and ends, and what it costs.

pub mod command;
mod cost;
mod follow;
mod heap;
mod mappings;
mod news;
pub mod pipeline;
mod programs;
mod rotate;
pub mod service;
mod unwinding;

pub use pipeline::{Pipeline, PipelineError, Plan, TABLES_BYTES};
pub use rotate::RawWindow;
