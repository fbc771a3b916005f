//! Groups as stores keep them: counted, resolved, bounded, and there again after a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::record::KIND_FAILURE;
use glasshouse_model::wire::{self, Error};
use glasshouse_model::{
    Context, Digest, Failure, FailureKind, Frame, GroupId, Origin, Severity, Signal, UnixNanos, Version,
};
use proptest::prelude::*;

use super::support::{START, depot, hand, store};
use crate::state::UNSAVED;
use crate::{
    Component, DataDir, ErrorGroup, GROUPS, GroupState, Head, OVERFLOW, Redactor, Resolution, ResolveError, Store,
    StoreSettings,
};

const HOUR: i64 = 3_600_000_000_000;

fn in_memory() -> Arc<Store> {
    let settings = StoreSettings::new(&glasshouse_model::settings::Settings::default());
    Store::new(&settings, Arc::new(Redactor::default()))
}

fn component(digest: u8, version: &str) -> Component {
    Component { digest: Digest([digest; 32]), version: version.parse().ok() }
}

fn head(time: i64, context: &[u8]) -> Head<'_> {
    Head { time: UnixNanos(time), origin: Origin::Host, cut: false, batched: false, context }
}

/// Stores a report at a time, of a user.
fn report_as(store: &Arc<Store>, time: i64, kind: &str, message: &str, user: &str) {
    let mut body = Vec::new();
    wire::write_error(&mut body, &Error { kind, message, stack: "", source: None, handled: true }, &[]);
    let mut context = Vec::new();
    Context { user: Some(user.to_owned()), ..Context::default() }.encode(&mut context);
    store.recorder().append(Signal::Error, head(time, &context), wire::KIND_ERROR, &body);
}

fn report(store: &Arc<Store>, time: i64, kind: &str, message: &str) {
    report_as(store, time, kind, message, "ada");
}

/// Stores a failure in a function of a component.
fn fail(store: &Arc<Store>, time: i64, function: &str, digest: u8) {
    let mut body = Vec::new();
    let failure = Failure {
        kind: FailureKind::Unreachable,
        message: "wasm `unreachable` instruction executed".to_owned(),
        call: "handle:render".to_owned(),
        component: Digest([digest; 32]),
        location: None,
        frames: vec![Frame { function: function.to_owned(), offset: Some(time as u64) }],
        evidence: Vec::new(),
        input: None,
    };
    failure.encode(&mut body);
    store.recorder().append(Signal::Error, head(time, &[]), KIND_FAILURE, &body);
}

/// The name of one function of many, in letters alone.
fn function(start: &str, number: usize) -> String {
    let letter = |digit: usize| char::from(b'a' + (digit % 26) as u8);
    format!("{start}_{}{}", letter(number / 26), letter(number))
}

fn resolution(at: i64, version: Option<&str>) -> Resolution {
    Resolution {
        at: UnixNanos(at),
        by: "uid 7".to_owned(),
        notes: "mended".to_owned(),
        version: version.and_then(|version| version.parse().ok()),
        known: Vec::new(),
    }
}

/// The groups with what tells them apart: title, state, count.
fn shown(groups: &[ErrorGroup]) -> Vec<(&str, GroupState, u64)> {
    groups.iter().map(|group| (group.title.as_str(), group.state, group.count)).collect()
}

fn at(time: i64) -> UnixNanos {
    UnixNanos(time)
}

#[test]
fn errors_that_differ_by_their_input_are_one_group_with_all_that_is_counted() {
    let store = in_memory();
    store.run(component(1, "1.2.0"));
    for number in 0..40 {
        report_as(&store, START + number, "parse", &format!("line {number} is none"), &format!("user-{}", number % 5));
    }
    report(&store, START + 50, "parse", "no lines at all");
    let groups = store.error_groups(at(START + HOUR));
    assert_eq!(shown(&groups), [("no lines at all", GroupState::New, 1), ("line 0 is none", GroupState::New, 40)],);
    let group = &groups[1];
    assert_eq!((group.users, group.tenants), (5, 0));
    assert_eq!(group.samples, (33..=40).collect::<Vec<_>>());
    assert_eq!((group.first_seen, group.last_seen), (at(START), at(START + 39)));
    assert_eq!(group.components, [component(1, "1.2.0")]);
    assert_eq!((group.kind.as_str(), group.severity), ("parse", Severity::Low));
    assert_eq!(group.fingerprint, ["1", "message", "parse", "line <num> is none"]);
    assert!((group.rate_per_hour - 40.0).abs() < 0.1, "{}", group.rate_per_hour);
}

#[test]
fn a_resolved_error_comes_back_only_by_a_version_at_or_after_the_resolved_one() {
    for (resolved, of, expect) in [
        (Some("1.3.0"), component(1, "1.2.9"), GroupState::Resolved),
        (Some("1.3.0"), component(9, "1.2.9"), GroupState::Resolved),
        (Some("1.3.0"), component(9, "1.3.0-rc.1"), GroupState::Resolved),
        (Some("1.3.0"), component(1, "1.3.0"), GroupState::Regressed),
        (Some("1.3.0"), component(9, "2.0.0"), GroupState::Regressed),
        // The version that ran when it was resolved.
        (None, component(1, "1.2.0"), GroupState::Regressed),
        (None, component(9, "1.1.0"), GroupState::Resolved),
        // Without versions a component that was not known to have it tells.
        (Some("1.3.0"), component(1, ""), GroupState::Resolved),
        (Some("1.3.0"), component(9, ""), GroupState::Regressed),
    ] {
        let store = in_memory();
        store.run(component(1, "1.2.0"));
        report(&store, START, "parse", "none");
        let id = store.error_groups(at(START))[0].id;
        let answer = store.resolve(id, resolution(START + 1, resolved)).expect("it is known");
        assert_eq!(answer.state, GroupState::Resolved);
        store.run(of.clone());
        report(&store, START + 2, "parse", "none");
        let group = &store.error_groups(at(START + 3))[0];
        assert_eq!((group.state, group.count), (expect, 2), "{resolved:?} {of:?}");
        let resolution = group.resolution.as_ref().expect("it is still told");
        assert_eq!((resolution.by.as_str(), resolution.notes.as_str()), ("uid 7", "mended"));
        assert_eq!(group.regressed_at, (expect == GroupState::Regressed).then_some(at(START + 2)));
    }
}

#[test]
fn a_group_is_new_then_ongoing_and_a_burst_escalates() {
    let store = in_memory();
    let mut hours = 0;
    let state = |store: &Arc<Store>, hours: i64| store.error_groups(at(START + hours * HOUR))[0].state;
    while hours < 30 {
        report(&store, START + hours * HOUR, "parse", "none");
        let expect = if hours < 24 { GroupState::New } else { GroupState::Ongoing };
        assert_eq!(state(&store, hours), expect, "{hours}");
        hours += 1;
    }
    for _ in 0..20 {
        report(&store, START + hours * HOUR, "parse", "none");
    }
    assert_eq!(state(&store, hours), GroupState::Escalating);
    assert_eq!(state(&store, hours + 3), GroupState::Ongoing, "it ends by itself");
}

#[test]
fn a_guest_with_a_new_error_each_time_pushes_out_nothing_and_takes_bounded_room() {
    let store = in_memory();
    report(&store, START, "known", "to be resolved");
    let known = store.error_groups(at(START))[0].id;
    store.resolve(known, resolution(START, None)).expect("it is known");
    let word = |number: usize| std::iter::repeat_n('x', number + 1).collect::<String>();
    for number in 0..GROUPS + 50 {
        report(&store, START + HOUR, &word(number % 200), "flood");
    }
    let groups = store.error_groups(at(START + HOUR));
    assert_eq!(groups.len(), GROUPS + 1);
    let overflow = groups.iter().find(|group| group.id == OVERFLOW).expect("what is too much is counted");
    assert_eq!(overflow.count, 51);
    assert_eq!(store.resolve(OVERFLOW, resolution(START, None)), Err(ResolveError::Overflow));
    assert_eq!(store.resolve(GroupId([9; 6]), resolution(START, None)), Err(ResolveError::Unknown));

    // After a quiet day new ones take the place of old ones, but not of what somebody has looked at.
    for number in 0..2 * GROUPS {
        report(&store, START + 30 * HOUR, &format!("later-{}", word(number)), "flood");
    }
    let groups = store.error_groups(at(START + 30 * HOUR));
    assert_eq!(groups.len(), GROUPS + 1);
    assert!(groups.iter().any(|group| group.id == known && group.state == GroupState::Resolved));
    assert_eq!(groups.iter().filter(|group| group.kind.starts_with("later")).count(), GROUPS - 1);
}

#[test]
fn a_clock_that_was_once_years_ahead_neither_keeps_a_group_escalating_nor_in_front() {
    const YEARS: i64 = 5 * 365 * 24 * HOUR;
    let store = in_memory();
    for hour in 0..10 {
        report(&store, START + hour * HOUR, "parse", "line 1");
    }
    (0..40).for_each(|_| report(&store, START + YEARS, "parse", "line 1"));
    report(&store, START + YEARS, "late", "only then");
    assert_eq!(store.error_groups(at(START + YEARS))[0].state, GroupState::Escalating);
    for hour in 10..14 {
        report(&store, START + hour * HOUR, "parse", "line 1");
    }
    let now = START + 13 * HOUR;
    let groups = store.error_groups(at(now));
    let group = groups.iter().find(|group| group.kind == "parse").expect("it is there");
    assert_eq!((group.state, group.count), (GroupState::New, 54));
    assert_eq!((group.first_seen, group.last_seen), (at(START), at(now)));
    assert_eq!(group.hours[..3], [1, 1, 1], "each hour has its own");
    // What came only while the clock was ahead goes once there is no room.
    for number in 0..GROUPS {
        fail(&store, now, &function("app::new", number), 1);
    }
    assert!(store.error_groups(at(now)).iter().all(|group| group.kind != "late"));
}

#[test]
fn bugs_that_were_all_resolved_long_ago_make_room_for_new_ones_the_quietest_first() {
    const DAY: i64 = 24 * HOUR;
    let store = in_memory();
    for number in 0..GROUPS {
        fail(&store, START + number as i64, &function("app::bug", number), 1);
    }
    for group in store.error_groups(at(START)) {
        store.resolve(group.id, resolution(START + DAY, None)).expect("it is known");
    }
    // One comes back, and two are resolved anew.
    fail(&store, START + 2 * DAY, &function("app::bug", 0), 2);
    let regressed = store.error_groups(at(START + 2 * DAY))[0].id;
    let anew: Vec<_> = store.error_groups(at(START))[1..3].iter().map(|group| group.id).collect();
    for id in &anew {
        store.resolve(*id, resolution(START + 20 * DAY, None)).expect("it is known");
    }
    let has_overflow = |time: i64| store.error_groups(at(time)).iter().any(|group| group.id == OVERFLOW);

    let soon = START + 31 * DAY;
    fail(&store, soon, "app::first", 1);
    assert!(has_overflow(soon), "a resolution of a month ago still tells whether a bug comes back");
    let later = START + 31 * DAY + HOUR;
    for number in 0..GROUPS + 5 {
        fail(&store, later, &function("app::new", number), 1);
    }
    let groups = store.error_groups(at(later));
    let own: Vec<_> = groups.iter().filter(|group| group.id != OVERFLOW).collect();
    assert_eq!(own.len(), GROUPS);
    let kept: Vec<_> = own.iter().filter(|group| group.last_seen.0 < soon).map(|group| group.id).collect();
    assert_eq!(kept.len(), 3);
    assert!(kept.contains(&regressed) && anew.iter().all(|id| kept.contains(id)), "of these there was word since");
}

/// All that is told of the groups in a folder, by a host that starts anew and by one who only reads.
fn after_restart(folder: &Path) -> Vec<ErrorGroup> {
    let now = at(START + HOUR);
    let read = DataDir::open(folder).expect("a data directory").error_groups("markdown", now);
    let depot = depot(folder, hand());
    let kept = store(&depot, |_| {}).error_groups(now);
    assert_eq!(read, kept);
    kept
}

#[test]
fn what_was_counted_and_resolved_is_there_after_a_restart_and_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expect = Vec::new();
    for round in 0..5 {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        store.run(component(round, "1.0.0"));
        for number in 0..i64::from(UNSAVED) + 60 {
            report(&store, START + number, "parse", &format!("line {number}"));
            fail(&store, START + number, "app::one", round);
        }
        if round == 2 {
            let id = store.error_groups(at(START))[0].id;
            store.resolve(id, resolution(START + 1, Some("9.0.0"))).expect("it is known");
        }
        if round > 0 {
            fail(&store, START + 400, &format!("app::round_{round}"), round);
        }
        expect = store.error_groups(at(START + HOUR));
        drop(store);
        drop(depot);
        assert_eq!(after_restart(folder.path()), expect);
        assert_eq!(
            expect.iter().map(|group| group.count).max(),
            Some((u64::from(UNSAVED) + 60) * (u64::from(round) + 1))
        );
    }
    assert_eq!(expect.len(), 6);
    assert_eq!(expect.iter().filter(|group| group.state == GroupState::Resolved).count(), 1);
}

#[test]
fn counts_outlive_their_errors() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |settings| settings.bounds[Signal::Error as usize].disk_bytes = 256 << 10);
    for number in 0..4_000 {
        // What is compressed to little is kept for long.
        let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(256).collect();
        report(&store, START + number, "parse", &format!("line {number}, \"{noise}\""));
    }
    depot.settle();
    assert!(store.reader(Signal::Error).evicted() > 0);
    drop((store, depot));
    assert_eq!(after_restart(folder.path())[0].count, 4_000);
}

#[test]
fn a_state_that_is_lost_or_damaged_is_counted_again_from_the_errors_that_are_left() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        (0..100).for_each(|number| report(&store, START + number, "parse", "none"));
    }
    let state = folder.path().join("extensions/markdown/state");
    for file in std::fs::read_dir(&state).expect("the state's files") {
        let path = file.expect("a file").path();
        let length = std::fs::metadata(&path).expect("its length").len() as usize;
        std::fs::write(&path, vec![0xa5; length]).expect("writing");
    }
    assert_eq!(after_restart(folder.path())[0].count, 100);
    std::fs::remove_dir_all(&state).expect("removing");
    assert_eq!(after_restart(folder.path())[0].count, 100);
}

#[test]
fn a_state_that_is_written_for_long_stays_small_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    report(&store, START, "known", "to be resolved");
    let known = store.error_groups(at(START))[0].id;
    for number in 0..20_000_i64 {
        store.resolve(known, resolution(START + number, None)).expect("it is known");
    }
    let expect = store.error_groups(at(START + HOUR));
    drop((store, depot));
    let state = folder.path().join("extensions/markdown/state");
    let bytes = std::fs::read_dir(state)
        .expect("files")
        .map(|file| file.expect("a file").metadata().expect("its length").len());
    assert!(bytes.sum::<u64>() <= 5 << 20);
    assert_eq!(after_restart(folder.path()), expect);
}

/// What may happen to a group.
#[derive(Clone, Debug)]
enum Deed {
    Error { digest: u8, version: u8, after: Duration },
    Resolve { version: Option<u8> },
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => (0..4_u8, 0..4_u8, 0..50_u64).prop_map(|(digest, version, hours)| {
            Deed::Error { digest, version, after: Duration::from_hours(hours) }
        }),
        1 => proptest::option::of(0..4_u8).prop_map(|version| Deed::Resolve { version }),
    ]
}

proptest! {
    /// A group's state follows from what happened last, whatever came before.
    #[test]
    fn a_group_is_resolved_until_an_error_that_refutes_it_and_then_regressed_until_resolved(
        deeds in proptest::collection::vec(deed(), 1..40),
    ) {
        // The least version is none at all.
        let version = |number: u8| (number > 0).then(|| Version::new(1, u64::from(number), 0));
        let store = in_memory();
        let (mut now, mut count, mut known) = (START, 0, Vec::new());
        let mut verdict: Option<(bool, Option<Version>, Vec<u8>)> = None;
        let mut running = None;
        for deed in deeds {
            match deed {
                Deed::Error { digest, version: number, after } => {
                    now += after.as_nanos() as i64;
                    let version = version(number);
                    running.clone_from(&version);
                    store.run(Component { digest: Digest([digest; 32]), version: version.clone() });
                    report(&store, now, "parse", "none");
                    count += 1;
                    if let Some((resolved @ true, mended, had)) = &mut verdict {
                        *resolved = match (mended, &version) {
                            (Some(mended), Some(version)) => version < mended,
                            _ => had.contains(&digest),
                        };
                    }
                    known.push(digest);
                }
                Deed::Resolve { version: number } => {
                    let mended = number.and_then(version);
                    let Some(group) = store.error_groups(at(now)).pop() else { continue };
                    let resolution = Resolution { version: mended.clone(), ..resolution(now, None) };
                    store.resolve(group.id, resolution).expect("it is known");
                    verdict = Some((true, mended.or(running.clone()), known.clone()));
                }
            }
            let Some(group) = store.error_groups(at(now)).pop() else { continue };
            prop_assert_eq!(group.count, count);
            match &verdict {
                Some((true, ..)) => prop_assert_eq!(group.state, GroupState::Resolved),
                Some((false, ..)) => prop_assert_eq!(group.state, GroupState::Regressed),
                None => prop_assert!(!matches!(group.state, GroupState::Resolved | GroupState::Regressed)),
            }
        }
    }
}
