//! How much is read at once. The threads that may block are those on which extensions are loaded and read their files, too, so that
//! clients have a few of them and no more; what waits for one of these waits without a thread, and is forgotten when it is given up.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Pages, traces and followers that are read at once.
static READS: Semaphore = Semaphore::const_new(16);
/// Exports that are written at once.
static EXPORTS: Semaphore = Semaphore::const_new(8);

/// A place among those that read, or export; it is given back when it is dropped.
pub(crate) type Lane = SemaphorePermit<'static>;

/// Waits for a lane to read in.
pub(crate) async fn to_read() -> Option<Lane> {
    // It is never closed.
    READS.acquire().await.ok()
}

/// A lane to export in, if one is free.
pub(crate) fn to_export() -> Option<Lane> {
    EXPORTS.try_acquire().ok()
}
