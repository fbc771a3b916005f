//! A data directory that cannot be used, is full, or is used by another host.

use std::process::Command;

use glasshouse::records::MetricRecord;
use glasshouse::{Query, Signal, Stored};
use rustix::process::{Pid, Resource, Rlimit};
use serde_json::{Value, json};

use crate::harness::{Place, Running, wait_for};

const RUN: [&str; 6] = ["run", "plugins", "--data-dir", "data", "--feed", "-"];

fn echo(number: u64) -> Value {
    json!({"extension": "neighbour", "event": "echo", "payload": number, "correlation_id": format!("echo-{number}")})
}

/// The command as it runs where files of more than 100 KiB cannot be made: on a disk that is full, but for small ones.
pub(crate) fn on_a_full_disk(place: &Place, arguments: &[&str]) -> Command {
    let inner = place.command(arguments);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -S -f 200; exec \"$0\" \"$@\""]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().expect("it has one"));
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The numbers of the calls whose records of a signal are stored.
fn echoes(place: &Place, signal: Signal) -> Vec<u64> {
    let stored = Stored::open(&place.path("data")).expect("it is a data directory");
    let page = stored.extension("neighbour").reader(signal).page(1, usize::MAX);
    assert_eq!(page.missed, 0, "{signal}: {:?}", page.gaps);
    let number = |correlation_id: String| correlation_id.strip_prefix("echo-")?.parse().ok();
    page.entries.iter().filter_map(|entry| number(entry.envelope().context?.correlation())).collect()
}

/// What the counter of all calls came to.
fn counted(place: &Place) -> u64 {
    let stored = Stored::open(&place.path("data")).expect("it is a data directory");
    let summary = stored.extension("neighbour").records::<MetricRecord>().summary(&Query::all());
    summary.series.iter().filter(|series| series.name == "echoes").map(|series| series.aggregate.count).sum()
}

#[test]
fn a_full_disk_stops_no_call_and_all_records_are_there_once_it_has_room_again() {
    const CALLS: u64 = 4000;
    let place = Place::with_plugins(&["neighbour"]).lenient();
    // So that the component is compiled and kept: the limit is for the files of the cache, too.
    place.glasshouse(&["call", "plugins/neighbour.wasm", "--event", "count"]).expect_code(0);
    let mut host = Running::start(&mut on_a_full_disk(&place, &RUN));
    let (replies, told) = (host.stdout(), host.stderr());
    (1..=CALLS).for_each(|number| host.tell(&echo(number)));
    wait_for("all calls to be answered", || (replies.count() as u64 == CALLS).then_some(()));
    let full = told.wait_for("cannot be written to the disk");
    assert!(full.contains("goes on in memory until it can") && full.contains("data_dir="), "{full}");
    assert!(echoes(&place, Signal::Log).len() < CALLS as usize, "the disk was not full");
    let unlimited = Rlimit { current: None, maximum: None };
    let limit = rustix::process::getrlimit(Resource::Fsize);
    let raised = Rlimit { current: limit.maximum, ..unlimited };
    rustix::process::prlimit(Some(Pid::from_child(&host.0)), Resource::Fsize, raised).expect("it is our child");
    told.wait_for("is written to the disk again");
    (CALLS + 1..=CALLS + 10).for_each(|number| host.tell(&echo(number)));
    wait_for("calls after that", || (replies.count() as u64 == CALLS + 10).then_some(()));
    host.interrupt();
    assert_eq!(host.code_within(std::time::Duration::from_secs(30)), Some(0));
    let told = told.all_of_them();
    assert_eq!(told.iter().filter(|line| line.contains("cannot be written")).count(), 1, "it is said once: {told:?}");
    for signal in [Signal::Log, Signal::Metric, Signal::Invocation] {
        assert_eq!(echoes(&place, signal), (1..=CALLS + 10).collect::<Vec<_>>(), "{signal}");
    }
    assert_eq!(counted(&place), CALLS + 10);
}

#[test]
fn a_disk_that_stays_full_leaves_the_logs_in_the_summary() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    place.glasshouse(&["call", "plugins/neighbour.wasm", "--event", "count"]).expect_code(0);
    let feed: Vec<_> = (1..=4000).map(|number| echo(number).to_string()).collect();
    place.write("feed.jsonl", &feed.join("\n"));
    let arguments = ["run", "plugins", "--data-dir", "data", "--feed", "feed.jsonl", "--exit-when-done"];
    let ended = crate::harness::end(&mut on_a_full_disk(&place, &arguments)).expect_code(0);
    assert_eq!(ended.json_lines().len(), 4000);
    assert!(ended.stderr.contains("cannot be written to the disk"), "{}", ended.stderr);
    assert!(ended.stderr.contains("echoed number=4000") && ended.stderr.contains("goodbye"), "{}", ended.stderr);
    // What was on the disk before it was full is there, and a later host goes on after it.
    let before = place.glasshouse(&["logs", "show", "--data-dir", "data", "--format", "json"]).expect_code(0);
    assert_eq!(before.json_lines().len(), 100);
    let later = place.glasshouse(&[&arguments[..6], &["--exit-when-done"]].concat()).expect_code(0);
    assert!(!later.stderr.contains("damaged"), "{}", later.stderr);
    // Of samples that were lost, the rollups that were not are what there is.
    let samples = echoes(&place, Signal::Metric).len() as u64;
    assert!((samples..=2 * 4000).contains(&counted(&place)), "{} of {samples}", counted(&place));
}

#[test]
fn a_second_host_is_refused_and_does_not_disturb_the_first() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let mut first = place.start(&RUN);
    let replies = first.stdout();
    first.tell(&echo(1));
    wait_for("the first reply", || (replies.count() == 1).then_some(()));
    let refused = place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(3);
    let by = format!("in use by another host (process {}); stop that one, or use another directory", first.0.id());
    assert!(refused.stderr.contains(&by), "{}", refused.stderr);
    first.tell(&echo(2));
    wait_for("the second reply", || (replies.count() == 2).then_some(()));
    assert_eq!(echoes(&place, Signal::Log), [1, 2]);
    first.kill();
    // The lock goes with its host, however that ended.
    place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    assert_eq!(echoes(&place, Signal::Log), [1, 2]);
}

#[test]
fn a_format_that_is_not_known_is_refused_by_hosts_and_readers() {
    let place = Place::with_plugins(&["neighbour"]).lenient();
    let run = ["run", "plugins", "--data-dir", "data", "--exit-when-done"];
    place.glasshouse(&run).expect_code(0);
    let check = |format: &str, found: &str| {
        place.write("data/format", format);
        for arguments in [
            &run[..],
            &["logs", "show", "--data-dir", "data"],
            &["logs", "follow", "--data-dir", "data"],
            &["logs", "patterns", "--data-dir", "data"],
            &["errors", "show", "--data-dir", "data"],
            &["metrics", "summary", "--data-dir", "data"],
            &["invocations", "show", "--data-dir", "data"],
        ] {
            let refused = place.glasshouse(arguments).expect_code(3);
            assert!(refused.stderr.contains(found) && refused.stdout.is_empty(), "{arguments:?}: {refused:?}");
        }
        assert_eq!(place.read("data/format"), format, "it is left as it was");
    };
    check("glasshouse telemetry 7\n", "is of format 7; this glasshouse reads formats 1 to 2");
    check("a thesis", "no data directory of glasshouse");
}

#[test]
fn what_is_over_its_age_goes_by_itself_at_the_interval_that_is_set() {
    let start = |place: &Place, interval: &str| {
        let interval = format!("host.cleanup_interval={interval}");
        let young = ["--set", "defaults.retention.logs_age=1s", "--set", &interval];
        let mut host = place.start(&[&["run", "plugins", "--data-dir", "data", "--feed", "-"][..], &young].concat());
        let replies = host.stdout();
        (1..=20).for_each(|number| drop(host.call(&replies, &echo(number))));
        host
    };
    let (often, seldom) =
        (Place::with_plugins(&["neighbour"]).lenient(), Place::with_plugins(&["neighbour"]).lenient());
    let stays = start(&seldom, "1d");
    let goes = start(&often, "1s");
    let left = |place: &Place| {
        let stored = Stored::open(&place.path("data")).expect("it is a data directory");
        stored.extension("neighbour").reader(Signal::Log).page(1, usize::MAX).entries.len()
    };
    // Nobody calls it meanwhile.
    wait_for("what is over its age to be gone", || (left(&often) == 0).then_some(()));
    assert!(left(&seldom) >= 20, "it is looked once a day");
    drop((stays, goes));
}
