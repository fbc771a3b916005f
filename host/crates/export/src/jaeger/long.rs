//! A trace that has no room in memory: its spans are written as they are read, in the order in which they are stored. What is kept of them is their ids, by which
//! it is known what caused what.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use glasshouse_model::TraceId;

use super::{SPANS, each_of, process, separate, span_of, warnings};
use crate::export::Broken;
use crate::walk::Walk;
use crate::{Source, What};

/// Writes it as an item of a list. Returns whether anything of it is there.
pub(super) fn write(
    sources: &[Source],
    what: What,
    walk: &mut Walk<'_>,
    id: TraceId,
    is_first: &mut bool,
) -> Result<bool, Broken> {
    let (ids, mut known, mut seen) = (BTreeSet::from([id]), HashSet::new(), 0);
    each_of(sources, what, walk, &ids, &mut |_, _, _, found| {
        seen += 1;
        if seen <= SPANS {
            known.extend(found.envelope.context.as_ref().map(|context| context.span_id));
        }
        Ok(())
    })?;
    let (mut written, mut left_out, mut processes) = (0_u64, 0_u64, BTreeMap::new());
    each_of(sources, what, walk, &ids, &mut |walk, index, id, found| {
        if written == SPANS {
            left_out += 1;
            return Ok(());
        }
        let Some(mut span) = span_of(index, found) else { return Ok(()) };
        if written == 0 {
            separate(walk, is_first);
            walk.buffer().extend_from_slice(format!("{{\"traceID\":\"{id}\",\"spans\":[").as_bytes());
        } else {
            walk.buffer().push(b',');
        }
        span.settle(&known);
        processes.entry(span.process_id.clone()).or_insert_with(|| process(&sources[index]));
        serde_json::to_writer(walk.buffer(), &span)?;
        written += 1;
        walk.exported.written += 1;
        walk.spill()
    })?;
    if written == 0 {
        return Ok(false);
    }
    walk.exported.left_out += left_out;
    walk.buffer().extend_from_slice(b"],\"processes\":");
    serde_json::to_writer(walk.buffer(), &processes)?;
    walk.buffer().extend_from_slice(b",\"warnings\":");
    let why = format!("a trace has {SPANS} at most here");
    serde_json::to_writer(walk.buffer(), &warnings(left_out, &why))?;
    walk.buffer().push(b'}');
    walk.spill()?;
    Ok(true)
}
