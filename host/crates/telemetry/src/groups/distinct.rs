//! How many different texts were seen, in bounded memory: exactly as long as there are few.

use glasshouse_model::wire::{Malformed, Reader, put_varint};

/// Hashes that are kept: so many different texts are counted exactly, and more to about a fifth.
const KEPT: usize = 32;

/// The least hashes of all texts that were seen: of how many texts they are the least tells how close together they lie.
/// (Bar-Yossef et al., "Counting distinct elements in a data stream", 2002, and Beyer et al., 2007, for the estimate.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Distinct {
    /// In order.
    least: Vec<u64>,
}

impl Distinct {
    pub(crate) fn add(&mut self, text: &str) {
        let hash = blake3::hash(text.as_bytes());
        let hash = u64::from_le_bytes(*hash.as_bytes().first_chunk().unwrap_or(&[0; 8]));
        if let Err(at) = self.least.binary_search(&hash)
            && at < KEPT
        {
            self.least.truncate(KEPT - 1);
            self.least.insert(at, hash);
        }
    }

    /// How many there were, about.
    pub(crate) fn count(&self) -> u64 {
        match self.least.last() {
            Some(greatest) if self.least.len() == KEPT => {
                let part = (*greatest as f64 + 1.0) / 2_f64.powi(64);
                (((KEPT - 1) as f64 / part) as u64).max(KEPT as u64)
            }
            _ => self.least.len() as u64,
        }
    }

    pub(crate) fn encode(&self, buffer: &mut Vec<u8>) {
        put_varint(buffer, self.least.len() as u32);
        for hash in &self.least {
            buffer.extend_from_slice(&hash.to_le_bytes());
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = reader.varint()? as usize;
        let mut least =
            (0..count.min(KEPT)).map(|_| reader.array().map(u64::from_le_bytes)).collect::<Result<Vec<_>, _>>()?;
        least.sort_unstable();
        least.dedup();
        if count > KEPT { Err(Malformed("too many hashes")) } else { Ok(Self { least }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_counted_exactly_and_many_to_about_a_fifth() {
        for (different, slack) in [(0, 0), (1, 0), (31, 0), (1_000, 400), (100_000, 40_000)] {
            let mut distinct = Distinct::default();
            for number in 0..different {
                distinct.add(&format!("user-{number}"));
                distinct.add("user-0");
            }
            let found = distinct.count();
            assert!(found.abs_diff(different) <= slack, "{found} of {different}");
            let mut bytes = Vec::new();
            distinct.encode(&mut bytes);
            assert_eq!(Distinct::decode(&mut Reader::new(&bytes)), Ok(distinct));
        }
    }
}
