//! What the host records of itself: who gave which order, and who was turned away. Logs of a store of its own, which is read like an
//! extension's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use glasshouse_model::config::OtlpSettings;
use glasshouse_model::settings::Settings;
use glasshouse_model::wire::{Field, Value};
use glasshouse_model::{Clock, HOST, Level, Signal};
use glasshouse_server::api::Token;
use glasshouse_server::{Audit, OtherOrders, Refusal, Tally};
use glasshouse_telemetry::{Depot, Store};

/// The host's own records.
pub(crate) struct Journal {
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    /// Exports, by who took them: whoever exports without end drives no other record out.
    exports: Tally<String>,
}

/// What becomes of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenChange {
    /// It was made.
    Made,
    /// It was ended.
    Revoked,
}

impl TokenChange {
    /// The kind of security event that it is, as extensions have them too.
    fn as_event(self) -> &'static str {
        match self {
            Self::Made => "token.made",
            Self::Revoked => "token.revoked",
        }
    }
}

impl Journal {
    pub(crate) fn open(depot: &Depot, clock: Arc<dyn Clock>) -> Self {
        let settings = Settings::default();
        let store = depot.store(HOST, &settings).unwrap_or_else(|error| {
            tracing::error!("the host's own telemetry is kept in memory only: {error}");
            depot.store_in_memory(&settings)
        });
        Self { store, clock, exports: Tally::new() }
    }

    /// Where it is kept.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Stores a log.
    pub(crate) fn note(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        self.store.recorder().host_log(self.clock.now(), &[], level, message, fields);
    }

    /// Stores that an order was given, and what became of it.
    pub(crate) fn audit(&self, audit: &Audit<'_>) {
        let Audit { by, scope, method, path, status, request, untold } = *audit;
        let texts = [
            ("event", "audit"),
            ("by", by),
            ("scope", scope.as_str()),
            ("http.request.method", method),
            ("url.path", path),
            ("request_id", request),
        ];
        let status = Field { name: "http.response.status_code", value: Value::Integer(status.into()) };
        let mut message = format!("{method} {path} by {by}: {}", audit.became());
        let mut fields = with_texts(&texts, Some(status));
        fields.extend(others(untold, &mut message));
        self.note(Level::Info, &message, &fields);
    }

    /// Stores orders that have no record of their own.
    pub(crate) fn audit_others(&self, others: &OtherOrders<'_>) {
        let OtherOrders { by, count, what } = *others;
        let orders = Field { name: "untold", value: Value::Integer(i64::try_from(count).unwrap_or(i64::MAX)) };
        let message = format!("{count} more orders by {by}: {what}");
        let texts = [("event", "audit"), ("by", by), ("orders", what)];
        self.note(Level::Info, &message, &with_texts(&texts, Some(orders)));
    }

    /// Stores that somebody took away what is stored.
    pub(crate) fn exported(&self, extension: &str, what: &str, format: &str, by: &str) {
        let Some(untold) = self.exports.note(by.to_owned(), Instant::now()) else { return };
        let texts =
            [("event", "data.exported"), ("by", by), ("target", extension), ("operation", what), ("detail", format)];
        let of = if extension == "*" { "all extensions" } else { extension };
        let mut message = format!("{what} of {of} were exported as {format} by {by}");
        let others = others(untold, &mut message);
        self.note(Level::Info, &message, &with_texts(&texts, others));
    }

    /// Stores that what is stored is pushed from now on, and to where. Each start of pushing is told, and so whoever gets it instead of another.
    pub(crate) fn pushed(&self, otlp: &OtlpSettings) {
        let mut places: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for signal in Signal::ALL {
            let endpoint = otlp.service(*signal).and_then(|service| otlp.endpoint(service));
            if let Some(endpoint) = endpoint {
                places.entry(endpoint.authority()).or_default().push(signal.as_str());
            }
        }
        for (place, signals) in places {
            let (what, how) = (signals.join(", "), format!("otlp to {place}"));
            let texts =
                [("event", "data.exported"), ("by", HOST), ("target", "*"), ("operation", &what), ("detail", &how)];
            let message = format!("{what} of all extensions are pushed to {place} from now on");
            self.note(Level::Info, &message, &with_texts(&texts, None));
        }
    }

    /// Stores that a token was made or ended.
    pub(crate) fn token_changed(&self, change: TokenChange, token: &Token, by: &str) {
        let Token { id, name, scope, .. } = token;
        let texts =
            [("event", change.as_event()), ("by", by), ("target", id), ("operation", scope.as_str()), ("detail", name)];
        let became = match change {
            TokenChange::Made => "made",
            TokenChange::Revoked => "revoked",
        };
        let message = format!("the token {id} ({name}), which allows to {scope}, was {became} by {by}");
        self.note(Level::Info, &message, &with_texts(&texts, None));
    }

    /// Stores that somebody was turned away.
    pub(crate) fn refused(&self, refusal: &Refusal<'_>) {
        let Refusal { address, why, path, untold } = *refusal;
        let address = address.to_string();
        let texts =
            [("event", "login.failed"), ("network.peer.address", &*address), ("url.path", path), ("reason", why)];
        let mut message = format!("a request from {address} was turned away: {why}");
        let others = others(untold, &mut message);
        self.note(Level::Warning, &message, &with_texts(&texts, others));
    }
}

/// What is said of others that were refused, or exported, and have no record of their own.
fn others(untold: u64, message: &mut String) -> Option<Field<'static>> {
    (untold > 0).then(|| {
        let _ = write!(message, "; so were {untold} others since the last that was told of");
        Field { name: "untold", value: Value::Integer(i64::try_from(untold).unwrap_or(i64::MAX)) }
    })
}

fn with_texts<'a>(texts: &[(&'a str, &'a str)], other: Option<Field<'a>>) -> Vec<Field<'a>> {
    texts.iter().map(|(name, value)| Field { name, value: Value::Text(value) }).chain(other).collect()
}
