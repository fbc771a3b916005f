//! What other programs read of a running host: each answer is made of what the host's own API gives.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use glasshouse_export::{Export, ExportError, Format, Source, What};
use glasshouse_model::text::visible;
use glasshouse_model::{ExtensionId, HOST, Signal, TraceId, TraceParent, UnixNanos};
use glasshouse_runtime::{Event, Trigger};
use glasshouse_server::api::{
    self, AlertStatistics, Call, Called, Dashboard, Errors, Health, MetricNames, MetricSummary, Overview, Problem,
    Records, TraceList, Wanted, code,
};
use glasshouse_server::{ExportWanted, Exporting, Follower, Pending, Readings, SummaryWanted, TraceHeaders};
use glasshouse_telemetry::{Query, Reader, Summary};

use crate::answers::metrics_page;
use crate::control::Controlled;
use crate::extension::Extension;
use crate::followers::Following;
use crate::pages::{LIMIT, LIMIT_MOST, PAGE_BYTES, limit, page, parsed, unusable};
use crate::replies::{JSON, called_answer};
use crate::subject::Subject;
use crate::traces::{Trace, Traces};

/// Series of an answer at most.
const SERIES: usize = 1000;
/// Requests of an answer where nobody says otherwise, and at most: each may have thousands of steps.
const TRACES: (usize, usize) = (20, 100);
/// Logs that a first page shows.
const DASHBOARD_LOGS: usize = 20;
/// What current metrics sum up.
const MINUTE: Duration = Duration::from_mins(1);

impl Readings for Controlled {
    fn overviews(&self) -> Vec<Overview> {
        let brief = |extension| {
            let mut overview = Subject::Extension(extension).overview();
            // What a guest says at length, and may say of many things, is told of one extension at a time.
            overview.health.checks.clear();
            overview.summary.host_functions.clear();
            overview
        };
        self.extensions.values().map(brief).collect()
    }

    fn overview(&self, extension: &str) -> Result<Overview, Problem> {
        Ok(self.subject(extension)?.overview())
    }

    fn dashboard(&self, id: &str) -> Result<Dashboard, Problem> {
        let subject = self.subject(id)?;
        let newest = Wanted { limit: Some(DASHBOARD_LOGS), ..Wanted::default() };
        let (error_groups, alerts) = (subject.open_error_groups(), subject.firing_alerts());
        let logs = self.records(id, Signal::Log.as_str(), &newest)?;
        Ok(Dashboard { overview: subject.overview_with(error_groups.len(), alerts.len()), logs, error_groups, alerts })
    }

    fn records(&self, extension: &str, signal: &str, wanted: &Wanted) -> Result<Records, Problem> {
        page(extension, &self.reader(extension, known_signal(signal)?)?, wanted, self.now())
    }

    fn errors(&self, id: &str, wanted: &Wanted) -> Result<Errors, Problem> {
        let groups = self.subject(id)?.error_groups();
        Ok(Errors { groups, errors: self.records(id, Signal::Error.as_str(), wanted)? })
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
        Ok(metrics_page(extension, &whole, wanted.skip, limit))
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
        Ok(metrics_page(extension.id().as_str(), &summary, 0, SERIES))
    }

    fn alert_statistics(&self, extension: &str) -> Result<AlertStatistics, Problem> {
        Ok(AlertStatistics::of(extension, &self.subject(extension)?.alerts()))
    }

    fn traces(&self, extension: &str, wanted: &Wanted) -> Result<api::Traces, Problem> {
        let query = self.query_of(extension, wanted)?;
        let limit = limit(wanted.limit, &query, TRACES)?;
        let traces = self.traces();
        told(&traces, &traces.newest_ids(&query, limit))
    }

    fn trace_list(&self, extension: &str, wanted: &Wanted) -> Result<TraceList, Problem> {
        let query = self.query_of(extension, wanted)?;
        let limit = limit(wanted.limit, &query, (TRACES.0, LIMIT_MOST))?;
        let mut list = self.traces().list(&query, limit).map_err(unusable)?;
        list.reverse();
        Ok(TraceList { traces: list.iter().filter_map(|one| serde_json::value::to_raw_value(one).ok()).collect() })
    }

    fn operations(&self, extension: &str, wanted: &Wanted) -> Result<api::Operations, Problem> {
        let query = self.query_of(extension, wanted)?;
        let limit = limit(wanted.limit, &query, (LIMIT, LIMIT_MOST))?;
        let operations = self.traces().operations(&query);
        let operations = operations.iter().take(limit).filter_map(|one| serde_json::value::to_raw_value(one).ok());
        Ok(api::Operations { operations: operations.collect() })
    }

    fn trace(&self, id: &str) -> Result<api::Traces, Problem> {
        let traces = self.traces();
        let ids = traces.find_ids(id).map_err(unusable)?;
        if ids.is_empty() {
            let detail = format!(
                "nothing is stored of a request \"{}\": it has another id, was not sampled, or was evicted",
                visible(id, 80)
            );
            return Err(Problem::new(404, code::UNKNOWN_TRACE, "No such request", detail));
        }
        told(&traces, &ids)
    }

    fn health(&self, extension: &str) -> Result<Health, Problem> {
        if extension == HOST {
            return Ok(self.host_health());
        }
        self.find(extension).map(|extension| extension.health_report().answer())
    }

    fn host_health(&self) -> Health {
        self.health_report().answer()
    }

    fn check_health<'a>(&'a self, extension: &'a str) -> Pending<'a, Health> {
        Box::pin(async move {
            let extension = self.find(extension)?;
            extension.check_health().await.map_err(|error| {
                let detail = format!("{} cannot be asked for its health: {error}", extension.id());
                Problem::new(409, code::UNAVAILABLE, "The extension takes no orders", detail)
            })?;
            Ok(extension.health_report().answer())
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

    fn export(&self, id: &str, what: &str, wanted: &ExportWanted, by: Option<&str>) -> Result<Exporting, Problem> {
        let what: What =
            what.parse().map_err(|_| no_such("export", what, What::ALL.iter().map(|what| what.as_str())))?;
        let format = wanted.format.as_deref().unwrap_or(Format::Json.as_str());
        let format: Format =
            format.parse().map_err(|_| no_such("format", format, Format::ALL.iter().map(|format| format.as_str())))?;
        let sources = if id == "*" {
            let mut sources: Vec<_> =
                self.extensions.values().map(Extension::source).chain([self.own_source()]).collect();
            sources.sort_by(|one, other| one.extension().cmp(other.extension()));
            sources
        } else if id == HOST {
            vec![self.own_source()]
        } else {
            vec![self.find(id)?.source()]
        };
        let now = self.now();
        let export = Job { sources, what, format, query: parsed(&wanted.query, now)?, limit: wanted.limit };
        export.as_export().check().map_err(unusable)?;
        if let Some(by) = by {
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
        Ok(Box::new(Following::new(extension, reader, query, after)?))
    }
}

impl Controlled {
    /// All that the host records of itself.
    pub(crate) fn own_source(&self) -> Source {
        Source::new(HOST, |signal| self.journal.store().reader(signal))
    }

    fn now(&self) -> UnixNanos {
        self.journal.clock().now()
    }

    /// An extension, or the host as what its own records tell of it.
    pub(crate) fn subject<'a>(&'a self, id: &str) -> Result<Subject<'a>, Problem> {
        if id == HOST { Ok(Subject::Host(self)) } else { self.find(id).map(Subject::Extension) }
    }

    /// Requests in what all extensions and the host itself have stored.
    fn traces(&self) -> Traces {
        Traces::running(self.extensions.values(), self.journal.store())
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
        self.subject(id)?;
        Ok(query.and(&Query::equal("extension", id).map_err(unusable)?))
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

fn known_signal(name: &str) -> Result<Signal, Problem> {
    name.parse().map_err(|_| {
        let known: Vec<_> = Signal::ALL.iter().map(|signal| signal.as_str()).collect();
        let detail = format!("there is no signal \"{}\"; there are {}", visible(name, 40), known.join(", "));
        Problem::new(404, code::UNKNOWN_SIGNAL, "No such signal", detail)
    })
}

/// Requests as they are told, as many of them as have room in an answer, and the ids of the others.
fn told(traces: &Traces, ids: &[TraceId]) -> Result<api::Traces, Problem> {
    let (mut told, mut bytes) = (api::Traces::default(), 0);
    let mut tell = |trace: &Trace| {
        let Ok(json) = serde_json::value::to_raw_value(trace) else { return ControlFlow::Continue(()) };
        bytes += json.get().len();
        told.traces.push(json);
        if bytes >= PAGE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let seen = traces.visit(ids, &mut tell).map_err(unusable)?;
    told.left = ids[seen..].iter().map(TraceId::to_string).collect();
    Ok(told)
}
