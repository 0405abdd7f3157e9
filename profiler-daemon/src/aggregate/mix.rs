//! A hasher for keys that are a few integers: ids, mostly hashes already. Several times as fast as
//! the standard one, whose protection against chosen keys nothing here needs: the worst that a
//! profiled program could do with it is to slow its own profile down.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A hash map over integers.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Odd, with bits in no pattern: 2^64 divided by the golden ratio.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Multiplies word by word. A product carries upwards only, so the end folds it down and multiplies
/// once more: hash maps look at the lowest bits and at the highest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(FACTOR);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        let folded = (self.0 ^ (self.0 >> 32)).wrapping_mul(FACTOR);
        folded ^ (folded >> 29)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::hash::{BuildHasher, Hash};

    #[test]
    fn near_keys_spread_over_low_and_high_bits() {
        fn check<K: Hash>(keys: impl Iterator<Item = K>) {
            let build = BuildHasherDefault::<Mix>::default();
            let hashes: Vec<u64> = keys.map(|key| build.hash_one(key)).collect();
            let different = |part: fn(&u64) -> u64| hashes.iter().map(part).collect::<HashSet<_>>().len();
            assert_eq!(different(|hash| *hash), hashes.len());
            // 4,096 keys thrown at 4,096 slots by chance fill 63 % of them.
            assert!(different(|hash| hash & 4_095) > hashes.len() / 2);
            assert_eq!(different(|hash| hash >> 57), 128);
        }
        check(0..4_096u64);
        check((0..4_096u64).map(|key| key << 40));
        check((0..4_096u32).map(|key| (key / 64, key % 64)));
        check((0..4_096u64).map(|key| (Some(key * 64), Some(7u32))));
    }
}
