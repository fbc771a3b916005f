//! A host that is killed by SIGKILL at any moment, under load: every record whose guest call had returned is there, in order
//! and once. What had returned is proven by files that the guests write, and by replies that were read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use glasshouse::records::{AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, SpanRecord, record};
use glasshouse::records::{FieldList, FieldValue, Head};
use glasshouse::{Cursor, Entry, Query, Signal, Stored};
use serde_json::json;

use crate::harness::{Place, json_lines, wait_for};

/// The variable that says how often each test kills its host.
const KILLS_VARIABLE: &str = "GLASSHOUSE_KILLS";
/// How often it is killed where nobody says otherwise.
const KILLS: u64 = 15;
/// Each so many-th record of `tally` is a warning, with one record of each other signal before it.
const STEP: u64 = 50;
/// Extensions that are `tally`, and whether they gather logs.
const TALLIES: [(&str, bool); 3] = [("one", false), ("two", false), ("gathered", true)];
/// Events for `neighbour` in each run: more than it answers before the end.
const EVENTS: u64 = 5000;

/// A data directory, and what is known to be in it.
struct Kills {
    place: Place,
    settings: Vec<String>,
    evicts: bool,
    known: BTreeMap<(&'static str, Signal), Known>,
}

/// What was found of a signal of an extension so far.
#[derive(Default)]
struct Known {
    next_sequence: u64,
    cursor: Option<Cursor>,
    /// The last number of each run.
    runs: Vec<(u64, u64)>,
}

/// What the records of a run must be.
struct Proof {
    extension: &'static str,
    signal: Signal,
    /// The first number, and how much greater each one is than the one before it.
    step: u64,
    /// The last number that is known to have returned, and the last one that can have been recorded.
    last: (u64, u64),
}

impl Kills {
    fn new(settings: &[&str], evicts: bool) -> Self {
        let place = Place::with_plugins(&["neighbour"]).lenient();
        fs::create_dir(place.path("counters")).expect("making a folder");
        let mut granted = "[defaults.budget]\ndeadline = \"1h\"\nfuel_per_call = 9000000000000\n".to_owned();
        for (id, batched) in TALLIES {
            let manifest =
                "permissions.files = [{ host = \"../../counters\", guest = \"/counters\", access = \"write\" }]";
            place.extension(id, "tally", &format!("{manifest}\nconfig.batched = {batched}\n"));
            let files = "files = [{ host = \"counters\", access = \"write\" }]";
            let _ = writeln!(granted, "[extensions.{id}.permissions]\n{files}");
            let _ = writeln!(granted, "[extensions.{id}.debugging]\ntracing_enabled = true");
        }
        place.write("glasshouse.toml", &granted);
        let settings = settings.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]).collect();
        Self { place, settings, evicts, known: BTreeMap::new() }
    }

    fn counter(&self, id: &str) -> PathBuf {
        self.place.path("counters").join(id)
    }

    /// The last number that an extension has noted; 0 if it has noted none.
    fn counted(&self, id: &str) -> u64 {
        let bytes = fs::read(self.counter(id)).unwrap_or_default();
        bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Runs a host under load, kills it, and checks what it left.
    fn run_and_kill(&mut self, run: u64) {
        let mut feed = String::new();
        for (id, _) in TALLIES {
            let _ = fs::remove_file(self.counter(id));
            let payload = json!({"run": run, "to": u64::MAX, "file": format!("/counters/{id}")});
            let _ = writeln!(feed, "{}", json!({"extension": id, "event": "count", "payload": payload}));
        }
        for number in 1..=EVENTS {
            let correlation_id = format!("{run}-{number}");
            let event = json!({"extension": "neighbour", "event": "echo", "correlation_id": correlation_id});
            let _ = writeln!(feed, "{event}");
        }
        self.place.write("feed.jsonl", &feed);
        let mut arguments = vec!["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data"];
        arguments.extend(["--feed", "feed.jsonl"]);
        arguments.extend(self.settings.iter().map(String::as_str));
        let mut host = self.place.start(&arguments);
        let (replies, told) = (host.stdout(), host.stderr());
        // One in six is killed while it starts, and finds out what the one before it left.
        if !run.is_multiple_of(6) {
            wait_for("all to count", || {
                (TALLIES.iter().all(|(id, _)| self.counted(id) > 0) && replies.count() > 0).then_some(())
            });
        }
        // This is no wait for anything: it is the random moment.
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..200_000)));
        host.kill();
        let replies = json_lines(&replies.all_of_them().join("\n")).len() as u64;
        let mut told = told.all_of_them();
        told.retain(|line| line != "running; Ctrl-C ends it");
        assert!(told.is_empty(), "run {run}: a start after a kill finds no damage: {told:?}");
        self.check(run, replies);
    }

    fn check(&mut self, run: u64, replies: u64) {
        let stored = Stored::open(&self.place.path("data"));
        // A host that was killed at once has made none.
        let Ok(stored) = stored else { return assert_eq!((run, replies), (1, 0)) };
        let mut proofs = Vec::new();
        for (extension, batched) in TALLIES {
            let counted = self.counted(extension);
            let logs = if batched { counted + STEP } else { counted + 1 };
            proofs.push(Proof { extension, signal: Signal::Log, step: 1, last: (counted, logs) });
            for signal in [Signal::Metric, Signal::Error, Signal::Alert, Signal::Span] {
                let returned = counted - counted % STEP;
                proofs.push(Proof { extension, signal, step: STEP, last: (returned, returned + STEP) });
            }
        }
        for signal in [Signal::Log, Signal::Metric, Signal::Invocation] {
            proofs.push(Proof { extension: "neighbour", signal, step: 1, last: (replies, EVENTS) });
        }
        for proof in proofs {
            let known = self.known.entry((proof.extension, proof.signal)).or_default();
            let what = format!("run {run}, {} of {}", proof.signal, proof.extension);
            let reader = stored.extension(proof.extension).reader(proof.signal);
            if let Some(cursor) = &known.cursor {
                assert_eq!(
                    reader.resume(cursor),
                    (known.next_sequence, false),
                    "{what}: a follower is told of no loss"
                );
            }
            let page = reader.page(known.next_sequence, usize::MAX);
            assert!(self.evicts || page.missed == 0, "{what}: {:?}", page.gaps);
            let sequences: Vec<_> = page.entries.iter().map(Entry::sequence).collect();
            let first = sequences.first().copied().unwrap_or(page.next_sequence);
            assert_eq!(sequences, (first..page.next_sequence).collect::<Vec<_>>(), "{what}: in a row");
            let numbers: Vec<_> = page.entries.iter().filter_map(|entry| numbered(proof.signal, entry)).collect();
            let first = if page.missed == 0 { proof.step } else { numbers.first().map_or(proof.step, |first| first.1) };
            let last = numbers.last().map_or(0, |last| last.1);
            let expected: Vec<_> = (first..=last).step_by(proof.step as usize).map(|number| (run, number)).collect();
            assert!(numbers == expected, "{what}: in order and once: {numbers:?}");
            let (least, most) = proof.last;
            assert!((least..=most).contains(&last), "{what}: {last} records, and not {least} to {most}");
            known.next_sequence = page.next_sequence;
            known.cursor =
                page.entries.last().map(|last| reader.cursor(proof.extension, last.sequence())).or(known.cursor.take());
            known.runs.push((run, last));
        }
    }

    /// All that was there after each kill is still there, but for what had to go.
    fn check_all(&self) {
        let stored = Stored::open(&self.place.path("data")).expect("it is a data directory");
        for ((extension, signal), known) in &self.known {
            let page = stored.extension(extension).reader(*signal).page(1, usize::MAX);
            assert!(self.evicts || page.missed == 0, "{extension} {signal}: {:?}", page.gaps);
            let mut last = BTreeMap::new();
            for (run, number) in page.entries.iter().filter_map(|entry| numbered(*signal, entry)) {
                last.insert(run, number);
            }
            let oldest = last.keys().next().copied().unwrap_or(u64::MAX);
            let expected = known.runs.iter().filter(|(run, last)| *run >= oldest && *last > 0).copied();
            assert_eq!(last, expected.collect(), "{extension} {signal}");
        }
        self.check_rollups(&stored);
    }

    /// What is told of the samples, by rollups that were being made when the host was killed, is what they are.
    fn check_rollups(&self, stored: &Stored) {
        for (extension, _) in self.known.keys().filter(|(_, signal)| *signal == Signal::Metric) {
            let samples = stored.extension(extension).records::<MetricRecord>();
            let page = samples.page(1, usize::MAX);
            let summary = samples.summary(&Query::all());
            let count: u64 = summary.series.iter().map(|series| series.aggregate.count).sum();
            assert_eq!((count, summary.missed), (page.records.len() as u64, 0), "{extension}");
            let sum = |kept: &dyn Fn(&MetricRecord) -> bool| -> f64 {
                page.records.iter().filter(|sample| kept(sample)).map(|sample| sample.value).sum()
            };
            for series in summary.series.iter().filter(|series| ["echoes", "tally"].contains(&series.name.as_str())) {
                let is_of = |sample: &MetricRecord| {
                    let labels: Vec<_> = sample.labels.0.iter().map(|(name, _)| name).collect();
                    sample.name == series.name
                        && labels.len() == series.labels.len()
                        && series
                            .labels
                            .iter()
                            .all(|(name, value)| sample.labels.get(name) == Some(&FieldValue::Text(value.clone())))
                };
                assert_eq!(Some(series.aggregate.sum), Some(sum(&is_of)), "{extension} {}", series.name);
            }
        }
    }
}

/// The run and the number of a record, if it is one that is numbered.
fn numbered(signal: Signal, entry: &Entry) -> Option<(u64, u64)> {
    let of_text = |text: &str, between: char| {
        let (run, number) = text.split_once(between)?;
        Some((run.parse().ok()?, number.parse().ok()?))
    };
    // What `neighbour` makes is told by the event that it is for.
    let of_event = |head: &Head| of_text(&head.context.as_ref()?.correlation_id, '-');
    let integer = |fields: &FieldList, name: &str| {
        fields.0.iter().find(|(given, _)| given == name).and_then(|(_, value)| match value {
            FieldValue::Integer(integer) => u64::try_from(*integer).ok(),
            FieldValue::Text(text) => text.parse().ok(),
            _ => None,
        })
    };
    match signal {
        Signal::Log => {
            let log = record::<LogRecord>(entry)?;
            let tally = integer(&log.fields, "run").zip(integer(&log.fields, "number"));
            tally.or_else(|| of_event(&log.head))
        }
        Signal::Metric => {
            let metric = record::<MetricRecord>(entry)?;
            let run = integer(&metric.labels, "run").map(|run| (run, metric.value as u64));
            run.or_else(|| of_event(&metric.head))
        }
        Signal::Error => of_text(&record::<ErrorRecord>(entry)?.message, ' '),
        Signal::Alert => of_text(&record::<AlertRecord>(entry)?.title, ' '),
        Signal::Span => {
            let span = record::<SpanRecord>(entry)?;
            integer(&span.fields, "run").zip(integer(&span.fields, "number"))
        }
        Signal::Invocation => of_event(&record::<InvocationRecord>(entry)?.head),
    }
}

fn kills() -> u64 {
    std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().expect("a number of kills"))
}

#[test]
fn a_killed_host_has_kept_every_record_whose_call_had_returned() {
    let mut kills_of = Kills::new(&[], false);
    for run in 1..=kills() {
        kills_of.run_and_kill(run);
        if run.is_multiple_of(20) {
            kills_of.check_all();
        }
    }
    kills_of.check_all();
    // What an operator sees is the same.
    let show = ["logs", "show", "--data-dir", "data", "--extension-id", "one", "--format", "json"];
    let shown = kills_of.place.glasshouse(&[&show[..], &["--limit", "100000000", "oldest first"]].concat());
    let shown: Vec<_> = shown
        .expect_code(0)
        .json_lines()
        .iter()
        .filter_map(|line| Some((line["fields"]["run"].as_u64()?, line["fields"]["number"].as_u64()?)))
        .collect();
    let runs = &kills_of.known[&("one", Signal::Log)].runs;
    let expected: Vec<_> = runs.iter().flat_map(|(run, last)| (1..=*last).map(|number| (*run, number))).collect();
    assert!(shown == expected, "{} shown, {} known", shown.len(), expected.len());
}

#[test]
fn a_killed_host_whose_oldest_records_had_to_go_has_kept_the_rest() {
    let mut kills_of = Kills::new(&["defaults.retention.logs_bytes=256KiB"], true);
    for run in 1..=kills() {
        kills_of.run_and_kill(run);
    }
    kills_of.check_all();
    let stored = Stored::open(&kills_of.place.path("data")).expect("it is a data directory");
    let evicted = |id: &str| stored.extension(id).records::<LogRecord>().evicted();
    assert!(TALLIES.iter().any(|(id, _)| evicted(id) > 0), "nothing had to go");
}

#[test]
fn a_killed_host_has_kept_the_newest_spans_of_a_trace_that_was_not_decided() {
    // Of these the half that is always there has more.
    const NEWEST: usize = 500;
    let place = Place::with_plugins(&[]).lenient();
    fs::create_dir(place.path("counters")).expect("making a folder");
    let files = "files = [{ host = \"../../counters\", guest = \"/counters\", access = \"write\" }]";
    place.extension("one", "tally", &format!("permissions.{files}\n"));
    let granted = "[defaults.budget]\ndeadline = \"1h\"\nfuel_per_call = 9000000000000\n\
                   [extensions.one.permissions]\nfiles = [{ host = \"counters\", access = \"write\" }]\n";
    place.write("glasshouse.toml", granted);
    place.write("empty.jsonl", "");
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--data-dir", "data", "--feed"];
    let spans = |run: u64| {
        let stored = Stored::open(&place.path("data")).expect("it is a data directory");
        let entries = stored.extension("one").reader(Signal::Span).page(1, usize::MAX).entries;
        let of_run = |entry: &&Entry| numbered(Signal::Span, entry).is_some_and(|(of, _)| of == run);
        entries.iter().filter(of_run).filter_map(record::<SpanRecord>).collect::<Vec<_>>()
    };
    for number in 1..=kills().div_ceil(3) {
        let counter = place.path("counters/one");
        let counted = || fs::read(&counter).ok()?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let _ = fs::remove_file(&counter);
        let payload = json!({"run": number, "to": u64::MAX, "file": "/counters/one"});
        let feed = json!({"extension": "one", "event": "count", "payload": payload});
        place.write("feed.jsonl", &format!("{feed}\n"));
        let mut host = place.start(&[&run[..], &["feed.jsonl"]].concat());
        wait_for("some spans", || counted().filter(|counted| *counted >= 4 * STEP));
        // This is no wait for anything: it is the random moment.
        std::thread::sleep(Duration::from_micros(fastrand::u64(0..1_000_000)));
        host.kill();
        let returned = counted().expect("it has counted");
        let returned = returned - returned % STEP;
        assert!(spans(number).is_empty(), "nobody knew yet that they are to be kept");
        // The next host keeps them; the one after that has nothing to add.
        for _ in 0..2 {
            place.glasshouse(&[&run[..], &["empty.jsonl", "--exit-when-done"]].concat()).expect_code(0);
            let spans = spans(number);
            let numbers: Vec<_> = spans
                .iter()
                .filter_map(|span| span.fields.get("number"))
                .map(|value| if let FieldValue::Integer(number) = value { *number as u64 } else { 0 })
                .collect();
            let last = numbers.last().copied().expect("there are some");
            assert!((returned..=returned + STEP).contains(&last), "{last}, where {returned} had returned");
            assert!(numbers.windows(2).all(|pair| pair[0] + STEP == pair[1]), "in order and once: {numbers:?}");
            let most = (last / STEP) as usize;
            assert!(numbers.len() >= NEWEST.min(most), "{} of {most} in {number}", numbers.len());
            let trace_id = spans[0].head.context.as_ref().expect("it has one").trace_id;
            let stored = Stored::open(&place.path("data")).expect("it is a data directory");
            let logs = stored.extension("one").records::<LogRecord>().page(1, usize::MAX).records;
            let of_kill =
                |log: &&LogRecord| log.fields.get("event") == Some(&FieldValue::Text("telemetry.killed".into()));
            let told: Vec<_> = logs.iter().filter(of_kill).filter_map(|log| log.head.context.as_ref()).collect();
            assert_eq!(told.iter().filter(|context| context.trace_id == trace_id).count(), 1);
            assert_eq!(told.len() as u64, number, "each trace says so once");
        }
    }
}
