//! The loop of a service: a request at a time, in turns among all that goes there.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use glasshouse_export::{Portion, Request};
use glasshouse_model::config::{OtlpCompression, OtlpProtocol, OtlpService, OtlpSettings};
use glasshouse_telemetry::GapCause;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::answer::Verdict;
use crate::client::{Client, encoding};
use crate::grpc;
use crate::keeper::Keeper;
use crate::report::{Effect, Failing};
use crate::shared::{Shared, Spot};
use crate::teller::Teller;
use crate::turns::Turns;

/// A service, and what is pushed to it.
pub(crate) struct Lane {
    /// Which it is among those that are used.
    index: usize,
    service: OtlpService,
    client: Client,
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
    teller: Arc<Teller>,
    turns: Turns,
    /// The place of the line that is first in the next turn, so that one that fails again and again does not keep the others from their tries.
    first: usize,
}

/// A request, ready to be sent.
struct Prepared {
    request: Request,
    body: Bytes,
    /// Bytes of it before it was compressed.
    size: usize,
}

/// Reads a portion and writes it as it is sent. Blocks.
fn prepare(portion: &Portion<'_>, settings: &OtlpSettings) -> Prepared {
    let mut request = portion.request();
    let mut body = std::mem::take(&mut request.body);
    let size = body.len();
    if body.is_empty() {
        return Prepared { request, body: Bytes::new(), size };
    }
    let is_compressed = settings.compression() == OtlpCompression::Gzip;
    if is_compressed {
        // What is sent is mostly names that come again and again, which the fastest way makes small enough.
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        let compressed = encoder.write_all(&body).and_then(|()| encoder.finish());
        // A vector takes all that is written to it.
        body = compressed.unwrap_or_default();
    }
    if settings.protocol() == OtlpProtocol::Grpc {
        body = grpc::framed(&body, is_compressed);
    }
    Prepared { request, body: body.into(), size }
}

impl Lane {
    pub(crate) fn new(
        index: usize,
        service: OtlpService,
        client: Client,
        shared: Arc<Shared>,
        keeper: Arc<Keeper>,
        teller: Arc<Teller>,
    ) -> Self {
        let lines = shared.lines.iter().enumerate().filter(|(_, line)| line.lane == index);
        let most = usize::try_from(shared.settings.batch_bytes).unwrap_or(usize::MAX);
        let turns = Turns::new(lines.map(|(line, _)| line), most, Instant::now());
        Self { index, service, client, shared, keeper, teller, turns, first: 0 }
    }

    /// Pushes until it is told to stop, and then what is left, to whoever takes it at once.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            self.round(&stopped, false).await;
            let now = Instant::now();
            let most = now + self.shared.settings.interval;
            let next = self.turns.next(now).map_or(most, |next| next.min(most));
            tokio::select! {
                biased;
                // It also ends with its host.
                _ = stopped.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep_until(next) => {}
            }
            self.keeper.read().await;
        }
        // Once more, though it failed before; what fails now is left alone.
        self.turns.end(Instant::now());
        self.round(&stopped, true).await;
    }

    /// Sends what there is by now, or as much of it as is taken, and tells how that goes while it does.
    async fn round(&mut self, stopped: &watch::Receiver<bool>, is_last: bool) {
        let end = |at| {
            let line = &self.shared.lines[self.turns.line(at)];
            line.source.reader(line.signal).next_sequence()
        };
        let ends: Vec<_> = (0..self.turns.len()).map(end).collect();
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for step in 0..self.turns.len() {
                let at = (self.first + step) % self.turns.len();
                let Spot { next, is_known, .. } = self.shared.lines[self.turns.line(at)].spot();
                if !is_known || next >= ends[at] || !self.turns.is_ready(at, Instant::now()) {
                    continue;
                }
                if !is_last && *stopped.borrow() {
                    return;
                }
                has_moved |= self.push(at).await;
            }
            self.first = (self.first + 1) % self.turns.len().max(1);
            self.teller.tell(&self.shared, false);
        }
    }

    /// Sends a line's next request. Returns whether another can be tried at once.
    async fn push(&mut self, at: usize) -> bool {
        let index = self.turns.line(at);
        let Spot { next, until, .. } = self.shared.lines[index].spot();
        let (shared, bytes) = (Arc::clone(&self.shared), self.turns.room(at).bytes());
        let prepared = tokio::task::spawn_blocking(move || {
            let (line, settings) = (&shared.lines[index], &shared.settings);
            let portion = Portion {
                source: &line.source,
                signal: line.signal,
                from: next,
                since: until,
                records: settings.batch_records,
                bytes,
                encoding: encoding(settings.protocol()),
            };
            prepare(&portion, settings)
        });
        // It fails only when the runtime ends, and this task with it.
        let Ok(Prepared { request, body, size }) = prepared.await else { return false };
        let has_moved = request.next > next;
        let verdict = if body.is_empty() { None } else { Some(self.client.send(body).await) };
        match verdict {
            None => {
                if self.turns.passed(at) {
                    self.recovered();
                }
            }
            Some(Verdict::Accepted { rejected, message, is_odd }) => {
                let rejected = rejected.min(request.records);
                self.shared.change(|report| {
                    report.counts.sent += request.records - rejected;
                    report.counts.rejected += rejected;
                });
                if rejected > 0 {
                    self.teller.lost(&format!("records were rejected: {message}"));
                }
                self.shared.taken(index);
                self.accepted(at, is_odd);
            }
            Some(Verdict::Later { after, why }) => {
                self.turns.later(at, after, Instant::now());
                self.failing(&why, Effect::Waiting);
                return false;
            }
            Some(Verdict::TooLarge { why }) => {
                if request.records > 1 {
                    self.turns.room(at).shrink(size);
                    return true;
                }
                // It is as small as it can be: nobody ever takes it.
                self.refused(at, request.records, &format!("it is {size} bytes long, and {why}"), true);
            }
            Some(Verdict::Refused { why }) => self.refused(at, request.records, &why, false),
        }
        self.go_on(index, &request);
        self.keeper.keep(index).await;
        has_moved
    }

    /// Goes on behind a request, and counts what was missing in it.
    fn go_on(&self, index: usize, request: &Request) {
        self.shared.change(|report| {
            report.counts.left_out += request.left_out;
            for gap in &request.gaps {
                let missing = gap.last - gap.first + 1;
                match gap.cause {
                    GapCause::Evicted => report.counts.evicted += missing,
                    GapCause::Damaged => report.counts.damaged += missing,
                }
            }
        });
        if let Some(gap) = request.gaps.last() {
            self.teller.lost(match gap.cause {
                GapCause::Evicted => "retention removed them before they could be sent",
                GapCause::Damaged => "what was stored of them is damaged",
            });
        }
        self.shared.lines[index].set(Spot { next: request.next, until: request.until, is_known: true });
    }

    fn accepted(&mut self, at: usize, is_odd: bool) {
        self.turns.accepted(at, Instant::now());
        let now = self.shared.clock.now();
        self.shared.change(|report| report.services[self.index].last_accepted = Some(now));
        if is_odd {
            let why =
                "it took a request and answered what is none of the protocol's answers: is the endpoint a collector's?";
            self.failing(why, Effect::Doubtful);
        } else {
            self.recovered();
        }
    }

    /// Nothing is wrong with it any more, unless a line is held up still.
    fn recovered(&self) {
        if self.turns.is_any_held() {
            return;
        }
        let before = self.shared.change(|report| report.services[self.index].failing.take());
        if let Some(before) = before {
            let took = self.shared.clock.now().0.saturating_sub(before.since.0);
            self.teller.recovered(self.service, Duration::from_nanos(u64::try_from(took).unwrap_or(0)));
        }
    }

    /// A request was not taken and never will be.
    fn refused(&mut self, at: usize, records: u64, why: &str, is_too_large: bool) {
        let (index, was_held) = (self.turns.line(at), self.turns.refused(at, Instant::now()));
        self.shared.change(|report| {
            let counts = &mut report.counts;
            *(if is_too_large { &mut counts.oversized } else { &mut counts.refused }) += records;
        });
        self.shared.refused(index, why);
        let line = &self.shared.lines[index];
        let what = if is_too_large { "one is larger than is taken" } else { "they were refused" };
        self.teller.lost(&format!("of the {} of {}, {what}: {why}", line.signal, line.source.extension()));
        // It answers.
        if was_held {
            self.recovered();
        }
    }

    fn failing(&self, why: &str, effect: Effect) {
        let (service, now) = (self.service, self.shared.clock.now());
        let is_new = self.shared.change(|report| {
            let failing = &mut report.services[self.index].failing;
            let is_new = failing.as_ref().is_none_or(|failing| failing.effect != effect);
            let since = failing.as_ref().map_or(now, |failing| failing.since);
            *failing = Some(Failing { since, why: why.to_owned(), effect });
            is_new
        });
        if is_new {
            let told = match effect {
                Effect::Waiting => format!("{service} cannot be pushed, and wait: {why}"),
                Effect::Doubtful => format!("{service} may be pushed to the wrong place: {why}"),
            };
            self.teller.failing(service, told);
        }
    }
}
