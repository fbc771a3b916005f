//! Secrets are sent every way by which text gets into telemetry, and none comes out: not in what the API reads, not in
//! files, not from the command, not in the host's log. That all of them come out with redaction switched off shows
//! that they were sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use glasshouse::records::{
    AlertRecord, ErrorRecord, InvocationRecord, LogRecord, MetricRecord, Record, Records, SpanRecord,
};
use glasshouse::{Event, Extension, Host, Signal, Stored, Trigger};
use serde::Serialize;
use serde_json::{Value, json};

use crate::canaries::{ASKED, Canaries, ENDS, Forms, PLACES};
use crate::harness::{Place, wait_for};

/// More than any signal has.
const ALL: usize = 1_000_000;
/// Far more than a host takes to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// Logs that fill several segments.
const FILLING: usize = 4000;

/// The way of the one that goes back to the caller, as it is to.
const ANSWERED: &str = "answer key";

/// Where secrets may come out: what each place held.
type Outlets = BTreeMap<String, Vec<u8>>;

/// A call: extension, event, payload, and for whom.
#[derive(Default)]
struct Call {
    extension: &'static str,
    event: String,
    payload: Value,
    correlation_id: Option<String>,
    user: Option<String>,
    tenant: Option<String>,
}

fn call(extension: &'static str, event: &str, payload: Value) -> Call {
    Call { extension, event: event.to_owned(), payload, ..Call::default() }
}

fn seed(place: &str, texts: &[String]) -> Value {
    json!({ "place": place, "texts": texts })
}

/// A plugin directory with extensions that are given secrets, by a manifest too.
fn place(canaries: &mut Canaries, enabled: bool) -> Place {
    let place = Place::with_plugins(&[]).lenient();
    let quoted = |text: &str| Value::from(text).to_string();
    let manifest = |id: &str, more: &str| {
        place.link("canary", &format!("plugins/{id}/{id}.wasm"));
        place.write(&format!("plugins/{id}/extension.toml"), &format!("id = \"{id}\"\n{more}"));
    };
    let reaches = "[permissions]\npublish = [\"sk-*\"]\nfiles = [{ host = \".\", guest = \"/data\" }]\n";
    let subscribed = "subscribe = [\"sk-*\"]\n";
    manifest("planted", &format!("{subscribed}{reaches}"));
    manifest("gathers", &format!("{subscribed}{reaches}[config]\ngathers = true\n"));
    manifest("failing", "");
    let asked = canaries.shape("denied permission", 0);
    let described = canaries.shape("description", 2);
    manifest("asks", &format!("description = {}\n[permissions]\nenv = [{}]\n", quoted(&described), quoted(&asked)));
    manifest("refuses", &format!("[config]\nrefuse = {}\n", quoted(&all_in_one(canaries, "refusal of init"))));
    manifest("panics", &format!("[config]\npanic = {}\n", quoted(&all_in_one(canaries, "panic of init"))));
    let value = canaries.shape("value in a manifest", 2);
    manifest("broken", &format!("[budget]\ndeadline = {}\n", quoted(&value)));
    place.write(
        "glasshouse.toml",
        &format!(
            "[files]\nfolder = \"logs\"\n[defaults.redaction]\nenabled = {enabled}\nemail = true\n\
             [defaults.budget]\nfailures_in_a_row = 1000\n\
             [defaults.debugging]\ntracing_enabled = true\nlog_level = \"trace\"\n\
             metrics_interval = \"1s\"\nhealth_check_interval = \"1s\"\n\
             [extensions.failing.budget]\nfailures_in_a_row = 3\n\
             [extensions.planted.permissions]\npublish = [\"sk-*\"]\nfiles = [{{ host = \"plugins/planted\" }}]\n\
             [extensions.gathers.permissions]\npublish = [\"sk-*\"]\nfiles = [{{ host = \"plugins/gathers\" }}]\n"
        ),
    );
    place
}

/// Secrets of all forms in one text of several lines.
fn all_in_one(canaries: &mut Canaries, way: &str) -> String {
    canaries.texts(way, Forms::All).join("\n")
}

/// Calls that send secrets in every way.
fn calls(canaries: &mut Canaries) -> Vec<Call> {
    let mut calls = Vec::new();
    for extension in ["planted", "gathers"] {
        let mut texts = |place: &str, forms| canaries.texts(&format!("{extension} {place}"), forms);
        for (place, forms) in PLACES {
            calls.push(call(extension, "plant", seed(place, &texts(place, *forms))));
        }
        for text in texts("user", Forms::Line) {
            calls.push(Call { user: Some(text), ..call(extension, "plant", seed("log-field", &[])) });
        }
        for text in texts("tenant", Forms::Line) {
            calls.push(Call { tenant: Some(text), ..call(extension, "plant", seed("log-field", &[])) });
        }
        for text in texts("correlation id", Forms::Word) {
            calls.push(Call { correlation_id: Some(text), ..call(extension, "plant", seed("log-field", &[])) });
        }
        for text in texts("event", Forms::All) {
            calls.push(call(extension, &text, Value::Null));
        }
        for text in texts("event that fails", Forms::All) {
            calls.push(call(extension, &text, json!("fail")));
        }
        for (place, forms) in ENDS {
            for text in texts(place, *forms) {
                calls.push(call(extension, "bury", seed(place, &[text])));
            }
        }
    }
    for _ in 0..3 {
        let text = all_in_one(canaries, "quarantine");
        calls.push(call("failing", "bury", seed("end-panic", &[text])));
    }
    calls.push(call("failing", "plant", Value::Null));
    calls
}

/// The records of a signal as JSON.
fn json_of<T: Record + Serialize>(records: &Records<T>) -> Vec<u8> {
    serde_json::to_vec(&records.latest(ALL)).expect("records are JSON")
}

/// What the API reads of an extension, in memory or in a data directory.
macro_rules! read {
    ($outlets:expr, $from:expr, $extension:expr) => {{
        let (extension, from) = (&$extension, $from);
        let mut put = |what: &str, bytes| drop($outlets.insert(format!("{from} {} {what}", extension.id()), bytes));
        put("logs", json_of(&extension.records::<LogRecord>()));
        put("metrics", json_of(&extension.records::<MetricRecord>()));
        put("spans", json_of(&extension.records::<SpanRecord>()));
        put("alerts", json_of(&extension.records::<AlertRecord>()));
        put("alerts as they stand", format!("{:?}", extension.alert_states()).into_bytes());
        put("invocations", json_of(&extension.records::<InvocationRecord>()));
        for signal in Signal::ALL {
            let entries = extension.reader(*signal).all();
            let read: Vec<_> = entries.iter().map(|entry| (entry.envelope(), entry.body())).collect();
            put(&format!("{signal} as stored"), format!("{read:?}").into_bytes());
        }
    }};
}

/// The bytes of every file in a folder.
fn files(outlets: &mut Outlets, when: &str, folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("it is a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(outlets, when, &path);
        } else {
            outlets.insert(format!("{when} {}", path.display()), std::fs::read(&path).expect("it is read"));
        }
    }
}

/// Makes a call, and tells how it failed.
async fn make(host: &Host, call: Call) -> Option<String> {
    let event = Event {
        name: call.event,
        content_type: "application/json".into(),
        payload: call.payload.to_string().into_bytes(),
    };
    let mut trigger = Trigger::default();
    (trigger.correlation_id, trigger.user, trigger.tenant) = (call.correlation_id, call.user, call.tenant);
    let extension = host.extension(call.extension).expect("it is there");
    let error = extension.call(event, trigger).await.err()?;
    assert!(!error.to_string().contains("unknown-place"), "{error}");
    Some(format!("{error} {error:?}\n"))
}

/// Waits until an extension was asked for its metrics and its health.
fn asked(extension: &Extension, signs: usize) {
    let collected = || extension.invocations().latest(ALL).iter().filter(|one| one.name == "collect").count();
    let before = collected();
    tokio::task::block_in_place(|| {
        wait_for("metrics and health", || (extension.health().len() >= signs && collected() > before).then_some(()));
    });
}

/// Runs a host in this process, and gives all that came out of it.
async fn embedded(canaries: &mut Canaries, enabled: bool) -> Outlets {
    let place = place(canaries, enabled);
    let data = place.path("data");
    let builder = Host::builder().plugin_dir(place.path("plugins")).config_file(place.path("glasshouse.toml"));
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/glasshouse/components");
    let host = builder.data_dir(&data).cache_folder(cache).start().await.expect("it starts");
    host.loaded().await;
    let (mut outlets, mut errors) = (Outlets::new(), String::new());
    for extension in ["planted", "gathers"] {
        let mut signs = 0;
        for (place, forms) in ASKED {
            let texts = canaries.texts(&format!("{extension} {place}"), *forms);
            signs += if place.starts_with("health") { texts.len() } else { 0 };
            errors.extend(make(&host, call(extension, "plant", seed(place, &texts))).await);
        }
        let extension = host.extension(extension).expect("it is there");
        asked(extension, signs);
        outlets.insert(format!("health {}", extension.id()), format!("{:?}", extension.health()).into_bytes());
    }
    for call in calls(canaries) {
        errors.extend(make(&host, call).await);
    }
    outlets.insert("errors".into(), errors.into_bytes());
    for extension in host.extensions() {
        let (id, about) = (extension.id(), extension.about());
        outlets.insert(format!("status {id}"), format!("{:?}", extension.status()).into_bytes());
        let told = format!("{:?} {:?} {}", about.problem, about.resolved.grant.denied, about.manifest.description);
        outlets.insert(format!("plan {id}"), told.into_bytes());
        read!(outlets, "memory", extension);
        let errors = serde_json::to_vec(&extension.errors().latest(ALL).await).expect("records are JSON");
        outlets.insert(format!("memory {id} errors"), errors);
    }
    files(&mut outlets, "open", &data);
    // Segments that are full are compressed.
    let filling = vec!["a log that takes some room and says nothing that anybody would hide".to_owned(); FILLING];
    assert_eq!(make(&host, call("planted", "plant", seed("log-message", &filling))).await, None);
    host.shutdown(PATIENCE).await;
    drop(host);
    let stored = Stored::open(&data).expect("it is a data directory");
    for extension in stored.extensions().expect("they are listed") {
        read!(outlets, "stored", extension);
        outlets.insert(format!("stored {} errors", extension.id()), json_of(&extension.records::<ErrorRecord>()));
    }
    files(&mut outlets, "closed", &data);
    files(&mut outlets, "log-files", &place.path("logs"));
    outlets
}

/// The ways of all secrets that came out, and where each was first seen.
fn seen<'c>(canaries: &'c Canaries, outlets: &'c Outlets) -> BTreeMap<&'c str, &'c str> {
    let mut seen = BTreeMap::new();
    for (outlet, bytes) in outlets {
        for way in canaries.found(bytes) {
            seen.entry(way).or_insert(outlet.as_str());
        }
    }
    seen
}

/// Checks that nothing came out, or all that was sent.
fn check(canaries: &Canaries, outlets: &Outlets, enabled: bool) {
    let seen = seen(canaries, outlets);
    if enabled {
        assert!(seen.is_empty(), "{} of {} ways leak: {seen:#?}", seen.len(), canaries.ways().len());
        return;
    }
    let came: BTreeSet<_> = seen.into_keys().collect();
    let lost: Vec<_> = canaries.ways().into_iter().filter(|way| !came.contains(way) && *way != ANSWERED).collect();
    assert!(lost.is_empty(), "sent in vain: {lost:#?}");
    let mut kinds = BTreeMap::new();
    for (outlet, bytes) in outlets {
        let kind = outlet.split(' ').next().unwrap_or_default();
        *kinds.entry(kind).or_insert(false) |= !canaries.found(bytes).is_empty();
    }
    let clean: Vec<_> = kinds.into_iter().filter(|(kind, _)| *kind != "summary").filter(|(_, any)| !any).collect();
    assert!(clean.is_empty(), "nothing comes out of these in any case: {clean:?}");
}

/// The commands that show what is stored, or what there is.
const COMMANDS: &[&[&str]] = &[
    &["logs", "show"],
    &["logs", "search", "level>=trace"],
    &["logs", "patterns"],
    &["errors", "show"],
    &["metrics", "show"],
    &["traces", "show"],
    &["alerts", "show"],
    &["invocations", "show"],
];

/// Runs the command on a feed and looks at what it left behind with the others, and gives all that came out of them.
fn commanded(canaries: &mut Canaries, enabled: bool) -> Outlets {
    let place = place(canaries, enabled);
    let mut calls = calls(canaries);
    let answered = canaries.shape("answer", 0);
    calls.push(call("planted", "answer", json!(answered)));
    let line = |call: &Call| {
        let Call { extension, event, payload, correlation_id, user, tenant } = call;
        json!({"extension": extension, "event": event, "payload": payload,
            "correlation_id": correlation_id, "user": user, "tenant": tenant})
        .to_string()
    };
    let mut feed: Vec<_> = calls.iter().map(line).collect();
    let key = Canaries::default().shape("feed", 0);
    feed.push(format!(r#"{{"extension": "planted", "{key}": 1}}"#));
    place.write("feed.jsonl", &feed.join("\n"));

    let mut outlets = Outlets::new();
    let run = ["run", "plugins", "--config", "glasshouse.toml", "--feed", "feed.jsonl", "--exit-when-done"];
    let kept = ["--data-dir", "data", "--summary", "summary.jsonl", "--log", "trace"];
    let ended = place.glasshouse(&[&run[..], &kept[..]].concat()).expect_code(4);
    assert!(ended.stderr.contains(" DEBUG ") && ended.stderr.contains(" WARN "), "the host's log is not there");
    assert!(ended.stderr.contains("unknown field `[redacted]`"), "a bad line is told, whatever holds for extensions");
    let mut answers = ended.json_lines();
    assert_eq!(answers.len(), calls.len());
    for answer in &mut answers {
        // What the caller sent comes back to it, and so does what the extension answers.
        let answer = answer.as_object_mut().expect("an answer is an object");
        answer.retain(|key, _| !["event", "correlation_id", "payload"].contains(&key.as_str()));
        if answer.get("error").is_some_and(|error| error["kind"] == "answer") {
            assert_eq!(answer["error"]["message"], answered);
            answer.remove("error");
        }
    }
    outlets.insert("answers".into(), Value::from(answers).to_string().into_bytes());
    outlets.insert("stderr".into(), ended.stderr.into_bytes());
    outlets.insert("summary".into(), place.read("summary.jsonl").into_bytes());
    let mut look = |what: &str, arguments: &[&str]| {
        for format in ["table", "json"] {
            let ended = place.glasshouse(&[arguments, &["--format", format]].concat());
            outlets.insert(format!("{what} {format}"), [ended.stdout, ended.stderr].concat().into_bytes());
        }
    };
    look("list", &["list", "plugins", "--config", "glasshouse.toml", "--log", "trace"]);
    for extension in ["asks", "broken"] {
        let path = format!("plugins/{extension}");
        look(&format!("inspect {extension}"), &["inspect", &path, "--config", "glasshouse.toml"]);
    }
    look("config", &["config", "show", "plugins", "--config", "glasshouse.toml"]);
    for command in COMMANDS {
        let limit: &[&str] = if command.contains(&"patterns") { &[] } else { &["--limit", "100000"] };
        look(&command.join("-"), &[*command, &["--data-dir", "data"], limit].concat());
    }
    files(&mut outlets, "files", &place.path("data"));
    files(&mut outlets, "log-files", &place.path("logs"));
    outlets
}

#[test]
fn no_secret_that_is_sent_any_way_comes_out_of_a_command_or_the_hosts_log() {
    let mut canaries = Canaries::default();
    let outlets = commanded(&mut canaries, true);
    check(&canaries, &outlets, true);
}

#[test]
fn without_redaction_every_secret_that_is_sent_comes_out_of_a_command() {
    let mut canaries = Canaries::default();
    let outlets = commanded(&mut canaries, false);
    check(&canaries, &outlets, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_that_is_sent_any_way_comes_out_of_the_api_or_stands_in_a_file() {
    let mut canaries = Canaries::default();
    let outlets = embedded(&mut canaries, true).await;
    check(&canaries, &outlets, true);
    let is_sealed = |outlet: &String| Path::new(outlet).extension().is_some_and(|ending| ending == "sealed");
    assert!(outlets.keys().any(is_sealed), "what is compressed was not looked at");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redaction_every_secret_that_is_sent_comes_out_of_the_api() {
    let mut canaries = Canaries::default();
    let outlets = embedded(&mut canaries, false).await;
    check(&canaries, &outlets, false);
}
