//! What extensions did, as records of one's own: those of `glasshouse_export`, and errors with the source lines of their stacks.

use glasshouse_runtime::SourceFrame;

pub use glasshouse_export::records::*;

use crate::Extension;

/// Reads the errors of one extension.
#[derive(Clone)]
pub struct Errors(Extension);

impl Errors {
    pub(crate) fn new(extension: Extension) -> Self {
        Self(extension)
    }

    /// The newest `limit` errors, oldest of them first, with source lines. May be cancelled.
    pub async fn latest(&self, limit: usize) -> Vec<ErrorRecord> {
        let mut records = self.0.records::<ErrorRecord>().latest(limit);
        self.add_sources(&mut records).await;
        records
    }

    /// Up to `limit` errors from sequence number `from` on, oldest first, with source lines. May be cancelled.
    pub async fn page(&self, from: u64, limit: usize) -> RecordPage<ErrorRecord> {
        let mut page = self.0.records::<ErrorRecord>().page(from, limit);
        self.add_sources(&mut page.records).await;
        page
    }

    async fn add_sources(&self, records: &mut [ErrorRecord]) {
        for record in records {
            if let Some(failure) = record.take_failure() {
                record.stack = self.0.source_frames(&failure).await.into_iter().map(stack_frame).collect();
            }
        }
    }
}

/// A frame of a stack as records have it.
pub fn stack_frame(frame: SourceFrame) -> StackFrame {
    let source = frame.location.map(|(file, line)| SourceLine { file, line });
    StackFrame { function: frame.function, source, inlined: frame.inlined }
}
