//! What others count, as plain numbers: neither they nor this page know each other.

use crate::model::UnixNs;

/// What became of the requests to a destination. All but what waits only rises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DestinationCounts {
    /// Requests that it took.
    pub taken: u64,
    /// Requests that it refused for good.
    pub refused: u64,
    /// Attempts that failed and are made again.
    pub failed: u64,
    /// Bytes that it took, before compression.
    pub bytes: u64,
    /// Profiles that it refused or left out of requests that it took.
    pub rejected_profiles: u64,
    /// Windows that are still to be sent.
    pub waiting_windows: u64,
    /// Windows that were gone before they were sent.
    pub lost_windows: u64,
    /// When it took something last.
    pub last_taken: Option<UnixNs>,
}

/// What the store holds, and what became of what it was given. The first three are as of now, the others only rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Bytes on disk.
    pub bytes: u64,
    /// Windows that are there.
    pub windows: u64,
    /// Start of the oldest of them.
    pub oldest: Option<UnixNs>,
    /// Windows that were stored.
    pub stored: u64,
    /// Windows that were removed for their age.
    pub removed_age: u64,
    /// Windows that were removed since the store was larger than it may be.
    pub removed_size: u64,
    /// Windows that were removed to make room on a full disk.
    pub removed_disk_full: u64,
    /// Windows that were never stored, since the disk was full.
    pub dropped_disk_full: u64,
    /// Windows that were never stored for another reason.
    pub dropped_error: u64,
    /// Files that were found damaged.
    pub torn: u64,
}
