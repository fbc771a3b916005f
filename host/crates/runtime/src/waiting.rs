//! Logs below warning of a trace that is not kept, until their call is over: if it failed or was slow, they are stored all the same.

use glasshouse_model::wire::{self, Level};
use glasshouse_model::{Origin, Signal, UnixNanos, limits};
use glasshouse_telemetry::{Drop, Head, Worth};

use crate::intake::Intake;
use crate::newest::Newest;
use crate::probe::load_of;

/// Bytes of half of the logs that wait in one call: so many of the newest are there in any case, some hundreds, and the longest record has room.
const HALF_BYTES: usize = 2 * limits::RECORD_BYTES;

/// The logs of one invocation that wait.
#[derive(Default)]
pub(crate) struct WaitingLogs(Newest<Waiting, HALF_BYTES>);

/// A log that waits.
pub(crate) struct Waiting {
    pub(crate) time: UnixNanos,
    pub(crate) level: Level,
    pub(crate) cut: bool,
    pub(crate) batched: bool,
}

impl WaitingLogs {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a log in an encoded context. If there is no room for it, the oldest ones go.
    pub(crate) fn add(&mut self, log: Waiting, context: &[u8], body: &[u8]) {
        self.0.add(log, [context, body]);
    }

    /// Stores all of them, or leaves them out. Their memory is kept for the next call.
    #[cold]
    pub(crate) fn decide(&mut self, intake: &Intake, stored: bool) {
        let [waited, gone] = self.0.counts();
        let now = intake.clock().now();
        for (log, [context, body]) in self.0.each().filter(|_| stored) {
            let Waiting { time, level, cut, batched } = *log;
            let timed = intake.cross();
            intake.note_work(body.len());
            let head = Head { time, origin: Origin::Guest, cut, batched, context };
            // What it takes of the rate it takes now: a rate goes by times that go on.
            if intake.recorder().affords(Worth::of_log(level), &Head { time: now, ..head }, body.len()) {
                intake.recorder().append(Signal::Log, head, wire::KIND_LOG, body);
            }
            intake.crossed(timed, || load_of(level));
        }
        let left_out = if stored { gone } else { waited + gone };
        if left_out > 0 {
            intake.recorder().dropped_all(Drop::Sampled, left_out);
        }
        self.0.clear(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use glasshouse_model::settings::Settings;
    use glasshouse_model::wire::Record;
    use glasshouse_telemetry::{Body, Store, StoreSettings};

    use super::*;
    use crate::clock::SystemClock;

    fn body(message: &str) -> Vec<u8> {
        let log = wire::Log { level: Level::Debug, target: "", message: "", source: None, time: None };
        let mut body = Vec::new();
        wire::write_log(&mut body, &log, format_args!("{message}"), &[]);
        body
    }

    /// So many logs wait, each with so much text behind its number: which are stored then, and how many are left out.
    fn check(logs: usize, text: usize, stored: bool, expect: Range<usize>) {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
        let mut waiting = WaitingLogs::default();
        for number in 0..logs {
            let log = Waiting { time: UnixNanos(number as i64), level: Level::Debug, cut: false, batched: false };
            waiting.add(log, &[], &body(&format!("{number} {}", "-".repeat(text))));
        }
        waiting.decide(&intake, stored);
        assert!(waiting.is_empty());
        let found: Vec<_> = store
            .reader(Signal::Log)
            .all()
            .iter()
            .map(|entry| {
                let Ok(Body::Record(Record::Log(log, _))) = entry.body() else { panic!("no log") };
                assert!(log.message.starts_with(&format!("{} ", entry.envelope().time.0)), "each has its own time");
                entry.envelope().time.0 as usize
            })
            .collect();
        let left_out = (logs - expect.len()) as u64;
        assert_eq!(found, expect.collect::<Vec<_>>());
        let dropped = store.drops().into_iter().find(|(cause, _)| *cause == Drop::Sampled).map(|(_, count)| count);
        assert_eq!(dropped, Some(left_out));
    }

    #[test]
    fn the_newest_logs_are_there_when_a_call_fails_and_none_when_it_does_not() {
        check(100, 10, true, 0..100);
        check(100, 10, false, 0..0);
        check(3, limits::RECORD_BYTES - 1000, true, 0..3);
        // Two of the longest fill a half.
        check(11, limits::RECORD_BYTES - 1000, true, 8..11);
    }
}
