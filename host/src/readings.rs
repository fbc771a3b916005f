//! What other programs read of a running host: each answer is made of what the host's own API gives.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Weak;
use std::time::Duration;

use glasshouse_export::{Export, ExportError, Format, Source, What};
use glasshouse_files::LogFilesStatus;
use glasshouse_model::text::visible;
use glasshouse_model::{ExtensionId, HOST, Signal, TraceParent, UnixNanos};
use glasshouse_runtime::{Event, Status, Trigger};
use glasshouse_server::api::{
    self, AlertStatistics, Call, Called, Check, Dashboard, Errors, Gap, Health, MetricNames, MetricSummary, Overview,
    Problem, Records, Wanted, code,
};
use glasshouse_server::{ExportWanted, Exporting, Follower, News, Pending, Readings, SummaryWanted, TraceHeaders};
use glasshouse_telemetry::{Cursor, Entry, GapCause, GroupState, Order, Page, Query, Reader, Summary};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::alerts::alert_answer;
use crate::answers::{metrics_answer, summary_answer};
use crate::control::Controlled;
use crate::extension::Extension;
use crate::groups::group_answer;
use crate::push;
use crate::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, Record, SpanRecord, record};
use crate::replies::{JSON, called_answer};
use crate::traces::{Trace, Traces};

/// Records of an answer where nobody says otherwise.
const LIMIT: usize = 100;
/// Records of an answer at most: some hundred kilobytes, and more is a page away.
const LIMIT_MOST: usize = 1000;
/// Series of an answer at most.
const SERIES: usize = 1000;
/// Requests of an answer where nobody says otherwise, and at most: each may have thousands of steps.
const TRACES: (usize, usize) = (20, 100);
/// Logs that a first page shows.
const DASHBOARD_LOGS: usize = 20;
/// What current metrics sum up.
const MINUTE: Duration = Duration::from_mins(1);
/// Records that a follower reads at a time, and bytes of those that it is told: what it has not taken yet.
const FOLLOWED: usize = 1000;
const FOLLOWED_BYTES: usize = 256 << 10;

impl Readings for Controlled {
    fn overview(&self, extension: &str) -> Result<Overview, Problem> {
        let extension = self.find(extension)?;
        let groups = extension.error_groups();
        let alerts = alerts(extension);
        Ok(Overview {
            time: extension.now().to_string(),
            manager: crate::control::manager(extension),
            summary: summary_answer(extension),
            open_error_groups: groups.iter().filter(|group| group.state != GroupState::Resolved).count() as u64,
            firing_alerts: alerts.iter().filter(|alert| alert.state == "firing").count() as u64,
            health: health(extension),
        })
    }

    fn dashboard(&self, id: &str) -> Result<Dashboard, Problem> {
        let extension = self.find(id)?;
        let newest = Wanted { limit: Some(DASHBOARD_LOGS), ..Wanted::default() };
        let settings = extension.present_config();
        let groups = extension.error_groups();
        let open = groups.iter().filter(|group| group.state != GroupState::Resolved);
        let mut firing = alerts(extension);
        firing.retain(|alert| alert.state == "firing");
        Ok(Dashboard {
            overview: self.overview(id)?,
            logs: self.records(id, Signal::Log.as_str(), &newest)?,
            error_groups: open.map(|group| group_answer(id, group, Some(&settings))).collect(),
            alerts: firing,
        })
    }

    fn records(&self, extension: &str, signal: &str, wanted: &Wanted) -> Result<Records, Problem> {
        page(extension, &self.reader(extension, known_signal(signal)?)?, wanted, self.now())
    }

    fn errors(&self, id: &str, wanted: &Wanted) -> Result<Errors, Problem> {
        let extension = self.find(id)?;
        let settings = extension.present_config();
        let groups = extension.error_groups();
        Ok(Errors {
            groups: groups.iter().map(|group| group_answer(id, group, Some(&settings))).collect(),
            errors: self.records(id, Signal::Error.as_str(), wanted)?,
        })
    }

    fn metrics(&self, extension: &str, wanted: &SummaryWanted) -> Result<MetricSummary, Problem> {
        let query = parsed(&wanted.query, self.now())?;
        let limit = limit(wanted.limit, &query, (SERIES, SERIES))?;
        let mut whole = Summary::default();
        for id in self.named(extension)? {
            whole.merge(self.reader(id, Signal::Metric)?.summary(id, &query));
        }
        if wanted.together {
            whole = whole.across_extensions();
        }
        Ok(metrics_answer(extension, &whole, limit))
    }

    fn current_metrics(&self, extension: &str, names: &MetricNames) -> Result<MetricSummary, Problem> {
        let extension = self.find(extension)?;
        let now = extension.now();
        let mut query = parsed(&format!("since {}s", MINUTE.as_secs()), now)?;
        if !names.metrics.is_empty() {
            let list =
                names.metrics.iter().map(|name| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
            query = query.and(&parsed(&format!("name in ({})", list.collect::<Vec<_>>().join(", ")), now)?);
        }
        let mut summary = extension.metrics().summary(&query);
        summary.until = Some(now);
        Ok(metrics_answer(extension.id().as_str(), &summary, SERIES))
    }

    fn alert_statistics(&self, extension: &str) -> Result<AlertStatistics, Problem> {
        let extension = self.find(extension)?;
        Ok(AlertStatistics::of(extension.id().as_str(), &alerts(extension)))
    }

    fn traces(&self, extension: &str, wanted: &Wanted) -> Result<api::Traces, Problem> {
        let query = self.query_of(extension, wanted)?;
        let limit = limit(wanted.limit, &query, TRACES)?;
        let mut traces = Traces::running(self.extensions.values()).newest(&query, limit).map_err(unusable)?;
        traces.reverse();
        Ok(told(&traces))
    }

    fn operations(&self, extension: &str, wanted: &Wanted) -> Result<api::Operations, Problem> {
        let query = self.query_of(extension, wanted)?;
        let limit = limit(wanted.limit, &query, (LIMIT, LIMIT_MOST))?;
        let operations = Traces::running(self.extensions.values()).operations(&query);
        let operations = operations.iter().take(limit).filter_map(|one| serde_json::value::to_raw_value(one).ok());
        Ok(api::Operations { operations: operations.collect() })
    }

    fn trace(&self, id: &str) -> Result<api::Traces, Problem> {
        let traces = Traces::running(self.extensions.values()).find(id).map_err(unusable)?;
        if traces.is_empty() {
            let detail = format!(
                "nothing is stored of a request \"{}\": it has another id, was not sampled, or was evicted",
                visible(id, 80)
            );
            return Err(Problem::new(404, code::UNKNOWN_TRACE, "No such request", detail));
        }
        Ok(told(&traces))
    }

    fn health(&self, extension: &str) -> Result<Health, Problem> {
        self.find(extension).map(health)
    }

    fn host_health(&self) -> Health {
        let disk = self.runtime.upgrade().and_then(|runtime| runtime.depot().disk_failure());
        let recorder = match disk {
            None => check("recorder", "healthy", "", ""),
            Some(failure) => check(
                "recorder",
                "degraded",
                &failure,
                "free space in the data directory, or mend its disk: records are in memory until then, and go with the host",
            ),
        };
        let of_extension = |extension: &Extension| {
            let worst = health(extension);
            let what = worst.checks.into_iter().find(|check| check.status == worst.status).unwrap_or_default();
            Check { name: format!("extension {}", extension.id()), ..what }
        };
        let files = self.log_files.as_ref().and_then(Weak::upgrade).map(|files| of_log_files(&files.status()));
        let push = self.push.as_ref().map(|push| push::check(&push.report()));
        let of_host = std::iter::once(recorder).chain(files).chain(push);
        judged(of_host.chain(self.extensions.values().map(of_extension)).collect())
    }

    fn check_health<'a>(&'a self, extension: &'a str) -> Pending<'a, Health> {
        Box::pin(async move {
            let extension = self.find(extension)?;
            extension.check_health().await.map_err(|error| {
                let detail = format!("{} cannot be asked for its health: {error}", extension.id());
                Problem::new(409, code::UNAVAILABLE, "The extension takes no orders", detail)
            })?;
            Ok(health(extension))
        })
    }

    fn call<'a>(&'a self, extension: &'a str, mut call: Call, headers: TraceHeaders) -> Pending<'a, Called> {
        Box::pin(async move {
            let extension = self.find(extension)?;
            let trigger = caused(&mut call, headers)?;
            let Call { event, payload, correlation_id, user, tenant, .. } = call;
            let payload = payload.map_or("null".to_owned(), |payload| payload.get().to_owned());
            let event = Event { name: event, content_type: JSON.to_owned(), payload: payload.into_bytes() };
            let trigger = Trigger { correlation_id, user, tenant, ..trigger };
            Ok(called_answer(extension.try_call(event, trigger).await))
        })
    }

    fn export(&self, id: &str, what: &str, wanted: &ExportWanted, by: &str) -> Result<Exporting, Problem> {
        let what: What =
            what.parse().map_err(|_| no_such("export", what, What::ALL.iter().map(|what| what.as_str())))?;
        let format = wanted.format.as_deref().unwrap_or(Format::Json.as_str());
        let format: Format =
            format.parse().map_err(|_| no_such("format", format, Format::ALL.iter().map(|format| format.as_str())))?;
        let of_host = || Source::new(HOST, |signal| self.journal.store().reader(signal));
        let sources = if id == "*" {
            let mut sources: Vec<_> = self.extensions.values().map(Extension::source).chain([of_host()]).collect();
            sources.sort_by(|one, other| one.extension().cmp(other.extension()));
            sources
        } else if id == HOST {
            vec![of_host()]
        } else {
            vec![self.find(id)?.source()]
        };
        let now = self.now();
        let export = Job { sources, what, format, query: parsed(&wanted.query, now)?, limit: wanted.limit };
        export.as_export().check().map_err(unusable)?;
        // Reading metrics each few seconds, as Prometheus does, takes no data away that a record is to tell of.
        if !matches!(format, Format::Prometheus | Format::OpenMetrics) {
            self.journal.exported(id, what.as_str(), format.as_str(), by);
        }
        Ok(Exporting {
            media_type: format.media_type(),
            file_name: format!("{}-{what}.{}", if id == "*" { "glasshouse" } else { id }, format.extension()),
            write: Box::new(move |output, is_wanted| {
                let mut watch = |_: &_| if is_wanted() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
                match export.as_export().write(output, &mut watch) {
                    Ok(_) => Ok(()),
                    Err(ExportError::Output { cause, .. }) => Err(cause),
                    Err(other) => Err(io::Error::other(other)),
                }
            }),
        })
    }

    fn follow(
        &self,
        extension: &str,
        signal: &str,
        query: &str,
        after: Option<&str>,
    ) -> Result<Box<dyn Follower>, Problem> {
        let reader = self.reader(extension, known_signal(signal)?)?;
        let query = parsed(query, self.now())?;
        let (next, is_lost) = match after {
            Some(after) => reader.resume(&cursor(after, extension, reader.signal())?),
            None => (reader.next_sequence(), false),
        };
        Ok(Box::new(Following { extension: extension.to_owned(), reader, query, next, is_lost }))
    }
}

impl Controlled {
    fn now(&self) -> UnixNanos {
        self.journal.clock().now()
    }

    /// Reads a signal of an extension, or of the host's own records.
    fn reader(&self, id: &str, signal: Signal) -> Result<Reader, Problem> {
        if id == HOST { Ok(self.journal.store().reader(signal)) } else { self.find(id).map(|one| one.reader(signal)) }
    }

    /// The ids that are meant: the one that is named, or all with `*`.
    fn named<'a>(&'a self, id: &'a str) -> Result<Vec<&'a str>, Problem> {
        match id {
            "*" => Ok(self.extensions.keys().map(ExtensionId::as_str).chain([HOST]).collect()),
            HOST => Ok(vec![HOST]),
            id => self.find(id).map(|_| vec![id]),
        }
    }

    /// What is asked for, of the extension that is named, or of all with `*`.
    fn query_of(&self, id: &str, wanted: &Wanted) -> Result<Query, Problem> {
        let query = parsed(&wanted.query, self.now())?;
        if id == "*" {
            return Ok(query);
        }
        Ok(query.and(&Query::equal("extension", self.find(id)?.id().as_str()).map_err(unusable)?))
    }
}

/// The trace that a call is part of: the body's, which its sender has written for it, else that of the request's headers, which a program may send
/// with all it sends. A `tracestate` goes with the `traceparent` beside it and with no other.
fn caused(call: &mut Call, headers: TraceHeaders) -> Result<Trigger, Problem> {
    let (traceparent, tracestate) = (call.traceparent.take(), call.tracestate.take());
    let (mut trigger, tracestate) = if traceparent.is_some() || tracestate.is_some() {
        let parent = traceparent.map(|text| text.parse::<TraceParent>()).transpose().map_err(|error| {
            let detail = format!("the traceparent cannot be used: {error}");
            Problem::new(422, code::INVALID_BODY, "The body cannot be used", detail)
        })?;
        (parent.map_or_else(Trigger::default, Trigger::from), tracestate)
    } else {
        let trigger = Trigger::default();
        (headers.traceparent.iter().fold(trigger, |trigger, text| trigger.traceparent(text)), headers.tracestate)
    };
    trigger = tracestate.iter().fold(trigger, |trigger, text| trigger.tracestate(text));
    Ok(call.baggage.take().or(headers.baggage).iter().fold(trigger, |trigger, text| trigger.baggage(text)))
}

/// An export that owns what it is made of.
struct Job {
    sources: Vec<Source>,
    what: What,
    format: Format,
    query: Query,
    limit: Option<usize>,
}

impl Job {
    fn as_export(&self) -> Export<'_> {
        let Self { sources, what, format, query, limit } = self;
        Export { sources, what: *what, format: *format, query, limit: *limit }
    }
}

fn no_such<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let known: Vec<_> = known.collect();
    unusable(format!("there is no {what} \"{}\"; there are {}", visible(name, 40), known.join(", ")))
}

/// Somebody who follows a signal.
struct Following {
    extension: String,
    reader: Reader,
    query: Query,
    next: u64,
    /// Whether records were lost with an earlier host's memory, which is still to be said.
    is_lost: bool,
}

impl Follower for Following {
    fn has_news(&self) -> bool {
        self.is_lost || self.reader.next_sequence() > self.next
    }

    fn read(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        if std::mem::take(&mut self.is_lost) {
            news.push(News::Gap { cursor: self.place(), gap: memory_lost() });
        }
        let page = self.reader.page(self.next, FOLLOWED);
        let gap = |gap: &glasshouse_telemetry::Gap| News::Gap {
            cursor: self.reader.cursor(&self.extension, gap.last).to_string(),
            gap: Gap { missed: gap.last - gap.first + 1, cause: gap.cause.as_str().to_owned() },
        };
        let (mut gaps, mut bytes, mut next) = (page.gaps.iter().peekable(), 0, page.next_sequence);
        for entry in &page.entries {
            while let Some(missing) = gaps.next_if(|gap| gap.first < entry.sequence()) {
                news.push(gap(missing));
            }
            if bytes >= FOLLOWED_BYTES {
                next = entry.sequence();
                break;
            }
            let body = entry.body();
            let signal = self.reader.signal();
            let is_wanted =
                body.is_ok_and(|body| self.query.matches(signal, &self.extension, &entry.envelope(), &body));
            if is_wanted && let Some(record) = json(&self.extension, &self.reader, entry) {
                let cursor = self.reader.cursor(&self.extension, entry.sequence()).to_string();
                bytes += record.get().len();
                news.push(News::Record { cursor, json: record.get().to_owned() });
            }
        }
        if next == page.next_sequence {
            news.extend(gaps.map(gap));
        }
        self.next = next;
        if !matches!(news.last(), Some(News::Record { .. })) {
            news.push(News::Place { cursor: self.place() });
        }
        news
    }

    fn place(&self) -> String {
        self.reader.cursor(&self.extension, self.next - 1).to_string()
    }
}

fn memory_lost() -> Gap {
    Gap { missed: 0, cause: "memory lost".to_owned() }
}

fn known_signal(name: &str) -> Result<Signal, Problem> {
    name.parse().map_err(|_| {
        let known: Vec<_> = Signal::ALL.iter().map(|signal| signal.as_str()).collect();
        let detail = format!("there is no signal \"{}\"; there are {}", visible(name, 40), known.join(", "));
        Problem::new(404, code::UNKNOWN_SIGNAL, "No such signal", detail)
    })
}

fn parsed(query: &str, now: UnixNanos) -> Result<Query, Problem> {
    Query::parse(query, now).map_err(unusable)
}

fn unusable(error: impl std::fmt::Display) -> Problem {
    Problem::new(400, code::INVALID_QUERY, "The query cannot be used", error.to_string())
}

/// How many are wanted, of which there is a usual and a largest number.
fn limit(wanted: Option<usize>, query: &Query, (usual, most): (usize, usize)) -> Result<usize, Problem> {
    let limit = wanted.into_iter().chain(query.limit()).min().unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    Err(unusable(format!("the limit is {limit}; use 1 to {most}, and name a cursor for those that follow")))
}

/// A cursor that is one of this signal of this extension.
fn cursor(text: &str, extension: &str, signal: Signal) -> Result<Cursor, Problem> {
    let cursor: Cursor = text.parse().map_err(unusable)?;
    if cursor.extension != extension || cursor.signal != signal {
        let (of, whose) = (cursor.signal, &cursor.extension);
        return Err(unusable(format!(
            "the cursor is one of the {of} of {whose}, and not of the {signal} of {extension}"
        )));
    }
    Ok(cursor)
}

/// The records that are wanted, and where to go on.
fn page(extension: &str, reader: &Reader, wanted: &Wanted, now: UnixNanos) -> Result<Records, Problem> {
    let mut query = parsed(&wanted.query, now)?;
    let limit = limit(wanted.limit, &query, (LIMIT, LIMIT_MOST))?;
    let (mut from, mut to, mut gaps) = (1, reader.next_sequence(), Vec::new());
    match (&wanted.before, &wanted.after) {
        (Some(_), Some(_)) => return Err(unusable("before and after go in different directions: name one of them")),
        (Some(before), None) => {
            let before = cursor(before, extension, reader.signal())?;
            // Of an earlier host whose memory was lost nothing is there from there on, and the numbers are others' now.
            let (next, is_lost) = reader.resume(&before);
            to = before.sequence.min(next).min(to);
            gaps.extend(is_lost.then(memory_lost));
            query = parsed("newest first", now)?.and(&query);
        }
        (None, Some(after)) => {
            let is_lost;
            (from, is_lost) = reader.resume(&cursor(after, extension, reader.signal())?);
            gaps.extend(is_lost.then(memory_lost));
            let evicted = (reader.evicted() + 1).saturating_sub(from);
            gaps.extend((evicted > 0).then(|| Gap { missed: evicted, cause: "evicted".to_owned() }));
            query = parsed("oldest first", now)?.and(&query);
        }
        (None, None) => {}
    }
    let query = parsed(&format!("limit {limit}"), now)?.and(&query);
    let entries = reader.search_among(from..to, extension, &query, limit);
    let sequences = entries.iter().map(Entry::sequence);
    let (first, last) = (sequences.clone().min(), sequences.max());
    let is_whole = entries.len() < limit;
    let looked_at = match query.order() {
        Order::NewestFirst => first.filter(|_| !is_whole).unwrap_or(from)..to,
        Order::OldestFirst => from..last.filter(|_| !is_whole).map_or(to, |last| last + 1),
    };
    gaps.extend(damaged(reader, &looked_at));
    let at = |sequence: u64| reader.cursor(extension, sequence).to_string();
    // Where fewer than are wanted were found, all up to the end was looked at.
    let (older, newer) = match query.order() {
        Order::NewestFirst => (first.filter(|_| !is_whole), Some(to.saturating_sub(1))),
        Order::OldestFirst => (first.filter(|first| *first > 1), if is_whole { Some(to.max(from) - 1) } else { last }),
    };
    Ok(Records {
        extension: extension.to_owned(),
        signal: reader.signal().to_string(),
        records: entries.iter().filter_map(|entry| json(extension, reader, entry)).collect(),
        older: older.map(at),
        newer: newer.filter(|newer| *newer > 0).map(at),
        gaps,
    })
}

/// What is damaged among the records of these numbers, of which the first thousand are looked at: a page without a condition has no more.
fn damaged(reader: &Reader, among: &Range<u64>) -> impl Iterator<Item = Gap> {
    let page = if among.is_empty() { Page::default() } else { reader.page(among.start, LIMIT_MOST) };
    let end = among.end;
    let damaged = page.gaps.into_iter().filter(move |gap| gap.cause == GapCause::Damaged && gap.first < end);
    damaged.map(move |gap| Gap { missed: gap.last.min(end - 1) - gap.first + 1, cause: gap.cause.as_str().to_owned() })
}

/// A record as the API tells it, as the command does.
fn json(extension: &str, reader: &Reader, entry: &Entry) -> Option<Box<RawValue>> {
    match reader.signal() {
        Signal::Log => json_of::<LogRecord>(extension, reader, entry),
        Signal::Metric => json_of::<MetricRecord>(extension, reader, entry),
        Signal::Error => json_of::<ErrorRecord>(extension, reader, entry),
        Signal::Span => json_of::<SpanRecord>(extension, reader, entry),
        Signal::Alert => json_of::<AlertRecord>(extension, reader, entry),
        Signal::Invocation => json_of::<InvocationRecord>(extension, reader, entry),
    }
}

fn json_of<T: Record + Serialize>(extension: &str, reader: &Reader, entry: &Entry) -> Option<Box<RawValue>> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        extension: &'a str,
        cursor: String,
        #[serde(flatten)]
        record: T,
    }
    let cursor = reader.cursor(extension, entry.sequence()).to_string();
    serde_json::value::to_raw_value(&Line { extension, cursor, record: record::<T>(entry)? }).ok()
}

fn told(traces: &[Trace]) -> api::Traces {
    api::Traces { traces: traces.iter().filter_map(|trace| serde_json::value::to_raw_value(trace).ok()).collect() }
}

fn alerts(extension: &Extension) -> Vec<api::Alert> {
    let now = extension.now();
    extension.alert_states().iter().map(|alert| alert_answer(extension.id().as_str(), alert, now)).collect()
}

fn check(name: &str, status: &str, detail: &str, remedy: &str) -> Check {
    Check { name: name.to_owned(), status: status.to_owned(), detail: detail.to_owned(), remedy: remedy.to_owned() }
}

/// How the writing of log files goes.
fn of_log_files(files: &LogFilesStatus) -> Check {
    let LogFilesStatus { folder, failure, behind, missed, dropped } = files;
    let counts =
        [(behind, "records wait"), (missed, "records were gone before"), (dropped, "of its own messages had no room")];
    let counts = counts.into_iter().filter(|(count, _)| **count > 0);
    let found: Vec<_> = failure.iter().cloned().chain(counts.map(|(count, what)| format!("{count} {what}"))).collect();
    let (status, remedy) = if failure.is_some() {
        let remedy = format!(
            "mend that, or make room in {}: what waits is written once it can be, unless it is evicted before",
            folder.display()
        );
        ("degraded", remedy)
    } else {
        ("healthy", String::new())
    };
    check("files", status, &found.join("; "), &remedy)
}

/// The worst of the checks is the whole.
fn judged(checks: Vec<Check>) -> Health {
    let worst = ["unhealthy", "degraded"].into_iter().find(|bad| checks.iter().any(|check| check.status == *bad));
    Health { status: worst.unwrap_or("healthy").to_owned(), checks }
}

/// How an extension is: as the host sees it, and as it says itself.
fn health(extension: &Extension) -> Health {
    let status = extension.status();
    let (id, reason) = (extension.id(), status.reason().unwrap_or_default().to_owned());
    let (judgement, remedy) = match &status {
        Status::Ready => ("healthy", String::new()),
        Status::Loading => ("degraded", "wait: it is being read, compiled or started".to_owned()),
        Status::Throttled { .. } => {
            ("degraded", format!("send it less, or raise the budget: `glasshouse budgets show {id}` tells which"))
        }
        Status::Probing => ("degraded", "its next call shows whether it works again".to_owned()),
        Status::Quarantined { .. } => {
            ("unhealthy", format!("mend it, or end the quarantine: `glasshouse budgets release {id}`"))
        }
        Status::Failed { .. } => ("unhealthy", "mend what its cause says, and start the host anew".to_owned()),
        Status::Stopped => ("unhealthy", "the host is stopping".to_owned()),
    };
    let of_host = Check { detail: reason, remedy, ..check("state", judgement, "", "") };
    let own = extension.health().into_iter().map(|own| check(&own.name, own.status.as_str(), &own.detail, ""));
    judged(std::iter::once(of_host).chain(own).collect())
}
