//! Pushing what is stored to a collector: what the host gives to it, is told by it, and shows of it.

use std::collections::BTreeMap;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_export::Source;
use glasshouse_model::config::{HostSettings, OtlpService, OtlpSettings};
use glasshouse_model::wire::{self, Field, Metric};
use glasshouse_model::{HOST, Instrument, Level, Origin, Signal};
use glasshouse_otlp::{Counts, Effect, Failing, Pusher, Pushing, Refused, Report, Witness, check_tls};
use glasshouse_telemetry::Head;

use crate::extension::Extension;
use crate::health::HealthCheck;
use crate::journal::Journal;

/// How long a collector may take to be connected to where it is only looked whether it is there.
const PROBE: Duration = Duration::from_secs(2);
/// Of what is refused for one reason, how much is named.
const NAMED: usize = 4;
/// Reasons for refusals that are told: each can be as long as a line.
const REASONS: usize = 3;

/// Starts to push, if that is configured.
pub(crate) fn start<'e>(
    host: &HostSettings,
    extensions: impl Iterator<Item = &'e Extension>,
    journal: &Arc<Journal>,
    data_dir: Option<&Path>,
) -> Option<Pusher> {
    // Before the first of it is sent: who reads the host's records finds it also where all else is gone.
    journal.pushed(&host.otlp);
    let of_host = Source::new(HOST, |signal| journal.store().reader(signal));
    Pusher::start(Pushing {
        settings: host.otlp.clone(),
        sources: extensions.map(Extension::source).chain([of_host]).collect(),
        data_dir: data_dir.map(Path::to_owned),
        metrics_interval: host.metrics_interval,
        clock: Arc::clone(journal.clock()),
        witness: Arc::clone(journal) as Arc<dyn Witness>,
    })
}

impl Witness for Journal {
    fn note(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        Self::note(self, level, message, fields);
        if level >= Level::Warning {
            tracing::warn!(target: "glasshouse::otlp", "{message}");
        } else {
            tracing::info!(target: "glasshouse::otlp", "{message}");
        }
    }

    fn measure(&self, grown: &Counts, waiting: u64) {
        let time = self.clock().now();
        let mut body = Vec::with_capacity(64);
        for (instrument, name, value) in [
            (Instrument::Counter, "otlp_records_sent", grown.sent),
            (Instrument::Counter, "otlp_records_lost", grown.lost()),
            (Instrument::Gauge, "otlp_records_waiting", waiting),
        ] {
            body.clear();
            let metric = Metric { instrument, name, unit: "{record}", value: value as f64 };
            wire::write_metric(&mut body, &metric, &[]);
            let head = Head { time, origin: Origin::Host, cut: false, batched: false, context: &[] };
            self.store().recorder().append(Signal::Metric, head, wire::KIND_METRIC, &body);
        }
    }
}

/// What is said of it among the host's checks.
pub(crate) fn check(report: &Report) -> HealthCheck {
    let Report { services, refused, counts, waiting, cursors } = report;
    let mut found = vec![format!("{} records pushed, {waiting} wait", counts.sent)];
    if let Some(last) = services.iter().filter_map(|service| service.last_accepted).max() {
        found.push(format!("the last were taken at {last}"));
    }
    for (count, what) in [
        (counts.rejected, "were rejected by the collector"),
        (counts.refused, "were refused by the collector"),
        (counts.oversized, "were larger than the collector takes"),
        (counts.evicted, "were removed by retention before"),
        (counts.damaged, "could not be read"),
        (counts.left_out, "have no place in the protocol"),
    ] {
        if count > 0 {
            found.push(format!("{count} {what}"));
        }
    }
    // Where all services fail alike, as they do where they are one collector, that is said once.
    let failing: Vec<_> = services.iter().filter_map(|service| Some((service, service.failing.as_ref()?))).collect();
    let mut remedy = None;
    for (index, (service, Failing { why, effect, .. })) in failing.iter().enumerate() {
        let is_same = |other: &&Failing| other.why == *why && other.effect == *effect;
        if failing[..index].iter().any(|(_, other)| is_same(other)) {
            continue;
        }
        let same = failing.iter().filter(|(_, other)| is_same(other));
        let names: Vec<_> = same.clone().map(|(service, _)| service.service.as_str()).collect();
        let since = same.map(|(_, failing)| failing.since).min().unwrap_or_default();
        found.push(format!("{} fail since {since}, at {}: {why}", names.join(", "), service.endpoint));
        remedy = remedy.or(Some(match effect {
            Effect::Waiting => {
                "start the collector, or mend [otlp] in the configuration: what is stored waits for it until retention removes it"
            }
            Effect::Doubtful => "see whether the endpoints of [otlp] are a collector's, and otlp.protocol what it speaks",
        }));
    }
    // One reason for many is said once.
    let mut by_reason = BTreeMap::<(usize, &str), Vec<&Refused>>::new();
    for one in refused {
        by_reason.entry((one.lane, &one.why)).or_default().push(one);
    }
    for ((lane, why), all) in by_reason.iter().take(REASONS) {
        let since = all.iter().map(|one| one.since).min().unwrap_or_default();
        let named = all.iter().take(NAMED).map(|one| format!("{} of {}", one.signal, one.extension));
        let mut named = named.collect::<Vec<_>>().join(", ");
        if all.len() > NAMED {
            named = format!("{named} and of {} more", all.len() - NAMED);
        }
        let endpoint = services.get(*lane).map_or("", |service| &service.endpoint);
        found.push(format!("{named} are refused since {since}, at {endpoint}: {why}"));
    }
    if by_reason.len() > REASONS {
        found.push(format!("more is refused for {} other reasons", by_reason.len() - REASONS));
    }
    if !refused.is_empty() {
        remedy = remedy.or(Some(
            "see to it that the collector takes what it is sent, with otlp.headers and the endpoints of [otlp]: what it refuses is not sent again",
        ));
    }
    if let Some(why) = cursors {
        found.push(why.clone());
        remedy = remedy.or(Some("mend the folder otlp in the data directory: records may be sent twice until then"));
    }
    let found = found.join("; ");
    match remedy {
        None => HealthCheck::healthy("otlp", found),
        Some(remedy) => HealthCheck::degraded("otlp", found, remedy),
    }
}

/// Looks whether the collectors of a configuration can be reached, and their certificates judged, without sending them anything. Says where they are;
/// `None` if nothing is pushed. Blocks for some seconds at most, and for as long as names take to be looked up.
pub fn probe_collectors(settings: &OtlpSettings) -> Option<Result<String, String>> {
    if !settings.is_on() {
        return None;
    }
    let mut reached = Vec::new();
    for service in OtlpService::ALL {
        let is_used = Signal::ALL.iter().any(|signal| settings.service(*signal) == Some(*service));
        let Some(endpoint) = settings.endpoint(*service).filter(|_| is_used) else { continue };
        if endpoint.is_tls
            && let Err(why) = check_tls(settings)
        {
            return Some(Err(why));
        }
        let authority = endpoint.authority();
        if reached.contains(&authority) {
            continue;
        }
        let addresses = (endpoint.host.as_str(), endpoint.port).to_socket_addrs();
        let connected = addresses.and_then(|addresses| {
            let mut last = Err(std::io::Error::other("its name has no address"));
            for address in addresses {
                last = TcpStream::connect_timeout(&address, PROBE);
                if last.is_ok() {
                    break;
                }
            }
            last
        });
        if let Err(error) = connected {
            return Some(Err(format!("{authority} cannot be connected to: {error}")));
        }
        reached.push(authority);
    }
    Some(Ok(reached.join(", ")))
}
