/// What was wrong with a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Too short to tell what it is.
    #[error("record of {length} bytes is shorter than its header")]
    NoHeader {
        /// Bytes that were there.
        length: usize,
    },
    /// No record has this tag.
    #[error("unknown record tag {tag}")]
    UnknownTag {
        /// The tag found.
        tag: u32,
    },
    /// A known record of the wrong size.
    #[error("{record} record has {actual} bytes instead of {expected}")]
    Length {
        /// The record's name.
        record: &'static str,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes that were there.
        actual: usize,
    },
    /// A sample neither of the program nor of the kernel.
    #[error("cpu sample has unknown mode {mode}")]
    CpuMode {
        /// The mode found.
        mode: u32,
    },
    /// A stack neither of the program nor of the kernel.
    #[error("stack record has unknown kind {kind}")]
    StackKind {
        /// The kind found.
        kind: u32,
    },
    /// A stack whose walk ended in an unknown way.
    #[error("stack record has unknown outcome {outcome}")]
    StackOutcome {
        /// The outcome found.
        outcome: u32,
    },
    /// A stack deeper than the kernel programs can walk.
    #[error("stack record claims {frames} frames, the limit is {limit}")]
    FrameCount {
        /// Frames that it claims.
        frames: u32,
        /// Most frames of its kind.
        limit: usize,
    },
    /// A stack that nothing could refer to: 0 means "no stack".
    #[error("stack record has id 0")]
    NoStackId,
    /// Something other than thread totals where only these belong.
    #[error("expected thread totals, found a {found} record")]
    NoTotals {
        /// The other record's name.
        found: &'static str,
    },
}
