//! The task that pushes: a request at a time, in turns among all signals of all extensions.

mod resumed;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use glasshouse_export::{Portion, Request, Source};
use glasshouse_model::config::{OtlpCompression, OtlpProtocol, OtlpService, OtlpSettings};
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Clock, Level, Signal, UnixNanos};
use glasshouse_telemetry::GapCause;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::answer::Verdict;
use crate::backoff;
use crate::client::{Client, encoding};
use crate::cursors::{Cursors, Place};
use crate::grpc;
use crate::report::{Counts, Effect, Failing, Report, ServiceReport, Witness};
use resumed::{Resumed, resumed};

/// How often it is told at most what goes wrong: an outage of hours is not to fill the log that is pushed when it is over.
const TOLD: Duration = Duration::from_mins(1);

/// What is pushed, where, and who is told.
pub struct Pushing {
    /// Where and how.
    pub settings: OtlpSettings,
    /// What is stored of each extension, the host's own among them.
    pub sources: Vec<Source>,
    /// Where it is kept how far what is pushed came; nowhere if what is stored is not kept either.
    pub data_dir: Option<PathBuf>,
    /// How often the counts are stored.
    pub metrics_interval: Duration,
    /// The host's time.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub witness: Arc<dyn Witness>,
}

/// Pushes until it is told to stop.
pub struct Pusher {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What others see of the task.
struct Shared {
    lines: Vec<Told>,
    report: Mutex<Report>,
}

/// How far a line came.
struct Told {
    source: Source,
    signal: Signal,
    next: AtomicU64,
}

/// What is pushed of a signal of an extension.
struct Line {
    service: usize,
    next: u64,
    until: Option<UnixNanos>,
    /// Requests that were refused, in a row.
    refusals: u32,
    ready_at: Instant,
}

/// A service, and when it is to be tried again.
struct Lane {
    service: OtlpService,
    client: Client,
    /// Requests that were not taken for now, in a row.
    failures: u32,
    ready_at: Instant,
}

struct Work {
    settings: Arc<OtlpSettings>,
    shared: Arc<Shared>,
    lines: Vec<Line>,
    lanes: Vec<Lane>,
    cursors: Option<Cursors>,
    /// Extensions of which it could not be read yet how far they were pushed. They are not pushed until it can.
    unread: BTreeSet<String>,
    /// How far signals of extensions were pushed that are not pushed at present, for when they are again.
    aside: BTreeMap<String, Vec<Place>>,
    /// The line that is first in the next turn, so that one that fails again and again does not keep the others from their tries.
    first: usize,
    counts: Counts,
    news: News,
    metrics_interval: Duration,
    measured: (Instant, Counts),
    clock: Arc<dyn Clock>,
    witness: Arc<dyn Witness>,
}

/// What is still to be told.
#[derive(Default)]
struct News {
    told: Option<(Instant, Counts)>,
    /// Why records were lost, the latest cause of each kind.
    lost: Option<String>,
    failing: BTreeMap<OtlpService, String>,
    recovered: BTreeMap<OtlpService, Duration>,
    cursors: Option<String>,
}

impl Pusher {
    /// Starts to push; `None` if there is nothing to push, or nowhere to push it to.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(pushing: Pushing) -> Option<Self> {
        let Pushing { settings, sources, data_dir, metrics_interval, clock, witness } = pushing;
        let settings = Arc::new(settings);
        let mut lanes = Vec::new();
        for service in OtlpService::ALL {
            let is_used = Signal::ALL.iter().any(|signal| settings.service(*signal) == Some(*service));
            let Some(endpoint) = settings.endpoint(*service).filter(|_| is_used) else { continue };
            let client = Client::new(&settings, *service, endpoint);
            lanes.push(Lane { service: *service, client, failures: 0, ready_at: Instant::now() });
        }
        if lanes.is_empty() {
            return None;
        }
        let services = lanes.iter().map(|lane| ServiceReport {
            service: lane.service,
            endpoint: shown_endpoint(&settings, lane),
            last_accepted: None,
            failing: None,
        });
        let report = Mutex::new(Report { services: services.collect(), ..Report::default() });
        let (mut lines, mut told) = (Vec::new(), Vec::new());
        for source in sources {
            for signal in Signal::ALL {
                let Some(service) = settings.service(*signal) else { continue };
                let Some(service) = lanes.iter().position(|lane| lane.service == service) else { continue };
                let next = source.reader(*signal).evicted() + 1;
                lines.push(Line { service, next, until: None, refusals: 0, ready_at: Instant::now() });
                told.push(Told { source: source.clone(), signal: *signal, next: AtomicU64::new(next) });
            }
        }
        let shared = Arc::new(Shared { lines: told, report });
        let now = Instant::now();
        let mut work = Work {
            settings,
            shared: Arc::clone(&shared),
            lines,
            lanes,
            cursors: None,
            unread: BTreeSet::new(),
            aside: BTreeMap::new(),
            first: 0,
            counts: Counts::default(),
            news: News::default(),
            metrics_interval,
            measured: (now, Counts::default()),
            clock,
            witness,
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            work.resume(data_dir).await;
            work.run(stopped).await;
        });
        Some(Self { shared, stop, task: Mutex::new(Some(task)) })
    }

    /// How it goes.
    pub fn report(&self) -> Report {
        let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.waiting = self.shared.waiting();
        report
    }

    /// Sends what is still to be sent, to those who take it at once, and ends. What is not sent within the limit is sent by the next host on
    /// the data directory.
    pub async fn finish(&self, limit: Duration) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(limit, &mut task).await.is_err()
        {
            task.abort();
            // Its end is waited for, so that nothing is sent any more once this returns.
            let _ = task.await;
        }
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Shared {
    fn waiting(&self) -> u64 {
        let of = |line: &Told| {
            line.source.reader(line.signal).next_sequence().saturating_sub(line.next.load(Ordering::Relaxed))
        };
        self.lines.iter().map(of).sum()
    }
}

/// Where a service is, for people: a gRPC endpoint has no path of its own.
fn shown_endpoint(settings: &OtlpSettings, lane: &Lane) -> String {
    let mut endpoint = lane.client.endpoint().clone();
    if settings.protocol() == OtlpProtocol::Grpc {
        grpc::path(lane.service).clone_into(&mut endpoint.path);
    }
    endpoint.to_string()
}

/// A request, ready to be sent.
struct Prepared {
    request: Request,
    body: Bytes,
}

/// Reads a portion and writes it as it is sent. Blocks.
fn prepare(portion: &Portion<'_>, settings: &OtlpSettings) -> Prepared {
    let mut request = portion.request();
    let mut body = std::mem::take(&mut request.body);
    if body.is_empty() {
        return Prepared { request, body: Bytes::new() };
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
    Prepared { request, body: body.into() }
}

impl Work {
    /// Goes on where an earlier host stopped, as far as that is known.
    async fn resume(&mut self, data_dir: Option<PathBuf>) {
        let Some(data_dir) = data_dir else { return };
        let opened = tokio::task::spawn_blocking(move || {
            Cursors::open(&data_dir).map_err(|error| {
                format!("how far what is pushed came cannot be kept in {}: {error}", data_dir.display())
            })
        });
        match opened.await {
            Ok(Ok(cursors)) => self.cursors = Some(cursors),
            Ok(Err(why)) => return self.trouble(why),
            // The runtime ends, and this task with it.
            Err(_) => return,
        }
        self.unread = self.shared.lines.iter().map(|line| line.source.extension().to_owned()).collect();
        self.read().await;
    }

    /// Reads how far the extensions came of which that is still to be read.
    async fn read(&mut self) {
        let Some(cursors) = self.cursors.clone().filter(|_| !self.unread.is_empty()) else { return };
        let (shared, unread) = (Arc::clone(&self.shared), self.unread.clone());
        let read = tokio::task::spawn_blocking(move || resumed(&cursors, &shared, &unread)).await;
        // It fails only when the runtime ends, and this task with it.
        let Ok(Resumed { places, aside, unread, trouble }) = read else { return };
        self.unread = unread;
        self.aside.extend(aside);
        if trouble.is_empty() {
            self.change(|report| report.cursors = None);
        }
        for (index, (next, until)) in places {
            (self.lines[index].next, self.lines[index].until) = (next, until);
            self.shared.lines[index].next.store(next, Ordering::Relaxed);
        }
        for why in trouble {
            self.trouble(why);
        }
    }

    /// Notes that it cannot be kept, or is not known, how far what is pushed came.
    fn trouble(&mut self, why: String) {
        self.change(|report| report.cursors = Some(why.clone()));
        self.news.cursors = Some(why);
    }

    fn change(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.shared.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            self.round(&stopped, false).await;
            let now = Instant::now();
            let tries = self.lanes.iter().map(|lane| lane.ready_at).chain(self.lines.iter().map(|line| line.ready_at));
            let next = tries.filter(|at| *at > now).chain([now + self.settings.interval]).min();
            tokio::select! {
                biased;
                // It also ends with its host.
                _ = stopped.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep_until(next.unwrap_or(now)) => {}
            }
            self.read().await;
        }
        // Once more, whoever failed before; who fails now is left alone.
        self.lanes.iter_mut().for_each(|lane| lane.ready_at = Instant::now());
        self.round(&stopped, true).await;
        self.tell(true);
    }

    /// Sends what there is by now, or as much of it as is taken, and tells how that goes while it does.
    async fn round(&mut self, stopped: &watch::Receiver<bool>, is_last: bool) {
        let ends: Vec<_> =
            self.shared.lines.iter().map(|line| line.source.reader(line.signal).next_sequence()).collect();
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for step in 0..self.lines.len() {
                let index = (self.first + step) % self.lines.len();
                let line = &self.lines[index];
                let ready_at = line.ready_at.max(self.lanes[line.service].ready_at);
                if line.next >= ends[index] || ready_at > Instant::now() {
                    continue;
                }
                if self.unread.contains(self.shared.lines[index].source.extension()) {
                    continue;
                }
                if !is_last && *stopped.borrow() {
                    return;
                }
                has_moved |= self.push(index).await;
            }
            self.first = (self.first + 1) % self.lines.len().max(1);
            self.tell(false);
        }
    }

    /// Sends a line's next request. Returns whether the line went on.
    async fn push(&mut self, index: usize) -> bool {
        let Line { service: lane, next, until, .. } = self.lines[index];
        let (shared, settings) = (Arc::clone(&self.shared), Arc::clone(&self.settings));
        let prepared = tokio::task::spawn_blocking(move || {
            let Told { source, signal, .. } = &shared.lines[index];
            let portion = Portion {
                source,
                signal: *signal,
                from: next,
                since: until,
                records: settings.batch_records,
                bytes: usize::try_from(settings.batch_bytes).unwrap_or(usize::MAX),
                encoding: encoding(settings.protocol()),
            };
            prepare(&portion, &settings)
        });
        // It fails only when the runtime ends, and this task with it.
        let Ok(Prepared { request, body }) = prepared.await else { return false };
        let has_moved = request.next > next;
        if body.is_empty() {
            self.go_on(index, &request);
            self.keep(index).await;
            return has_moved;
        }
        let verdict = self.lanes[lane].client.send(body).await;
        let now = Instant::now();
        match verdict {
            Verdict::Accepted { rejected, message, is_odd } => {
                let rejected = rejected.min(request.records);
                self.counts.sent += request.records - rejected;
                self.counts.rejected += rejected;
                if rejected > 0 {
                    self.news.lost = Some(format!("records were rejected: {message}"));
                }
                self.lines[index].refusals = 0;
                self.accepted(lane, is_odd);
            }
            Verdict::Later { after, why } => {
                self.later(lane, after, &why);
                return false;
            }
            Verdict::Refused { why } => {
                self.counts.refused += request.records;
                let line = &mut self.lines[index];
                line.refusals = line.refusals.saturating_add(1);
                // What is refused is lost, and more of the same likely is as well: the fewer tries, the fewer records.
                line.ready_at = now + backoff::delay(line.refusals, None);
                let told = &self.shared.lines[index];
                let why = format!("{} of {} were refused: {why}", told.signal, told.source.extension());
                self.lanes[lane].failures = 0;
                self.failing(lane, &why, Effect::Losing);
                self.news.lost = Some(why);
            }
        }
        self.go_on(index, &request);
        self.keep(index).await;
        has_moved
    }

    /// Goes on behind a request, and counts what was missing in it.
    fn go_on(&mut self, index: usize, request: &Request) {
        for gap in &request.gaps {
            let missing = gap.last - gap.first + 1;
            let (count, why) = match gap.cause {
                GapCause::Evicted => (&mut self.counts.evicted, "retention removed them before they could be sent"),
                GapCause::Damaged => (&mut self.counts.damaged, "what was stored of them is damaged"),
            };
            *count += missing;
            self.news.lost = Some(why.to_owned());
        }
        self.counts.left_out += request.left_out;
        (self.lines[index].next, self.lines[index].until) = (request.next, request.until);
        self.shared.lines[index].next.store(request.next, Ordering::Relaxed);
        let counts = self.counts;
        self.change(|report| report.counts = counts);
    }

    /// Keeps how far the extension of a line came.
    async fn keep(&mut self, index: usize) {
        let Some(cursors) = self.cursors.clone() else { return };
        let extension = self.shared.lines[index].source.extension().to_owned();
        let of_it = self.shared.lines.iter().zip(&self.lines).filter(|(told, _)| told.source.extension() == extension);
        let places = of_it.map(|(told, line)| Place {
            cursor: told.source.reader(told.signal).cursor(&extension, line.next - 1),
            until: line.until,
        });
        let aside = self.aside.get(&extension).into_iter().flatten().cloned();
        let places: Vec<_> = places.chain(aside).collect();
        let kept = tokio::task::spawn_blocking(move || {
            let kept = cursors.write(&extension, &places);
            kept.map_err(|error| format!("how far the telemetry of {extension} was pushed cannot be kept: {error}"))
        });
        match kept.await {
            Ok(Ok(())) if self.unread.is_empty() => self.change(|report| report.cursors = None),
            Ok(Err(why)) => self.trouble(why),
            // What is told is still so, or the runtime ends, and this task with it.
            Ok(Ok(())) | Err(_) => {}
        }
    }

    fn accepted(&mut self, lane: usize, is_odd: bool) {
        self.lanes[lane].failures = 0;
        let now = self.clock.now();
        if is_odd {
            let why =
                "it took a request and answered what is none of the protocol's answers: is the endpoint a collector's?";
            self.change(|report| report.services[lane].last_accepted = Some(now));
            self.failing(lane, why, Effect::Doubtful);
            return;
        }
        let mut before = None;
        self.change(|report| {
            let report = &mut report.services[lane];
            report.last_accepted = Some(now);
            before = report.failing.take();
        });
        if let Some(before) = before.filter(|before| before.effect != Effect::Losing) {
            let service = self.lanes[lane].service;
            let took = Duration::from_nanos(u64::try_from(now.0 - before.since.0).unwrap_or(0));
            // What was over before it was told of is not told of.
            if self.news.failing.remove(&service).is_none() {
                self.news.recovered.insert(service, took);
            }
        }
    }

    fn later(&mut self, lane: usize, after: Option<Duration>, why: &str) {
        let at = &mut self.lanes[lane];
        at.failures = at.failures.saturating_add(1);
        at.ready_at = Instant::now() + backoff::delay(at.failures, after);
        self.failing(lane, why, Effect::Waiting);
    }

    fn failing(&mut self, lane: usize, why: &str, effect: Effect) {
        let service = self.lanes[lane].service;
        let now = self.clock.now();
        let mut is_new = false;
        self.change(|report| {
            let failing = &mut report.services[lane].failing;
            is_new = failing.as_ref().is_none_or(|failing| failing.effect != effect);
            let since = failing.as_ref().map_or(now, |failing| failing.since);
            *failing = Some(Failing { since, why: why.to_owned(), effect });
        });
        let told = match effect {
            Effect::Waiting => format!("{service} cannot be pushed, and wait: {why}"),
            Effect::Doubtful => format!("{service} may be pushed to the wrong place: {why}"),
            // Each loss is told.
            Effect::Losing => return,
        };
        if is_new {
            self.news.failing.insert(service, told);
            self.news.recovered.remove(&service);
        }
    }

    /// Tells what there is to be told, if that is due, and stores the counts, if these are.
    fn tell(&mut self, is_last: bool) {
        let now = Instant::now();
        if is_last || now >= self.measured.0 + self.metrics_interval {
            self.witness.measure(&self.counts.since(&self.measured.1), self.shared.waiting());
            self.measured = (now, self.counts);
        }
        let before = self.news.told.map_or_else(Counts::default, |(_, counts)| counts);
        let is_due = is_last || self.news.told.is_none_or(|(told, _)| now >= told + TOLD);
        let News { lost, failing, recovered, cursors, .. } = &self.news;
        if !is_due || (lost.is_none() && failing.is_empty() && recovered.is_empty() && cursors.is_none()) {
            return;
        }
        let News { lost, failing, recovered, cursors, .. } = std::mem::take(&mut self.news);
        for (service, message) in failing {
            self.note(Level::Warning, &message, "otlp.failing", Some(service), &[]);
        }
        for (service, took) in recovered {
            let message = format!("{service} are pushed again, after {}", glasshouse_model::text::duration(took));
            self.note(Level::Info, &message, "otlp.recovered", Some(service), &[]);
        }
        if let Some(why) = lost {
            let Counts { rejected, refused, evicted, damaged, .. } = self.counts.since(&before);
            let message =
                format!("{} records were not pushed and never will be: {why}", self.counts.since(&before).lost());
            let counts = [("rejected", rejected), ("refused", refused), ("evicted", evicted), ("damaged", damaged)];
            self.note(Level::Warning, &message, "otlp.lost", None, &counts);
        }
        if let Some(why) = cursors {
            self.note(Level::Warning, &why, "otlp.cursors", None, &[]);
        }
        self.news.told = Some((now, self.counts));
    }

    fn note(&self, level: Level, message: &str, event: &str, service: Option<OtlpService>, counts: &[(&str, u64)]) {
        let mut fields = vec![Field { name: "event", value: Value::Text(event) }];
        fields.extend(service.map(|service| Field { name: "service", value: Value::Text(service.as_str()) }));
        fields.extend(
            counts
                .iter()
                .map(|(name, count)| Field { name, value: Value::Integer(i64::try_from(*count).unwrap_or(i64::MAX)) }),
        );
        self.witness.note(level, message, &fields);
    }
}
