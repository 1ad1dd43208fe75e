//! Tables whose keys are of our own making: numbers that are counted up, ids that are random.
//!
//! The hasher of the standard library withstands keys that somebody chooses so that they collide,
//! and takes longer for that.  Nobody chooses these: what comes from outside is looked for in such a
//! table, but never put into it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A table whose keys nobody outside chooses.
pub type QuickMap<K, V> = HashMap<K, V, BuildHasherDefault<QuickHasher>>;

/// Multiplies, and no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuickHasher(u64);

/// The golden ratio, in 64 bits: neighbours come to lie far apart.
const RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word.iter_mut().zip(part).for_each(|(to, from)| *to = *from);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(RATIO);
    }

    fn write_i64(&mut self, number: i64) {
        self.write_u64(number.cast_unsigned());
    }

    fn write_u128(&mut self, number: u128) {
        self.write_u64(number as u64);
        self.write_u64((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    /// Where the product is best mixed is where a table looks: at its lowest bits.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn hash(write: impl FnOnce(&mut QuickHasher)) -> u64 {
        let mut hasher = QuickHasher::default();
        write(&mut hasher);
        hasher.finish()
    }

    /// In both places that a table looks at: the lowest bits and the highest seven.
    #[test]
    fn neighbours_lie_apart() {
        for step in [1, 2, 64, 1 << 20] {
            let all = (0..1024_u64).map(|n| hash(|it| it.write_u64(n * step)));
            let all: Vec<u64> = all.collect();
            let low: HashSet<u64> = all.iter().map(|it| it & 1023).collect();
            let high: HashSet<u64> = all.iter().map(|it| it >> 57).collect();
            assert!(512 < low.len() && 120 < high.len(), "{step}: {} {}", low.len(), high.len());
        }
    }

    #[test]
    fn every_part_counts() {
        let text = b"0123456789abcdefghi";
        let whole = hash(|it| it.write(text));
        for at in 0..text.len() {
            let mut other = *text;
            other[at] ^= 1;
            assert_ne!(whole, hash(|it| it.write(&other)), "{at}");
        }
        assert_ne!(hash(|it| it.write_u128(1)), hash(|it| it.write_u128(1 << 64)));
        let mut map = QuickMap::default();
        map.insert(-1_i64, "one");
        assert_eq!(map.get(&-1), Some(&"one"));
    }
}
