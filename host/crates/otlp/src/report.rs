//! How pushing goes: what was sent, what was lost, what is wrong.

use glasshouse_model::config::OtlpService;
use glasshouse_model::wire::Field;
use glasshouse_model::{Level, Signal, UnixNanos};

/// Who is told of what pushing does. Both are called from the task that pushes, and hold it up.
pub trait Witness: Send + Sync + 'static {
    /// Stores that something happened.
    fn note(&self, level: Level, message: &str, fields: &[Field<'_>]);
    /// Stores by how much the counts have grown since the last time, and how many records wait.
    fn measure(&self, grown: &Counts, waiting: u64);
}

/// What became of records since the host was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were taken.
    pub sent: u64,
    /// Records that were not, of requests that were.
    pub rejected: u64,
    /// Records of requests that were refused for good.
    pub refused: u64,
    /// Records that are larger, each by itself, than the collector takes.
    pub oversized: u64,
    /// Records that retention removed before they could be sent.
    pub evicted: u64,
    /// Records that could not be read any more.
    pub damaged: u64,
    /// Records that have no place in the protocol.
    pub left_out: u64,
}

impl Counts {
    /// Records that no collector will ever have, though they have a place in the protocol.
    pub fn lost(&self) -> u64 {
        self.rejected + self.refused + self.oversized + self.evicted + self.damaged
    }

    /// By how much these are more than those of before.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            sent: self.sent - before.sent,
            rejected: self.rejected - before.rejected,
            refused: self.refused - before.refused,
            oversized: self.oversized - before.oversized,
            evicted: self.evicted - before.evicted,
            damaged: self.damaged - before.damaged,
            left_out: self.left_out - before.left_out,
        }
    }
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How it goes with each service.
    pub services: Vec<ServiceReport>,
    /// What is refused of which extension, and was when it was tried last.
    pub refused: Vec<Refused>,
    /// What became of records.
    pub counts: Counts,
    /// Records that wait to be sent.
    pub waiting: u64,
    /// Why it cannot be kept, or was not known, how far what is pushed came.
    pub cursors: Option<String>,
}

/// How it goes with one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceReport {
    /// Which.
    pub service: OtlpService,
    /// Where it is.
    pub endpoint: String,
    /// When it took something last.
    pub last_accepted: Option<UnixNanos>,
    /// What is wrong, if something is.
    pub failing: Option<Failing>,
}

/// What is wrong with a collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: UnixNanos,
    /// What it said or did last.
    pub why: String,
    /// What that means for what is to be sent.
    pub effect: Effect,
}

/// What a collector refuses of an extension, while it takes what others have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose records.
    pub extension: String,
    /// Which.
    pub signal: Signal,
    /// Which of the report's services refuses them.
    pub lane: usize,
    /// Since when.
    pub since: UnixNanos,
    /// What was said last.
    pub why: String,
}

/// What it means for records that a collector is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// They wait, and are sent again.
    Waiting,
    /// They are taken by what may be no collector.
    Doubtful,
}
