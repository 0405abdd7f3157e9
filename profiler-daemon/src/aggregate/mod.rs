//! Raw stacks, sums and samples to a finished, symbolized window.
