//! Several samples of one series in one record: what they have in common is written and validated once.

use std::ops::Range;

use crate::{Field, Fields, METRIC_VALUE_AT, Malformed, Metric, Reader, write_metric};

/// Samples of one record at most: each of them is stored with all that they have in common, so that many would make much of little.
pub const SAMPLES: u16 = 32;
/// Where the number of samples stands in the body: it is written last, so that what it counts is whole.
pub const SAMPLES_COUNT_AT: Range<usize> = 0..METRIC_AT;
/// Where the first value stands in the body.
pub const SAMPLES_FIRST_AT: Range<usize> = METRIC_AT + METRIC_VALUE_AT.start..METRIC_AT + METRIC_VALUE_AT.end;

/// Where the first sample, as a record of its own has it, starts in the body.
const METRIC_AT: usize = 2;
/// Bytes of a value.
const VALUE_BYTES: usize = 8;

/// Samples of one series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Samples<'a> {
    /// The first of them.
    pub metric: Metric<'a>,
    /// The labels of all of them.
    pub labels: Fields<'a>,
    first: &'a [u8],
    further: &'a [[u8; VALUE_BYTES]],
}

impl<'a> Samples<'a> {
    /// The body of the first of them, as a record of its own has it.
    pub fn first(&self) -> &'a [u8] {
        self.first
    }

    /// The values, in the order in which they were recorded; one at least.
    pub fn values(&self) -> impl Iterator<Item = f64> + use<'a> {
        std::iter::once(self.metric.value).chain(self.further.iter().map(|value| f64::from_le_bytes(*value)))
    }
}

/// Writes the body of a record with one sample, and room for some more.
pub fn write_samples(buffer: &mut Vec<u8>, metric: &Metric<'_>, labels: &[Field<'_>], room: u16) {
    buffer.extend_from_slice(&1_u16.to_le_bytes());
    write_metric(buffer, metric, labels);
    buffer.resize(buffer.len() + usize::from(room) * VALUE_BYTES, 0);
}

/// Decodes and validates the body of a record of several samples. Bytes of room are not looked at.
pub fn samples(body: &[u8]) -> Result<Samples<'_>, Malformed> {
    let mut reader = Reader::new(body);
    let count = u16::from_le_bytes(reader.array()?);
    let start = reader.rest();
    let (metric, labels) = reader.metric()?;
    let first = &start[..start.len() - reader.rest().len()];
    let (room, rest) = reader.rest().as_chunks();
    if !rest.is_empty() {
        return Err(Malformed("room for samples is not a whole number of them"));
    }
    if count > SAMPLES {
        return Err(Malformed("more samples than a record may have"));
    }
    let further = count.checked_sub(1).ok_or(Malformed("a record of no samples"))?;
    let further = room.get(..usize::from(further)).ok_or(Malformed("samples past the end of their record"))?;
    Ok(Samples { metric, labels, first, further })
}
