//! How much is read at once. The threads that may block are those on which extensions are loaded and read their files, too, so that
//! clients have a few of them and no more, and each address a part of these; what waits for one of these waits without a thread, and is
//! forgotten when it is given up.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::connections::{CLIENT, Share};

/// Pages, traces and followers that are read at once.
static READS: Semaphore = Semaphore::const_new(16);
/// Exports that are written at once.
static EXPORTS: Semaphore = Semaphore::const_new(8);

/// A place among those that read, or export; it is given back when it is dropped.
pub(crate) struct Lane {
    _place: SemaphorePermit<'static>,
    /// The client's own part, on an address, and its share, which outlives its connection so.
    _part: Option<(OwnedSemaphorePermit, Arc<Share>)>,
}

/// Whose request is being answered.
fn share() -> Option<Arc<Share>> {
    CLIENT.try_with(Arc::clone).ok()
}

/// Waits for a lane to read in.
pub(crate) async fn to_read() -> Option<Lane> {
    // What an address waits for among its own does not stand before others. None of these is ever closed.
    let part = match share() {
        Some(share) => Some((Arc::clone(&share.client.reads).acquire_owned().await.ok()?, share)),
        None => None,
    };
    Some(Lane { _place: READS.acquire().await.ok()?, _part: part })
}

/// A lane to export in, if one is free.
pub(crate) fn to_export() -> Option<Lane> {
    let part = match share() {
        Some(share) => Some((Arc::clone(&share.client.exports).try_acquire_owned().ok()?, share)),
        None => None,
    };
    Some(Lane { _place: EXPORTS.try_acquire().ok()?, _part: part })
}
