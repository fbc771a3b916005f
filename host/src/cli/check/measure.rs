//! Measures: makes the calls of a feed, each in an instance of its own.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use glasshouse::{CallError, Redaction, Redactor, Trial, Tried, call_error_answer, text};

use super::baseline::{Baseline, Figures, Row};
use crate::cli::feed::{Feed, Work};

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
    let redactor = redactor(&planned.resolved.settings.redaction);
    let mut measuring = Measuring { trial, twice, redactor, component: String::new(), unsteady: Vec::new() };
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
    redactor: Redactor,
    component: String,
    unsteady: Vec<Row>,
}

impl Measuring<'_> {
    async fn life_cycle(&mut self) -> Result<Vec<Row>, String> {
        let rows = self.exports().await?;
        if self.twice {
            let again = self.exports().await?;
            self.unsteady.extend(differing(&rows, &again));
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
        if self.twice {
            self.unsteady.extend(differing(&rows[..1], &rows[1..]));
        }
        Ok(Ok(rows.swap_remove(0)))
    }

    fn row(&mut self, line: Option<u64>, name: &str, input: Option<String>, tried: &Tried) -> Result<Row, String> {
        let component = tried.component.to_string();
        if self.component.is_empty() {
            self.component = component;
        } else if self.component != component {
            return Err("its component was replaced while it was being measured; try again".to_owned());
        }
        let figures = Figures {
            fuel: tried.cost.fuel.ok_or_else(|| format!("no fuel was counted of {}", text::visible(name, 140)))?,
            memory_peak_bytes: tried.cost.memory_peak_bytes,
            host_calls: tried.cost.host_calls,
            records: tried.records,
            record_bytes: tried.record_bytes,
        };
        let name = self.redactor.redact_text(name).into_owned();
        Ok(Row { line, name, input, outcome: outcome(tried, &self.redactor), figures })
    }
}

/// The rules of an extension's redaction, switched on in any case: names come from the feed, and the kinds of errors from the
/// extension, and neither is to bring secrets into a file that is kept.
fn redactor(rules: &Redaction) -> Redactor {
    Redactor::new(&Redaction { enabled: true, ..rules.clone() }).unwrap_or_default()
}

/// What differs when it is done again, and what comes only then.
fn differing<'a>(rows: &'a [Row], again: &'a [Row]) -> impl Iterator<Item = Row> + 'a {
    let changed = rows.iter().enumerate().filter(|(index, row)| again.get(*index) != Some(row)).map(|(_, row)| row);
    changed.chain(again.iter().skip(rows.len())).cloned()
}

/// How a call ended: `ok`, or the kind of the error or failure.
fn outcome(tried: &Tried, redactor: &Redactor) -> String {
    match &tried.outcome {
        Ok(_) => "ok".to_owned(),
        Err(error) => kept(&call_error_answer(error).kind, redactor),
    }
}

/// The start of a text without secrets. Of one that is cut first, half a secret may be left, which no rule knows.
fn kept(kind: &str, redactor: &Redactor) -> String {
    text::cut(&redactor.redact_text(kind), OUTCOME_BYTES).to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_half_of_a_secret_is_left_where_a_text_is_cut() {
        let own = Redaction { enabled: false, patterns: vec!["employee-[0-9]{12}".to_owned()], ..Redaction::default() };
        for secret in [concat!("AKIA", "Q7WX3ZJ5TN2KVB4M"), "employee-123456789012"] {
            for before in OUTCOME_BYTES - secret.len()..=OUTCOME_BYTES {
                let text = format!("{} {secret}", "#".repeat(before - 1));
                let kept = kept(&text, &redactor(&own));
                assert!(kept.len() <= OUTCOME_BYTES && kept.starts_with("###"), "{kept}");
                let after = kept.trim_start_matches(['#', ' ']);
                assert!("[redacted]".starts_with(after), "{before}: {kept}");
            }
        }
    }

    #[test]
    fn what_differs_the_second_time_or_comes_only_then_is_noted() {
        let row = |name: &str, fuel| Row {
            line: None,
            name: name.to_owned(),
            input: None,
            outcome: "ok".to_owned(),
            figures: Figures { fuel, ..Figures::default() },
        };
        let names = |rows: &[Row], again: &[Row]| differing(rows, again).map(|row| row.name).collect::<Vec<_>>();
        let (both, first) = ([row("init", 1), row("collect", 1)], [row("init", 1)]);
        assert!(names(&both, &both).is_empty());
        assert_eq!(names(&both, &first), ["collect"]);
        assert_eq!(names(&first, &both), ["collect"]);
        assert_eq!(names(&both, &[row("init", 2), row("collect", 1)]), ["init"]);
    }
}
