//! Several numbers at once, compactly: most that a cost is made of are zero or small.

use glasshouse_wire::{Malformed, Reader};

/// Bytes of a number.
const WIDE: usize = size_of::<u64>();

/// Appends numbers: first how many bytes each has, half a byte each, then their bytes, the lowest first. They are read where
/// they are: to copy several at once, right after each was written by itself, has to wait for all of them.
#[inline]
pub(crate) fn put_numbers<const N: usize>(buffer: &mut Vec<u8>, numbers: [&u64; N]) {
    const { assert!(N * 4 <= u128::BITS as usize, "half a byte each") };
    let lengths_at = buffer.len();
    if numbers.iter().all(|number| **number == 0) {
        return buffer.resize(lengths_at + N.div_ceil(2), 0);
    }
    let numbers_at = lengths_at + N.div_ceil(2);
    // Each number is written whole, and the next one over what it had no use for.
    buffer.resize(numbers_at + N * WIDE, 0);
    let (head, places) = buffer[lengths_at..].split_at_mut(N.div_ceil(2));
    let (mut lengths, mut at) = (0_u128, 0);
    for (index, number) in numbers.into_iter().copied().enumerate() {
        if number == 0 {
            continue;
        }
        let bytes = (u64::BITS - number.leading_zeros()).div_ceil(u8::BITS) as usize;
        places[at..at + WIDE].copy_from_slice(&number.to_le_bytes());
        lengths |= (bytes as u128) << (index * 4);
        at += bytes;
    }
    head.copy_from_slice(&lengths.to_le_bytes()[..N.div_ceil(2)]);
    buffer.truncate(numbers_at + at);
}

/// Reads what [`put_numbers`] wrote.
pub(crate) fn numbers<const N: usize>(reader: &mut Reader<'_>) -> Result<[u64; N], Malformed> {
    let lengths = reader.take(N.div_ceil(2))?;
    let mut numbers = [0; N];
    for (index, number) in numbers.iter_mut().enumerate() {
        let bytes = usize::from(lengths[index / 2] >> (index % 2 * 4) & 0xf);
        let mut wide = [0; WIDE];
        wide.get_mut(..bytes).ok_or(Malformed("a number of too many bytes"))?.copy_from_slice(reader.take(bytes)?);
        *number = u64::from_le_bytes(wide);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_small_ones_take_little() {
        let given = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX, 0];
        let mut buffer = vec![7];
        put_numbers(&mut buffer, given.each_ref());
        assert_eq!(buffer.len(), 1 + 4 + 1 + 1 + 2 + 4 + 8);
        let mut reader = Reader::new(&buffer[1..]);
        assert_eq!(numbers(&mut reader), Ok(given));
        assert!(reader.rest().is_empty());
        for cut in 0..buffer.len() - 1 {
            assert!(numbers::<7>(&mut Reader::new(&buffer[1..=cut])).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn numbers_that_are_all_zero_take_their_lengths_alone() {
        let mut buffer = vec![7];
        put_numbers(&mut buffer, [0; 5].each_ref());
        assert_eq!(buffer, [7, 0, 0, 0]);
        assert_eq!(numbers(&mut Reader::new(&buffer[1..])), Ok([0; 5]));
    }

    #[test]
    fn a_length_that_no_number_has_is_malformed() {
        assert!(numbers::<1>(&mut Reader::new(&[0x09, 1, 2, 3, 4, 5, 6, 7, 8, 9])).is_err());
    }
}
