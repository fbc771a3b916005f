//! Groups, and what belongs to them, as records of an extension's state.
//!
//! ```text
//! group   = version:u8 id[6] fingerprint kind title blame:u8 severity:u8 count:i64 first:i64 last:i64
//!           hours users tenants components samples verdict [inputs with_input:i64 last_input:i64]
//! gone    = version:u8 id[6]
//! component = version:u8 digest[32] version    of the errors after it
//! ```

use glasshouse_model::record::{KIND_STATE_COMPONENT, KIND_STATE_GROUP, KIND_STATE_GROUP_GONE};
use glasshouse_model::wire::{Malformed, Reader, put_str, put_varint};
use glasshouse_model::{Blame, Digest, GroupId, Severity, UnixNanos, Version};

use super::distinct::Distinct;
use super::group::{COMPONENTS, Component, Group, Resolution, SAMPLES, Verdict};
use super::hours::Hours;
use crate::state::{VERSION, few};

const NO_VERDICT: u8 = 0;
const RESOLVED: u8 = 1;
const REGRESSED: u8 = 2;

/// What a record of an extension's state says.
#[derive(Debug, PartialEq)]
pub(crate) enum StateRecord {
    Group(Box<Group>),
    Gone(GroupId),
    Component(Component),
}

impl StateRecord {
    /// Reads a record; `None` if it is of a kind or version that is not known.
    pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(body);
        if reader.byte()? != VERSION {
            return Ok(None);
        }
        Ok(Some(match kind {
            KIND_STATE_GROUP => Self::Group(Box::new(group(&mut reader)?)),
            KIND_STATE_GROUP_GONE => Self::Gone(GroupId(reader.array()?)),
            KIND_STATE_COMPONENT => Self::Component(component(&mut reader)?),
            _ => return Ok(None),
        }))
    }
}

pub(crate) fn put_running(buffer: &mut Vec<u8>, running: &Component) -> u8 {
    buffer.push(VERSION);
    put_component(buffer, running);
    KIND_STATE_COMPONENT
}

pub(crate) fn put_group(buffer: &mut Vec<u8>, group: &Group) -> u8 {
    buffer.push(VERSION);
    buffer.extend_from_slice(&group.id.0);
    for text in [&group.fingerprint, &group.kind, &group.title] {
        put_str(buffer, text);
    }
    buffer.extend_from_slice(&[group.blame as u8, group.severity as u8]);
    for number in [group.count as i64, group.first_seen.0, group.last_seen.0] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    group.hours.encode(buffer);
    group.users.encode(buffer);
    group.tenants.encode(buffer);
    put_varint(buffer, group.components.len() as u32);
    group.components.iter().for_each(|component| put_component(buffer, component));
    put_varint(buffer, group.samples.len() as u32);
    for sample in &group.samples {
        buffer.extend_from_slice(&sample.to_le_bytes());
    }
    match &group.verdict {
        Verdict::None => buffer.push(NO_VERDICT),
        Verdict::Resolved(resolution) => {
            buffer.push(RESOLVED);
            put_resolution(buffer, resolution);
        }
        Verdict::Regressed(at, resolution) => {
            buffer.push(REGRESSED);
            buffer.extend_from_slice(&at.0.to_le_bytes());
            put_resolution(buffer, resolution);
        }
    }
    group.inputs.encode(buffer);
    for number in [group.with_input, group.last_input] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    KIND_STATE_GROUP
}

fn group(reader: &mut Reader<'_>) -> Result<Group, Malformed> {
    let id = GroupId(reader.array()?);
    let mut text = || reader.str().map(str::to_owned);
    let (fingerprint, kind, title) = (text()?, text()?, text()?);
    let blame = Blame::from_byte(reader.byte()?).ok_or(Malformed("unknown blame"))?;
    let severity = Severity::from_byte(reader.byte()?).ok_or(Malformed("unknown severity"))?;
    let mut group = Group {
        id,
        fingerprint,
        kind,
        title,
        blame,
        severity,
        count: reader.integer()? as u64,
        first_seen: UnixNanos(reader.integer()?),
        last_seen: UnixNanos(reader.integer()?),
        hours: Hours::decode(reader)?,
        users: Distinct::decode(reader)?,
        tenants: Distinct::decode(reader)?,
        components: few(reader, COMPONENTS, component)?,
        samples: few(reader, SAMPLES, |reader| reader.array().map(u64::from_le_bytes))?.into(),
        verdict: match reader.byte()? {
            NO_VERDICT => Verdict::None,
            RESOLVED => Verdict::Resolved(resolution(reader)?),
            REGRESSED => Verdict::Regressed(UnixNanos(reader.integer()?), resolution(reader)?),
            _ => return Err(Malformed("unknown state of a group")),
        },
        inputs: Distinct::default(),
        with_input: 0,
        last_input: 0,
    };
    // Groups that were stored before there were digests end here.
    if !reader.rest().is_empty() {
        group.inputs = Distinct::decode(reader)?;
        (group.with_input, group.last_input) = (reader.integer()? as u64, reader.integer()? as u64);
    }
    Ok(group)
}

fn put_component(buffer: &mut Vec<u8>, component: &Component) {
    buffer.extend_from_slice(&component.digest.0);
    put_version(buffer, component.version.as_ref());
}

fn component(reader: &mut Reader<'_>) -> Result<Component, Malformed> {
    Ok(Component { digest: Digest(reader.array()?), version: version(reader)? })
}

fn put_version(buffer: &mut Vec<u8>, version: Option<&Version>) {
    put_str(buffer, &version.map(Version::to_string).unwrap_or_default());
}

fn version(reader: &mut Reader<'_>) -> Result<Option<Version>, Malformed> {
    match reader.str()? {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Malformed("a version is none")),
    }
}

fn put_resolution(buffer: &mut Vec<u8>, resolution: &Resolution) {
    buffer.extend_from_slice(&resolution.at.0.to_le_bytes());
    put_str(buffer, &resolution.by);
    put_str(buffer, &resolution.notes);
    put_version(buffer, resolution.version.as_ref());
    put_varint(buffer, resolution.known.len() as u32);
    resolution.known.iter().for_each(|digest| buffer.extend_from_slice(&digest.0));
}

fn resolution(reader: &mut Reader<'_>) -> Result<Resolution, Malformed> {
    Ok(Resolution {
        at: UnixNanos(reader.integer()?),
        by: reader.str()?.to_owned(),
        notes: reader.str()?.to_owned(),
        version: version(reader)?,
        known: few(reader, COMPONENTS, |reader| reader.array().map(Digest))?,
    })
}
