//! Files of a data directory that somebody cut off or wrote over, while its host runs or later: the rest is shown, and it is
//! said that something is missing.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use glasshouse::{Signal, Stored};
use serde_json::{Value, json};

use crate::harness::{Lines, Place, Running, wait_for};

pub(crate) const BURST: u64 = 30_000;

/// A host with a burst of logs, most of them in sealed files.
fn host(place: &Place) -> (Running, Lines) {
    let arguments = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--set", "defaults.budget.deadline=10m"];
    let mut host = place.start(&arguments);
    let replies = host.stdout();
    host.tell(&json!({"extension": "log-flood", "event": "flood", "payload": BURST}));
    wait_for("the burst", || (replies.count() == 1).then_some(()));
    wait_for("three sealed files", || (sealed(place).len() >= 3).then_some(()));
    (host, replies)
}

/// The sealed files of its logs, oldest first.
pub(crate) fn sealed(place: &Place) -> Vec<PathBuf> {
    let files = fs::read_dir(place.path("data/extensions/log-flood/logs")).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|file| file.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "sealed"));
    paths.sort();
    paths
}

/// The sequence numbers of the records that a file has by its name.
pub(crate) fn named(path: &Path) -> u64 {
    let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
    let (first, last) = name.split_once('-').expect("two numbers");
    last.parse::<u64>().expect("a number") + 1 - first.parse::<u64>().expect("a number")
}

fn truncate(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    file.set_len(300).expect("cutting it off");
}

pub(crate) fn overwrite(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    let length = file.metadata().expect("its metadata").len();
    file.write_all_at(&vec![0xa5; length as usize], 0).expect("writing over it");
}

fn missing(place: &Place) -> (u64, u64) {
    let reader = Stored::open(&place.path("data")).expect("it opens").extension("log-flood").reader(Signal::Log);
    let page = reader.page(1, usize::MAX);
    (page.missed, page.entries.len() as u64)
}

/// All verbs show the rest, and `show` says how many are missing.
fn check_rest(place: &Place, lost: u64) {
    let (missed, there) = missing(place);
    assert_eq!(missed, lost);
    let show = ["logs", "show", "--data-dir", "data", "--format", "json", "--limit", "1000000"];
    let shown = place.glasshouse(&show).expect_code(0);
    assert_eq!(shown.json_lines().len() as u64, there);
    assert!(shown.stderr.contains(&format!("{lost} records between these are missing")), "{}", shown.stderr);
    let search = place.glasshouse(&[&show[..], &["drop"]].concat()).expect_code(0);
    assert!(search.json_lines().len() as u64 >= BURST - lost, "{}", search.stdout.len());
    for verb in ["counts", "patterns"] {
        let digest = place.glasshouse(&["logs", verb, "--data-dir", "data", "--format", "json"]).expect_code(0);
        assert!(!digest.json_lines().is_empty(), "{verb}");
    }
}

fn damage_is_told_while_the_host_runs_and_after_it(damage: fn(&Path)) {
    let place = Place::with_plugins(&["log-flood"]).lenient();
    let (mut host, replies) = host(&place);
    assert_eq!(missing(&place).0, 0);
    let victim = sealed(&place)[1].clone();
    let lost = named(&victim);
    damage(&victim);
    check_rest(&place, lost);
    // A follower that comes from before the damage is told of it, and goes on after it.
    let first = ["logs", "show", "--data-dir", "data", "--format", "json", "--limit", "1", "oldest first"];
    let first: Value = place.glasshouse(&first).expect_code(0).json();
    let cursor = first["cursor"].as_str().expect("it has a cursor");
    let mut follower = place.start(&["logs", "follow", "--data-dir", "data", "--format", "json", "--after", cursor]);
    let lines = follower.stdout();
    let gap: Value = serde_json::from_str(&lines.wait_for("\"gap\"")).expect("it is JSON");
    assert_eq!(gap, json!({"extension": "log-flood", "gap": {"missed": lost, "cause": "damaged"}}));
    host.tell(&json!({"extension": "log-flood", "event": "flood", "payload": 1}));
    wait_for("a call after the damage", || (replies.count() == 2).then_some(()));
    let total = missing(&place).1 - 1;
    wait_for("the follower to have the rest", || (lines.count() as u64 > total).then_some(()));
    follower.kill();
    host.interrupt();
    assert_eq!(host.code_within(std::time::Duration::from_secs(30)), Some(0));
    check_rest(&place, lost);
    // A later host keeps what there is, and goes on.
    let later = place.glasshouse(&["run", "plugins", "--data-dir", "data", "--exit-when-done"]).expect_code(0);
    assert!(!later.stderr.contains("panicked"), "{}", later.stderr);
    check_rest(&place, lost);
}

#[test]
fn a_sealed_file_that_was_cut_off_costs_its_own_records_only() {
    damage_is_told_while_the_host_runs_and_after_it(truncate);
}

#[test]
fn a_sealed_file_that_was_written_over_costs_its_own_records_only() {
    damage_is_told_while_the_host_runs_and_after_it(overwrite);
}
