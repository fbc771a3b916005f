//! Links of a span: other spans, of its trace or of others, that it has to do with and does not lie in.

use crate::encode::{put_fields, put_str};
use crate::{Field, Fields, Malformed, Reader};

/// A link, without its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// The other span's trace; not all zero.
    pub trace_id: [u8; 16],
    /// The other span; not all zero.
    pub span_id: [u8; 8],
    /// What came with it as the header `tracestate`, or empty.
    pub state: &'a str,
}

/// Links that were validated when they were decoded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Links<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Links<'a> {
    /// No links.
    pub const EMPTY: Links<'static> = Links { count: 0, bytes: &[] };

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// As they are encoded, one after the other.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Goes through them, each with its fields, in the order in which they were given.
    pub fn iter(&self) -> LinkIter<'a> {
        LinkIter { left: self.count, reader: Reader::new(self.bytes) }
    }
}

impl<'a> IntoIterator for Links<'a> {
    type Item = (Link<'a>, Fields<'a>);
    type IntoIter = LinkIter<'a>;

    fn into_iter(self) -> LinkIter<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &Links<'a> {
    type Item = (Link<'a>, Fields<'a>);
    type IntoIter = LinkIter<'a>;

    fn into_iter(self) -> LinkIter<'a> {
        self.iter()
    }
}

/// Goes through links; see [`Links::iter`].
#[derive(Clone, Debug)]
pub struct LinkIter<'a> {
    left: u32,
    reader: Reader<'a>,
}

impl<'a> Iterator for LinkIter<'a> {
    type Item = (Link<'a>, Fields<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.reader.link().ok()
    }
}

impl<'a> Reader<'a> {
    /// Takes links, and validates each of them.
    pub fn links(&mut self) -> Result<Links<'a>, Malformed> {
        let count = self.varint()?;
        let bytes = self.rest();
        for _ in 0..count {
            self.link()?;
        }
        Ok(Links { count, bytes: &bytes[..bytes.len() - self.rest().len()] })
    }

    /// Takes a link, and validates it.
    pub fn link(&mut self) -> Result<(Link<'a>, Fields<'a>), Malformed> {
        let (trace_id, span_id) = (self.array()?, self.array()?);
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(Malformed("a link names no trace or no span"));
        }
        Ok((Link { trace_id, span_id, state: self.str()? }, self.fields()?))
    }
}

/// Writes a link and its fields.
pub fn put_link(buffer: &mut Vec<u8>, link: &Link<'_>, fields: &[Field<'_>]) {
    buffer.extend_from_slice(&link.trace_id);
    buffer.extend_from_slice(&link.span_id);
    put_str(buffer, link.state);
    put_fields(buffer, fields);
}
