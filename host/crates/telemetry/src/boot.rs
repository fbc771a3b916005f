//! Which boot of the system this is: what another one wrote, and did not sync, may be lost without a trace.

use std::sync::LazyLock;

use twox_hash::XxHash3_64;

/// Where Linux tells the id of its boot, see random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

static ID: LazyLock<u32> =
    LazyLock::new(|| std::fs::read(BOOT_ID).map_or(0, |id| XxHash3_64::oneshot(id.trim_ascii()) as u32));

/// A short form of the boot's id; 0 where the system does not tell it, so that boots cannot be told apart.
pub(crate) fn id() -> u32 {
    *ID
}
