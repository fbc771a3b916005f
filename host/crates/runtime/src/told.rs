//! Logs that the host makes of what happens to an extension, or by it.

use glasshouse_model::wire::Field;
use glasshouse_model::{Clock, Level, Origin};
use glasshouse_telemetry::{Head, Recorder, Worth};

/// Stores a log that the host makes about an extension, whatever its level of logging.
pub(crate) fn host_log(
    recorder: &Recorder,
    clock: &dyn Clock,
    context: &[u8],
    level: Level,
    message: &str,
    fields: &[Field<'_>],
) {
    recorder.host_log(clock.now(), context, level, message, fields);
}

/// The same of what a guest brought about, as long as it does not do too much.
pub(crate) fn tell(
    recorder: &Recorder,
    clock: &dyn Clock,
    context: &[u8],
    level: Level,
    message: &str,
    fields: &[Field<'_>],
) {
    let head = Head { time: clock.now(), origin: Origin::Host, cut: false, batched: false, context };
    if recorder.affords(Worth::Told, &head, message.len()) {
        recorder.host_log(head.time, context, level, message, fields);
    }
}
