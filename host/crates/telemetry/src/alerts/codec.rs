//! Alerts as records of an extension's state.
//!
//! ```text
//! alert = version:u8 id[6] origin:u8 severity:u8 name title message
//!         count labels*(name value) numbers*8 value threshold quiet
//!         count history*(at:i64 cause:u8 by note)
//! gone  = version:u8 id[6]
//! ```
//! A number that may be missing has a byte before it that says whether it is there.

use glasshouse_model::record::{KIND_STATE_ALERT, KIND_STATE_ALERT_GONE};
use glasshouse_model::wire::{Malformed, Reader, put_str, put_varint};
use glasshouse_model::{AlertId, Origin, Severity, UnixNanos};

use super::alert::{Alert, AlertCause, AlertTransition, HISTORY};
use super::book::LABELS;
use crate::state::{VERSION, few};

/// What a record of an extension's state says of its alerts.
#[derive(Debug, PartialEq)]
pub(crate) enum StateRecord {
    Alert(Box<Alert>),
    Gone(AlertId),
}

impl StateRecord {
    /// Reads a record; `None` if it is of a kind or version that is not known.
    pub(crate) fn decode(kind: u8, body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut reader = Reader::new(body);
        if reader.byte()? != VERSION {
            return Ok(None);
        }
        Ok(Some(match kind {
            KIND_STATE_ALERT => Self::Alert(Box::new(alert(&mut reader)?)),
            KIND_STATE_ALERT_GONE => Self::Gone(AlertId(reader.array()?)),
            _ => return Ok(None),
        }))
    }
}

pub(crate) fn put_alert(buffer: &mut Vec<u8>, alert: &Alert) -> u8 {
    buffer.push(VERSION);
    buffer.extend_from_slice(&alert.id.0);
    buffer.extend_from_slice(&[alert.origin as u8, alert.severity as u8]);
    for text in [&alert.name, &alert.title, &alert.message] {
        put_str(buffer, text);
    }
    put_varint(buffer, alert.labels.len() as u32);
    for (name, value) in &alert.labels {
        put_str(buffer, name);
        put_str(buffer, value);
    }
    for time in [alert.first_raised, alert.last_raised] {
        buffer.extend_from_slice(&time.0.to_le_bytes());
    }
    for number in [alert.raised, alert.fired, alert.fired_nanos, alert.longest_nanos, alert.last_record] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    for value in [alert.value.map(f64::to_bits), alert.threshold.map(f64::to_bits), alert.quiet_nanos] {
        buffer.push(u8::from(value.is_some()));
        buffer.extend_from_slice(&value.unwrap_or_default().to_le_bytes());
    }
    put_varint(buffer, alert.history.len() as u32);
    for step in &alert.history {
        buffer.extend_from_slice(&step.at.0.to_le_bytes());
        buffer.push(step.cause as u8);
        put_str(buffer, &step.by);
        put_str(buffer, &step.note);
    }
    KIND_STATE_ALERT
}

fn alert(reader: &mut Reader<'_>) -> Result<Alert, Malformed> {
    let id = AlertId(reader.array()?);
    let origin = Origin::from_byte(reader.byte()?).ok_or(Malformed("unknown origin"))?;
    let severity = Severity::from_byte(reader.byte()?).ok_or(Malformed("unknown severity"))?;
    let (name, title, message) = (text(reader)?, text(reader)?, text(reader)?);
    let labels = few(reader, LABELS, |reader| Ok((text(reader)?, text(reader)?)))?;
    let (first_raised, last_raised) = (UnixNanos(reader.integer()?), UnixNanos(reader.integer()?));
    let (raised, fired) = (number(reader)?, number(reader)?);
    let (fired_nanos, longest_nanos, last_record) = (number(reader)?, number(reader)?, number(reader)?);
    let (value, threshold, quiet_nanos) = (optional(reader)?, optional(reader)?, optional(reader)?);
    let history = few(reader, HISTORY, step)?.into();
    Ok(Alert {
        id,
        origin,
        name,
        labels,
        severity,
        title,
        message,
        value: value.map(f64::from_bits),
        threshold: threshold.map(f64::from_bits),
        first_raised,
        last_raised,
        raised,
        fired,
        fired_nanos,
        longest_nanos,
        quiet_nanos,
        last_record,
        history,
    })
}

fn step(reader: &mut Reader<'_>) -> Result<AlertTransition, Malformed> {
    Ok(AlertTransition {
        at: UnixNanos(reader.integer()?),
        cause: AlertCause::from_byte(reader.byte()?).ok_or(Malformed("unknown cause of a transition"))?,
        by: text(reader)?,
        note: text(reader)?,
    })
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    reader.str().map(str::to_owned)
}

fn number(reader: &mut Reader<'_>) -> Result<u64, Malformed> {
    reader.array().map(u64::from_le_bytes)
}

fn optional(reader: &mut Reader<'_>) -> Result<Option<u64>, Malformed> {
    let is_there = reader.byte()? != 0;
    Ok(Some(number(reader)?).filter(|_| is_there))
}
