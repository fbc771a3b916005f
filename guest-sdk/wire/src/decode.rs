//! Reads records out of bytes that nobody vouches for.

use crate::{
    Alert, Error, FLAG_HANDLED, FLAG_METRIC, FLAG_SOURCE, FLAG_THRESHOLD, FLAG_TIME, FLAG_VALUE, Field, Instrument,
    KIND_ALERT, KIND_ERROR, KIND_LOG, KIND_METRIC, Level, Log, Metric, Record, Severity, Source, VERSION,
    VERSION_BATCHED, Value,
};

/// Why bytes are not a record, in a few words for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

/// Reads the head of a batch and gives its records.
#[inline]
pub fn records(batch: &[u8]) -> Result<Records<'_>, Malformed> {
    match batch.split_first() {
        Some((&VERSION, rest)) => Ok(Records { serial: None, reader: Reader { bytes: rest } }),
        Some((&VERSION_BATCHED, rest)) => {
            let (serial, rest) = rest.split_first_chunk().ok_or(Malformed("the batch ends in its serial number"))?;
            Ok(Records { serial: Some(u32::from_le_bytes(*serial)), reader: Reader { bytes: rest } })
        }
        Some(_) => Err(Malformed("unknown version of the record format")),
        None => Err(Malformed("empty batch: the version byte is missing")),
    }
}

/// The raw records of a batch: kind and body. It ends after the first malformed one.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    serial: Option<u32>,
    reader: Reader<'a>,
}

impl Records<'_> {
    /// The serial number of a batch of gathered records; `None` for records that were made just now.
    pub fn serial(&self) -> Option<u32> {
        self.serial
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.reader.bytes.is_empty() {
            return None;
        }
        let record = self.reader.record();
        if record.is_err() {
            self.reader.bytes = &[];
        }
        Some(record)
    }
}

/// Decodes and validates the body of one record.
#[inline]
pub fn decode(kind: u8, body: &[u8]) -> Result<Record<'_>, Malformed> {
    let mut reader = Reader { bytes: body };
    let record = match kind {
        KIND_LOG => {
            let level = Level::from_byte(reader.byte()?).ok_or(Malformed("unknown level"))?;
            let flags = reader.flags(FLAG_TIME | FLAG_SOURCE)?;
            let time = if flags & FLAG_TIME == 0 { None } else { Some(reader.integer()?) };
            let target = reader.str()?;
            let source = reader.source(flags)?;
            Record::Log(Log { level, target, message: reader.str()?, source, time }, reader.fields()?)
        }
        KIND_METRIC => {
            let (metric, labels) = reader.metric()?;
            Record::Metric(metric, labels)
        }
        KIND_ERROR => {
            let flags = reader.flags(FLAG_HANDLED | FLAG_SOURCE)?;
            let (kind, message, stack) = (reader.str()?, reader.str()?, reader.str()?);
            let source = reader.source(flags)?;
            let handled = flags & FLAG_HANDLED != 0;
            Record::Error(Error { kind, message, stack, source, handled }, reader.fields()?)
        }
        KIND_ALERT => {
            let severity = Severity::from_byte(reader.byte()?).ok_or(Malformed("unknown severity"))?;
            let flags = reader.flags(FLAG_METRIC | FLAG_VALUE | FLAG_THRESHOLD)?;
            Record::Alert(Alert {
                severity,
                kind: reader.str()?,
                title: reader.str()?,
                message: reader.str()?,
                metric: if flags & FLAG_METRIC == 0 { None } else { Some(reader.str()?) },
                value: if flags & FLAG_VALUE == 0 { None } else { Some(reader.float()?) },
                threshold: if flags & FLAG_THRESHOLD == 0 { None } else { Some(reader.float()?) },
            })
        }
        _ => return Err(Malformed("unknown kind of record")),
    };
    if reader.bytes.is_empty() { Ok(record) } else { Err(Malformed("bytes left over after a record")) }
}

/// Fields that were validated when they were decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fields<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Fields<'a> {
    /// No fields.
    pub const EMPTY: Fields<'static> = Fields { count: 0, bytes: &[] };

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Goes through them in the order in which they were given.
    pub fn iter(&self) -> FieldIter<'a> {
        FieldIter { left: self.count, reader: Reader { bytes: self.bytes } }
    }
}

impl<'a> IntoIterator for Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = FieldIter<'a>;

    fn into_iter(self) -> FieldIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Fields<'a> {
    type Item = Field<'a>;
    type IntoIter = FieldIter<'a>;

    fn into_iter(self) -> FieldIter<'a> {
        self.iter()
    }
}

/// Goes through fields; see [`Fields::iter`].
#[derive(Clone, Debug)]
pub struct FieldIter<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Iterator for FieldIter<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.left = self.left.checked_sub(1)?;
        self.reader.field().ok()
    }
}

/// Takes values off the front of a byte slice; never reads past its end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    /// Takes so many bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(Malformed("the record ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes a byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (&byte, rest) = self.bytes.split_first().ok_or(Malformed("the record ends too early"))?;
        self.bytes = rest;
        Ok(byte)
    }

    /// Takes so many bytes as an array.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (&array, rest) = self.bytes.split_first_chunk::<N>().ok_or(Malformed("the record ends too early"))?;
        self.bytes = rest;
        Ok(array)
    }

    /// Takes a signed 64-bit integer.
    #[inline]
    pub fn integer(&mut self) -> Result<i64, Malformed> {
        self.array().map(i64::from_le_bytes)
    }

    /// Takes a 64-bit float.
    #[inline]
    pub fn float(&mut self) -> Result<f64, Malformed> {
        self.array().map(f64::from_le_bytes)
    }

    /// Takes an unsigned LEB128 number.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, Malformed> {
        let first = self.byte()?;
        if first < 0x80 { Ok(u32::from(first)) } else { self.long_varint(first) }
    }

    fn long_varint(&mut self, first: u8) -> Result<u32, Malformed> {
        let mut number = u64::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).map_err(|_| Malformed("a length is over 32 bits"));
            }
        }
        Err(Malformed("a length has more than five bytes"))
    }

    /// Takes text.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        let length = self.varint()?;
        str::from_utf8(self.take(length as usize)?).map_err(|_| Malformed("text is not UTF-8"))
    }

    /// Takes fields, and validates each of them.
    #[inline]
    pub fn fields(&mut self) -> Result<Fields<'a>, Malformed> {
        let count = self.varint()?;
        let bytes = self.bytes;
        for _ in 0..count {
            self.field()?;
        }
        Ok(Fields { count, bytes: &bytes[..bytes.len() - self.bytes.len()] })
    }

    /// Takes a field, and validates it.
    #[inline]
    pub fn field(&mut self) -> Result<Field<'a>, Malformed> {
        let name = self.str()?;
        let value = match self.byte()? {
            0 => Value::Text(self.str()?),
            1 => Value::Integer(self.integer()?),
            2 => Value::Float(self.float()?),
            3 => Value::Boolean(false),
            4 => Value::Boolean(true),
            _ => return Err(Malformed("unknown kind of value")),
        };
        Ok(Field { name, value })
    }

    #[inline]
    pub(crate) fn metric(&mut self) -> Result<(Metric<'a>, Fields<'a>), Malformed> {
        let instrument = Instrument::from_byte(self.byte()?).ok_or(Malformed("unknown instrument"))?;
        let value = self.float()?;
        let metric = Metric { instrument, value, name: self.str()?, unit: self.str()? };
        let labels = self.fields()?;
        if labels.iter().any(|label| !matches!(label.value, Value::Text(_))) {
            return Err(Malformed("a label is not text"));
        }
        Ok((metric, labels))
    }

    fn flags(&mut self, known: u8) -> Result<u8, Malformed> {
        let flags = self.byte()?;
        if flags & !known == 0 { Ok(flags) } else { Err(Malformed("unknown flag bits")) }
    }

    fn source(&mut self, flags: u8) -> Result<Option<Source<'a>>, Malformed> {
        if flags & FLAG_SOURCE == 0 {
            return Ok(None);
        }
        Ok(Some(Source { file: self.str()?, line: self.varint()? }))
    }

    #[inline]
    fn record(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let kind = self.byte()?;
        let length = u32::from_le_bytes(self.array()?);
        Ok((kind, self.take(length as usize)?))
    }
}
