//! Files that were damaged, cut off, or are of no use: what is whole is read, and nothing else.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use glasshouse_model::Signal;
use proptest::prelude::*;

use super::support::*;
use crate::GapCause;

/// Records, some sealed and some not, in the files of a host that is gone.
fn left_behind() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        logs(&store, 1..6_000);
        depot.settle();
        logs(&store, 6_000..6_500);
    }
    folder
}

#[test]
fn damage_anywhere_loses_only_what_it_touches() {
    let folder = left_behind();
    let originals: Vec<_> =
        files(folder.path()).into_iter().map(|path| (fs::read(&path).expect("a file"), path)).collect();
    assert!(originals.iter().any(|(_, path)| path.extension().is_some_and(|ending| ending == "sealed")));
    assert!(originals.iter().any(|(_, path)| path.extension().is_some_and(|ending| ending == "open")));
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    let damage =
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..200));
    let restore = || originals.iter().for_each(|(bytes, path)| fs::write(path, bytes).expect("a file"));
    let run = runner.run(&damage, |(file, at, garbage)| {
        restore();
        let (bytes, path) = file.get(&originals);
        let at = at.index(bytes.len());
        let damaged = OpenOptions::new().write(true).open(path).expect("a file");
        let garbage = &garbage[..garbage.len().min(bytes.len() - at)];
        damaged.write_all_at(garbage, at as u64).expect("damaging it");
        let reader = stored(folder.path());
        let page = reader.page(1, usize::MAX);
        let found: Vec<_> = page.entries.iter().map(|entry| (entry.sequence(), message_of(entry))).collect();
        prop_assert!(found.iter().all(|(sequence, text)| *text == message(*sequence)), "all that is read is true");
        prop_assert!(found.windows(2).all(|pair| pair[0].0 < pair[1].0), "in order, and once");
        // A block of compressed records is the most that 200 bytes can touch two of.
        prop_assert!(found.len() > 6_499 - 2_000, "{} records left", found.len());
        let newest = found.last().map_or(0, |(sequence, _)| *sequence);
        prop_assert_eq!(page.missed + found.len() as u64, newest, "what is missing is counted");
        prop_assert!(page.gaps.iter().all(|gap| gap.first == 1 || gap.cause == GapCause::Damaged));
        Ok(())
    });
    run.expect("damage is survived");
    // A host that starts on damaged files goes on after what it finds.
    restore();
    for (bytes, path) in &originals {
        let damaged = OpenOptions::new().write(true).open(path).expect("a file");
        damaged.write_all_at(&[0xff; 64], bytes.len() as u64 / 3).expect("damaging it");
    }
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    let before = store.reader(Signal::Log).all().len();
    let sequence = log(&store, START, "after the damage");
    depot.settle();
    let after = store.reader(Signal::Log).all();
    assert_eq!(after.len(), before + 1);
    assert_eq!(
        after.last().map(|entry| (entry.sequence(), message_of(entry))),
        Some((sequence, "after the damage".into()))
    );
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_left_and_starts_a_new_incarnation() {
    check_cut_off(8);
}

#[test]
fn a_file_of_which_nothing_is_left_starts_a_new_incarnation_too() {
    check_cut_off(u64::MAX);
}

/// Cuts off all but one part of so many of what is not sealed.
fn check_cut_off(parts: u64) {
    let folder = left_behind();
    let cursor = stored(folder.path()).cursor("markdown", 6_499);
    for path in files(folder.path()) {
        if path.extension().is_some_and(|ending| ending == "open") {
            // Of what is written: a file is made larger the more there was before.
            let written =
                fs::read(&path).expect("a file").iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            let file = OpenOptions::new().write(true).open(&path).expect("a file");
            file.set_len(written as u64 / parts).expect("cutting it off");
        }
    }
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    let reader = store.reader(Signal::Log);
    let kept = reader.all().len() as u64;
    assert!(kept > 4_000 && kept < 6_499, "{kept}");
    let next = log(&store, START, "told again");
    assert_eq!(next, kept + 1);
    // A reader that has seen the lost records is told so, and misses none of the new ones.
    assert_eq!(reader.resume(&cursor), (kept + 1, true));
    assert_eq!(messages(&reader).last().map(String::as_str), Some("told again"));
}

#[test]
fn empty_and_foreign_files_are_no_records() {
    let folder = left_behind();
    let logs_folder = folder.path().join("extensions/markdown/logs");
    for (name, content) in [
        ("0000000099.part", &b""[..]),
        ("0000000100.open", &vec![0; 70_000]),
        ("0000000101.open", &vec![0xee; 70_000]),
        ("notes.txt", b"mine"),
        ("1-2-3.sealed", b"x"),
        ("00000000000000000001-00000000000000000003.sealed.part", b"x"),
        ("00000000000000090000-00000000000000090003.sealed", b"not sealed at all"),
    ] {
        fs::write(logs_folder.join(name), content).expect("a file");
    }
    let expect: Vec<_> = (1..6_500).map(message).collect();
    assert_eq!(difference(&messages(&stored(folder.path())), &expect), None);
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    assert_eq!(difference(&messages(&store.reader(Signal::Log)), &expect), None);
    assert!(logs_folder.join("notes.txt").exists(), "what is not ours stays");
}

#[test]
fn a_half_written_sealed_file_is_written_again() {
    let folder = left_behind();
    let sealed =
        files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sealed"));
    let part = sealed.expect("a sealed file").with_extension("part");
    fs::write(&part, "half").expect("a file");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    depot.settle();
    assert_eq!(store.reader(Signal::Log).all().len(), 6_499);
    assert!(!part.exists());
}

#[test]
fn what_another_boot_left_starts_a_new_incarnation_since_its_end_may_be_lost_without_a_trace() {
    for sealed in [false, true] {
        let folder = left_behind();
        if sealed {
            // Files that were open are sealed by the next host, and none is made before the first record.
            let depot = depot(folder.path(), hand());
            let _store = store(&depot, |_| {});
            depot.settle();
        }
        let is_sealed = |path: &std::path::PathBuf| path.extension().is_some_and(|ending| ending == "sealed");
        assert_eq!(files(folder.path()).iter().all(is_sealed), sealed);
        let cursor = stored(folder.path()).cursor("markdown", 6_480);
        let restarted = |sequence: u64| {
            let depot = depot(folder.path(), hand());
            let store = store(&depot, |_| {});
            let reader = store.reader(Signal::Log);
            assert_eq!(log(&store, START, &message(sequence)), sequence);
            let resumed = reader.resume(&cursor);
            depot.settle();
            (resumed, reader.cursor("markdown", sequence))
        };
        assert_eq!(restarted(6_500).0, (6_481, false), "the same boot");
        as_of_another_boot(folder.path());
        let (resumed, later) = restarted(6_501);
        assert_eq!(resumed, (6_481, true), "what was there is not left out, and the reader is told");
        assert_eq!(stored(folder.path()).resume(&later), (6_502, false));
        assert_eq!(restarted(6_502).1.to_string()[..8], later.to_string()[..8], "the new one stays");
        assert_eq!(difference(&messages(&stored(folder.path())), &(1..6_503).map(message).collect::<Vec<_>>()), None);
    }
}
