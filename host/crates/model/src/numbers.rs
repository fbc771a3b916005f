//! Several numbers at once, compactly: most that a cost is made of are zero or small.

use glasshouse_wire::{Malformed, Reader};

/// Bytes of a number.
const WIDE: usize = 8;
/// So many numbers are put without a loop, which takes a third of the time.
const ROW: usize = 6;

/// Appends numbers: first how many bytes each has, half a byte each, then their bytes, the lowest first. They are read where
/// they are: to copy several at once, right after each was written by itself, has to wait for all of them.
#[inline]
pub(crate) fn put_numbers<const N: usize>(buffer: &mut Vec<u8>, numbers: [&u64; N]) {
    const { assert!(N * 4 <= u128::BITS as usize, "half a byte each") };
    if numbers.iter().all(|number| **number == 0) {
        return buffer.resize(buffer.len() + N.div_ceil(2), 0);
    }
    let mut places = [[0; WIDE]; N];
    let places = places.as_flattened_mut();
    let (mut lengths, mut at) = (0_u128, 0);
    let (rows, rest) = numbers.as_chunks::<ROW>();
    for (index, row) in rows.iter().enumerate() {
        let [one, two, three, four, five, six] = *row;
        let of_row = if one | two | three | four | five | six == 0 {
            0
        } else {
            place(places, &mut at, *one)
                | place(places, &mut at, *two) << 4
                | place(places, &mut at, *three) << 8
                | place(places, &mut at, *four) << 12
                | place(places, &mut at, *five) << 16
                | place(places, &mut at, *six) << 20
        };
        lengths |= u128::from(of_row) << (index * ROW * 4);
    }
    for (index, number) in rest.iter().enumerate() {
        lengths |= u128::from(place(places, &mut at, **number)) << ((rows.len() * ROW + index) * 4);
    }
    buffer.extend_from_slice(&lengths.to_le_bytes()[..N.div_ceil(2)]);
    buffer.extend_from_slice(&places[..at]);
}

/// Places the bytes of a number; gives how many it has. It is written whole, and the next one over what it had no use for.
#[expect(clippy::inline_always, reason = "measured: as a loop it takes three times as long")]
#[inline(always)]
fn place(places: &mut [u8], at: &mut usize, number: u64) -> u32 {
    if number == 0 {
        return 0;
    }
    let bytes = number.ilog2() / u8::BITS + 1;
    places[*at..*at + WIDE].copy_from_slice(&number.to_le_bytes());
    *at += bytes as usize;
    bytes
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
    use proptest::prelude::*;

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

    /// What the format says, number by number.
    fn check<const N: usize>(given: [u64; N]) {
        let bytes = |number: u64| (u64::BITS - number.leading_zeros()).div_ceil(u8::BITS) as usize;
        let mut expect: Vec<u8> = given
            .chunks(2)
            .map(|pair| (bytes(pair[0]) | pair.get(1).map_or(0, |next| bytes(*next) << 4)) as u8)
            .collect();
        expect.extend(given.iter().flat_map(|number| number.to_le_bytes().into_iter().take(bytes(*number))));
        let mut buffer = vec![7];
        put_numbers(&mut buffer, given.each_ref());
        assert_eq!(buffer[1..], expect);
        let mut reader = Reader::new(&buffer[1..]);
        assert_eq!(numbers(&mut reader), Ok(given));
        assert!(reader.rest().is_empty());
    }

    proptest! {
        #[test]
        fn as_many_as_there_may_be_are_put_as_the_format_says(
            given in prop::array::uniform32((any::<u64>(), 0..=u64::BITS).prop_map(|(number, less)| number.checked_shr(less).unwrap_or(0))),
        ) {
            check(given);
            let (few, _) = given.split_first_chunk::<3>().expect("there are 32");
            let (row, _) = given.split_first_chunk::<ROW>().expect("there are 32");
            let (odd, _) = given.split_first_chunk::<19>().expect("there are 32");
            check(*few);
            check(*row);
            check(*odd);
        }
    }
}
