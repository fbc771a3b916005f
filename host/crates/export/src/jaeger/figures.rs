//! Traces in a few figures each, as a list of them is shown.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use glasshouse_model::{SpanId, TraceFigures, TraceId, UnixNanos};
use glasshouse_telemetry::Query;

use super::queries::{Watch, told};
use super::{IN_A_QUERY, JaegerQueries, Span, each_of, span_of};
use crate::What;
use crate::export::ExportError;
use crate::walk::Walk;

/// Spans of which it is remembered what caused them, of as many traces as are read at a time: some fifty megabytes. A trace that has further ones is told without
/// orphans, since their causes may be among those.
const REMEMBERED: usize = 500_000;

/// What is known of a trace while its spans are counted.
#[derive(Default)]
struct Counted {
    figures: TraceFigures,
    /// By service: how many spans it has, and how many of them failed.
    services: BTreeMap<usize, (u64, u64)>,
    /// When the span started that is taken for the root, and whether something caused it.
    root: Option<(bool, UnixNanos)>,
    known: HashSet<SpanId>,
    caused: Vec<(SpanId, Vec<SpanId>)>,
    /// Whether there are spans that are not among these.
    is_partial: bool,
}

impl Counted {
    fn add(&mut self, service: &str, span: Span, remembers: bool) {
        let end = UnixNanos(span.start.0.saturating_add_unsigned(span.elapsed_ns));
        let failed = u64::from(span.tags.iter().any(|tag| tag.key == "error"));
        let figures = &mut self.figures;
        figures.start = if figures.spans == 0 { span.start } else { figures.start.min(span.start) };
        figures.end = if figures.spans == 0 { end } else { figures.end.max(end) };
        figures.spans += 1;
        figures.failed += failed;
        let of_service = self.services.entry(span.source).or_default();
        *of_service = (of_service.0 + 1, of_service.1 + failed);
        let place = (!span.parents.is_empty(), span.start);
        if self.root.is_none_or(|root| place < root) {
            self.root = Some(place);
            figures.root = (service.to_owned(), span.operation_name);
        }
        self.is_partial |= !remembers;
        if self.is_partial {
            (self.known, self.caused) = Default::default();
            return;
        }
        self.known.insert(span.own);
        if !span.parents.is_empty() {
            self.caused.push((span.own, span.parents));
        }
    }

    fn finish(self, trace_id: TraceId, name: impl Fn(usize) -> String) -> TraceFigures {
        let Self { figures, services, known, caused, .. } = self;
        let is_orphan = |(own, parents): &&(SpanId, Vec<SpanId>)| {
            parents.iter().all(|parent| parent == own || !known.contains(parent))
        };
        let orphans = caused.iter().filter(is_orphan).count() as u64;
        let services = services.into_iter().map(|(source, (spans, failed))| (name(source), spans, failed)).collect();
        TraceFigures { trace_id, orphans, services, ..figures }
    }
}

impl JaegerQueries {
    /// What there is to say of some traces in a list, in this order; those of which nothing is stored are left out.
    ///
    /// # Errors
    ///
    /// `watch` stopped it.
    pub fn figures(&self, ids: &[TraceId], watch: Watch<'_>) -> Result<Vec<TraceFigures>, ExportError> {
        let (query, mut sink, mut all) = (Query::all(), io::sink(), Vec::new());
        let mut walk = Walk::new(&query, None, &mut sink, watch);
        for some in ids.chunks(IN_A_QUERY) {
            let (mut traces, mut remembered) = (HashMap::<TraceId, Counted>::new(), 0);
            let wanted = some.iter().copied().collect();
            let ended = each_of(&self.sources, What::Traces, &mut walk, &wanted, &mut |_, index, id, found| {
                if let Some(span) = span_of(index, found) {
                    remembered += 1;
                    let remembers = remembered <= REMEMBERED;
                    traces.entry(id).or_default().add(self.sources[index].extension(), span, remembers);
                }
                Ok(())
            });
            ended.map_err(|broken| told(broken, walk.exported))?;
            let name = |source: usize| self.sources[source].extension().to_owned();
            all.extend(some.iter().filter_map(|id| Some(traces.remove(id)?.finish(*id, name))));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(own: u8, parent: Option<u8>) -> Span {
        let id = |number: u8| format!("{number:016x}").parse::<SpanId>().expect("an id");
        Span { own: id(own), parents: parent.map(id).into_iter().collect(), ..Span::default() }
    }

    /// How many orphans there are of spans, by their ids, what caused them, and whether they are remembered.
    fn check(spans: &[(u8, Option<u8>, bool)], expect: u64) {
        let mut counted = Counted::default();
        for (own, parent, remembers) in spans {
            counted.add("a", span(*own, *parent), *remembers);
        }
        let figures = counted.finish(TraceId::default(), |_| "a".to_owned());
        assert_eq!((figures.spans, figures.orphans), (spans.len() as u64, expect), "{spans:?}");
    }

    #[test]
    fn a_span_is_an_orphan_if_what_caused_it_is_known_not_to_be_stored() {
        check(&[(1, None, true), (2, Some(1), true), (3, Some(9), true)], 1);
        check(&[(2, Some(1), true), (3, Some(9), true), (1, None, false)], 0);
        check(&[(3, Some(9), false), (2, Some(9), true)], 0);
        check(&[(1, Some(1), true)], 1);
    }
}
