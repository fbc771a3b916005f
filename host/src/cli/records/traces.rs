//! `glasshouse trace` and `traces`: one request across extensions as a tree, many of them as a list, and what took the longest.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};
use glasshouse::records::{MetricRecord, SpanLinkRecord, SpanRecord};
use glasshouse::text::{count, counted, duration, fuel, quantity, visible};
use glasshouse::traces::{Note, NoteRecord, Operation, Step, Trace, TraceSummary, Work};
use glasshouse::{Context, Instrument, SpanId, TraceId, UnixNanos};
use glasshouse_client::api::{self, code};
use glasshouse_client::{Client, ClientError};
use serde::Serialize;
use serde_json::value::RawValue;

use super::lines::link_line;
use super::select::{Chosen, Conditions, Place, Selection};
use super::store::{Found, Store};
use super::{Follow, follow, show};
use crate::cli::call::field_text;
use crate::cli::control::told;
use crate::cli::{Exit, RecordFormat, UsageError};
use crate::output::{self, Align, Paint, Table};

/// Steps that a step is shown in, at most: what lies deeper is shown as deep.
const DEPTH: usize = 40;
/// Operations that are shown where nobody says otherwise.
const OPERATIONS: usize = 20;
/// A call that waited longer than this in the mailbox says so.
const QUEUED_NANOS: u64 = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  glasshouse trace order-4711 --data-dir data
  glasshouse trace 4bf92f3577b34da6a3ce929d0e0e4736 --data-dir data --format json";

/// Show all that happened for one request in all extensions, cause to effect
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TraceVerb {
    #[command(flatten)]
    place: Place,
    /// The trace id, or the correlation id that the request came with
    id: String,
}

impl TraceVerb {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        Context::check("correlation id", &self.id).map_err(|error| UsageError(error.to_string()))?;
        let traces = self.find().await?;
        if traces.is_empty() {
            let what = if self.id.parse::<TraceId>().is_ok() { "trace" } else { "correlation id" };
            output::note(format_args!(
                "nothing is stored of the {what} {}; `glasshouse traces list` shows the newest traces",
                visible(&self.id, 128)
            ));
        }
        match format {
            RecordFormat::Json => traces.iter().try_for_each(|one| match &one.json {
                Some(json) => output::raw_json(json),
                None => output::json(&one.record),
            })?,
            RecordFormat::Csv => return Err(UsageError(NO_TABLE.to_owned()).into()),
            RecordFormat::Table => {
                for (number, trace) in traces.iter().enumerate() {
                    if number > 0 {
                        output::line("")?;
                    }
                    print(&trace.record, Paint::stdout())?;
                }
            }
        }
        Ok(Exit::Ok)
    }

    async fn find(&self) -> Result<Vec<Found<Trace>>> {
        match self.place.open()? {
            Store::Folder(stored) => Ok(stored.traces()?.find(&self.id)?.into_iter().map(Found::stored).collect()),
            Store::Host(client) => found_at(&client, &self.id).await,
        }
    }
}

/// Finds traces over the API: at once as many as have room in an answer, and then the others, one by one.
async fn found_at(client: &Client, id: &str) -> Result<Vec<Found<Trace>>> {
    let unless_gone = |traces| match traces {
        Err(ClientError::Refused(problem)) if problem.code == code::UNKNOWN_TRACE => Ok(api::Traces::default()),
        traces => told(traces),
    };
    let api::Traces { traces, left } = unless_gone(client.trace(id).await)?;
    let mut found = read(traces)?;
    for id in left {
        found.extend(read(unless_gone(client.trace(&id).await)?.traces)?);
    }
    found.sort_by_key(|found| found.record.start);
    Ok(found)
}

/// Traces as a host has told them.
fn read(told: Vec<Box<RawValue>>) -> Result<Vec<Found<Trace>>> {
    told.into_iter().map(|json| Ok(Found::read(json)?)).collect()
}

/// Why a trace is not written as comma-separated values.
const NO_TABLE: &str = "a trace is a tree, and no table; use json, or `glasshouse export traces --format csv`";

const LIST: &str = "\
Examples:
  glasshouse traces list --data-dir data 'outcome!=ok since 1h'
  glasshouse traces slowest --data-dir data
  glasshouse traces show --data-dir data 'duration>100ms since 1h'";

/// Show traces and the spans in them, and what took the longest; without a verb, as `traces list`
#[derive(Args, Debug)]
#[command(after_help = LIST)]
pub(crate) struct Traces {
    #[command(subcommand)]
    what: Option<TracesVerb>,
    #[command(flatten)]
    selection: Selection,
}

#[derive(Debug, Subcommand)]
enum TracesVerb {
    /// The newest spans
    Show(Asked),
    /// The newest spans, and then each new one
    Follow(Follow),
    /// The newest traces that have calls which a query asks for, or began with such a span, a line each
    List(Asked),
    /// Calls and spans by name, those that took the longest in all first
    Slowest(Asked),
}

#[derive(Args, Debug)]
struct Asked {
    #[command(flatten)]
    selection: Selection,
    /// Only what this query asks for
    #[arg(value_name = "QUERY")]
    query: Vec<String>,
}

impl Traces {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.what.unwrap_or(TracesVerb::List(Asked { selection: self.selection, query: Vec::new() })) {
            TracesVerb::Show(Asked { selection, query }) => {
                show::show::<SpanRecord>(&selection.chosen(&Conditions::new(&query)).await?, format).await
            }
            TracesVerb::Follow(Follow { selection, after, query }) => {
                let chosen = selection.chosen(&Conditions::new(&query)).await?;
                follow::follow::<SpanRecord>(&chosen, after.as_ref(), format).await
            }
            TracesVerb::List(asked) => list(asked, format).await,
            TracesVerb::Slowest(asked) => slowest(asked, format).await,
        }
        .map(|()| Exit::Ok)
    }
}

/// The newest traces with a call that is asked for, the earliest first.
async fn newest(chosen: &Chosen) -> Result<Vec<TraceSummary>> {
    match &chosen.store {
        Store::Folder(stored) => {
            let question = chosen.of_named(&chosen.question)?;
            Ok(stored.traces()?.list(&question.query, chosen.limit)?)
        }
        Store::Host(client) => {
            let (id, question) = chosen.scope(&chosen.question)?;
            let told = told(client.trace_list(id, &question.text, chosen.limit).await)?;
            told.traces.into_iter().rev().map(|json| Ok(Found::read(json)?.record)).collect()
        }
    }
}

/// What calls and spans took by name, those that took the longest in all first.
async fn operations(chosen: &Chosen) -> Result<Vec<Operation>> {
    match &chosen.store {
        Store::Folder(stored) => {
            let mut operations = stored.traces()?.operations(&chosen.of_named(&chosen.question)?.query);
            operations.truncate(chosen.limit);
            Ok(operations)
        }
        Store::Host(client) => {
            let (id, question) = chosen.scope(&chosen.question)?;
            let told = told(client.operations(id, &question.text, chosen.limit).await)?;
            told.operations.into_iter().map(|json| Ok(Found::read(json)?.record)).collect()
        }
    }
}

async fn list(Asked { selection, query }: Asked, format: RecordFormat) -> Result<()> {
    let chosen = selection.chosen(&Conditions::new(&query)).await?;
    let traces = newest(&chosen).await?;
    let mut table = Table::new(&[
        ("started", Align::Left),
        ("took", Align::Right),
        ("fuel", Align::Right),
        ("calls", Align::Right),
        ("spans", Align::Right),
        ("failed", Align::Right),
        ("trace", Align::Left),
        ("began with", Align::Left),
    ]);
    let mut values = Vec::new();
    for trace in &traces {
        values.push(serde_json::to_value(trace)?);
        table.row([
            trace.start.to_string(),
            nanos(trace.elapsed_ns),
            fuel(trace.fuel),
            count(trace.calls as u64),
            some(trace.spans),
            some(trace.failed),
            trace.trace_id.to_string(),
            format!("{} {}", trace.extension, trace.name),
        ]);
    }
    ended(&table, &values, format)
}

async fn slowest(Asked { selection, query }: Asked, format: RecordFormat) -> Result<()> {
    let chosen = selection.chosen_of(OPERATIONS, &Conditions::new(&query)).await?;
    let operations = operations(&chosen).await?;
    let mut table = Table::new(&[
        ("in all", Align::Right),
        ("count", Align::Right),
        ("failed", Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
        ("max", Align::Right),
        ("fuel", Align::Right),
        ("what", Align::Left),
    ]);
    for one in &operations {
        table.row([
            nanos(one.total_ns),
            if one.is_estimate { format!("~{}", count(one.count)) } else { count(one.count) },
            some(one.failed as usize),
            nanos(one.p50_ns),
            nanos(one.p95_ns),
            nanos(one.max_ns),
            fuel(one.fuel),
            format!("{} {}{}", one.extension, if one.is_span { "span " } else { "" }, one.name),
        ]);
    }
    ended(&table, &operations, format)?;
    if format == RecordFormat::Table && operations.iter().any(|one| one.is_estimate) {
        output::note(
            "~ is estimated from the traces that are kept (debugging.tracing_enabled, debugging.sampling_rate); \
             where there are none, it is what is stored of calls that failed or were slow",
        );
    }
    Ok(())
}

fn ended<T: Serialize>(table: &Table, values: &[T], format: RecordFormat) -> Result<()> {
    if values.is_empty() {
        output::note("nothing is stored that fits");
    } else if format == RecordFormat::Table {
        output::line(table.plain(Paint::stdout()))?;
    } else {
        output::values(values, format)?;
    }
    Ok(())
}

/// Shows a trace as a tree.
fn print(trace: &Trace, paint: Paint) -> std::io::Result<()> {
    output::line(paint.bold(&title(trace)))?;
    let mut table = Table::new(&[
        ("at", Align::Right),
        ("took", Align::Right),
        ("itself", Align::Right),
        ("path", Align::Right),
        ("fuel", Align::Right),
        ("what", Align::Left),
    ]);
    let whole = trace.steps.first().map_or(0, |first| first.elapsed_ns);
    let by_id: HashMap<_, _> = trace.steps.iter().filter_map(|step| Some((id_of(step)?, step))).collect();
    for item in items(trace) {
        let since = |time: UnixNanos| nanos(time.0.saturating_sub(trace.start.0).unsigned_abs());
        let indent = "  ".repeat(item.depth().min(DEPTH));
        match item {
            Item::Step(_, step) => {
                let path = step.critical_ns as f64 / whole.max(1) as f64 * 100.0;
                table.row([
                    since(step.start),
                    nanos(step.elapsed_ns),
                    if step.self_ns == step.elapsed_ns { String::new() } else { nanos(step.self_ns) },
                    if path >= 1.0 { format!("{path:.0} %") } else { String::new() },
                    fuel(step.self_fuel),
                    format!("{indent}{}", step_text(step)),
                ]);
            }
            Item::Note(note, _) => {
                let mut cells = vec![since(note.record.head().time)];
                cells.extend(std::iter::repeat_n(String::new(), 4));
                cells.push(format!("{indent}{}", note_text(note)));
                table.row(cells);
            }
            Item::Samples(samples, _) => {
                let mut cells = vec![samples.first().map_or_else(String::new, |first| since(first.head.time))];
                cells.extend(std::iter::repeat_n(String::new(), 4));
                cells.push(format!("{indent}{}", samples_text(&samples)));
                table.row(cells);
            }
            Item::Link(link, _) => {
                let mut cells = vec![String::new(); 5];
                let to = by_id.get(&link.span_id).filter(|_| link.trace_id == trace.trace_id);
                let named = to.map_or_else(String::new, |step| format!(", {} {}", step.extension, name(step)));
                cells.push(format!("{indent}{}{named}", link_line(link)));
                table.row(cells);
            }
        }
    }
    output::line(table.plain(paint))?;
    let named = trace.bottlenecks();
    if let [(first, part), ..] = named[..]
        && trace.steps.len() > 1
    {
        let more =
            named[1..].iter().map(|(step, part)| format!(", {} {} {:.0} %", step.extension, name(step), part * 100.0));
        let text = format!(
            "Most of the time went to {} {}, {:.0} % by itself{}",
            first.extension,
            name(first),
            part * 100.0,
            more.collect::<String>()
        );
        output::line(text)?;
    }
    Ok(())
}

fn title(trace: &Trace) -> String {
    let calls = trace.calls().count();
    let mut extensions: Vec<_> = trace.steps.iter().map(|step| step.extension.as_str()).collect();
    extensions.sort_unstable();
    extensions.dedup();
    let several = |number: usize, one: &str| counted(number as u64, one, &format!("{one}s"));
    let mut title = format!(
        "trace {}, {}, {}, {} in {}, {} fuel, started {}",
        trace.trace_id,
        several(calls, "call"),
        several(trace.steps.len() - calls, "span"),
        nanos(trace.elapsed_ns),
        several(extensions.len(), "extension"),
        fuel(trace.fuel),
        trace.start
    );
    if let Some(context) = trace.steps.first().and_then(|first| first.work.head().context.as_ref()) {
        for (what, text) in [("user", &context.user), ("tenant", &context.tenant)] {
            if let Some(text) = text {
                let _ = write!(title, ", {what} {}", visible(text, 128));
            }
        }
    }
    match trace.adjusted_count {
        _ if !trace.sampled => title.push_str(", left out by sampling: spans only of what failed or was slow"),
        Some(stands_for) if stands_for > 1.0 => {
            let _ = write!(title, ", kept as one of {}", rounded(stands_for));
        }
        _ => {}
    }
    if trace.partial {
        title.push_str(", parts of it are missing");
    }
    title
}

/// A line of the tree.
enum Item<'a> {
    /// With its place among the steps.
    Step(usize, &'a Step),
    /// With how many steps it lies in.
    Note(&'a Note, usize),
    /// Those of one series in one step, with how many steps they lie in.
    Samples(Vec<&'a MetricRecord>, usize),
    /// With the step that is linked.
    Link(&'a SpanLinkRecord, &'a Step),
}

impl Item<'_> {
    fn depth(&self) -> usize {
        match self {
            Self::Step(_, step) => step.depth,
            Self::Note(_, depth) | Self::Samples(_, depth) => *depth,
            Self::Link(_, step) => step.depth.saturating_add(1),
        }
    }

    fn time(&self) -> UnixNanos {
        match self {
            Self::Step(_, step) | Self::Link(_, step) => step.start,
            Self::Note(note, _) => note.record.head().time,
            Self::Samples(samples, _) => samples.first().map_or(UnixNanos(0), |first| first.head.time),
        }
    }
}

/// The steps, their links, and the notes of a trace, each step before what happened in it, by time.
fn items(trace: &Trace) -> Vec<Item<'_>> {
    let mut children = vec![Vec::new(); trace.steps.len()];
    let mut first = Vec::new();
    for (index, step) in trace.steps.iter().enumerate() {
        // What a host at an address says is not always so.
        let parent = step.parent.filter(|parent| *parent < index);
        parent.map_or(&mut first, |parent| &mut children[parent]).push(index);
    }
    let mut open = inside(trace, &first, &trace.notes, 0);
    let mut items = Vec::new();
    while let Some(item) = open.pop() {
        let Item::Step(index, step) = item else {
            items.push(item);
            continue;
        };
        open.extend(inside(trace, &children[index], &step.notes, step.depth.saturating_add(1)));
        items.push(item);
        if let Work::Span(span) = &step.work {
            items.extend(span.links.iter().map(|link| Item::Link(link, step)));
        }
    }
    items
}

fn id_of(step: &Step) -> Option<SpanId> {
    step.work.head().context.as_ref().map(|context| context.span_id)
}

/// Steps and notes at one depth, the latest first, so that the next one is at the end.
fn inside<'a>(trace: &'a Trace, steps: &[usize], notes: &'a [Note], depth: usize) -> Vec<Item<'a>> {
    let steps = steps.iter().map(|index| Item::Step(*index, &trace.steps[*index]));
    let mut series: BTreeMap<_, Vec<&MetricRecord>> = BTreeMap::new();
    let mut said = Vec::new();
    for note in notes {
        if let NoteRecord::Metric(sample) = &note.record {
            let labels: Vec<_> = sample.labels.0.iter().map(|(name, value)| field_text(name, value)).collect();
            let instrument = sample.instrument.as_str();
            series.entry((&note.extension, &sample.name, instrument, labels)).or_default().push(sample);
        } else {
            said.push(Item::Note(note, depth));
        }
    }
    let samples = series.into_values().map(|samples| Item::Samples(samples, depth));
    let mut items: Vec<_> = steps.chain(said).chain(samples).collect();
    items.sort_by_key(Item::time);
    items.reverse();
    items
}

/// What a step is, its fields, and how it ended.
fn step_text(step: &Step) -> String {
    let mut text = format!("{} {}", step.extension, name(step));
    match &step.work {
        Work::Call(call) => {
            if step.work.failed() {
                let _ = write!(text, " {}", call.outcome);
            }
            if call.queued_ns >= QUEUED_NANOS {
                let _ = write!(text, ", waited {} in the mailbox", nanos(call.queued_ns));
            }
        }
        Work::Span(span) => {
            for (name, value) in &span.fields.0 {
                let _ = write!(text, " {}", field_text(name, value));
            }
            if step.work.failed() {
                let _ = write!(text, " failed: {}", visible(&span.failure, 200));
            }
        }
    }
    text
}

fn name(step: &Step) -> std::borrow::Cow<'_, str> {
    visible(step.work.name(), 80)
}

/// What samples of one series, in the order in which they were made, come to.
fn samples_text(samples: &[&MetricRecord]) -> String {
    let Some(last) = samples.last() else { return String::new() };
    let values = || samples.iter().map(|sample| sample.value);
    let shown = |value| quantity(value, &last.unit);
    let value = match last.instrument {
        Instrument::Counter => format!("+{}", shown(values().sum())),
        Instrument::Gauge => shown(last.value),
        Instrument::Histogram => {
            let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
            if least < most { format!("{} to {}", shown(least), shown(most)) } else { shown(most) }
        }
    };
    let mut text = format!("{} {} {value}", last.instrument, visible(&last.name, 80));
    for (name, value) in &last.labels.0 {
        let _ = write!(text, " {}", field_text(name, value));
    }
    if samples.len() > 1 {
        let _ = write!(text, " in {} samples", count(samples.len() as u64));
    }
    text
}

fn note_text(note: &Note) -> String {
    let (what, message, fields) = match &note.record {
        NoteRecord::Log(log) => (log.level.as_str(), &log.message, Some(&log.fields)),
        NoteRecord::Error(error) => (error.kind.as_str(), &error.message, Some(&error.fields)),
        NoteRecord::Alert(alert) => ("alert", &alert.title, None),
        NoteRecord::Metric(sample) => return samples_text(&[sample]),
    };
    let mut text = format!("{}: {}", visible(what, 80), visible(message, 200));
    for (name, value) in fields.into_iter().flat_map(|fields| &fields.0) {
        let _ = write!(text, " {}", field_text(name, value));
    }
    if let NoteRecord::Error(error) = &note.record {
        let _ = write!(text, " group {}", error.group);
    }
    text
}

/// With a decimal where there is one worth telling.
fn rounded(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}

/// A number, or nothing for none.
fn some(number: usize) -> String {
    if number == 0 { String::new() } else { count(number as u64) }
}

fn nanos(nanos: u64) -> String {
    duration(Duration::from_nanos(nanos))
}
