//! Alerts as stores keep them: counted, over by recovery, by quiet or by hand, bounded, and there again after a restart.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use glasshouse_model::record::KIND_FAILURE;
use glasshouse_model::wire;
use glasshouse_model::{AlertId, Digest, Failure, FailureKind, Origin, Severity, Signal, UnixNanos};
use proptest::prelude::*;

use super::support::{START, depot, hand, store};
use crate::alerts::{ALERTS, Alarm, Alert, AlertCause, AlertError, AlertState, HostAlert};
use crate::groups::{BURST_ERRORS, GroupState};
use crate::ring::Ring;
use crate::state::UNSAVED;
use crate::store::Kept;
use crate::{Component, DataDir, Head, Redactor, Resolution, ResolveError, Store, StoreSettings, Tier};

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;

fn in_memory() -> Arc<Store> {
    let settings = StoreSettings::new(&glasshouse_model::settings::Settings::default());
    Store::new(&settings, Arc::new(Redactor::default()))
}

fn at(time: i64) -> UnixNanos {
    UnixNanos(time)
}

fn guests(time: i64) -> Head<'static> {
    Head { time: at(time), origin: Origin::Guest, cut: false, batched: false, context: &[] }
}

/// Raises an alert as the guest does.
fn raise_as(store: &Arc<Store>, time: i64, kind: &str, metric: Option<&str>, severity: Severity) {
    let mut body = Vec::new();
    let alert = wire::Alert { severity, kind, title: "a title", message: "", metric, value: None, threshold: None };
    wire::write_alert(&mut body, &alert);
    store.recorder().append(Signal::Alert, guests(time), wire::KIND_ALERT, &body);
}

fn raise(store: &Arc<Store>, time: i64, kind: &str) {
    raise_as(store, time, kind, None, Severity::Low);
}

/// Raises an alert as the host does, which is over when it says so.
fn alarm(store: &Arc<Store>, time: i64, what: HostAlert) {
    let labels = [("budget", "budget.memory")];
    let alarm = Alarm { what, labels: &labels, message: "much", value: Some(2.0), threshold: Some(1.0), context: &[] };
    store.recorder().alarm(at(time), &alarm, None);
}

fn recover(store: &Arc<Store>, time: i64, what: HostAlert) {
    store.recorder().recover(at(time), &[what], "less");
}

fn named<'a>(alerts: &'a [Alert], origin: Origin, name: &str) -> &'a Alert {
    let found = alerts.iter().find(|alert| alert.origin == origin && alert.name == name);
    found.unwrap_or_else(|| panic!("{name}: {alerts:?}"))
}

fn causes(alert: &Alert) -> Vec<AlertCause> {
    alert.history.iter().map(|step| step.cause).collect()
}

#[test]
fn an_alert_that_fires_is_counted_when_it_is_raised_again_and_fires_anew_once_it_was_over() {
    use AlertCause::{ByHand, Quiet, Raised};
    let store = in_memory();
    raise(&store, START, "disk");
    raise_as(&store, START + SECOND, "disk", None, Severity::High);
    raise(&store, START + 2 * SECOND, "disk");
    raise_as(&store, START, "disk", Some("disk.free"), Severity::Low);
    let alerts = store.alerts(at(START + 3 * SECOND));
    assert_eq!(alerts.len(), 2, "another metric is another alert: {alerts:?}");
    let disk = alerts.iter().find(|alert| alert.labels.is_empty()).expect("it has no labels");
    assert_eq!((disk.state(), disk.raised, disk.fired, disk.severity), (AlertState::Firing, 3, 1, Severity::High));
    assert_eq!((disk.first_raised, disk.last_raised), (at(START), at(START + 2 * SECOND)));
    assert_eq!(disk.firing_nanos(at(START + 3 * SECOND)), 3 * SECOND as u64);

    let resolved = store.resolve_alert(disk.id, at(START + 5 * SECOND), "uid 7", "it was full").expect("it fires");
    assert_eq!((resolved.state(), resolved.fired_nanos), (AlertState::Resolved, 5 * SECOND as u64));
    assert_eq!(store.resolve_alert(disk.id, at(START + 6 * SECOND), "uid 8", ""), Err(AlertError::NotFiring));
    assert_eq!(store.resolve_alert(AlertId([9; 6]), at(START), "uid 8", ""), Err(AlertError::Unknown));

    raise(&store, START + HOUR, "disk");
    let day_after = at(START + HOUR + DAY);
    assert_eq!(
        store
            .alerts(at(day_after.0 - 1))
            .iter()
            .filter(|alert| alert.id == disk.id && alert.state() == AlertState::Firing)
            .count(),
        1
    );
    let quiet = store.alerts(day_after).into_iter().find(|alert| alert.id == disk.id).expect("it is known");
    assert_eq!(causes(&quiet), [Raised, ByHand, Raised, Quiet]);
    assert_eq!((quiet.since(), quiet.fired, quiet.longest_nanos), (day_after, 2, DAY as u64));
    let by_hand = &quiet.history[1];
    assert_eq!((by_hand.by.as_str(), by_hand.note.as_str()), ("uid 7", "it was full"));
}

#[test]
fn a_guest_is_never_the_host_and_leaves_the_host_its_room() {
    let store = in_memory();
    // The host's names and labels, and what counts its surplus.
    for what in HostAlert::ALL {
        raise_as(&store, START, what.as_str(), Some("budget.memory"), Severity::Low);
    }
    raise_as(&store, START, "overflow", None, Severity::Low);
    alarm(&store, START + SECOND, HostAlert::MemoryGrowth);
    recover(&store, START + 2 * SECOND, HostAlert::MemoryGrowth);
    let alerts = store.alerts(at(START + 3 * SECOND));
    let (own, hosts) = (named(&alerts, Origin::Guest, "memory.growth"), named(&alerts, Origin::Host, "memory.growth"));
    assert_ne!(own.id, hosts.id);
    assert_eq!((own.state(), hosts.state()), (AlertState::Firing, AlertState::Resolved));
    assert_eq!(alerts.iter().filter(|alert| alert.origin == Origin::Host).count(), 1);
    let records = store.reader(Signal::Alert).all();
    assert_eq!(records.iter().filter(|record| record.origin() == Origin::Host).count(), 1);

    for number in 0..3 * ALERTS {
        raise(&store, START + HOUR, &format!("flood-{number}"));
    }
    alarm(&store, START + HOUR, HostAlert::TrapLoop);
    let alerts = store.alerts(at(START + HOUR));
    assert_eq!(named(&alerts, Origin::Host, "trap.loop").state(), AlertState::Firing);
    assert_eq!(alerts.iter().filter(|alert| alert.origin == Origin::Guest).count(), ALERTS + 1);
    let own = HostAlert::ALL.len() + 1;
    let surplus = alerts.iter().filter(|alert| alert.name == "overflow").map(|alert| alert.raised).max();
    assert_eq!(surplus, Some((3 * ALERTS - (ALERTS - own)) as u64), "what has no room of its own is counted");

    // Two days later they are over, and new ones take their place.
    raise(&store, START + 3 * DAY, "later");
    let alerts = store.alerts(at(START + 3 * DAY));
    assert_eq!(named(&alerts, Origin::Guest, "later").fired, 1);
    assert_eq!(alerts.iter().filter(|alert| alert.origin == Origin::Guest).count(), ALERTS + 1);
}

#[test]
fn groups_of_errors_without_end_hide_no_quarantine() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    for number in 0..3 * ALERTS {
        let labels = [("group", &*number.to_string())];
        let (what, message) = (HostAlert::ErrorsRegressed, "again");
        store.recorder().alarm(
            at(START),
            &Alarm { what, labels: &labels, message, value: None, threshold: None, context: &[] },
            None,
        );
    }
    for what in HostAlert::OF_STANDING {
        alarm(&store, START, *what);
    }
    let alerts = store.alerts(at(START));
    assert_eq!(alerts.len(), ALERTS + 1 + HostAlert::OF_STANDING.len());
    assert_eq!(named(&alerts, Origin::Host, "overflow").raised as usize, 2 * ALERTS);
    assert_eq!(named(&alerts, Origin::Host, "trap.loop").state(), AlertState::Firing);
    drop((store, depot));
    assert_eq!(after_restart(folder.path(), START), alerts);
}

#[test]
fn what_counts_the_surplus_ends_by_itself_says_no_figures_and_makes_no_room() {
    let store = in_memory();
    for number in 0..=ALERTS {
        let labels = [("group", &*number.to_string())];
        let what = HostAlert::ErrorsRegressed;
        let alarm =
            Alarm { what, labels: &labels, message: "again", value: Some(3.0), threshold: Some(2.0), context: &[] };
        store.recorder().alarm(at(START), &alarm, None);
        raise(&store, START, &format!("flood-{number}"));
    }
    let alerts = store.alerts(at(START));
    let surplus = named(&alerts, Origin::Host, "overflow");
    assert_eq!((surplus.state(), surplus.value, surplus.threshold), (AlertState::Firing, None, None));
    // The guest's others fire for longer than what counts the surplus of them.
    (0..ALERTS).for_each(|number| raise(&store, START + HOUR, &format!("flood-{number}")));
    raise(&store, START + 3 * DAY, "later");
    let alerts = store.alerts(at(START + 3 * DAY));
    assert_eq!(named(&alerts, Origin::Host, "overflow").state(), AlertState::Resolved);
    assert_eq!(named(&alerts, Origin::Guest, "overflow").raised, 1);
    assert_eq!(alerts.iter().filter(|alert| alert.origin == Origin::Guest).count(), ALERTS + 1);
}

#[test]
fn what_an_alert_says_is_bounded() {
    let store = in_memory();
    let long = "x".repeat(30_000);
    let mut body = Vec::new();
    let alert = wire::Alert {
        severity: Severity::Low,
        kind: &long,
        title: &long,
        message: &long,
        metric: Some(&long),
        value: Some(f64::NAN),
        threshold: None,
    };
    wire::write_alert(&mut body, &alert);
    store.recorder().append(Signal::Alert, guests(START), wire::KIND_ALERT, &body);
    let id = store.alerts(at(START))[0].id;
    for round in 0..100 {
        store.resolve_alert(id, at(START + round), &long, &long).expect("it fires");
        store.recorder().append(Signal::Alert, guests(START + round), wire::KIND_ALERT, &body);
    }
    let alert = store.alerts(at(START + 100)).pop().expect("it is known");
    let bytes = |step: &crate::AlertTransition| step.by.len() + step.note.len();
    let texts = alert.name.len() + alert.title.len() + alert.message.len() + alert.labels[0].1.len();
    assert!(texts + alert.history.iter().map(bytes).sum::<usize>() < 16 << 10, "{alert:?}");
    assert_eq!((alert.fired, alert.history.len()), (101, 16), "what is dropped of the history is still counted");
}

#[test]
fn what_is_secret_is_in_no_alert() {
    let store = in_memory();
    let secret = "password=hunter2hunter2";
    raise_as(&store, START, secret, Some(secret), Severity::Low);
    let alarm =
        Alarm { what: HostAlert::TrapLoop, labels: &[], message: secret, value: None, threshold: None, context: &[] };
    store.recorder().alarm(at(START), &alarm, None);
    let id = store.alerts(at(START))[0].id;
    store.resolve_alert(id, at(START), "uid 7", secret).expect("it fires");
    let told = format!("{:?}", store.alerts(at(START)));
    assert!(!told.contains("hunter2"), "{told}");
    assert!(told.contains(crate::MARKER), "{told}");
}

fn fail(store: &Arc<Store>, time: i64) {
    let mut body = Vec::new();
    let failure = Failure {
        kind: FailureKind::Panic,
        message: "the kettle boiled dry".to_owned(),
        call: "handle:boil".to_owned(),
        component: Digest([1; 32]),
        location: None,
        frames: Vec::new(),
        evidence: Vec::new(),
        input: None,
    };
    failure.encode(&mut body);
    let head = Head { origin: Origin::Host, ..guests(time) };
    store.recorder().append(Signal::Error, head, KIND_FAILURE, &body);
}

#[test]
fn errors_in_a_burst_that_escalate_or_come_back_raise_alerts_of_the_hosts() {
    let store = in_memory();
    store.run(Component { digest: Digest([1; 32]), version: "1.0.0".parse().ok() });
    let state = |time: i64, name: &str| {
        let alerts = store.alerts(at(time));
        alerts.into_iter().find(|alert| alert.name == name).map(|alert| (alert.state(), alert.origin))
    };
    let (firing, resolved) = (Some((AlertState::Firing, Origin::Host)), Some((AlertState::Resolved, Origin::Host)));
    (0..i64::from(BURST_ERRORS) - 1).for_each(|number| fail(&store, START + number));
    assert_eq!(state(START + SECOND, "errors.burst"), None);
    fail(&store, START + SECOND);
    assert_eq!(state(START + SECOND, "errors.burst"), firing);
    assert_eq!(state(START + 302 * SECOND, "errors.burst"), resolved, "five minutes after its last error");

    assert_eq!(state(START + 302 * SECOND, "errors.escalating"), None, "what is new does not escalate");
    (0..200).for_each(|number| fail(&store, START + 9 * HOUR + number));
    assert_eq!(state(START + 9 * HOUR + SECOND, "errors.escalating"), firing);
    assert_eq!(state(START + 11 * HOUR, "errors.escalating"), resolved, "once the burst is two hours ago");

    let group = store.error_groups(at(START + 11 * HOUR))[0].id;
    let resolution = |time| Resolution {
        at: at(time),
        by: "uid 7".to_owned(),
        notes: String::new(),
        version: None,
        known: Vec::new(),
    };
    store.resolve(group, resolution(START + 12 * HOUR)).expect("it is known");
    fail(&store, START + 13 * HOUR);
    assert_eq!(state(START + 99 * DAY, "errors.regressed"), firing, "it is there until somebody resolves it");
    let alerts = store.alerts(at(START + 13 * HOUR));
    let regressed = named(&alerts, Origin::Host, "errors.regressed");
    assert_eq!(regressed.labels, [("group".to_owned(), group.to_string())]);
    store.resolve(group, resolution(START + 14 * HOUR)).expect("it is known");
    assert_eq!(state(START + 14 * HOUR, "errors.regressed"), resolved);
}

#[test]
fn an_alert_about_a_group_fires_if_and_only_if_the_group_has_come_back_whoever_was_first() {
    let store = in_memory();
    store.run(Component { digest: Digest([1; 32]), version: "1.0.0".parse().ok() });
    fail(&store, START);
    let group = store.error_groups(at(START))[0].id;
    let resolution =
        || Resolution { at: at(START), by: "uid 7".to_owned(), notes: String::new(), version: None, known: Vec::new() };
    for round in 0..2_000 {
        std::thread::scope(|threads| {
            threads.spawn(|| fail(&store, START));
            threads.spawn(|| store.resolve(group, resolution()).expect("it is known"));
        });
        let regressed = store.error_groups(at(START))[0].state == GroupState::Regressed;
        let alerts = store.alerts(at(START));
        let fires = alerts.iter().any(|alert| alert.name == "errors.regressed" && alert.state() == AlertState::Firing);
        assert_eq!(fires, regressed, "round {round}");
    }
}

#[test]
fn nothing_is_raised_while_alerts_are_switched_off() {
    let mut settings = StoreSettings::new(&glasshouse_model::settings::Settings::default());
    settings.enabled[Signal::Alert as usize] = false;
    let store = Store::new(&settings, Arc::default());
    alarm(&store, START, HostAlert::TrapLoop);
    (0..100).for_each(|number| fail(&store, START + number));
    assert_eq!(store.alerts(at(START)), []);
    assert_eq!(store.reader(Signal::Alert).stored(), 0);
}

/// All that is told of the alerts in a folder, by a host that starts anew and by one who only reads.
fn after_restart(folder: &Path, now: i64) -> Vec<Alert> {
    let read = DataDir::open(folder).expect("a data directory").alerts("markdown", at(now));
    let depot = depot(folder, hand());
    let kept = store(&depot, |_| {}).alerts(at(now));
    assert_eq!(read, kept);
    kept
}

#[test]
fn what_fires_was_counted_and_resolved_is_there_after_a_restart_and_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expect = Vec::new();
    for round in 0..5_i64 {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |settings| settings.alert_resolve_after = Duration::from_mins(90));
        let start = START + round * HOUR;
        for number in 0..i64::from(UNSAVED) + 60 {
            raise(&store, start + number, "often");
            raise_as(&store, start + number, "often", Some("a metric"), Severity::Critical);
        }
        alarm(&store, start + 500, HostAlert::ALL[round as usize]);
        if round == 2 {
            let often = named(&store.alerts(at(start + 600)), Origin::Guest, "often").id;
            store.resolve_alert(often, at(start + 600), "uid 7", "enough").expect("it fires");
            recover(&store, start + 700, HostAlert::ALL[0]);
        }
        expect = store.alerts(at(start + 800));
        drop((store, depot));
        assert_eq!(after_restart(folder.path(), start + 800), expect, "round {round}");
        let raised = (u64::from(UNSAVED) + 60) * (round as u64 + 1);
        let own: Vec<_> =
            expect.iter().filter(|alert| alert.origin == Origin::Guest).map(|alert| alert.raised).collect();
        assert_eq!(own, [raised; 2], "round {round}");
    }
    assert_eq!(expect.len(), 7);
    assert_eq!(expect.iter().filter(|alert| alert.state() == AlertState::Resolved).count(), 1);
    assert_eq!(
        named(&after_restart(folder.path(), START + 9 * HOUR), Origin::Guest, "often").state(),
        AlertState::Resolved
    );
}

#[test]
fn a_state_that_is_lost_or_damaged_leaves_what_the_guests_records_tell() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        (0..100).for_each(|number| raise(&store, START + number, "often"));
        alarm(&store, START, HostAlert::TrapLoop);
    }
    let state = folder.path().join("extensions/markdown/alert-state");
    for file in std::fs::read_dir(&state).expect("the state's files") {
        let path = file.expect("a file").path();
        let length = std::fs::metadata(&path).expect("its length").len() as usize;
        std::fs::write(&path, vec![0xa5; length]).expect("writing");
    }
    let check = || {
        let alerts = after_restart(folder.path(), START + SECOND);
        assert_eq!(alerts.iter().map(|alert| (alert.raised, alert.fired)).collect::<Vec<_>>(), [(100, 1)]);
    };
    check();
    std::fs::remove_dir_all(&state).expect("removing");
    check();
}

#[test]
fn a_state_that_is_written_for_long_stays_small_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    raise(&store, START, "kept");
    let note = "a long note ".repeat(40);
    for number in 1..3_000 {
        alarm(&store, START + number, HostAlert::MemoryGrowth);
        let id = named(&store.alerts(at(START + number)), Origin::Host, "memory.growth").id;
        store.resolve_alert(id, at(START + number), "uid 7", &note).expect("it fires");
    }
    let expect = store.alerts(at(START + HOUR));
    assert_eq!(named(&expect, Origin::Host, "memory.growth").fired, 2_999);
    drop((store, depot));
    let files = std::fs::read_dir(folder.path().join("extensions/markdown/alert-state")).expect("files");
    let bytes = files.map(|file| file.expect("a file").metadata().expect("its length").len());
    assert!(bytes.sum::<u64>() <= 5 << 20);
    assert_eq!(after_restart(folder.path(), START + HOUR), expect);
}

/// A store over rings in memory, which outlive it as files do.
fn over(rings: &[Arc<Ring>; Signal::COUNT], rollups: &[Arc<Ring>; Tier::COUNT], states: [&Arc<Ring>; 2]) -> Arc<Store> {
    let settings = StoreSettings::new(&glasshouse_model::settings::Settings::default());
    let [groups, alerts] = states.map(|state| Some(Arc::clone(state)));
    let kept = Kept { groups, alerts, ..Kept::default() };
    Store::with_rings("markdown", rings.clone(), rollups.clone(), kept, &settings, Arc::default())
}

#[test]
fn what_cannot_be_stored_is_stored_with_the_next_and_a_second_try_to_resolve_stores_the_first() {
    let settings = StoreSettings::new(&glasshouse_model::settings::Settings::default());
    let (rings, rollups) = (settings.bounds.map(Ring::in_memory), settings.rollups.map(Ring::in_memory));
    let states = [Signal::Error, Signal::Alert].map(|signal| Ring::in_memory(settings.bounds[signal as usize]));
    let states = [&states[0], &states[1]];
    let memory_for = |appends| states.iter().for_each(|ring| ring.memory_for.store(appends, Ordering::Relaxed));

    let store = over(&rings, &rollups, states);
    memory_for(0);
    alarm(&store, START, HostAlert::TrapLoop);
    raise(&store, START, "first");
    fail(&store, START);
    memory_for(u64::MAX);
    raise(&store, START, "second");
    recover(&store, START, HostAlert::TrapLoop);
    memory_for(0);
    alarm(&store, START + 1, HostAlert::TrapLoop);
    memory_for(u64::MAX);
    raise(&store, START + 1, "third");
    let (expect, groups) = (store.alerts(at(START + 1)), store.error_groups(at(START + 1)));
    assert_eq!((expect.len(), groups.len()), (4, 1));
    let store = over(&rings, &rollups, states);
    assert_eq!((store.alerts(at(START + 1)), store.error_groups(at(START + 1))), (expect.clone(), groups.clone()));

    let id = named(&expect, Origin::Host, "trap.loop").id;
    let resolve = |store: &Arc<Store>| store.resolve_alert(id, at(START + 2), "uid 7", "").map(|alert| alert.state());
    let resolution = Resolution {
        at: at(START + 2),
        by: "uid 7".to_owned(),
        notes: String::new(),
        version: None,
        known: Vec::new(),
    };
    memory_for(0);
    assert_eq!(resolve(&store), Err(AlertError::NotStored));
    assert_eq!(resolve(&store), Err(AlertError::NotStored), "it still is not");
    assert_eq!(store.resolve(groups[0].id, resolution.clone()), Err(ResolveError::NotStored));
    memory_for(u64::MAX);
    assert_eq!(resolve(&store), Err(AlertError::NotFiring), "and now it is");
    assert!(store.resolve(groups[0].id, resolution).is_ok());
    let store = over(&rings, &rollups, states);
    assert_eq!(named(&store.alerts(at(START + 2)), Origin::Host, "trap.loop").state(), AlertState::Resolved);
    assert_eq!(store.error_groups(at(START + 2))[0].state, GroupState::Resolved);
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Guest(usize),
    Host(usize),
    Recover(usize),
    ByHand(usize),
    /// The host is ended, however, and another one starts.
    Restart,
}

/// The alerts of the model: two of the guest's that have the names of the host's, and those.
const NAMES: [(Origin, HostAlert); 4] = [
    (Origin::Guest, HostAlert::Throttled),
    (Origin::Guest, HostAlert::TrapLoop),
    (Origin::Host, HostAlert::Throttled),
    (Origin::Host, HostAlert::TrapLoop),
];

fn deed() -> impl Strategy<Value = (Deed, i64)> {
    let deed = prop_oneof![
        4 => (0..2_usize).prop_map(Deed::Guest),
        3 => (2..4_usize).prop_map(Deed::Host),
        2 => (2..4_usize).prop_map(Deed::Recover),
        2 => (0..4_usize).prop_map(Deed::ByHand),
        1 => Just(Deed::Restart),
    ];
    (deed, prop_oneof![Just(0), 1..5 * HOUR, 20 * HOUR..30 * HOUR])
}

/// What is to be known of an alert, told plainly: all times at which it was raised or ended.
#[derive(Default)]
struct Plain {
    raised: Vec<i64>,
    ended: Vec<(i64, AlertCause)>,
    /// The times from which on it fired.
    fired: Vec<i64>,
}

impl Plain {
    fn fires(&self) -> bool {
        self.fired.len() > self.ended.len()
    }

    /// A day after it was last raised a guest's is over.
    fn settle(&mut self, is_guests: bool, now: i64) {
        if let Some(last) = self.raised.last().filter(|last| is_guests && self.fires() && **last + DAY <= now) {
            self.ended.push((last + DAY, AlertCause::Quiet));
        }
    }

    fn raise(&mut self, now: i64) {
        if !self.fires() {
            self.fired.push(now);
        }
        self.raised.push(now);
    }

    fn end(&mut self, now: i64, cause: AlertCause) -> bool {
        let fires = self.fires();
        if fires {
            self.ended.push((now, cause));
        }
        fires
    }

    fn firing_nanos(&self, now: i64) -> i64 {
        let ends = self.ended.iter().map(|(end, _)| *end).chain([now]);
        self.fired.iter().zip(ends).map(|(start, end)| end - start).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens, and whenever the host is ended, an alert is what its times say.
    #[test]
    fn an_alert_is_what_its_times_of_being_raised_and_ended_say(
        deeds in proptest::collection::vec(deed(), 1..40),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut running = depot(folder.path(), hand());
        let mut kept = store(&running, |_| {});
        let mut plain: BTreeMap<usize, Plain> = BTreeMap::new();
        let mut now = START;
        for (deed, later) in deeds {
            now += later;
            for (which, plain) in &mut plain {
                plain.settle(*which < 2, now);
            }
            match deed {
                Deed::Guest(which) => {
                    raise(&kept, now, NAMES[which].1.as_str());
                    plain.entry(which).or_default().raise(now);
                }
                Deed::Host(which) => {
                    alarm(&kept, now, NAMES[which].1);
                    plain.entry(which).or_default().raise(now);
                }
                Deed::Recover(which) => {
                    recover(&kept, now, NAMES[which].1);
                    plain.entry(which).or_default().end(now, AlertCause::Recovered);
                }
                Deed::ByHand(which) => {
                    let (origin, what) = NAMES[which];
                    let alerts = kept.alerts(at(now));
                    let known = alerts.iter().find(|alert| alert.origin == origin && alert.name == what.as_str());
                    let ended = known.map(|known| kept.resolve_alert(known.id, at(now), "uid 7", "").is_ok());
                    let expect = plain.entry(which).or_default().end(now, AlertCause::ByHand);
                    prop_assert_eq!(ended.unwrap_or(false), expect);
                }
                Deed::Restart => {
                    drop(kept);
                    drop(running);
                    running = depot(folder.path(), hand());
                    kept = store(&running, |_| {});
                }
            }
            let alerts = kept.alerts(at(now));
            let known = plain.iter().filter(|(_, plain)| !plain.raised.is_empty());
            prop_assert_eq!(alerts.len(), known.clone().count());
            for (which, plain) in known {
                let alert = named(&alerts, NAMES[*which].0, NAMES[*which].1.as_str());
                prop_assert_eq!(alert.state() == AlertState::Firing, plain.fires());
                prop_assert_eq!(alert.raised, plain.raised.len() as u64);
                prop_assert_eq!(alert.fired, plain.fired.len() as u64);
                prop_assert_eq!(alert.last_raised, at(plain.raised[plain.raised.len() - 1]));
                prop_assert_eq!(alert.firing_nanos(at(now)) as i64, plain.firing_nanos(now));
                let ended = plain.ended.last().map(|(end, cause)| (at(*end), *cause));
                let last = alert.history.iter().rev().find(|step| step.cause != AlertCause::Raised);
                prop_assert_eq!(last.map(|step| (step.at, step.cause)), ended);
            }
        }
        drop((kept, running));
        let read = DataDir::open(folder.path()).expect("a data directory").alerts("markdown", at(now));
        prop_assert_eq!(read.len(), plain.values().filter(|plain| !plain.raised.is_empty()).count());
    }
}
