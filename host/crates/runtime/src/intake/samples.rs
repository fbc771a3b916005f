//! Metric samples that a guest records by a bound meter, or gathered: their series is looked up once.

use std::borrow::Cow;

use glasshouse_model::Signal;
use glasshouse_model::wire::{self, Instrument, Record};
use glasshouse_telemetry::{Drop, Worth};

use super::{Arrival, Intake, RECORD_COST};
use crate::cuts::Cuts;

/// What a meter keeps: its sample, encoded, whose value is set each time.
pub(crate) struct BoundSample {
    body: Box<[u8]>,
    cut: bool,
    /// Whether its texts have to be searched for secrets; its value is none.
    is_suspect: bool,
}

impl BoundSample {
    /// Bytes of the host's memory.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.body.len()
    }
}

impl Intake {
    /// Takes samples of one series, which is looked up and searched for secrets once.
    pub(super) fn take_samples(&self, arrival: Arrival, samples: &wire::Samples<'_>) {
        if !self.recorder.is_enabled(Signal::Metric) {
            return samples.values().for_each(|_| self.recorder.dropped(Drop::Off));
        }
        let mut sample = self.bind_sample(samples.first().to_owned());
        for value in samples.values() {
            match &mut sample {
                Some(sample) => self.take_sample_of(arrival, samples.metric.instrument, value, sample),
                None => self.recorder.dropped(Drop::Metrics),
            }
        }
    }

    /// Takes a sample of a meter.
    #[inline]
    pub(crate) fn take_sample(&self, instrument: Instrument, value: f64, sample: &mut BoundSample) {
        self.take_sample_of(Arrival::AtOnce, instrument, value, sample);
    }

    #[inline]
    fn take_sample_of(&self, arrival: Arrival, instrument: Instrument, value: f64, sample: &mut BoundSample) {
        self.note_work(RECORD_COST + sample.body.len());
        if !self.recorder.admit_sample(instrument, value) {
            return;
        }
        let head = self.head(arrival, sample.cut);
        if self.recorder.affords(Worth::Usual, &head, sample.body.len()) {
            sample.body[wire::METRIC_VALUE_AT].copy_from_slice(&value.to_le_bytes());
            self.recorder.append_sample(head, &sample.body, sample.is_suspect);
        }
    }

    /// A meter's sample as it will be stored, but for its value; `None` if there are too many metrics.
    pub(crate) fn bind_sample(&self, body: Vec<u8>) -> Option<BoundSample> {
        let decoded = wire::decode(wire::KIND_METRIC, &body);
        if let Ok(Record::Metric(_, labels)) = &decoded {
            self.recorder.note_fields(labels.len());
        }
        if let Ok(record) = &decoded
            && self.recorder.may_have_longest_text(body.len())
        {
            self.recorder.note_text(Cuts::longest_text(record));
        }
        let (body, cut) = match decoded {
            Ok(record) if !self.cuts.get().fits(&record, body.len()) => (self.cuts.get().cut(&record), true),
            _ => (body, false),
        };
        let body = match self.placed(&body)? {
            Cow::Borrowed(_) => body,
            Cow::Owned(overflow) => overflow,
        };
        let is_suspect = self.recorder.redactor().is_suspect(&body);
        Some(BoundSample { body: body.into(), cut, is_suspect })
    }
}
