//! Drained sums and records to time per thread and window. No I/O, no clock of its own.
