//! A trace: calls and spans in the order of cause and effect, what was noted in each, and which of them the whole waited for.

use std::collections::HashMap;

use glasshouse_model::record::SPANS_LEFT_OUT;
use glasshouse_model::{Origin, SpanId, SpanStatus, TraceId, UnixNanos};
use serde::{Deserialize, Serialize};

use crate::records::{
    AlertRecord, ErrorRecord, FieldValue, Head, InvocationRecord, LogRecord, MetricRecord, SpanRecord, read, shown,
};

/// All that is stored of one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// Its id.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub trace_id: TraceId,
    /// When its first step started.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub start: UnixNanos,
    /// From its first step's start to its last one's end.
    pub elapsed_ns: u64,
    /// Wasm fuel of all its calls, and of spans that lie in none, such as one that began it; absent where none of them counts any.
    pub fuel: Option<u64>,
    /// Whether parts of it are missing: a step's cause, the span that another lies in, spans for which there was no room in their call or that may have had
    /// to go since a call began, or more records than are read.
    pub partial: bool,
    /// Whether it was to be kept, by what was decided where it began. Of one that was not, there are the calls, and the spans of those that failed or
    /// were slow.
    pub sampled: bool,
    /// For how many traces it stands, if it was to be kept and that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjusted_count: Option<f64>,
    /// Its calls and spans, each before those that it caused, otherwise by their starts.
    pub steps: Vec<Step>,
    /// What was noted outside of all steps that are stored.
    pub notes: Vec<Note>,
}

/// A call or a span in its trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Whose it is.
    pub extension: String,
    /// The step that caused it, by its place among the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// How many steps it lies in.
    pub depth: usize,
    /// When it started; of a call, when it was put into the mailbox.
    #[serde(serialize_with = "shown", deserialize_with = "read")]
    pub start: UnixNanos,
    /// Its wall time; of a call, with that in the mailbox, since whoever caused it waited for that as well.
    pub elapsed_ns: u64,
    /// What of that is in none of the steps that it caused.
    pub self_ns: u64,
    /// What of that the first step's end had to wait for: its part of the critical path. The parts of all steps are the first
    /// step's wall time.
    pub critical_ns: u64,
    /// Its fuel without that of spans in it; absent where none is counted.
    pub self_fuel: Option<u64>,
    /// What it is.
    #[serde(flatten)]
    pub work: Work,
    /// What was logged, measured, reported and raised in it, but not in a step that it caused.
    pub notes: Vec<Note>,
}

/// What a step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// A call of an export.
    Call(InvocationRecord),
    /// A span.
    Span(SpanRecord),
}

/// Something that an extension said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Which one.
    pub extension: String,
    /// What.
    #[serde(flatten)]
    pub record: NoteRecord,
}

/// What was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoteRecord {
    /// A log.
    Log(LogRecord),
    /// An error or a failure.
    Error(ErrorRecord),
    /// An alert.
    Alert(AlertRecord),
    /// A sample.
    Metric(MetricRecord),
}

impl Work {
    /// What stands around it.
    pub fn head(&self) -> &Head {
        match self {
            Self::Call(call) => &call.head,
            Self::Span(span) => &span.head,
        }
    }

    /// The export and event, or the span's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Call(call) => &call.name,
            Self::Span(span) => &span.name,
        }
    }

    /// Its wall time in nanoseconds; of a call, with that in the mailbox.
    pub fn elapsed_ns(&self) -> u64 {
        match self {
            Self::Call(call) => call.wall_ns,
            Self::Span(span) => span.total.elapsed_ns,
        }
    }

    /// The same, without the mailbox.
    pub fn served_ns(&self) -> u64 {
        match self {
            Self::Call(call) => call.elapsed_ns,
            Self::Span(span) => span.total.elapsed_ns,
        }
    }

    /// Its fuel, that of spans in it included.
    pub fn fuel(&self) -> Option<u64> {
        match self {
            Self::Call(call) => call.fuel,
            Self::Span(span) => span.total.fuel,
        }
    }

    /// Whether it failed: a call that was ended, or answered an error; a span that was called failed.
    pub fn failed(&self) -> bool {
        match self {
            Self::Call(call) => call.outcome != glasshouse_model::Outcome::Ok,
            Self::Span(span) => span.status == SpanStatus::Failed,
        }
    }

    fn start(&self) -> UnixNanos {
        match self {
            Self::Call(call) => UnixNanos(call.head.time.0.saturating_sub_unsigned(call.wall_ns)),
            Self::Span(span) => span.start,
        }
    }

    /// Whether it is a call that began to be served before a time.
    pub(super) fn began_before(&self, time: UnixNanos) -> bool {
        matches!(self, Self::Call(call) if call.head.time.0.saturating_sub_unsigned(call.elapsed_ns) < time.0)
    }

    /// Whether it is a call that was being served at a time. An extension serves one at a time.
    fn serves_at(&self, time: UnixNanos) -> bool {
        let Self::Call(call) = self else { return false };
        let end = call.head.time;
        (end.0.saturating_sub_unsigned(call.elapsed_ns)..=end.0).contains(&time.0)
    }

    fn id(&self) -> Option<SpanId> {
        self.head().context.as_ref().map(|context| context.span_id)
    }

    /// Ids of what may have caused it, the nearest first.
    fn causes(&self) -> impl Iterator<Item = SpanId> {
        let causes = match self {
            Self::Call(call) => [call.parent, call.cause],
            Self::Span(span) => [Some(span.parent), None],
        };
        causes.into_iter().flatten()
    }
}

impl NoteRecord {
    /// What stands around it.
    pub fn head(&self) -> &Head {
        match self {
            Self::Log(log) => &log.head,
            Self::Error(error) => &error.head,
            Self::Alert(alert) => &alert.head,
            Self::Metric(metric) => &metric.head,
        }
    }
}

impl Note {
    /// Whether the host tells in it that a call had more spans than are stored.
    fn tells_of_missing_spans(&self) -> bool {
        let NoteRecord::Log(log) = &self.record else { return false };
        let is_event = |value: &FieldValue| matches!(value, FieldValue::Text(event) if event == SPANS_LEFT_OUT);
        log.head.origin == Origin::Host && log.fields.get("event").is_some_and(is_event)
    }
}

impl Step {
    fn end(&self) -> i64 {
        self.start.0.saturating_add_unsigned(self.elapsed_ns)
    }
}

impl Trace {
    /// Its calls.
    pub fn calls(&self) -> impl Iterator<Item = (&Step, &InvocationRecord)> {
        self.steps.iter().filter_map(|step| match &step.work {
            Work::Call(call) => Some((step, call)),
            Work::Span(_) => None,
        })
    }

    /// The steps that most of the first step's wall time went to, by themselves, with their parts of it; those of less than a
    /// tenth are left out.
    pub fn bottlenecks(&self) -> Vec<(&Step, f64)> {
        let Some(first) = self.steps.first().filter(|first| first.elapsed_ns > 0) else { return Vec::new() };
        let part = |step: &Step| step.critical_ns as f64 / first.elapsed_ns as f64;
        let mut found: Vec<_> =
            self.steps.iter().map(|step| (step, part(step))).filter(|(_, part)| *part >= 0.1).collect();
        found.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        found
    }
}

/// Puts the steps and notes of a trace in order.
pub(super) fn grow(trace_id: TraceId, mut works: Vec<(String, Work)>, notes: Vec<Note>, partial: bool) -> Trace {
    // What causes another starts no later, and takes longer if it starts at the same time; of spans that agree in both, the inner
    // one was stored first.
    works.sort_by_cached_key(|(_, work)| {
        (
            work.start(),
            std::cmp::Reverse(work.elapsed_ns()),
            matches!(work, Work::Span(_)),
            u64::MAX - work.head().sequence,
        )
    });
    let mut forest = Forest::new(&works);
    let partial = partial || forest.partial || notes.iter().any(Note::tells_of_missing_spans);
    let mut order = Vec::with_capacity(works.len());
    forest.order(&mut order);
    let mut place = vec![0; works.len()];
    for (at, (index, _)) in order.iter().enumerate() {
        place[*index] = at;
    }
    let mut works: Vec<_> = works.into_iter().map(Some).collect();
    let mut steps: Vec<_> = order
        .iter()
        .filter_map(|(index, depth)| {
            let (extension, work) = works[*index].take()?;
            Some(Step {
                extension,
                parent: forest.parents[*index].map(|parent| place[parent]),
                depth: *depth,
                start: work.start(),
                elapsed_ns: work.elapsed_ns(),
                self_ns: 0,
                critical_ns: 0,
                self_fuel: work.fuel(),
                work,
                notes: Vec::new(),
            })
        })
        .collect();
    cost(&mut steps);
    let notes = note(&mut steps, notes);
    let sampling = steps.iter().find_map(|step| Some(step.work.head().context.as_ref()?.sampling)).unwrap_or_default();
    let start = steps.iter().map(|step| step.start).min().unwrap_or(UnixNanos(0));
    let end = steps.iter().map(Step::end).max().unwrap_or_default();
    let mut trace = Trace {
        trace_id,
        start,
        elapsed_ns: end.saturating_sub(start.0).unsigned_abs(),
        fuel: None,
        partial,
        sampled: sampling.is_sampled,
        adjusted_count: sampling.adjusted_count(),
        steps,
        notes,
    };
    let counted = trace.steps.iter().filter(|step| step.parent.is_none() || matches!(step.work, Work::Call(_)));
    trace.fuel = counted.filter_map(|step| step.work.fuel()).reduce(u64::saturating_add);
    trace
}

/// Which step caused which.
struct Forest {
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    partial: bool,
}

impl Forest {
    fn new(works: &[(String, Work)]) -> Self {
        let by_id: HashMap<_, _> =
            works.iter().enumerate().filter_map(|(index, (_, work))| Some((work.id()?, index))).collect();
        let (mut parents, mut children) = (vec![None; works.len()], vec![Vec::new(); works.len()]);
        let mut partial = false;
        for (index, (extension, work)) in works.iter().enumerate() {
            let known = work.causes().find_map(|cause| by_id.get(&cause).copied());
            // A span lies in a call or in another span of this host's; what is the parent of a call without a cause is another program's.
            partial |= known.is_none()
                && match work {
                    Work::Span(span) => span.parent != SpanId::default(),
                    Work::Call(call) => call.cause.is_some(),
                };
            let parent = known.or_else(|| match work {
                Work::Span(_) => call_at(works, extension, work.start()),
                Work::Call(_) => None,
            });
            // Nothing is caused by what comes later, whatever a file says: so there are no circles.
            parents[index] = parent.filter(|parent| *parent < index);
            if let Some(parent) = parents[index] {
                children[parent].push(index);
            }
        }
        Self { parents, children, partial }
    }

    /// Each step before those that it caused, with how many it lies in.
    fn order(&mut self, order: &mut Vec<(usize, usize)>) {
        let mut open: Vec<_> = (0..self.parents.len()).rev().filter(|index| self.parents[*index].is_none()).collect();
        let mut depths = vec![0; self.parents.len()];
        while let Some(index) = open.pop() {
            depths[index] = self.parents[index].map_or(0, |parent| depths[parent] + 1);
            order.push((index, depths[index]));
            open.extend(self.children[index].iter().rev());
        }
    }
}

/// An extension's call that was served at a time.
fn call_at(works: &[(String, Work)], extension: &str, time: UnixNanos) -> Option<usize> {
    works.iter().position(|(whose, work)| whose == extension && work.serves_at(time))
}

/// Finds what each step took by itself, and the critical path.
fn cost(steps: &mut [Step]) {
    let mut children = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        if let Some(parent) = step.parent {
            children[parent].push(index);
        }
    }
    for index in 0..steps.len() {
        let (start, end) = (steps[index].start.0, steps[index].end());
        let mut covered = 0;
        let mut until = start;
        // They are in the order of their starts.
        for child in &children[index] {
            let (from, to) = (steps[*child].start.0.max(until), steps[*child].end().min(end));
            if to > from {
                covered += to.abs_diff(from);
                until = to;
            }
        }
        steps[index].self_ns = steps[index].elapsed_ns.saturating_sub(covered);
        let spans = children[index].iter().filter(|child| matches!(steps[**child].work, Work::Span(_)));
        let fuel: u64 = spans.filter_map(|child| steps[*child].work.fuel()).sum();
        steps[index].self_fuel = steps[index].work.fuel().map(|own| own.saturating_sub(fuel));
    }
    let Some(first) = steps.first() else { return };
    // From the end back: what ended last before a moment is what was waited for until then.
    let mut open = vec![(0, first.end())];
    while let Some((index, mut until)) = open.pop() {
        let start = steps[index].start.0;
        let mut own = 0;
        let mut ended: Vec<_> = children[index].iter().map(|child| (steps[*child].end(), *child)).collect();
        ended.sort_unstable_by(|one, other| other.cmp(one));
        for (end, child) in ended {
            let from = steps[child].start.0;
            if end <= until && from >= start {
                own += until.abs_diff(end);
                open.push((child, end));
                until = from;
            }
        }
        steps[index].critical_ns = own + until.saturating_sub(start).unsigned_abs();
    }
}

/// Gives each note to the step that it was made in; returns those of none.
fn note(steps: &mut [Step], mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort_by_key(|note| (note.record.head().time, note.record.head().sequence));
    let by_id: HashMap<_, _> =
        steps.iter().enumerate().filter_map(|(index, step)| Some((step.work.id()?, index))).collect();
    let mut others = Vec::new();
    for note in notes {
        let (time, id) = (note.record.head().time, note.record.head().context.as_ref().map(|context| context.span_id));
        let at = id.and_then(|id| by_id.get(&id).copied()).or_else(|| {
            // Its span was not stored: it belongs to the call that was under way.
            steps.iter().position(|step| step.extension == note.extension && step.work.serves_at(time))
        });
        match at {
            Some(at) => steps[at].notes.push(note),
            None => others.push(note),
        }
    }
    others
}
