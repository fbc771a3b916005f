//! What Jaeger's query API is answered with: each extension is a service, and its calls and spans are that service's.

use std::io;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use glasshouse_export::{ExportError, Format, JaegerQueries, What};
use glasshouse_model::{ExtensionId, SpanSearch, TraceFigures, UnixNanos};
use glasshouse_server::api::{Problem, code};
use glasshouse_server::{Dependency, FoundTraces, Operation, TraceForm, Traced, TracesWanted};

use crate::control::Controlled;
use crate::extension::Extension;

/// How long it is looked for what an answer says, so that it is there before the client is told that it took too long.
const LOOK_TIME: Duration = Duration::from_secs(8);
/// The same for the operations of a service, which is told what was found by then.
const OPERATION_TIME: Duration = Duration::from_secs(3);
/// How long an answer may be written, waits for its reader included.
const WRITE_TIME: Duration = Duration::from_mins(1);
/// Bytes that are written at a time.
const PART: usize = 64 << 10;
/// Spans of an answer: some fifty megabytes, more than a browser shows.
const SPANS: u64 = 50_000;

impl Controlled {
    fn jaeger(&self) -> JaegerQueries {
        JaegerQueries::new(self.extensions.values().map(Extension::source).collect())
    }
}

impl Traced for Controlled {
    fn now(&self) -> UnixNanos {
        self.journal.clock().now()
    }

    fn services(&self) -> Vec<String> {
        self.extensions.keys().map(ExtensionId::to_string).collect()
    }

    fn operations_of(&self, service: &str) -> Result<Vec<Operation>, Problem> {
        let found = self.jaeger().operations(service, &mut until(OPERATION_TIME));
        Ok(found.into_iter().map(|one| Operation { name: one.name, span_kind: one.kind }).collect())
    }

    fn dependencies(&self, since: UnixNanos, end: UnixNanos) -> Result<Vec<Dependency>, Problem> {
        let found = self.jaeger().dependencies(since, end, &mut until(LOOK_TIME)).map_err(|error| too_long(&error))?;
        let link = |one: glasshouse_export::Dependency| Dependency {
            parent: one.parent,
            child: one.child,
            call_count: one.calls,
        };
        Ok(found.into_iter().map(link).collect())
    }

    fn find_figures(&self, wanted: &SpanSearch) -> Result<Vec<TraceFigures>, Problem> {
        let (queries, mut watch) = (self.jaeger(), until(LOOK_TIME));
        let found = queries.find(wanted, &mut watch).and_then(|ids| queries.figures(&ids, &mut watch));
        found.map_err(|error| too_long(&error))
    }

    fn find_traces(&self, wanted: &TracesWanted, form: TraceForm, by: &str) -> Result<FoundTraces, Problem> {
        let (queries, mut watch) = (self.jaeger(), until(LOOK_TIME));
        let ids = match wanted {
            TracesWanted::These(ids) => ids.clone(),
            TracesWanted::With(spans) => queries.find(spans, &mut watch).map_err(|error| too_long(&error))?,
        };
        let counts = queries.count(&ids, &mut watch).map_err(|error| too_long(&error))?;
        let spans: u64 = counts.values().sum();
        // A single trace in Jaeger's form is cut where it is too long, and says so.
        if spans > SPANS && (ids.len() > 1 || form == TraceForm::Otlp) {
            let detail = format!(
                "the {} traces that fit have {spans} spans, and an answer has {SPANS} at most: ask for fewer traces, or for a shorter time; \
                 GET /api/extensions/debugging/export/*/traces gives any number of them",
                counts.len()
            );
            return Err(Problem::new(400, code::INVALID_QUERY, "Too many spans", detail));
        }
        if !counts.is_empty() {
            let form = match form {
                TraceForm::Jaeger => Format::Jaeger,
                TraceForm::Otlp => Format::OtlpJson,
            };
            self.journal.exported("*", What::Traces.as_str(), form.as_str(), by);
        }
        let write = move |output: &mut dyn io::Write, is_wanted: &dyn Fn() -> bool| {
            let mut in_time = until(WRITE_TIME);
            let output = &mut Timely { output, end: Instant::now() + WRITE_TIME };
            let mut watch = |exported: &_| if is_wanted() { in_time(exported) } else { ControlFlow::Break(()) };
            let written = match form {
                TraceForm::Jaeger => queries.write(&ids, output, &mut watch),
                TraceForm::Otlp => queries.write_otlp(&ids, output, &mut watch),
            };
            match written {
                Ok(_) => Ok(()),
                Err(ExportError::Output { cause, .. }) => Err(cause),
                Err(other) => Err(io::Error::other(other)),
            }
        };
        Ok(FoundTraces { stored: counts.len(), write: Box::new(write) })
    }
}

/// Writes until it is too late: a reader that takes little at a time does not keep the place, and what is to be written, for hours.
struct Timely<'a> {
    output: &'a mut dyn io::Write,
    end: Instant,
}

impl io::Write for Timely<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Instant::now() >= self.end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Not all of it at once, so that it is looked at the time in between.
        self.output.write(&bytes[..bytes.len().min(PART)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Lets something go on for so long.
fn until(limit: Duration) -> impl FnMut(&glasshouse_export::Exported) -> ControlFlow<()> {
    let start = Instant::now();
    move |_| if start.elapsed() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

fn too_long(error: &ExportError) -> Problem {
    tracing::debug!("a query of Jaeger's was given up: {error}");
    let detail = format!(
        "what is stored is too much to be gone through in {} seconds, or in memory: ask for a shorter time, or name the service",
        LOOK_TIME.as_secs()
    );
    Problem::new(504, code::TIMEOUT, "It took too long", detail)
}
