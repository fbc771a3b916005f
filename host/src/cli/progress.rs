//! Waits for extensions to load, and on a terminal shows which ones are still at it.

use std::time::Duration;

use glasshouse::{Host, Status};

use crate::output;

/// How long loading may take before it is spoken of.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at it.
const TICK: Duration = Duration::from_millis(200);
/// Names that are shown.
const NAMES: usize = 3;

/// Waits until no extension is loading any more.
pub(crate) async fn loaded(host: &Host) {
    if !output::has_room_for_progress() {
        return host.loaded().await;
    }
    if tokio::time::timeout(PATIENCE, host.loaded()).await.is_ok() {
        return;
    }
    while tokio::time::timeout(TICK, host.loaded()).await.is_err() {
        let loading: Vec<_> = host.extensions().filter(|extension| extension.status() == Status::Loading).collect();
        let names: Vec<_> = loading.iter().take(NAMES).map(|extension| extension.id().as_str()).collect();
        let more = if loading.len() > NAMES { ", …" } else { "" };
        output::progress(&format!(
            "loading {} of {}: {}{more}",
            host.extensions().len() - loading.len() + 1,
            host.extensions().len(),
            names.join(", ")
        ));
    }
    output::progress("");
}
