//! The end of a host in order: all is sealed in time, and nothing is lost where there is no time, or no room.

use std::time::Duration;

use glasshouse_model::Signal;

use super::support::*;
use crate::DepotSettings;

const LONG_ENOUGH: Duration = Duration::from_mins(1);

/// How many files of the logs there are that end so.
fn count(folder: &std::path::Path, ending: &str) -> usize {
    files(folder).iter().filter(|path| path.extension().is_some_and(|own| own == ending)).count()
}

fn all(to: u64) -> Vec<String> {
    (1..to).map(message).collect()
}

#[test]
fn what_is_being_written_to_is_sealed_as_well_and_what_comes_yet_when_the_depot_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = depot(folder.path(), hand());
    let written = store(&begun, |_| {});
    logs(&written, 1..5_000);
    assert!(count(folder.path(), "open") > 0);
    begun.finish(LONG_ENOUGH);
    assert_eq!((count(folder.path(), "open"), count(folder.path(), "part")), (0, 0));
    assert_eq!(difference(&messages(&stored(folder.path())), &all(5_000)), None);
    // Who has something to say yet can, and the same is read here.
    logs(&written, 5_000..5_010);
    assert_eq!(difference(&messages(&written.reader(Signal::Log)), &all(5_010)), None);
    drop(begun);
    assert_eq!(count(folder.path(), "open"), 0);
    assert_eq!(difference(&messages(&stored(folder.path())), &all(5_010)), None);
    drop(written);
    // The next host goes on in the same incarnation.
    let before = stored(folder.path()).cursor("markdown", 1).to_string();
    let next = depot(folder.path(), hand());
    let written = store(&next, |_| {});
    logs(&written, 5_010..5_020);
    assert_eq!(written.reader(Signal::Log).cursor("markdown", 1).to_string(), before);
    assert_eq!(difference(&messages(&stored(folder.path())), &all(5_020)), None);
}

#[test]
fn what_there_is_no_time_for_stays_in_its_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = depot(folder.path(), hand());
    let written = store(&begun, |_| {});
    logs(&written, 1..5_000);
    begun.finish(Duration::ZERO);
    // As a host that is killed now leaves it.
    assert_eq!(difference(&messages(&stored(folder.path())), &all(5_000)), None);
    drop((written, begun));
    let next = depot(folder.path(), hand());
    let reader = store(&next, |_| {}).reader(Signal::Log);
    assert_eq!(difference(&messages(&reader), &all(5_000)), None);
}

#[test]
fn bounds_that_are_reached_take_nothing_away_at_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    // As much as the first file has, which is the only one.
    let begun =
        depot_of(&DepotSettings { data_dir: Some(folder.path().to_owned()), data_limit: 64 * 1024, ..quiet() }, hand());
    let written = store(&begun, |_| {});
    logs(&written, 1..100);
    begun.finish(LONG_ENOUGH);
    assert_eq!((count(folder.path(), "open"), count(folder.path(), "sealed")), (0, 1));
    assert!(begun.disk_bytes() <= 64 * 1024, "{}", begun.disk_bytes());
    assert_eq!(difference(&messages(&stored(folder.path())), &all(100)), None);
}

#[test]
fn a_writer_that_goes_on_while_the_host_ends_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let begun = depot(folder.path(), hand());
    let written = store(&begun, |_| {});
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| logs(&written, 1..30_000));
        while !writer.is_finished() {
            begun.finish(LONG_ENOUGH);
        }
    });
    assert_eq!(difference(&messages(&written.reader(Signal::Log)), &all(30_000)), None);
    drop(begun);
    assert_eq!(count(folder.path(), "open"), 0);
    assert_eq!(difference(&messages(&stored(folder.path())), &all(30_000)), None);
}

#[test]
fn an_end_in_order_is_known_under_another_boot_and_any_other_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let incarnation = |number: u64, in_order: bool| {
        let begun = depot(folder.path(), hand());
        let written = store(&begun, |_| {});
        assert_eq!(log(&written, START, &message(number)), number);
        if in_order {
            begun.finish(LONG_ENOUGH);
            // What comes yet counts as well.
            log(&written, START, &message(number + 1));
        }
        let incarnation = written.reader(Signal::Log).cursor("markdown", 1).to_string();
        drop(begun);
        drop(written);
        incarnation
    };
    let first = incarnation(1, true);
    as_of_another_boot(folder.path());
    assert_eq!(incarnation(3, true), first, "nothing can be lost");
    as_of_another_boot(folder.path());
    assert_eq!(incarnation(5, false), first, "nor the second time");
    as_of_another_boot(folder.path());
    let second = incarnation(6, true);
    assert_ne!(second, first, "what it had may be lost without a trace");
    // Who takes the last of its files away takes away what was said of them.
    let last = files(folder.path()).pop().expect("a file");
    std::fs::remove_file(last).expect("it is there");
    as_of_another_boot(folder.path());
    let begun = depot(folder.path(), hand());
    let written = store(&begun, |_| {});
    log(&written, START, "again");
    assert_ne!(written.reader(Signal::Log).cursor("markdown", 1).to_string(), second);
}
