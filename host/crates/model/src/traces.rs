//! What is asked of traces, and what is told of each in a few figures.

use std::time::Duration;

use crate::{SpanFilter, TraceId, UnixNanos};

/// What one span of a trace has to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SpanSearch {
    /// The extension whose it is; any, if there is none.
    pub service: Option<String>,
    /// Its name.
    pub operation: Option<String>,
    /// Tags of it, of its process or of its events, by name, and their values as text.
    pub tags: Vec<(String, String)>,
    /// It started at this time or later.
    pub since: UnixNanos,
    /// It started before this time.
    pub until: UnixNanos,
    /// It took this long or longer.
    pub shortest: Option<Duration>,
    /// It took this long or less.
    pub longest: Option<Duration>,
    /// What else it is.
    pub filter: Option<SpanFilter>,
    /// So many traces at most, those with the latest of such spans.
    pub limit: usize,
}

/// A trace in a few figures. Calls count as spans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFigures {
    /// Its id.
    pub trace_id: TraceId,
    /// Whose its root is, and what that is called: the first span that nothing caused, or else the first of all.
    pub root: (String, String),
    /// When its first span started.
    pub start: UnixNanos,
    /// When its last span ended.
    pub end: UnixNanos,
    /// How many of its spans are stored.
    pub spans: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of them were caused by something that is not stored; none, where it has too many spans for that to be known.
    pub orphans: u64,
    /// Its services, by name: how many spans each has, and how many of these failed.
    pub services: Vec<(String, u64, u64)>,
}
