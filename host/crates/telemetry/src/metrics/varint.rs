//! Whole numbers of 64 bits in as few bytes as they need: LEB128, and for signed ones zigzag before it.

use glasshouse_model::wire::{Malformed, Reader};

/// Appends a number.
pub(super) fn put_varint(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

/// Appends a number that may be negative.
pub(super) fn put_integer(buffer: &mut Vec<u8>, number: i64) {
    put_varint(buffer, (number << 1 ^ number >> 63) as u64);
}

/// Reads what [`put_varint`] wrote.
pub(super) fn varint(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let byte = reader.byte()?;
        let part = u64::from(byte & 0x7f);
        if part << shift >> shift != part {
            break;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed("a number is over 64 bits"))
}

/// Reads what [`put_integer`] wrote.
pub(super) fn integer(reader: &mut Reader<'_>) -> Result<i64, Malformed> {
    varint(reader).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(number in any::<u64>(), shift in 0..64_u32, signed in any::<i64>()) {
            let number = number >> shift;
            let signed = signed >> shift;
            let mut bytes = Vec::new();
            put_varint(&mut bytes, number);
            put_integer(&mut bytes, signed);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!((varint(&mut reader), integer(&mut reader)), (Ok(number), Ok(signed)));
            prop_assert!(reader.rest().is_empty());
        }
    }

    #[test]
    fn a_number_that_is_too_long_is_refused() {
        assert!(varint(&mut Reader::new(&[0xff; 20])).is_err());
        assert!(varint(&mut Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2])).is_err());
        assert!(varint(&mut Reader::new(&[0x80])).is_err());
    }
}
