//! An error that an extension answered a call with, as the host stores it.

use glasshouse_wire::{Error, Fields, KIND_ERROR, Malformed, Reader, Record, decode};

use crate::{GroupId, InputDigest};

/// That a digest of the call's input follows.
const FLAG_INPUT: u8 = 1;
/// That it is told which report said the same, after the digest.
const FLAG_REPORTED: u8 = 2;
/// That that report was of an error which was handled.
const FLAG_REPORTED_HANDLED: u8 = 4;

/// An error that a call was answered with. Its words are the guest's, all else the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnsweredError<'a> {
    /// The error, in the form of a report.
    pub error: Error<'a>,
    /// Its fields.
    pub fields: Fields<'a>,
    /// What tells whether other calls had the same input.
    pub input: Option<InputDigest>,
    /// The report of the same error in the same call: the two are one occurrence, which counts as the report.
    pub reported: Option<Reported>,
}

/// A report of an error, as far as the answer with the same error tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reported {
    /// Its place among the errors of the extension.
    pub sequence: u64,
    /// The group that counts it.
    pub group: GroupId,
    /// Whether it said that the error was handled.
    pub handled: bool,
}

impl<'a> AnsweredError<'a> {
    /// Appends such an error as it stands in a stored record: `body` is the encoded error.
    pub fn encode(buffer: &mut Vec<u8>, input: Option<InputDigest>, reported: Option<Reported>, body: &[u8]) {
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let was_handled = reported.is_some_and(|reported| reported.handled);
        buffer.push(
            flag(input.is_some(), FLAG_INPUT)
                | flag(reported.is_some(), FLAG_REPORTED)
                | flag(was_handled, FLAG_REPORTED_HANDLED),
        );
        if let Some(input) = input {
            buffer.extend_from_slice(&input.0);
        }
        if let Some(reported) = reported {
            buffer.extend_from_slice(&reported.sequence.to_le_bytes());
            buffer.extend_from_slice(&reported.group.0);
        }
        buffer.extend_from_slice(body);
    }

    /// Reads what [`AnsweredError::encode`] wrote.
    pub fn decode(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        if flags & !(FLAG_INPUT | FLAG_REPORTED | FLAG_REPORTED_HANDLED) != 0 {
            return Err(Malformed("unknown flag of an answered error"));
        }
        let has = |flag: u8| flags & flag != 0;
        let input = if has(FLAG_INPUT) { Some(InputDigest(reader.array()?)) } else { None };
        let reported = if has(FLAG_REPORTED) {
            let (sequence, group) = (u64::from_le_bytes(reader.array()?), GroupId(reader.array()?));
            Some(Reported { sequence, group, handled: has(FLAG_REPORTED_HANDLED) })
        } else {
            None
        };
        match decode(KIND_ERROR, reader.rest())? {
            Record::Error(error, fields) => Ok(Self { error, fields, input, reported }),
            _ => Err(Malformed("an answered error is none")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_answered_error_comes_back_as_it_was(
            input in any::<Option<[u8; 16]>>(), reported in any::<Option<(u64, [u8; 6], bool)>>(), message in ".{0,40}",
        ) {
            let (mut body, mut stored) = (Vec::new(), Vec::new());
            let error = Error { kind: "parse", message: &message, stack: "", source: None, handled: false };
            glasshouse_wire::write_error(&mut body, &error, &[]);
            let input = input.map(InputDigest);
            let reported = reported.map(|(sequence, group, handled)| Reported { sequence, group: GroupId(group), handled });
            AnsweredError::encode(&mut stored, input, reported, &body);
            let decoded = AnsweredError::decode(&stored).expect("it was just encoded");
            prop_assert_eq!((decoded.error, decoded.input, decoded.reported), (error, input, reported));
            for cut in 0..stored.len() {
                prop_assert!(AnsweredError::decode(&stored[..cut]).is_err());
            }
        }

        #[test]
        fn arbitrary_bytes_are_an_answered_error_or_malformed(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = AnsweredError::decode(&body);
        }
    }
}
