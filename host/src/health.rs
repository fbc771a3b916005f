//! How a host, its parts and its extensions are doing: what works, what does not, and what to do about it.

use std::sync::Weak;

use glasshouse_files::LogFilesStatus;
use glasshouse_model::text;
use glasshouse_runtime::{EnginesState, Health, Status, TickerState};
use glasshouse_server::api;
use glasshouse_telemetry::{Depot, DiskUse};

use crate::control::Controlled;
use crate::extension::Extension;
use crate::push;

/// With fewer bytes left on a disk it is said: a thousand rings in use take as much with their next segment.
const LITTLE: u64 = 64 << 20;

/// What was checked, and what that comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthReport {
    /// The worst of the checks.
    pub status: Health,
    /// What was checked.
    pub checks: Vec<HealthCheck>,
}

/// One thing that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What: of a host `engine`, `ticker`, `recorder`, `disk`, `files`, `otlp` or `extension ID`, of an extension `state`, and what it checks itself.
    pub name: String,
    /// How well it works.
    pub status: Health,
    /// What was found.
    pub detail: String,
    /// What to do about it; empty where it is healthy.
    pub remedy: String,
}

impl HealthReport {
    fn of(checks: Vec<HealthCheck>) -> Self {
        Self { status: checks.iter().map(|check| check.status).max().unwrap_or(Health::Healthy), checks }
    }

    /// It as other programs are told it.
    pub(crate) fn answer(&self) -> api::Health {
        let check = |check: &HealthCheck| api::Check {
            name: check.name.clone(),
            status: check.status.as_str().to_owned(),
            detail: check.detail.clone(),
            remedy: check.remedy.clone(),
        };
        api::Health { status: self.status.as_str().to_owned(), checks: self.checks.iter().map(check).collect() }
    }
}

impl HealthCheck {
    /// Something that works.
    pub(crate) fn healthy(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status: Health::Healthy, detail: detail.into(), remedy: String::new() }
    }

    /// Something that does not work as it should, and what to do about it.
    fn bad(name: &str, status: Health, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name: name.to_owned(), status, detail: detail.into(), remedy: remedy.into() }
    }

    /// Something that works with restrictions, and what to do about it.
    pub(crate) fn degraded(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::bad(name, Health::Degraded, detail, remedy)
    }
}

impl Extension {
    /// How it is as the host sees it, and as it said itself when it was last asked: see [`Extension::check_health`].
    pub fn health_report(&self) -> HealthReport {
        let id = self.id();
        let of_guest = self.health().into_iter().map(|own| match own.status {
            Health::Healthy => HealthCheck::healthy(&own.name, own.detail),
            status => {
                let detail = if own.detail.is_empty() { "it does not say why".to_owned() } else { own.detail };
                let remedy = format!(
                    "{id} checks this itself: see what it says in `glasshouse logs show --extension-id {id}`, or ask its author"
                );
                HealthCheck::bad(&own.name, status, detail, remedy)
            }
        });
        HealthReport::of(std::iter::once(state(self)).chain(of_guest).collect())
    }
}

/// How an extension is as the host sees it.
fn state(extension: &Extension) -> HealthCheck {
    let (status, id) = (extension.status(), extension.id());
    let (judgement, remedy) = match &status {
        Status::Ready => return HealthCheck::healthy("state", status.reason().unwrap_or_default()),
        Status::Loading => (Health::Degraded, "wait: it is being read, compiled or started".to_owned()),
        Status::Throttled { .. } => {
            (Health::Degraded, format!("send it less, or raise the budget: `glasshouse budgets show {id}` tells which"))
        }
        Status::Probing => (Health::Degraded, "its next call shows whether it works again".to_owned()),
        Status::Quarantined { .. } => {
            (Health::Unhealthy, format!("mend it, or end the quarantine: `glasshouse budgets release {id}`"))
        }
        Status::Failed { .. } => (Health::Unhealthy, "mend what its cause says, and start the host anew".to_owned()),
        Status::Stopped => (Health::Unhealthy, "start the host anew: it is stopping".to_owned()),
    };
    HealthCheck::bad("state", judgement, status.reason().unwrap_or(status.word()), remedy)
}

impl Controlled {
    /// How the host's parts are doing, and all extensions.
    pub(crate) fn health_report(&self) -> HealthReport {
        let mut checks = match self.runtime.upgrade() {
            Some(runtime) => {
                let (engines, depot) = (runtime.engines(), runtime.depot());
                vec![engine(&engines), ticker(&engines), recorder(depot), disk(depot)]
            }
            None => vec![HealthCheck::bad("engine", Health::Unhealthy, "the host has ended", "start it anew")],
        };
        checks.extend(self.log_files.as_ref().and_then(Weak::upgrade).map(|files| log_files(&files.status())));
        checks.extend(self.push.as_ref().map(|push| push::check(&push.report())));
        checks.extend(self.extensions.values().map(|extension| {
            let HealthReport { status, checks } = extension.health_report();
            let name = format!("extension {}", extension.id());
            match checks.into_iter().find(|check| check.status == status) {
                Some(worst) => HealthCheck { name, ..worst },
                None => HealthCheck::healthy(&name, ""),
            }
        }));
        HealthReport::of(checks)
    }
}

fn engine(state: &EnginesState) -> HealthCheck {
    let flavours: Vec<_> = state.engines.iter().map(|engine| engine.flavour).collect();
    let meters = format!("guests are metered by {}", flavours.join(", "));
    if !state.is_contained {
        return HealthCheck::degraded(
            "engine",
            format!(
                "{meters}; components are compiled in the host's own process, where a hostile one can use much time and memory"
            ),
            "call glasshouse::worker::run_if_asked first in main, or name a worker with HostBuilder::compile_worker",
        );
    }
    let lacks = if state.lacks.is_empty() {
        String::new()
    } else {
        format!(", which keeps more rights than it needs, since the kernel lacks: {}", state.lacks.join("; "))
    };
    HealthCheck::healthy("engine", format!("{meters}; components are compiled in a process of their own{lacks}"))
}

fn ticker(state: &EnginesState) -> HealthCheck {
    let tickers: Vec<_> =
        state.engines.iter().filter_map(|engine| engine.ticker.map(|ticker| (engine.flavour, ticker))).collect();
    for (flavour, ticker) in &tickers {
        match ticker {
            TickerState::Works => {}
            TickerState::Late(late) => {
                return HealthCheck::degraded(
                    "ticker",
                    format!("the last slice of guests metered by {flavour} was ended {} ago", text::duration(*late)),
                    "see what else keeps the machine's processors busy: guests hold each other up until slices end again",
                );
            }
            TickerState::Ended => {
                return HealthCheck::bad(
                    "ticker",
                    Health::Unhealthy,
                    format!("nothing ends the slices of guests metered by {flavour} any more"),
                    "start the host anew",
                );
            }
        }
    }
    let detail = if tickers.is_empty() { "not needed: all guests yield by fuel" } else { "slices end by the clock" };
    HealthCheck::healthy("ticker", detail)
}

fn recorder(depot: &Depot) -> HealthCheck {
    match (depot.disk_failure(), depot.data_dir()) {
        (Some(failure), _) => HealthCheck::degraded(
            "recorder",
            format!("records are in memory, and go with the host: {failure}"),
            "free space in the data directory, or mend its disk: what is in memory goes there once it can",
        ),
        (None, Some(folder)) => HealthCheck::healthy("recorder", format!("records go to {}", folder.display())),
        (None, None) => HealthCheck::healthy("recorder", "records are in memory, and go with the host"),
    }
}

fn disk(depot: &Depot) -> HealthCheck {
    let Some(DiskUse { taken, limit, free }) = depot.disk_use() else {
        return HealthCheck::healthy("disk", "none is used: there is no data directory");
    };
    let left = free.map_or_else(String::new, |free| format!("; its disk has {} left", text::bytes(free)));
    let used = format!("{} of {} are taken{left}", text::bytes(taken), text::bytes(limit));
    let room = "free space where the data directory is, or lower host.data_limit so that older records go";
    match (depot.disk_failure(), free) {
        (Some(failure), _) => HealthCheck::degraded("disk", format!("{failure}; {used}"), room),
        (None, Some(free)) if free < LITTLE => HealthCheck::degraded("disk", used, room),
        (None, _) => HealthCheck::healthy("disk", used),
    }
}

/// How the writing of log files goes.
fn log_files(files: &LogFilesStatus) -> HealthCheck {
    let LogFilesStatus { folder, failure, behind, missed, dropped } = files;
    let counts =
        [(behind, "records wait"), (missed, "records were gone before"), (dropped, "of its own messages had no room")];
    let counts = counts.into_iter().filter(|(count, _)| **count > 0);
    let found: Vec<_> = failure.iter().cloned().chain(counts.map(|(count, what)| format!("{count} {what}"))).collect();
    let found = found.join("; ");
    if failure.is_none() {
        return HealthCheck::healthy("files", found);
    }
    let remedy = format!(
        "mend that, or make room in {}: what waits is written once it can be, unless it is evicted before",
        folder.display()
    );
    HealthCheck::degraded("files", found, remedy)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use glasshouse_runtime::EngineState;

    use super::*;

    fn check(tickers: &[Option<TickerState>], is_contained: bool, expect: (Health, Health)) {
        let engines = tickers.iter().map(|ticker| EngineState { flavour: "epochs", ticker: *ticker }).collect();
        let state = EnginesState { engines, is_contained, lacks: Vec::new() };
        let (engine, ticker) = (engine(&state), ticker(&state));
        assert_eq!((engine.status, ticker.status), expect, "{state:?}");
        for check in [engine, ticker] {
            assert!(
                check.status == Health::Healthy || !(check.detail.is_empty() || check.remedy.is_empty()),
                "{check:?}"
            );
        }
    }

    #[test]
    fn engines_and_tickers_that_do_not_do_their_work_are_told_with_cause_and_remedy() {
        use Health::{Degraded, Healthy, Unhealthy};
        let late = Some(TickerState::Late(Duration::from_secs(3)));
        check(&[None], true, (Healthy, Healthy));
        check(&[None, Some(TickerState::Works)], true, (Healthy, Healthy));
        check(&[None, late], true, (Healthy, Degraded));
        check(&[None, Some(TickerState::Works), Some(TickerState::Ended)], true, (Healthy, Unhealthy));
        check(&[None], false, (Degraded, Healthy));
    }
}
