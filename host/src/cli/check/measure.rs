//! Measures: makes the calls of a feed, each in an instance of its own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use glasshouse::{CallError, Redactor, Trial, Tried, text};

use super::baseline::{Baseline, Figures, Row};
use crate::cli::feed::{Feed, Work};
use crate::cli::payload::ShownError;

/// Hexadecimal digits of an input's digest: enough to tell the lines of a feed apart.
const DIGITS: usize = 16;
/// Digits of the configuration's: too few to try out what secret stands in it.
const CONFIG_DIGITS: usize = 6;
/// Bytes of an outcome: an extension names its errors as it likes.
const OUTCOME_BYTES: usize = 100;

/// What was measured.
pub(super) struct Measured {
    pub(super) costs: Baseline,
    /// Events that are for other extensions.
    pub(super) passed_over: u64,
    /// Calls that cost something else when they were made again.
    pub(super) unsteady: Vec<Row>,
}

/// Makes all calls; `twice` makes each of them again, to see whether it costs the same. A feed that cannot be used is an error,
/// what keeps the extension from being called the inner one.
pub(super) async fn measure(trial: &Trial, feed: &Path, twice: bool) -> Result<Result<Measured, String>> {
    let planned = trial.about();
    let name = feed.display();
    let mut lines = Feed::open(feed).await.with_context(|| format!("reading the feed {name}"))?;
    let mut measuring = Measuring { trial, twice, component: String::new(), unsteady: Vec::new() };
    let exports = match measuring.life_cycle().await {
        Ok(exports) => exports,
        Err(cause) => return Ok(Err(cause)),
    };
    let (mut events, mut passed_over) = (Vec::new(), 0);
    while let Some(line) = lines.next().await.with_context(|| format!("reading the feed {name}"))? {
        let refused = |cause: String| anyhow::anyhow!("line {} of the feed {name}: {cause}", line.number);
        let work = line.work.map_err(refused)?;
        if work.extension != planned.id.as_str() {
            passed_over += 1;
            continue;
        }
        match measuring.call(line.number, &work).await {
            Ok(Ok(row)) => events.push(row),
            Ok(Err(refusal)) => return Err(refused(refusal)),
            Err(cause) => return Ok(Err(cause)),
        }
    }
    anyhow::ensure!(
        !events.is_empty(),
        "the feed {name} has no event for the extension {}, and {passed_over} for others",
        planned.id
    );
    let Measuring { component, unsteady, .. } = measuring;
    let costs = Baseline::new(planned.id.as_str(), component, settings(trial), exports, events);
    Ok(Ok(Measured { costs, passed_over, unsteady }))
}

struct Measuring<'a> {
    trial: &'a Trial,
    twice: bool,
    component: String,
    unsteady: Vec<Row>,
}

impl Measuring<'_> {
    async fn life_cycle(&mut self) -> Result<Vec<Row>, String> {
        let mut rows = self.exports().await?;
        if self.twice {
            let again = self.exports().await?;
            let all = std::mem::take(&mut rows);
            for (index, row) in all.into_iter().enumerate() {
                self.note_unsteady(&row, again.get(index));
                rows.push(row);
            }
        }
        Ok(rows)
    }

    async fn exports(&mut self) -> Result<Vec<Row>, String> {
        let tried = self.trial.life_cycle().await?;
        tried.iter().map(|(name, tried)| self.row(None, name, None, tried)).collect()
    }

    /// Calls an event; the inner error is for one that cannot be passed on.
    async fn call(&mut self, line: u64, work: &Work) -> Result<Result<Row, String>, String> {
        let input = blake3::hash(&work.event.payload).to_hex()[..DIGITS].to_owned();
        let mut rows = Vec::new();
        for _ in 0..=usize::from(self.twice) {
            let tried = self.trial.call(work.event.clone(), work.trigger.clone()).await?;
            if let Err(CallError::InvalidEvent(cause)) = &tried.outcome {
                return Ok(Err(cause.clone()));
            }
            rows.push(self.row(Some(line), &work.event.name, Some(input.clone()), &tried)?);
        }
        let first = rows.swap_remove(0);
        if self.twice {
            self.note_unsteady(&first, rows.first());
        }
        Ok(Ok(first))
    }

    fn note_unsteady(&mut self, row: &Row, again: Option<&Row>) {
        if again != Some(row) {
            self.unsteady.push(row.clone());
        }
    }

    fn row(&mut self, line: Option<u64>, name: &str, input: Option<String>, tried: &Tried) -> Result<Row, String> {
        let component = tried.component.to_string();
        if self.component.is_empty() {
            self.component = component;
        } else if self.component != component {
            return Err("its component was replaced while it was being measured; try again".to_owned());
        }
        let figures = Figures {
            fuel: tried.cost.fuel.unwrap_or_default(),
            memory_peak_bytes: tried.cost.memory_peak_bytes,
            host_calls: tried.cost.host_calls,
            records: tried.records,
            record_bytes: tried.record_bytes,
        };
        // Names come from the feed, and the kinds of errors from the extension: neither is to bring secrets into a file that is
        // kept.
        let clean = |text: &str| Redactor::default().redact_text(text).into_owned();
        Ok(Row { line, name: clean(name), input, outcome: outcome(tried), figures })
    }
}

/// How a call ended: `ok`, or the kind of the error or failure.
fn outcome(tried: &Tried) -> String {
    match &tried.outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => {
            let kind = ShownError::from(error).kind;
            Redactor::default().redact_text(text::cut(&kind, OUTCOME_BYTES)).into_owned()
        }
    }
}

/// The settings that have a say in the costs.
fn settings(trial: &Trial) -> BTreeMap<String, String> {
    let settings = trial.settings();
    let (budget, debugging) = (&settings.budget, &settings.debugging);
    let config = serde_json::Value::Object(settings.config.clone()).to_string();
    let signals = [
        ("logs", debugging.logging_enabled),
        ("metrics", debugging.metrics_enabled),
        ("errors", debugging.error_tracking_enabled),
        ("spans", debugging.tracing_enabled),
        ("alerts", debugging.alerting_enabled),
    ];
    let stored: Vec<_> = signals.iter().filter(|(_, stored)| *stored).map(|(signal, _)| *signal).collect();
    let named = [
        ("metering", trial.metering()),
        ("fuel_per_call", budget.fuel_per_call.to_string()),
        ("memory_bytes", budget.memory_bytes.to_string()),
        ("host_data_per_call_bytes", budget.host_data_per_call.to_string()),
        ("host_calls_per_call", budget.host_calls_per_call.to_string()),
        ("log_level", debugging.log_level.to_string()),
        ("stored", stored.join(" ")),
        ("config", blake3::hash(config.as_bytes()).to_hex()[..CONFIG_DIGITS].to_owned()),
    ];
    named.map(|(name, value)| (name.to_owned(), value)).into()
}
