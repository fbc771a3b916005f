//! Log files: what is in each, how they are set aside and kept, and what becomes of them when their host is killed, their disk is full, or
//! somebody tampers with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::read::GzDecoder;
use glasshouse::UnixNanos;
use glasshouse::text::is_hidden;
use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use crate::data_dir::on_a_full_disk;
use crate::harness::{Lines, Place, Running, json_lines, wait_for};

/// The files that there are by default.
const STEMS: [&str; 11] = [
    "all",
    "cache",
    "database",
    "debug",
    "error",
    "function",
    "performance",
    "recovery",
    "request",
    "security",
    "structured.json",
];
const FEED: [&str; 4] = ["run", "plugins", "--feed", "-"];
const KEPT: [&str; 2] = ["--data-dir", "data"];
const LOGS: [&str; 2] = ["--set", "files.folder=logs"];

fn echo(number: u64) -> Value {
    json!({"extension": "neighbour", "event": "echo", "payload": number, "correlation_id": format!("echo-{number}")})
}

/// Runs calls to their end, with these settings.
fn run(place: &Place, calls: &[Value], settings: &[&str]) -> crate::harness::Ended {
    let feed: Vec<_> = calls.iter().map(Value::to_string).collect();
    place.write("feed.jsonl", &feed.join("\n"));
    place.glasshouse(&[&["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done"], &LOGS[..], settings].concat())
}

/// Files of a tier: those that were set aside, oldest first, and the one that is written to.
fn files(place: &Place, stem: &str) -> Vec<PathBuf> {
    let aside = format!("{stem}.0");
    let names = fs::read_dir(place.path("logs")).expect("it is there").flatten();
    let mut aside: Vec<_> =
        names.filter(|it| it.file_name().to_string_lossy().starts_with(&aside)).map(|it| it.path()).collect();
    aside.retain(|path| path.extension().is_some_and(|ending| ending == "gz" || ending == "log"));
    aside.sort();
    // A file stands beside what it was compressed to until that is known to be whole.
    let compressed: BTreeSet<_> =
        aside.iter().filter(|path| path.extension().is_some_and(|it| it == "gz")).cloned().collect();
    aside.retain(|path| !compressed.contains(&path.with_extension("log.gz")));
    aside.push(place.path(&format!("logs/{stem}.log")));
    aside
}

/// What is in all of them.
fn text(place: &Place, stem: &str) -> String {
    // One that was compressed since they were listed has another name now.
    wait_for("all files to be where they are", || match files(place, stem).iter().map(|path| text_of(path)).collect() {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{stem}: {error}"),
    })
}

fn text_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut text = String::new();
    if path.extension().is_some_and(|ending| ending == "gz") {
        GzDecoder::new(file).read_to_string(&mut text)?;
    } else {
        file.read_to_string(&mut text)?;
    }
    Ok(text)
}

fn structured(place: &Place) -> Vec<Value> {
    json_lines(&text(place, "structured.json"))
}

/// What tells a line from all others.
fn key(line: &Value) -> String {
    format!("{} {}", line["task"].as_str().expect("a task"), line["id"].as_str().expect("an id"))
}

/// The same of the lines of a file for people: their third and fifth words.
fn keys(place: &Place, stem: &str) -> Vec<String> {
    let key = |line: &str| {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).take(5).collect();
        format!("{} {}", words[2], words[4])
    };
    text(place, stem).lines().map(key).collect()
}

/// Numbers of the calls whose logs are in the files, in their order.
fn echoes(place: &Place) -> Vec<u64> {
    structured(place).iter().filter_map(echo_of).collect()
}

/// The number of the call whose log a line is.
fn echo_of(line: &Value) -> Option<u64> {
    let is_log = line["extension"] == "neighbour" && line["message"] == "echoed";
    line["request"]["id"].as_str()?.strip_prefix("echo-")?.parse().ok().filter(|_| is_log)
}

/// Makes calls of a running host, and waits for their replies.
fn call(host: &mut Running, replies: &Lines, numbers: std::ops::RangeInclusive<u64>) {
    let before = replies.count() as u64;
    numbers.clone().for_each(|number| host.tell(&echo(number)));
    let expect = before + numbers.count() as u64;
    wait_for("the replies", || (replies.count() as u64 == expect).then_some(()));
}

fn end(host: &mut Running) {
    host.interrupt();
    assert_eq!(host.code_within(Duration::from_mins(1)), Some(0));
}

#[test]
fn each_file_has_what_is_for_it_and_nothing_else() {
    let place = Place::with_plugins(&["aspects", "neighbour", "trespasser"]).lenient();
    place.write(
        "glasshouse.toml",
        "[files]\nfolder = \"logs\"\n[defaults.debugging]\nlog_level = \"trace\"\n[extensions.ghost]\n",
    );
    let of = |extension: &str, event: &str, payload: Value| {
        let correlation_id = format!("{extension}-{event}");
        json!({"extension": extension, "event": event, "payload": payload, "user": "ada", "correlation_id": correlation_id})
    };
    let calls = [
        of("aspects", "tell", Value::Null),
        of("aspects", "insist", Value::Null),
        of("aspects", "panic", Value::Null),
        of("neighbour", "echo", json!(1)),
        of("neighbour", "refuse", Value::Null),
        of("trespasser", "connect", json!("127.0.0.1:1")),
    ];
    let ended = run(&place, &calls, &["--config", "glasshouse.toml", "--data-dir", "data"]).expect_code(0);
    assert!(ended.stderr.contains("speaks of an extension that is not there"), "{}", ended.stderr);

    let lines = structured(&place);
    let of_tier =
        |wanted: &dyn Fn(&Value) -> bool| -> Vec<_> { lines.iter().filter(|it| wanted(it)).map(key).collect() };
    let text_of = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let is_level = |line: &Value, levels: &[&str]| levels.contains(&text_of(line, "level").as_str());
    let event = |line: &Value| line["fields"]["event"].as_str().unwrap_or_default().to_owned();
    let has_logger = |line: &Value, aspect: &str| {
        let logger = text_of(line, "logger");
        logger == format!("glasshouse.{aspect}") || logger.starts_with(&format!("glasshouse.{aspect}."))
    };
    let mut expect = BTreeMap::new();
    expect.insert("all", of_tier(&|_| true));
    expect.insert("debug", of_tier(&|line| is_level(line, &["trace", "debug"])));
    expect.insert("error", of_tier(&|line| is_level(line, &["warning", "error", "critical"])));
    expect.insert("security", of_tier(&|line| has_logger(line, "security") || event(line).starts_with("permission.")));
    expect.insert(
        "performance",
        of_tier(&|line| {
            let is_told = ["budget.", "overhead."].iter().any(|start| event(line).starts_with(start));
            is_told || ["glasshouse.invocation", "glasshouse::performance"].contains(&&*text_of(line, "logger"))
        }),
    );
    for aspect in ["request", "database", "cache", "function", "recovery"] {
        expect.insert(aspect, of_tier(&|line| has_logger(line, aspect)));
    }
    for (stem, expect) in &expect {
        assert_eq!(&keys(&place, stem), expect, "{stem}");
        assert!(!expect.is_empty(), "{stem} was not tried");
    }
    let mut stems: Vec<_> = expect.keys().copied().chain(["structured.json"]).collect();
    stems.sort_unstable();
    assert_eq!(stems, STEMS);
    // Each record that is stored, once: nothing of it is left out, and nothing is there that is not stored.
    for (signal, verb) in
        [("logs", &["logs", "show"][..]), ("errors", &["errors", "show"]), ("invocations", &["invocations", "show"])]
    {
        let stored =
            place.glasshouse(&[verb, &KEPT, &["--limit", "100000", "--format", "json"]].concat()).expect_code(0);
        let mut stored: Vec<_> = stored
            .json_lines()
            .iter()
            .map(|record| format!("{} {signal}:{}", record["extension"].as_str().expect("an id"), record["sequence"]))
            .collect();
        let is_signal = |line: &&Value| text_of(line, "id").starts_with(signal);
        let mut found: Vec<_> = lines
            .iter()
            .filter(is_signal)
            .map(|line| format!("{} {}", text_of(line, "extension"), text_of(line, "id")))
            .collect();
        // The host's own records have no verb that shows them all.
        for keys in [&mut found, &mut stored] {
            keys.retain(|key| !key.starts_with("host "));
        }
        stored.sort();
        found.sort();
        assert_eq!(found, stored, "{signal}");
    }
    assert!(lines.iter().any(|line| event(line) == "permission.denied" && line["origin"] == "host"));
    // What the host said by tracing, and what its process uses.
    let said =
        lines.iter().find(|line| text_of(line, "message").contains("speaks of an extension")).expect("it was said");
    assert_eq!(
        (said["extension"].as_str(), said["origin"].as_str(), said["level"].as_str()),
        (Some("host"), Some("host"), Some("warning"))
    );
    assert!(said["thread"].is_string() && said["fields"]["extension"] == "ghost", "{said}");
    let process = lines.iter().find(|line| line["logger"] == "glasshouse::performance").expect("it was measured");
    assert!(process["fields"]["memory_bytes"].as_u64() > Some(1 << 20), "{process}");
    assert!(
        ["memory_percent", "open_files", "threads", "connections"]
            .iter()
            .all(|name| process["fields"][name].is_number())
    );
    // The names of what is in each line, whoever said it.
    let names = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<BTreeSet<_>>();
    for line in &lines {
        for name in
            ["timestamp", "level", "logger", "message", "module", "function", "line", "task", "thread", "process_id"]
        {
            assert!(names(line).contains(name), "{name}: {line}");
        }
        let request = ["endpoint", "id", "method", "remote_addr", "url", "user_agent"].map(str::to_owned);
        assert_eq!(names(&line["request"]), request.into(), "{line}");
        assert_eq!(names(&line["user"]), ["id", "username"].map(str::to_owned).into(), "{line}");
        let has_worker = line["task"].is_string() && line["process_id"].is_u64();
        assert!(has_worker && line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    let asked = lines
        .iter()
        .find(|line| has_logger(line, "request") && line["fields"]["http.request.method"] == "GET")
        .expect("it asked");
    assert_eq!(
        (asked["request"]["id"].as_str(), asked["request"]["method"].as_str()),
        (Some("aspects-tell"), Some("GET"))
    );
    assert!(
        asked["request"]["url"].as_str().is_some_and(|url| url.starts_with("https://example.com/users")),
        "{asked}"
    );
    assert_eq!(asked["user"]["id"], "ada");
    assert_eq!((asked["task"].as_str(), asked["extension"].as_str()), (Some("aspects/aspects-tell"), Some("aspects")));
    assert!(
        asked["module"].as_str().is_some_and(|file| file.ends_with("aspects.rs")) && asked["line"].is_number(),
        "{asked}"
    );
    let panicked = lines.iter().find(|line| line["details"]["kind"] == "panic").expect("it panicked");
    assert!(panicked["function"].is_string() && panicked["details"]["stack"].is_string(), "{panicked}");
}

#[test]
fn only_the_files_that_are_asked_for_are_written_in_the_format_that_is() {
    let place = Place::with_plugins(&["neighbour"]);
    let settings = ["--set", "files.tiers=[\"performance\", \"all\"]", "--set", "files.format=json"];
    run(&place, &[echo(1)], &settings).expect_code(0);
    let mut names: Vec<_> = fs::read_dir(place.path("logs"))
        .expect("it is there")
        .flatten()
        .map(|it| it.file_name().into_string().expect("text"))
        .collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    assert_eq!(names, ["all.log", "performance.log"]);
    assert!(json_lines(&text(&place, "all")).iter().any(|line| line["message"] == "echoed"));
    let refused = run(&place, &[], &["--set", "files.format=xml"]).expect_code(3);
    assert!(refused.stderr.contains("found \"xml\", use one of text, json"), "{}", refused.stderr);
}

#[test]
fn files_are_set_aside_compressed_and_removed_and_no_line_is_lost_or_doubled() {
    const CALLS: u64 = 600;
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let small = ["--set", "files.rotate_size=64KiB", "--set", "host.metrics_interval=1s"];
    let mut host = place.start(&[&FEED[..], &LOGS, &small].concat());
    let replies = host.stdout();
    call(&mut host, &replies, 1..=CALLS);
    let is_compressed = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "gz");
    wait_for("all that was set aside to be compressed", || {
        let aside = files(&place, "structured.json");
        let (_, aside) = aside.split_last().expect("there is one that is written to");
        (aside.len() > 3 && aside.iter().all(is_compressed)).then_some(())
    });
    wait_for("two lines about the process", || {
        (text(&place, "performance").matches("glasshouse::performance: process").count() >= 2).then_some(())
    });
    end(&mut host);
    assert_eq!(echoes(&place), (1..=CALLS).collect::<Vec<_>>());
    let all = keys(&place, "all");
    assert_eq!(all.len(), all.iter().collect::<BTreeSet<_>>().len());
    assert_eq!(all, structured(&place).iter().map(key).collect::<Vec<_>>());
    let mode = |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(place.path("logs")), 0o700);
    for entry in fs::read_dir(place.path("logs")).expect("it is there").flatten() {
        assert_eq!(mode(entry.path()), 0o600, "{}", entry.path().display());
        assert!(entry.metadata().expect("it is there").len() <= 64 << 10, "{}", entry.path().display());
    }

    // A later host is told to keep less.
    let mut host = place.start(&[&FEED[..], &LOGS, &["--set", "files.keep_count=2"]].concat());
    wait_for("the oldest to be removed", || {
        let is_little = |stem: &&str| files(&place, stem).len() <= 3;
        STEMS.iter().all(is_little).then_some(())
    });
    end(&mut host);
    let numbers = echoes(&place);
    assert!(!numbers.is_empty() && numbers.len() < CALLS as usize, "{}", numbers.len());
    assert_eq!(numbers, (CALLS - numbers.len() as u64 + 1..=CALLS).collect::<Vec<_>>(), "the newest are left");
}

/// Runs calls of one host to their end, with files that are set aside after a day and kept for thirty.
fn run_once(place: &Place, numbers: std::ops::RangeInclusive<u64>) {
    let mut host = place.start(&[&FEED[..], &LOGS, &["--set", "files.compress=false"]].concat());
    let replies = host.stdout();
    call(&mut host, &replies, numbers);
    end(&mut host);
}

#[test]
fn files_are_set_aside_when_they_are_a_day_old_and_removed_when_they_were_so_for_thirty() {
    const DAY: i64 = 86_400_000_000_000;
    let place = Place::with_plugins(&["neighbour"]).lenient();
    run_once(&place, 1..=10);
    run_once(&place, 11..=20);
    assert_eq!(files(&place, "structured.json").len(), 1, "it is of today");
    // As if their first lines had been written the day before, or nearly so.
    let position = place.path("logs/.glasshouse.position");
    let mut told: Value = serde_json::from_str(&fs::read_to_string(&position).expect("it is there")).expect("JSON");
    for (tier, file) in told["files"].as_object_mut().expect("files") {
        let young = if tier == "security" { DAY / 24 } else { 0 };
        file["begun"] = json!(file["begun"].as_i64().expect("a time") - DAY + young);
    }
    fs::write(&position, told.to_string()).expect("it is written");
    run_once(&place, 21..=30);
    for stem in STEMS {
        let expect = if stem == "security" || text_of(&files(&place, stem)[0]).is_ok_and(|text| text.is_empty()) {
            1
        } else {
            2
        };
        assert_eq!(files(&place, stem).len(), expect, "{stem}");
    }
    let aside = files(&place, "structured.json").swap_remove(0);
    let of_file =
        |path: &Path| json_lines(&text_of(path).expect("it is there")).iter().filter_map(echo_of).collect::<Vec<_>>();
    assert_eq!(of_file(&aside), (1..=20).collect::<Vec<_>>(), "what the day before had, and nothing of today");
    assert_eq!(echoes(&place), (1..=30).collect::<Vec<_>>());

    // As if one had been set aside more than thirty days ago, and another a little less.
    let days_ago = |days: i64| {
        let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_nanos();
        let time = UnixNanos(i64::try_from(now).expect("it is before 2262") - days * DAY).to_string();
        format!("{}Z", time[..19].replace(['-', ':'], ""))
    };
    let named = |stem: &str, time: &str| place.path(&format!("logs/{stem}.00000001.{time}.log"));
    let (old, young) = (named("structured.json", &days_ago(31)), named("all", &days_ago(29)));
    fs::rename(&aside, &old).expect("it is there");
    fs::rename(files(&place, "all").swap_remove(0), &young).expect("it is there");
    let mut host = place.start(&[&FEED[..], &LOGS, &["--set", "files.compress=false"]].concat());
    let replies = host.stdout();
    wait_for("the old one to be removed", || (!old.exists()).then_some(()));
    call(&mut host, &replies, 31..=31);
    end(&mut host);
    assert!(young.exists(), "it is to be kept for another day");
    assert_eq!(echoes(&place), (21..=31).collect::<Vec<_>>());
}

#[test]
fn a_host_that_is_killed_goes_on_where_its_files_ended_without_loss_or_doubling() {
    const KILLS: u64 = 5;
    const CALLS: u64 = 200;
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let settings = [&FEED[..], &KEPT, &LOGS, &["--set", "files.rotate_size=64KiB"]].concat();
    for kill in 0..KILLS {
        let mut host = place.start(&settings);
        let replies = host.stdout();
        (1..=CALLS).for_each(|number| host.tell(&echo(kill * CALLS + number)));
        // At another place each time, while it writes; the last time there may be nothing left to write.
        let enough = (CALLS / KILLS * (kill + 1)) as usize;
        wait_for("some replies", || (replies.count() >= enough).then_some(()));
        host.kill();
        // As if it had been killed in the middle of a line.
        let live = place.path("logs/all.log");
        if let Ok(mut torn) = fs::OpenOptions::new().append(true).open(live) {
            std::io::Write::write_all(&mut torn, b"2026-11-22T14:40:17Z info torn").expect("it is written");
        }
    }
    let mut host = place.start(&settings);
    let replies = host.stdout();
    call(&mut host, &replies, KILLS * CALLS + 1..=KILLS * CALLS + 10);
    end(&mut host);
    let stored = ["logs", "show", "--limit", "100000", "--format", "json", "--extension-id", "neighbour"];
    let stored = place.on_data(&stored).expect_code(0).json_lines();
    let stored: Vec<_> = stored.iter().map(|log| format!("logs:{}", log["sequence"])).collect();
    assert!(stored.len() >= CALLS as usize, "{}", stored.len());
    let lines = structured(&place);
    let found = lines.iter().filter(|line| line["extension"] == "neighbour").filter_map(|line| line["id"].as_str());
    assert_eq!(found.filter(|id| id.starts_with("logs:")).collect::<Vec<_>>(), stored);
    let all = keys(&place, "all");
    let of_extension = |key: &&String| key.starts_with("neighbour/");
    let expect = lines.iter().map(key);
    assert_eq!(
        all.iter().filter(of_extension).cloned().collect::<Vec<_>>(),
        expect.filter(|key| of_extension(&key)).collect::<Vec<_>>()
    );
    assert!(!text(&place, "all").contains("torn"));
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len() - said_again(&all), "a line is there twice");
}

/// How many lines are the host's own, which each host numbers anew.
fn said_again(keys: &[String]) -> usize {
    let own: Vec<_> = keys.iter().filter(|key| key.contains(" messages:")).collect();
    own.len() - own.iter().collect::<BTreeSet<_>>().len()
}

#[test]
fn on_a_full_disk_calls_go_on_and_all_lines_are_there_once_it_has_room_again() {
    const CALLS: u64 = 1500;
    let place = Place::with_plugins(&["neighbour"]).lenient();
    place.glasshouse(&["call", "plugins/neighbour.wasm", "--event", "count"]).expect_code(0);
    let mut host = Running::start(&mut on_a_full_disk(&place, &[&FEED[..], &KEPT, &LOGS].concat()));
    let (replies, told) = (host.stdout(), host.stderr());
    call(&mut host, &replies, 1..=CALLS);
    let full = told.wait_for("log files cannot be written, and go on where they ended once they can be");
    assert!(full.contains("File too large"), "{full}");
    // What is written of a line before there is no more room is taken back, each time that it is tried.
    wait_for("whole lines only", || {
        let text = text(&place, "structured.json");
        (text.is_empty() || text.ends_with('\n')).then_some(())
    });
    let health = place.on_data(&["health", "--format", "json"]).json();
    let files = health["checks"]
        .as_array()
        .and_then(|checks| checks.iter().find(|check| check["name"] == "files"))
        .expect("a check");
    assert_eq!(files["status"], "degraded", "{files}");
    assert!(
        files["detail"]
            .as_str()
            .is_some_and(|found| found.contains("File too large") && found.contains("records wait")),
        "{files}"
    );
    assert!(files["remedy"].as_str().is_some_and(|what| what.contains("make room in ")), "{files}");
    let limit = rustix::process::getrlimit(Resource::Fsize);
    let raised = Rlimit { current: limit.maximum, maximum: None };
    rustix::process::prlimit(Some(Pid::from_child(&host.0)), Resource::Fsize, raised).expect("it is our child");
    told.wait_for("log files are written again; 0 records were evicted meanwhile");
    call(&mut host, &replies, CALLS + 1..=CALLS + 10);
    end(&mut host);
    assert_eq!(echoes(&place), (1..=CALLS + 10).collect::<Vec<_>>());
    let told = told.all_of_them();
    assert_eq!(
        told.iter().filter(|line| line.contains("log files cannot be written")).count(),
        1,
        "it is said once: {told:?}"
    );
    let lines = structured(&place);
    assert!(
        lines
            .iter()
            .any(|line| line["message"].as_str().is_some_and(|text| text.contains("log files cannot be written")))
    );
}

#[test]
fn whatever_an_extension_writes_is_one_line_that_no_terminal_obeys_and_no_host_seems_to_have_said() {
    let place = Place::with_plugins(&["painter", "stdio"]).lenient();
    let paint = "\u{1b}[2J\n2026-11-22T14:40:17.123456789Z error    host/main host logs:1 glasshouse: forged";
    let of = |extension: &str, event: &str| json!({"extension": extension, "event": event, "payload": paint});
    run(&place, &[of("painter", "paint"), of("painter", "fall"), of("stdio", "write"), of("stdio", paint)], &[])
        .expect_code(0);
    let lines = structured(&place);
    for stem in STEMS {
        for line in text(&place, stem).lines() {
            assert!(!line.chars().any(is_hidden), "{stem}: {line:?}");
            assert!(line.starts_with("20") || line.starts_with("{\"timestamp\":\"20"), "{stem}: {line:?}");
        }
    }
    assert_eq!(keys(&place, "all"), lines.iter().map(key).collect::<Vec<_>>());
    assert!(
        lines.iter().any(|line| line["extension"] == "painter"
            && line["message"].as_str().is_some_and(|it| it.contains("\u{1b}[2J")))
    );
    let of_host = lines.iter().filter(|line| line["origin"] == "host");
    assert!(of_host.filter(|line| line["id"] == "logs:1" && line["task"] == "host/main").count() == 0);
}

#[test]
fn links_in_the_folder_are_not_followed_at_the_start_nor_while_it_runs() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    run(&place, &[echo(1)], &[]).expect_code(0);
    place.write("outside", "words");
    fs::remove_file(place.path("logs/error.log")).expect("it is there");
    symlink(place.path("outside"), place.path("logs/error.log")).expect("a link");
    let refused = run(&place, &[echo(2)], &[]).expect_code(3);
    assert!(refused.stderr.contains("error.log is a link; remove it"), "{}", refused.stderr);
    fs::remove_file(place.path("logs/error.log")).expect("it is there");

    let mut host = place.start(&[&FEED[..], &LOGS].concat());
    let (replies, told) = (host.stdout(), host.stderr());
    call(&mut host, &replies, 2..=2);
    wait_for("its line", || echoes(&place).contains(&2).then_some(()));
    for name in ["structured.json.log", "all.log"] {
        fs::rename(place.path(&format!("logs/{name}")), place.path(&format!("moved-{name}"))).expect("it is there");
    }
    symlink(place.path("outside"), place.path("logs/all.log")).expect("a link");
    call(&mut host, &replies, 3..=3);
    told.wait_for("all.log is a link; remove it");
    call(&mut host, &replies, 4..=4);
    fs::remove_file(place.path("logs/all.log")).expect("the link is there");
    told.wait_for("log files are written again");
    end(&mut host);
    assert_eq!(place.read("outside"), "words");
    assert_eq!(echoes(&place), [3, 4], "what was moved has the others");
    assert_eq!(place.read("moved-structured.json.log").matches("\"message\":\"echoed\"").count(), 2);
}

#[test]
fn a_second_host_and_a_folder_of_others_are_refused() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut first = place.start(&[&FEED[..], &LOGS].concat());
    let replies = first.stdout();
    call(&mut first, &replies, 1..=1);
    let refused = run(&place, &[echo(2)], &[]).expect_code(3);
    let by = format!(
        "logs is in use by another host (process {}); stop that one, or set files.folder to another",
        first.0.id()
    );
    assert!(refused.stderr.contains(&by), "{}", refused.stderr);
    call(&mut first, &replies, 3..=3);
    first.kill();
    // The lock goes with its host, however that ended.
    run(&place, &[echo(4)], &[]).expect_code(0);
    assert!(echoes(&place).contains(&4) && !echoes(&place).contains(&2));
    let others = run(&place, &[], &["--set", "files.folder=plugins"]).expect_code(3);
    assert!(others.stderr.contains("has other files in it, such as neighbour.wasm"), "{}", others.stderr);
    let report =
        place.glasshouse(&["doctor", "plugins", "--format", "json", "--set", "files.folder=feed.jsonl"]).expect_code(3);
    assert!(report.stdout.contains("log files") && report.stdout.contains("is not a folder"), "{}", report.stdout);
}
