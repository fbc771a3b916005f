//! What debugging costs the example extensions: at default settings, and as the demo has them, against everything switched off.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use glasshouse::{CallError, Event, Extension, Host, Status, Trigger};
use serde_json::Value;

use crate::harness::{Plan, Row, Samples, Side, cpu};
use crate::house::House;

/// Crossings in one measurement of what measuring itself costs: some milliseconds.
const CROSSINGS: u32 = 1_000_000;
/// What measuring may add to a crossing: a hundredth of what a log costs.
const MEASURING_NANOS: f64 = 2.5;
/// How often an extension's events are sent in one measurement, so that it takes some tens of milliseconds.
const ROUNDS: [(&str, u32); 4] = [("access-log", 20), ("markdown", 4), ("relay", 8), ("snippets", 1)];
/// What the others are compared with.
const OFF: &str = "the same, all switched off";
/// All that can be switched off.
const SWITCHES: [&str; 5] =
    ["logging_enabled", "metrics_enabled", "error_tracking_enabled", "alerting_enabled", "tracing_enabled"];

/// What the demo sets otherwise than the defaults have it, undone.
const DEFAULTS: &str = "tracing_enabled=false";
/// What is compared, and the most that it may cost.
const SIDES: [(&str, Option<f64>); 2] = [("at default settings", Some(1.05)), ("as in the demo, with all spans", None)];

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let feed = Feed::read(&house.demo().join("feed.jsonl"))?;
    let off = SWITCHES.map(|switch| format!("{switch}=false"));
    let hosts = [host(house, &[DEFAULTS.to_owned()])?, host(house, &[])?, host(house, &off)?];
    let mut rows = Vec::new();
    let mut totals = [(); 3].map(|()| vec![0.0; plan.repeats as usize]);
    for (id, rounds) in ROUNDS {
        let events = feed.of(id);
        let times = rounds * events.len() as u32;
        let side = |host: &Host| -> Result<Side<'_>> {
            let extension = host.extension(id).context("it is in the plugin directory")?.clone();
            let events = events.clone();
            Ok(Box::new(move || cpu(times, || house.tokio.block_on(send(&extension, &events, rounds)))))
        };
        let [default, demo, off] = hosts.each_ref();
        let sides = plan.run([side(default)?, side(demo)?, side(off)?])?;
        for (total, side) in totals.iter_mut().zip(&sides) {
            total.iter_mut().zip(side.samples()).for_each(|(total, nanos)| *total += nanos * events.len() as f64);
        }
        for ((host, with), (settings, target)) in hosts.iter().zip(&sides).zip(SIDES) {
            let extension = host.extension(id).context("it is in the plugin directory")?;
            let overhead = extension.overhead();
            let what = format!(
                "{id}: an event of the demo, {settings}; the governor says {:.1} %, {}",
                overhead.percent_of(extension.usage().cpu_nanos),
                overhead.detail
            );
            rows.push(with.against(&sides[2], "overhead", &what, OFF, target));
        }
    }
    let totals = totals.map(Samples::new);
    for (with, (settings, target)) in totals.iter().zip(SIDES) {
        rows.push(with.against(&totals[2], "overhead", &format!("all events of the demo, {settings}"), OFF, target));
    }
    rows.push(measuring(plan)?);
    Ok(rows)
}

/// What the governor's measuring adds to each crossing.
fn measuring(plan: &Plan) -> Result<Row> {
    let side: Side<'_> = Box::new(|| {
        cpu(CROSSINGS, || {
            glasshouse_runtime::bench::cross(CROSSINGS);
            Ok(())
        })
    });
    let [crossing] = plan.run([side])?;
    let what = "what measuring adds to a crossing, of which one in 64 is timed";
    let row = Row::figure("overhead", what, crate::harness::Unit::Nanos, crossing.spread());
    Ok(row.under("a hundredth of a log", MEASURING_NANOS))
}

/// A host with the example extensions, all ready, with some keys of `debugging` set for all of them.
fn host(house: &House, debugging: &[String]) -> Result<Host> {
    let demo = house.demo();
    let set = debugging.iter().map(|setting| format!("defaults.debugging.{setting}"));
    let builder = Host::builder()
        .plugin_dir(demo.join("plugins"))
        .config_file(demo.join("glasshouse.toml"))
        .cache_folder(house.folder().join("cache"))
        // What is measured is the CPU time of the thread that calls.
        .background_threads(0)
        .overrides(set);
    house.tokio.block_on(async {
        let host = builder.start().await?;
        host.loaded().await;
        for extension in host.extensions() {
            let status = extension.status();
            ensure!(status == Status::Ready, "{} is {}", extension.id(), status.word());
        }
        Ok(host)
    })
}

/// Sends events one after the other, so often.
async fn send(extension: &Extension, events: &[Event], rounds: u32) -> Result<()> {
    for _ in 0..rounds {
        for event in events {
            match extension.call(event.clone(), Trigger::default()).await {
                // The demo has an event that is refused on purpose.
                Ok(_) | Err(CallError::Answered(_)) => {}
                Err(error) => bail!("{}: {error}", extension.id()),
            }
        }
    }
    Ok(())
}

/// The events of the demo.
struct Feed(Vec<(String, Event)>);

impl Feed {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let events = text.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            let payload = serde_json::to_vec(&line["payload"])?;
            let event = Event { name: text("event"), content_type: "application/json".into(), payload };
            Ok((text("extension"), event))
        });
        events.collect::<Result<_>>().map(Self)
    }

    fn of(&self, id: &str) -> Vec<Event> {
        self.0.iter().filter(|(extension, _)| extension == id).map(|(_, event)| event.clone()).collect()
    }
}
