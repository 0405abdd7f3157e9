/// What a store has and what became of what it was given, since it was opened. The fields that end in `_total` only rise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Windows that are there.
    pub windows: u64,
    /// Of them, windows that are not sealed yet.
    pub windows_recent: u64,
    /// Windows that were stored.
    pub appended_total: u64,
    /// Windows that were dropped since the disk was full and nothing sealed was left to make room.
    pub dropped_full_total: u64,
    /// Windows that were dropped since they could not be written for another reason.
    pub dropped_failed_total: u64,
    /// Segments that were sealed.
    pub sealed_total: u64,
    /// Windows that were removed for their age.
    pub removed_age_total: u64,
    /// Windows that were removed since the store had more bytes than its limit.
    pub removed_size_total: u64,
    /// Windows that were removed to make room on a full disk.
    pub removed_full_total: u64,
    /// Of all that were removed, those that some exporter had not sent yet.
    pub removed_unsent_total: u64,
    /// Segments that were found damaged and put aside; what could not be put aside is removed and counts, too.
    pub torn_total: u64,
    /// Segments of a version that this program does not know: they are left alone.
    pub foreign: u64,
}
