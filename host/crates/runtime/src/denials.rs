//! Uses of what was not granted: each is an error for the guest, and a security event in the log of its extension.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Aspect, Level, text};
use glasshouse_telemetry::Recorder;

/// Denied uses of one invocation that are told one by one. So many show what a guest is after; one that goes on trying would
/// only push older records out, so that the rest is counted, and told in one record.
const TOLD: u64 = 16;
/// Bytes of what was tried that are told.
const TARGET_BYTES: usize = 256;

/// A use that was denied.
#[derive(Clone, Copy)]
pub(crate) struct Denied<'a> {
    /// Who denied it.
    pub(crate) by: DeniedBy,
    /// The manifest's name of the permission that it takes.
    pub(crate) permission: &'a str,
    /// What the guest called.
    pub(crate) operation: &'a str,
    /// What it called it for.
    pub(crate) target: &'a str,
}

#[derive(Clone, Copy)]
pub(crate) enum DeniedBy {
    /// It was not granted to the extension.
    Grants,
    /// The system, which does not let the host itself do that.
    System,
    /// The host, in runs that are to be alike.
    Trial,
}

/// The denied uses of the present invocation. Cheap to clone: clones count together.
#[derive(Clone)]
pub(crate) struct Denials {
    uses: Arc<AtomicU64>,
    recorder: Recorder,
}

impl Denials {
    /// None so far, of an instance whose recorder knows whether security events are stored.
    pub(crate) fn new(recorder: Recorder) -> Self {
        Self { uses: Arc::default(), recorder }
    }

    /// Tells of a denied use by `log`, which gets level, message and fields, or only counts it.
    pub(crate) fn tell(&self, denied: Denied<'_>, log: impl FnOnce(Level, &str, &[Field<'_>])) {
        if !self.recorder.admit_aspect(Aspect::Security) || self.uses.fetch_add(1, Ordering::Relaxed) >= TOLD {
            return;
        }
        let message = match denied.by {
            DeniedBy::Grants => "denied: the operator has not granted this",
            DeniedBy::System => "denied: the system does not let the host do this",
            DeniedBy::Trial => "denied: what is run to be compared sends nothing",
        };
        let fields = [
            Field { name: "event", value: Value::Text("permission.denied") },
            Field { name: "permission", value: Value::Text(denied.permission) },
            Field { name: "operation", value: Value::Text(denied.operation) },
            Field { name: "target", value: Value::Text(text::cut(denied.target, TARGET_BYTES)) },
        ];
        log(Level::Warning, message, &fields);
    }

    /// Ends the invocation: tells how many denied uses were not told one by one, and counts anew.
    #[inline]
    pub(crate) fn end_invocation(&self, log: impl FnOnce(Level, &str, &[Field<'_>])) {
        // An exchange waits until all is stored that was written before it, and next to no call is denied anything.
        if self.uses.load(Ordering::Relaxed) > 0 {
            self.tell_rest(log);
        }
    }

    #[cold]
    fn tell_rest(&self, log: impl FnOnce(Level, &str, &[Field<'_>])) {
        let Some(more @ 1..) = self.uses.swap(0, Ordering::Relaxed).checked_sub(TOLD) else { return };
        let fields = [
            Field { name: "event", value: Value::Text("permission.denied") },
            Field { name: "count", value: Value::Integer(more as i64) },
        ];
        log(Level::Warning, "denied: more uses in the same call, which are not told one by one", &fields);
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::settings::Settings;
    use glasshouse_telemetry::{Store, StoreSettings};

    use super::*;

    /// How many records a number of denied uses in one invocation gives, and what the last one counts.
    fn check(denials: &Denials, uses: u64, expect: (u64, Option<i64>)) {
        let (mut told, mut counted) = (0, None);
        let denied = Denied { by: DeniedBy::Grants, permission: "files", operation: "open-at", target: "/x" };
        for _ in 0..uses {
            denials.clone().tell(denied, |_, _, _| told += 1);
        }
        denials.end_invocation(|_, _, fields| {
            counted = fields.iter().find(|field| field.name == "count").and_then(|field| match field.value {
                Value::Integer(count) => Some(count),
                _ => None,
            });
        });
        assert_eq!((told, counted), expect);
    }

    #[test]
    fn an_invocation_that_goes_on_trying_is_told_so_often_and_then_counted() {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let denials = Denials::new(store.recorder());
        check(&denials, TOLD, (TOLD, None));
        check(&denials, TOLD + 3, (TOLD, Some(3)));
        check(&denials, 0, (0, None));
        check(&denials, 1, (1, None));
        let mut settings = Settings::default();
        settings.debugging.aspects[Aspect::Security as usize] = false;
        store.apply(&StoreSettings::new(&settings));
        check(&denials, TOLD + 3, (0, None));
        assert_eq!(store.usage().dropped, TOLD + 3, "what is switched off is counted");
    }
}
