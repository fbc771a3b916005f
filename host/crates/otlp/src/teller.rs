//! Tells what goes wrong and what is over, once a minute at most, and stores the counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use glasshouse_model::Level;
use glasshouse_model::config::OtlpService;
use glasshouse_model::wire::{Field, Value};
use tokio::time::Instant;

use crate::report::{Counts, Witness};
use crate::shared::Shared;

/// How often it is told at most what goes wrong: an outage of hours is not to fill the log that is pushed when it is over.
const TOLD: Duration = Duration::from_mins(1);

pub(crate) struct Teller {
    metrics_interval: Duration,
    witness: Arc<dyn Witness>,
    state: Mutex<State>,
}

struct State {
    news: News,
    told: Option<(Instant, Counts)>,
    measured: (Instant, Counts),
}

/// What is still to be told.
#[derive(Default)]
struct News {
    /// Why records were lost, the latest cause.
    lost: Option<String>,
    failing: BTreeMap<OtlpService, String>,
    recovered: BTreeMap<OtlpService, Duration>,
    cursors: Option<String>,
}

impl Teller {
    pub(crate) fn new(metrics_interval: Duration, witness: Arc<dyn Witness>) -> Self {
        let state = State { news: News::default(), told: None, measured: (Instant::now(), Counts::default()) };
        Self { metrics_interval, witness, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lost(&self, why: &str) {
        self.state().news.lost = Some(why.to_owned());
    }

    pub(crate) fn cursors(&self, why: String) {
        self.state().news.cursors = Some(why);
    }

    /// A service fails, as it did not before.
    pub(crate) fn failing(&self, service: OtlpService, told: String) {
        let news = &mut self.state().news;
        news.failing.insert(service, told);
        news.recovered.remove(&service);
    }

    /// A service fails no more.
    pub(crate) fn recovered(&self, service: OtlpService, took: Duration) {
        let news = &mut self.state().news;
        // What was over before it was told of is not told of.
        if news.failing.remove(&service).is_none() {
            news.recovered.insert(service, took);
        }
    }

    /// Tells what there is to be told, if that is due, and stores the counts, if these are.
    pub(crate) fn tell(&self, shared: &Shared, is_last: bool) {
        let (now, counts) = (Instant::now(), shared.counts());
        let (mut grown, mut told) = (None, None);
        {
            let state = &mut *self.state();
            if is_last || now >= state.measured.0 + self.metrics_interval {
                grown = Some(counts.since(&state.measured.1));
                state.measured = (now, counts);
            }
            let is_due = is_last || state.told.is_none_or(|(told, _)| now >= told + TOLD);
            let News { lost, failing, recovered, cursors } = &state.news;
            let is_any = lost.is_some() || !failing.is_empty() || !recovered.is_empty() || cursors.is_some();
            if is_due && is_any {
                let before = state.told.map_or_else(Counts::default, |(_, counts)| counts);
                told = Some((std::mem::take(&mut state.news), counts.since(&before)));
                state.told = Some((now, counts));
            }
        }
        // Whoever is told takes as long as he takes.
        if let Some(grown) = grown {
            self.witness.measure(&grown, shared.waiting());
        }
        if let Some((news, grown)) = told {
            self.tell_all(news, &grown);
        }
    }

    fn tell_all(&self, news: News, grown: &Counts) {
        let News { lost, failing, recovered, cursors } = news;
        for (service, message) in failing {
            self.note(Level::Warning, &message, "otlp.failing", Some(service), &[]);
        }
        for (service, took) in recovered {
            let message = format!("{service} are pushed again, after {}", glasshouse_model::text::duration(took));
            self.note(Level::Info, &message, "otlp.recovered", Some(service), &[]);
        }
        if let Some(why) = lost {
            let message = format!("{} records were not pushed and never will be: {why}", grown.lost());
            let Counts { rejected, refused, oversized, evicted, damaged, .. } = *grown;
            let counts = [
                ("rejected", rejected),
                ("refused", refused),
                ("oversized", oversized),
                ("evicted", evicted),
                ("damaged", damaged),
            ];
            self.note(Level::Warning, &message, "otlp.lost", None, &counts);
        }
        if let Some(why) = cursors {
            self.note(Level::Warning, &why, "otlp.cursors", None, &[]);
        }
    }

    fn note(&self, level: Level, message: &str, event: &str, service: Option<OtlpService>, counts: &[(&str, u64)]) {
        let mut fields = vec![Field { name: "event", value: Value::Text(event) }];
        fields.extend(service.map(|service| Field { name: "service", value: Value::Text(service.as_str()) }));
        let number = |count: u64| Value::Integer(i64::try_from(count).unwrap_or(i64::MAX));
        fields.extend(counts.iter().map(|(name, count)| Field { name, value: number(*count) }));
        self.witness.note(level, message, &fields);
    }
}
