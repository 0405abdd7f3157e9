//! One file a format. Sinks get finished windows and only encode.

pub mod report;
