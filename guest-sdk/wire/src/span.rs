//! Spans: what opens one, and what changes one while it is open.

use crate::check::{LogWatch, Unwatched, bytes, check_fields, text};
use crate::encode::{put_fields, put_str, put_varint};
use crate::link::put_link;
use crate::site::{Room, write_whole};
use crate::{Field, Fields, Link, Links, Malformed, Reader, VERSION, byte_enum};

byte_enum! {
    /// What a span stands for, as in OpenTelemetry.
    #[derive(Default)]
    SpanKind {
        /// Work inside the extension.
        #[default]
        Internal = 0 "internal",
        /// Work on a request from outside.
        Server = 1 "server",
        /// A request to somebody else.
        Client = 2 "client",
        /// The making of a message.
        Producer = 3 "producer",
        /// The handling of a message.
        Consumer = 4 "consumer",
    }
}

const CHANGE_FIELD: u8 = 1;
const CHANGE_EVENT: u8 = 2;
const CHANGE_FAILURE: u8 = 3;
const CHANGE_LINK: u8 = 4;

/// Beside the kind of a span: it begins a trace.
const FLAG_ROOT: u8 = 0x40;
/// Beside the kind of a span: links stand before its name.
const FLAG_LINKS: u8 = 0x80;

/// What a span starts with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpanStart<'a> {
    /// What it stands for.
    pub kind: SpanKind,
    /// Whether it begins a trace of its own.
    pub is_root: bool,
    /// Its links.
    pub links: Links<'a>,
    /// The work's name.
    pub name: &'a str,
    /// Its fields.
    pub fields: Fields<'a>,
}

/// What the host has to know of a span's start to keep it as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanSummary {
    /// What it stands for.
    pub kind: SpanKind,
    /// How many fields it has.
    pub fields: u32,
    /// Where its name stands, with the length before it; then come its fields, their number first.
    pub name_at: usize,
    /// Where its fields start, their number first.
    pub fields_at: usize,
    /// Where the first field starts.
    pub first_field_at: usize,
}

/// A change of an open span.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SpanChange<'a> {
    /// A field; the last value of a name counts.
    Field(Field<'a>),
    /// Something that happened just now.
    Event {
        /// What.
        name: &'a str,
        /// Its fields.
        fields: Fields<'a>,
    },
    /// That it failed, and why.
    Failure(&'a str),
    /// A link, with its fields.
    Link(Link<'a>, Fields<'a>),
}

/// Writes what opens a span; gives the part of the buffer that holds it.
#[inline]
pub fn write_span_start<'b>(buffer: &'b mut Vec<u8>, kind: SpanKind, name: &str, fields: &[Field<'_>]) -> &'b [u8] {
    write_whole(buffer, |room| {
        room.put([VERSION, kind as u8])?;
        room.put_str(name)?;
        room.put_fields(fields)
    })
}

/// The same with links, each with its fields, of a span that perhaps begins a trace of its own.
pub fn write_linked_span_start<'b>(
    buffer: &'b mut Vec<u8>,
    kind: SpanKind,
    is_root: bool,
    links: &[(Link<'_>, &[Field<'_>])],
    name: &str,
    fields: &[Field<'_>],
) -> &'b [u8] {
    buffer.clear();
    let root = if is_root { FLAG_ROOT } else { 0 };
    buffer.extend_from_slice(&[VERSION, kind as u8 | FLAG_LINKS | root]);
    put_varint(buffer, links.len() as u32);
    for (link, fields) in links {
        put_link(buffer, link, fields);
    }
    put_str(buffer, name);
    put_fields(buffer, fields);
    buffer
}

/// Writes a field to be set.
pub fn write_span_field<'b>(buffer: &'b mut Vec<u8>, field: &Field<'_>) -> &'b [u8] {
    write_change(buffer, CHANGE_FIELD, |room| room.put_field(field))
}

/// Writes an event to be added.
pub fn write_span_event<'b>(buffer: &'b mut Vec<u8>, name: &str, fields: &[Field<'_>]) -> &'b [u8] {
    write_change(buffer, CHANGE_EVENT, |room| {
        room.put_str(name)?;
        room.put_fields(fields)
    })
}

/// Writes that a span failed.
pub fn write_span_failure<'b>(buffer: &'b mut Vec<u8>, reason: &str) -> &'b [u8] {
    write_change(buffer, CHANGE_FAILURE, |room| room.put_str(reason))
}

/// Writes a link to be added, with its fields.
pub fn write_span_link<'b>(buffer: &'b mut Vec<u8>, link: &Link<'_>, fields: &[Field<'_>]) -> &'b [u8] {
    buffer.clear();
    buffer.extend_from_slice(&[VERSION, CHANGE_LINK]);
    put_link(buffer, link, fields);
    buffer
}

fn write_change(buffer: &mut Vec<u8>, what: u8, write: impl Fn(&mut Room<'_>) -> Option<()>) -> &[u8] {
    write_whole(buffer, |room| {
        room.put([VERSION, what])?;
        write(room)
    })
}

/// Takes the version, and the byte after it.
#[inline]
fn head(reader: &mut Reader<'_>) -> Result<u8, Malformed> {
    match reader.byte()? {
        VERSION => reader.byte(),
        _ => Err(Malformed("unknown version of the span format")),
    }
}

/// The kind of a span, and what stands beside it.
#[inline]
fn kind_of(byte: u8) -> Result<(SpanKind, u8), Malformed> {
    const FLAGS: u8 = FLAG_ROOT | FLAG_LINKS;
    let kind = SpanKind::from_byte(byte & !FLAGS).ok_or(Malformed("unknown kind of span"))?;
    Ok((kind, byte & FLAGS))
}

fn whole<T>(reader: &Reader<'_>, read: T) -> Result<T, Malformed> {
    if reader.rest().is_empty() { Ok(read) } else { Err(Malformed("bytes left over after a span's part")) }
}

/// Decodes and validates what opens a span.
pub fn span_start(bytes: &[u8]) -> Result<SpanStart<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let (kind, flags) = kind_of(head(&mut reader)?)?;
    let links = if flags & FLAG_LINKS == 0 { Links::EMPTY } else { reader.links()? };
    let is_root = flags & FLAG_ROOT != 0;
    let start = SpanStart { kind, is_root, links, name: reader.str()?, fields: reader.fields()? };
    whole(&reader, start)
}

/// Decodes and validates a change of a span.
pub fn span_change(bytes: &[u8]) -> Result<SpanChange<'_>, Malformed> {
    let mut reader = Reader::new(bytes);
    let change = match head(&mut reader)? {
        CHANGE_FIELD => SpanChange::Field(reader.field()?),
        CHANGE_EVENT => SpanChange::Event { name: reader.str()?, fields: reader.fields()? },
        CHANGE_FAILURE => SpanChange::Failure(reader.str()?),
        CHANGE_LINK => {
            let (link, fields) = reader.link()?;
            SpanChange::Link(link, fields)
        }
        _ => return Err(Malformed("unknown change of a span")),
    };
    whole(&reader, change)
}

/// Validates what opens a span: of those that neither begin a trace nor have links it accepts exactly what [`span_start`] accepts; of the others it says `None`, without
/// looking further, and they are for that to validate.
pub fn check_span_start(start: &[u8]) -> Result<Option<SpanSummary>, Malformed> {
    check_span_start_with(start, &mut Unwatched)
}

/// The same, watched as a log is, whose only text before the fields is the name. What was seen of one that is refused means nothing.
#[inline]
pub fn check_span_start_with(start: &[u8], watch: &mut impl LogWatch) -> Result<Option<SpanSummary>, Malformed> {
    check(start, watch).map_err(|malformed| first_fault(start, malformed))
}

/// What [`span_start`] refuses the bytes for: they may be malformed in many ways.
#[cold]
fn first_fault(start: &[u8], malformed: Malformed) -> Malformed {
    span_start(start).err().unwrap_or(malformed)
}

#[inline]
fn check(start: &[u8], watch: &mut impl LogWatch) -> Result<Option<SpanSummary>, Malformed> {
    let mut reader = Reader::new(start);
    let (kind, flags) = kind_of(head(&mut reader)?)?;
    if flags != 0 {
        return Ok(None);
    }
    let at = |reader: &Reader<'_>| start.len() - reader.rest().len();
    let name_at = at(&reader);
    if let Some(expected) = watch.expects_start(false, reader.rest()) {
        reader.take(expected)?;
    } else {
        let name = bytes(&mut reader)?;
        if !watch.knows_start(false, &start[name_at..at(&reader)]) {
            text(name)?;
        }
    }
    let fields_at = at(&reader);
    let fields = reader.varint()?;
    let first_field_at = at(&reader);
    check_fields(&mut reader, fields, watch)?;
    whole(&reader, Some(SpanSummary { kind, fields, name_at, fields_at, first_field_at }))
}
