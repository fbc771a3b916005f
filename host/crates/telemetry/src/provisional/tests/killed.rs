//! What a host that was killed has left undecided: a copy of its folder is what the next one finds.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::*;
use crate::tests::support::depot;

/// Copies a folder with all that is in it, as it is at this moment: again, if a file that was being made got its name meanwhile.
fn copy(from: &Path, to: &Path) {
    while let Err(error) = try_copy(from, to) {
        assert_eq!(error.kind(), io::ErrorKind::NotFound, "{error}");
        fs::remove_dir_all(to).expect("it is there in part");
    }
}

fn try_copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            try_copy(&from, &to)?;
        } else {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

fn provisional(folder: &Path) -> PathBuf {
    folder.join("extensions/markdown/provisional")
}

fn files(folder: &Path) -> usize {
    fs::read_dir(provisional(folder)).map_or(0, Iterator::count)
}

/// The guest's logs that a host finds in a folder in which another one was killed; and in how many traces it says so. Nothing is undecided
/// any more then.
fn found(folder: &Path) -> (Vec<u64>, usize) {
    let house = House::with(depot(folder, hand()));
    assert_eq!(files(folder), 0);
    let (mut numbers, mut told) = (Vec::new(), 0);
    for entry in house.store.reader(Signal::Log).all() {
        if entry.origin() == Origin::Host {
            let Ok(Body::Record(Record::Log(_, fields))) = entry.body() else { panic!("a log") };
            told += usize::from(fields.iter().any(|field| field.value == Value::Text("telemetry.killed")));
        } else {
            numbers.push(entry.time().0 as u64);
        }
    }
    (numbers, told)
}

/// What waits, in order.
fn waiting(house: &House) -> Vec<u64> {
    let waiting = lock(&house.store.provisional().logs);
    let sequences: Vec<_> =
        waiting.parts.iter().map(|part| part.sequences.clone()).chain([waiting.of_call()]).collect();
    waiting.room.each(&sequences).map(|parts| parts.time as u64).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whenever_a_host_is_killed_what_it_had_not_decided_is_there_and_nothing_else(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let [own, next] = ["own", "next"].map(|name| folder.path().join(name));
        let house = House::with(depot(&own, hand()));
        let mut fates: Vec<_> = (0..TRACES).map(|_| house.fate()).collect();
        let mut made = 0;
        for step in steps {
            match step {
                Step::Wait(text) => {
                    house.wait(1, made, text);
                    made += 1;
                }
                Step::Alone(is_kept) => house.decide(is_kept),
                Step::Leave(trace) => house.leave(&fates[trace], 1),
                Step::Decide(trace, is_kept) => {
                    fates[trace].ended(true, is_kept, &*house.clock);
                    fates[trace] = house.fate();
                }
            }
        }
        let stored: Vec<_> = house.stored().into_iter().map(|(number, _)| number).collect();
        let waiting = waiting(&house);
        copy(&own, &next);
        let expect: Vec<_> = stored.iter().chain(&waiting).copied().collect();
        prop_assert_eq!(found(&next), (expect.clone(), usize::from(!waiting.is_empty())));
        prop_assert_eq!(found(&next).0, expect, "the one after that finds the same");
        drop(house);
        prop_assert_eq!(files(&own) > 0, !waiting.is_empty(), "a host that ends has nothing to leave but what waits");
    }
}

#[test]
fn a_host_that_ends_leaves_no_file_for_a_call_of_which_nothing_is_there_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::with(depot(folder.path(), hand()));
    let fates = [house.fate(), house.fate()];
    house.wait(1, 0, 10);
    house.leave(&fates[0], 1);
    // So many that what was left had to go.
    (1..4).for_each(|number| house.wait(2, number, HALF_OF_LOGS / 2));
    house.leave(&fates[1], 2);
    assert!(files(folder.path()) > 0);
    fates[1].ended(true, false, &*house.clock);
    assert!(waiting(&house).is_empty());
    drop(house);
    assert_eq!(files(folder.path()), 0);
}

#[test]
fn what_was_stored_before_the_host_could_note_so_is_not_there_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let [own, before, next] = ["own", "before", "next"].map(|name| folder.path().join(name));
    let house = House::with(depot(&own, hand()));
    (0..5).for_each(|number| house.wait(1, number, 10));
    copy(&provisional(&own), &before);
    house.decide(true);
    house.wait(2, 5, 10);
    house.decide(true);
    copy(&own, &next);
    fs::remove_dir_all(provisional(&next)).expect("it is there");
    copy(&before, &provisional(&next));
    assert_eq!(found(&next).0, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn damage_loses_no_more_than_what_is_undecided() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = folder.path().join("own");
    let house = House::with(depot(&own, hand()));
    house.wait(1, 0, 10);
    house.decide(true);
    (1..20).for_each(|number| house.wait(1, number, 1000));
    let mut seed = 7_u64;
    for round in 0..50 {
        let next = folder.path().join(format!("next-{round}"));
        copy(&own, &next);
        for entry in fs::read_dir(provisional(&next)).expect("files") {
            let path = entry.expect("a file").path();
            let mut bytes = fs::read(&path).expect("a file");
            for _ in 0..=round {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % 24_000;
                bytes[at] ^= 1 << (seed % 8);
            }
            bytes.truncate(if round % 3 == 0 { 10_000 } else { bytes.len() });
            fs::write(&path, bytes).expect("a file");
        }
        let (numbers, _) = found(&next);
        assert!(numbers.is_sorted() && numbers.first() == Some(&0) && numbers.len() <= 20, "{numbers:?}");
    }
}

#[test]
fn a_host_whose_disk_has_no_room_goes_on_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    depot.fail(&std::io::Error::other("on purpose"));
    let house = House::with(depot);
    (0..5).for_each(|number| house.wait(1, number, 10));
    house.decide(true);
    assert_eq!((house.stored().len(), files(folder.path())), (5, 0));
}
