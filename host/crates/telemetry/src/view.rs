//! What a ring holds at one moment: sealed files, then segments. Records are visited in either order, and what cannot
//! hold what is looked for is skipped.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use glasshouse_model::UnixNanos;

use crate::frame::{Frame, frames};
use crate::header::Incarnation;
use crate::pack::levels_of;
use crate::query::{LevelSet, Needs, Order, TokenFilter};
use crate::reader::Entry;
use crate::ring::Shelf;
use crate::sealed::{Block, SealedFile, blocks};
use crate::segment::Segment;

/// What there is to read.
pub(crate) struct View {
    pub(crate) sealed: Arc<Vec<SealedFile>>,
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Records below it are over the bound on their number.
    pub(crate) oldest_by_count: u64,
    pub(crate) next_sequence: u64,
    pub(crate) incarnation: Incarnation,
}

/// The bytes that records lie in.
#[derive(Clone)]
pub(crate) enum Chunk {
    Segment(Arc<Segment>),
    Block(Arc<Vec<u8>>),
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Segment(segment) => segment.bytes(),
            Self::Block(bytes) => bytes,
        }
    }
}

/// The sequence numbers that are looked for: from the first to the one before the last.
pub(crate) type Sequences = std::ops::Range<u64>;

impl View {
    pub(crate) fn new(shelf: &Shelf, oldest_by_count: u64, next_sequence: u64) -> Self {
        Self {
            sealed: Arc::clone(&shelf.sealed),
            segments: shelf.segments.clone(),
            oldest_by_count,
            // What has come and gone since the number was read is missing, too.
            next_sequence: next_sequence.max(shelf.oldest_sequence().unwrap_or_default()),
            incarnation: shelf.incarnation,
        }
    }

    /// The oldest record that is kept; the next one, if there is none.
    pub(crate) fn oldest_sequence(&self) -> u64 {
        let sealed = self.sealed.first().map(|file| file.first);
        let oldest = sealed.or_else(|| self.segments.first().map(|segment| segment.first_sequence()));
        oldest.unwrap_or(self.next_sequence).max(self.oldest_by_count)
    }

    /// Visits the records in these sequence numbers that could be what is looked for. What is in a file and, since that was
    /// made meanwhile, in a segment, too, is visited once.
    pub(crate) fn visit(&self, sequences: Sequences, order: Order, needs: &Needs, visit: Visit<'_>) -> Visited {
        let start = sequences.start.max(self.oldest_by_count).max(*needs.sequences.start());
        let sequences = start..sequences.end.min(self.next_sequence).min(needs.sequences.end().saturating_add(1));
        let unsealed_from = self.segments.first().map_or(u64::MAX, |segment| segment.first_sequence());
        let sealed = Wanted { sequences: sequences.start..sequences.end.min(unsealed_from), needs };
        let unsealed = Wanted { sequences, needs };
        match order {
            Order::OldestFirst => {
                self.sealed.iter().try_for_each(|file| sealed.visit_file(file, order, visit))?;
                unsealed.visit_segments(&self.segments, order, visit)
            }
            Order::NewestFirst => {
                unsealed.visit_segments(&self.segments, order, visit)?;
                self.sealed.iter().rev().try_for_each(|file| sealed.visit_file(file, order, visit))
            }
        }
    }
}

/// Takes a record, and says whether it wants more.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(Entry) -> ControlFlow<Stop>;
pub(crate) type Visited = ControlFlow<Stop>;

/// Why a visit ended before the end.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The visitor had enough.
    Enough,
    /// A file is not there any more: it was retired, or another one continues it.
    Gone(SealedFile),
}

/// What is looked for.
struct Wanted<'n> {
    sequences: Sequences,
    needs: &'n Needs,
}

impl Wanted<'_> {
    fn visit_segments(&self, segments: &[Arc<Segment>], order: Order, visit: Visit<'_>) -> Visited {
        let one = |(index, segment): (usize, &Arc<Segment>)| {
            let end = segments.get(index + 1).map_or(u64::MAX, |next| next.first_sequence());
            if end <= self.sequences.start || segment.first_sequence() >= self.sequences.end {
                return ControlFlow::Continue(());
            }
            self.visit_chunk(&Chunk::Segment(Arc::clone(segment)), order, visit)
        };
        match order {
            Order::OldestFirst => segments.iter().enumerate().try_for_each(one),
            Order::NewestFirst => segments.iter().enumerate().rev().try_for_each(one),
        }
    }

    fn visit_file(&self, file: &SealedFile, order: Order, visit: Visit<'_>) -> Visited {
        let is_old = self.needs.since.is_some_and(|since| file.newest < since.0);
        if file.last < self.sequences.start || file.first >= self.sequences.end || is_old {
            return ControlFlow::Continue(());
        }
        let bytes = match file.read() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return ControlFlow::Break(Stop::Gone(file.clone()));
            }
            Err(error) => {
                tracing::warn!(file = %file.path().display(), "stored telemetry cannot be read: {error}");
                return ControlFlow::Continue(());
            }
        };
        let one = |block: Block<'_>| {
            if !self.may_have(&block) {
                return ControlFlow::Continue(());
            }
            self.visit_block(&block, order, visit)
        };
        match order {
            Order::OldestFirst => blocks(&bytes).try_for_each(one),
            Order::NewestFirst => blocks(&bytes).collect::<Vec<_>>().into_iter().rev().try_for_each(one),
        }
    }

    /// Whether a block could have what is looked for; one that is damaged could have anything.
    fn may_have(&self, block: &Block<'_>) -> bool {
        let Some(summary) = &block.summary else { return true };
        summary.last >= self.sequences.start
            && summary.first < self.sequences.end
            && self.needs.time_meets(UnixNanos(summary.oldest), UnixNanos(summary.newest))
            && self.needs.levels.meets(LevelSet::from_byte(summary.levels))
            // A filter that cannot be read excludes nothing.
            && TokenFilter::decode(block.filter).map_or(true, |filter| filter.might_match(self.needs))
    }

    fn visit_block(&self, block: &Block<'_>, order: Order, visit: Visit<'_>) -> Visited {
        let raw = Arc::new(block.unpack());
        if block.summary.is_some() {
            return self.visit_chunk(&Chunk::Block(raw), order, visit);
        }
        let found: Vec<_> = block.frames(&raw).collect();
        self.visit_frames(&Chunk::Block(Arc::clone(&raw)), found.into_iter(), order, visit)
    }

    fn visit_chunk(&self, chunk: &Chunk, order: Order, visit: Visit<'_>) -> Visited {
        let bytes = chunk.bytes();
        if !self.needs.literals_meet(bytes) {
            return ControlFlow::Continue(());
        }
        self.visit_frames(chunk, frames(bytes), order, visit)
    }

    fn visit_frames(
        &self,
        chunk: &Chunk,
        found: impl Iterator<Item = Frame>,
        order: Order,
        visit: Visit<'_>,
    ) -> Visited {
        let bytes = chunk.bytes();
        let mut wanted = found.filter(|frame| self.may_be(frame, bytes));
        let entry = |frame| Entry { chunk: chunk.clone(), frame };
        match order {
            Order::OldestFirst => wanted.try_for_each(|frame| visit(entry(frame))),
            Order::NewestFirst => {
                wanted.collect::<Vec<_>>().into_iter().rev().try_for_each(|frame| visit(entry(frame)))
            }
        }
    }

    fn may_be(&self, frame: &Frame, bytes: &[u8]) -> bool {
        self.sequences.contains(&frame.sequence)
            && self.needs.time_meets(UnixNanos(frame.time), UnixNanos(frame.time))
            && self.needs.levels.meets(levels_of(frame, bytes))
    }
}
