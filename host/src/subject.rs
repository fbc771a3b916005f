//! Whom a question about health, errors and alerts is about: an extension, or the host itself, whose own records are read like an extension's.

use glasshouse_model::{HOST, Signal};
use glasshouse_server::Readings as _;
use glasshouse_server::api::{self, Overview};
use glasshouse_telemetry::{AlertState, GroupState};

use crate::alerts::alert_answer;
use crate::answers::summary_answer;
use crate::control::Controlled;
use crate::extension::Extension;
use crate::groups::group_answer;

/// What can be asked about.
#[derive(Clone, Copy)]
pub(crate) enum Subject<'a> {
    Extension(&'a Extension),
    Host(&'a Controlled),
}

impl Subject<'_> {
    /// It at a glance.
    pub(crate) fn overview(self) -> Overview {
        let (groups, alerts) = match self {
            Self::Extension(extension) => (extension.error_groups(), extension.alert_states()),
            Self::Host(host) => {
                let (now, store) = (host.journal.clock().now(), host.journal.store());
                (store.error_groups(now), store.alerts(now))
            }
        };
        let open = groups.iter().filter(|group| group.state != GroupState::Resolved).count();
        let firing = alerts.iter().filter(|alert| alert.state() == AlertState::Firing).count();
        self.overview_with(open, firing)
    }

    /// The same, with so many open groups of errors and firing alerts.
    pub(crate) fn overview_with(self, open: usize, firing: usize) -> Overview {
        let (time, manager, summary, health) = match self {
            Self::Extension(extension) => {
                let manager = crate::control::manager(extension);
                (extension.now(), manager, summary_answer(extension), extension.health_report().answer())
            }
            Self::Host(host) => (host.journal.clock().now(), manager(), summary(host), host.host_health()),
        };
        Overview {
            time: time.to_string(),
            manager,
            summary,
            open_error_groups: open as u64,
            firing_alerts: firing as u64,
            health,
        }
    }

    /// The groups of its errors, those with the latest errors first.
    pub(crate) fn error_groups(self) -> Vec<api::ErrorGroup> {
        match self {
            Self::Extension(extension) => {
                let (id, settings) = (extension.id().as_str(), extension.present_config());
                extension.error_groups().iter().map(|group| group_answer(id, group, Some(&settings))).collect()
            }
            Self::Host(host) => {
                let now = host.journal.clock().now();
                host.journal.store().error_groups(now).iter().map(|group| group_answer(HOST, group, None)).collect()
            }
        }
    }

    /// Those of them that are not resolved.
    pub(crate) fn open_error_groups(self) -> Vec<api::ErrorGroup> {
        let mut groups = self.error_groups();
        groups.retain(|group| group.state != "resolved");
        groups
    }

    /// Its alerts that fire.
    pub(crate) fn firing_alerts(self) -> Vec<api::Alert> {
        let mut alerts = self.alerts();
        alerts.retain(|alert| alert.state == "firing");
        alerts
    }

    /// Its alerts, those that fire first.
    pub(crate) fn alerts(self) -> Vec<api::Alert> {
        let (id, now, alerts) = match self {
            Self::Extension(extension) => (extension.id().as_str(), extension.now(), extension.alert_states()),
            Self::Host(host) => {
                let now = host.journal.clock().now();
                (HOST, now, host.journal.store().alerts(now))
            }
        };
        alerts.iter().map(|alert| alert_answer(id, alert, now)).collect()
    }
}

/// How the host is doing, as an extension's is told: it has no budget, and what it records of itself is never switched off.
fn manager() -> api::Manager {
    let standing = api::Standing { state: "healthy".to_owned(), ..api::Standing::default() };
    let (extension, status) = (HOST.to_owned(), "ready".to_owned());
    api::Manager { extension, status, debugging: true, standing, ..api::Manager::default() }
}

/// What the host has recorded of itself since it was started.
fn summary(host: &Controlled) -> api::Summary {
    let usage = host.journal.store().usage();
    let stored = |signal: Signal| usage.stored[signal as usize];
    api::Summary {
        extension: HOST.to_owned(),
        state: "ready".to_owned(),
        logs: stored(Signal::Log),
        metrics: stored(Signal::Metric),
        spans: stored(Signal::Span),
        alerts: stored(Signal::Alert),
        dropped: usage.dropped,
        ..api::Summary::default()
    }
}
