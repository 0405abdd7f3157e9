use sha2::{Digest, Sha256};

use super::{Host, Signal};
use crate::model::UnixNs;

/// What tells one profile from all others.
pub(super) struct ProfileIdentity<'a> {
    pub(super) host: &'a Host,
    /// Number and start of the window: numbers may begin again with another store.
    pub(super) window: (u64, UnixNs),
    pub(super) pid: u32,
    pub(super) generation: u32,
    pub(super) signal: Signal,
    /// Number of its first sample, where a profile had to be split.
    pub(super) first: usize,
}

impl ProfileIdentity<'_> {
    /// The id of the profile, 16 bytes: the same for the same data however often it is sent, so that a receiver can
    /// drop what it has.
    pub(super) fn profile_id(&self) -> Vec<u8> {
        let mut hash = Sha256::new();
        for text in [&self.host.id, &self.host.name] {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash.update(self.window.0.to_le_bytes());
        hash.update(self.window.1.0.to_le_bytes());
        hash.update(self.pid.to_le_bytes());
        hash.update(self.generation.to_le_bytes());
        hash.update(self.signal.name());
        hash.update((self.first as u64).to_le_bytes());
        hash.finalize()[..16].to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_differs_makes_another_id() {
        let host = |id: &str, name: &str| Host { name: name.into(), id: id.into() };
        let hosts = [host("a", "b"), host("ab", ""), host("a", "c")];
        let mut ids = std::collections::HashSet::new();
        for host in &hosts {
            for (sequence, start, pid, generation, first) in
                [(1, 9, 2, 3, 0), (2, 9, 1, 3, 0), (1, 8, 2, 3, 0), (1, 9, 2, 4, 0), (1, 9, 2, 3, 5)]
            {
                for signal in Signal::ALL {
                    let id =
                        ProfileIdentity { host, window: (sequence, UnixNs(start)), pid, generation, signal, first }
                            .profile_id();
                    assert_eq!(id.len(), 16);
                    assert!(ids.insert(id));
                }
            }
        }
        assert_eq!(ids.len(), 3 * 5 * 4);
    }
}
