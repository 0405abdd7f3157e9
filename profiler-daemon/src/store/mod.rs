//! The continuous local store: windows on disk as Parquet, found again by time. `docs/store.md` has the tables for those
//! who read the files with other programs.
//!
//! A [`Store`] is the one writer: it [appends](Store::append) a window in a few milliseconds and is [maintained](Store::maintain)
//! after each. [`Reader`]s need no lock and come and go. Both are made for hostile disks: what is torn is left out and
//! counted, and costs nothing else.

mod counters;
mod decode;
mod encode;
mod error;
mod filter;
mod follower;
mod layout;
mod reader;
mod rows;
mod seal;
mod segment;
mod table;
mod writer;

pub use counters::Counters;
pub use error::StoreError;
pub use filter::Filter;
pub use follower::Follower;
pub use reader::{Found, Reader, Service, StoredWindow, TimeRange};
pub use writer::{Limits, Store};
