//! Stores in a data directory: what outlives the host, what goes when, and who may write.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use glasshouse_model::Signal;

use super::support::*;
use crate::frame::turn_into_format_1;
use crate::header::{HEADER_BYTES, Header, set_version};
use crate::{DataDir, DataDirError, Depot, DepotSettings, GapCause};

#[test]
fn what_was_stored_is_there_after_a_restart_in_order_and_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut next = 1;
    for restart in 1..=5 {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        assert_eq!(store.reader(Signal::Log).next_sequence(), next);
        logs(&store, next..next + 3000);
        next += 3000;
        if restart % 2 == 0 {
            depot.settle();
        }
        let expect: Vec<_> = (1..next).map(message).collect();
        assert_eq!(difference(&messages(&store.reader(Signal::Log)), &expect), None);
        assert_eq!(difference(&messages(&stored(folder.path())), &expect), None);
    }
    assert_eq!(difference(&messages(&stored(folder.path())), &(1..next).map(message).collect::<Vec<_>>()), None);
    let latest = stored(folder.path()).latest(10);
    assert_eq!(sequences(&latest), (next - 10..next).collect::<Vec<_>>());
}

#[test]
fn what_is_no_id_leads_to_nobodys_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    log(&store(&depot, |_| {}), START, "first");
    let data = DataDir::open(folder.path()).expect("a data directory");
    assert_eq!(data.reader("markdown", Signal::Log).all().len(), 1);
    let extensions = folder.path().join("extensions");
    fs::rename(extensions.join("markdown/logs"), extensions.join("logs")).expect("the folder of logs");
    for name in ["", ".", "../extensions", "No Id"] {
        assert_eq!(data.reader(name, Signal::Log).all().len(), 0, "{name}");
    }
}

#[test]
fn a_store_without_records_has_no_files_and_each_signal_gets_its_own_with_its_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    assert!(!folder.path().join("extensions").exists());
    assert_eq!(depot.disk_bytes(), 0);
    log(&store, START, "first");
    assert_eq!(files(folder.path()).len(), 1);
    let signals: Vec<_> = fs::read_dir(folder.path().join("extensions/markdown")).expect("a folder").collect();
    assert_eq!(signals.len(), 1);
}

#[test]
fn many_restarts_with_few_records_leave_few_files() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 1..=40 {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        logs(&store, number..number + 1);
        depot.settle();
    }
    assert_eq!(difference(&messages(&stored(folder.path())), &(1..=40).map(message).collect::<Vec<_>>()), None);
    assert!(files(folder.path()).len() <= 3, "{:?}", files(folder.path()));
}

#[test]
fn a_dropped_host_that_sealed_nothing_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    logs(&store, 1..20_000);
    // What another process sees while the host runs, and while its keeper seals.
    assert_eq!(difference(&messages(&stored(folder.path())), &(1..20_000).map(message).collect::<Vec<_>>()), None);
}

#[test]
fn files_are_for_their_owner_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(&folder.path().join("data"), hand());
    let store = store(&depot, |_| {});
    logs(&store, 1..10_000);
    depot.settle();
    let mut folders = vec![folder.path().join("data")];
    let mut seen = 0;
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).expect("a folder") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("its metadata").permissions().mode() & 0o777;
            let is_folder = entry.file_type().expect("its type").is_dir();
            assert_eq!(mode, if is_folder { 0o700 } else { 0o600 }, "{}", entry.path().display());
            seen += 1;
            if is_folder {
                folders.push(entry.path());
            }
        }
    }
    assert!(seen > 6);
}

#[test]
fn a_second_host_is_refused_and_told_by_whom() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = depot(folder.path(), hand());
    let settings = DepotSettings { data_dir: Some(folder.path().to_owned()), ..quiet() };
    let refused = Depot::open(&settings, hand()).err().expect("it is refused");
    let expect = format!(
        "the data directory {} is in use by another host (process {}); stop that one, or use another directory",
        folder.path().display(),
        std::process::id()
    );
    assert_eq!(refused.to_string(), expect);
    drop(first);
    assert!(Depot::open(&settings, hand()).is_ok());
}

#[test]
fn a_data_directory_of_format_1_is_read_and_goes_on_in_the_present_format() {
    let folder = tempfile::tempdir().expect("a folder");
    {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        logs(&store, 1..3_000);
        depot.settle();
        logs(&store, 3_000..3_100);
    }
    let endings: Vec<_> = files(folder.path())
        .iter()
        .filter_map(|path| {
            let mut bytes = fs::read(path).expect("a file");
            // One that was made ahead has no header yet.
            let key = Header::decode(&bytes).ok()?.incarnation.key();
            set_version(&mut bytes, 1);
            let ending = path.extension().and_then(std::ffi::OsStr::to_str).expect("an ending").to_owned();
            if ending == "open" {
                turn_into_format_1(&mut bytes[HEADER_BYTES..], key);
            }
            fs::write(path, bytes).expect("a file");
            Some(ending)
        })
        .collect();
    assert!(["open", "sealed"].iter().all(|ending| endings.iter().any(|found| found == ending)), "{endings:?}");
    let format = folder.path().join("format");
    fs::write(&format, "glasshouse telemetry 1\n").expect("a file");
    let expect: Vec<_> = (1..3_100).map(message).collect();
    assert_eq!(difference(&messages(&stored(folder.path())), &expect), None);
    assert_eq!(fs::read_to_string(&format).expect("a file"), "glasshouse telemetry 1\n", "who reads changes nothing");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    assert_eq!(fs::read_to_string(&format).expect("a file"), "glasshouse telemetry 2\n");
    logs(&store, 3_100..3_200);
    depot.settle();
    let expect: Vec<_> = (1..3_200).map(message).collect();
    assert_eq!(difference(&messages(&store.reader(Signal::Log)), &expect), None);
    assert_eq!(difference(&messages(&stored(folder.path())), &expect), None);
}

#[test]
fn a_folder_of_another_format_or_purpose_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = DepotSettings { data_dir: Some(folder.path().to_owned()), ..quiet() };
    let refusal = || match Depot::open(&settings, hand()).err() {
        Some(DataDirError::Format { found, .. }) => found,
        other => panic!("a refusal, and not {other:?}"),
    };
    fs::write(folder.path().join("thesis.tex"), "x").expect("a file");
    assert_eq!(refusal(), "no data directory: it has no file \"format\"");
    fs::write(folder.path().join("format"), "glasshouse telemetry 7\n").expect("a file");
    assert_eq!(refusal(), "of format 7");
    fs::write(folder.path().join("format"), "something else").expect("a file");
    assert_eq!(refusal(), "no data directory of glasshouse, or one whose file \"format\" is damaged");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 2, "nothing is made");
}

#[test]
fn the_bounds_on_bytes_hold_for_a_ring_an_extension_and_a_host() {
    let check = |change: fn(&mut crate::StoreSettings, &mut DepotSettings), most: u64| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = DepotSettings { data_dir: Some(folder.path().to_owned()), ..quiet() };
        let clock = hand();
        let mut unused = crate::StoreSettings::new(&glasshouse_model::settings::Settings::default());
        change(&mut unused, &mut settings);
        let depot = depot_of(&settings, clock);
        let store = store(&depot, |settings| change(settings, &mut DepotSettings::default()));
        for start in (1..60_000).step_by(1000) {
            logs(&store, start..start + 1000);
            assert!(depot.disk_bytes() <= most, "{} of {most} bytes", depot.disk_bytes());
            let on_disk: u64 =
                files(folder.path()).iter().filter_map(|file| fs::metadata(file).ok()).map(|it| it.len()).sum();
            assert!(on_disk <= most, "{on_disk} bytes of files, {most} allowed");
        }
        depot.settle();
        let reader = store.reader(Signal::Log);
        let page = reader.page(1, 100_000);
        let kept = sequences(&page.entries);
        assert!(kept.len() > 100 && kept.len() < 60_000, "{} records", kept.len());
        assert_eq!(kept, (*kept.first().expect("some")..60_001).collect::<Vec<_>>());
        assert_eq!(
            page.gaps.iter().map(|gap| (gap.first, gap.last, gap.cause)).collect::<Vec<_>>(),
            [(1, kept[0] - 1, GapCause::Evicted)]
        );
        assert_eq!((page.missed, reader.evicted()), (kept[0] - 1, kept[0] - 1));
        assert_eq!(sequences(&stored(folder.path()).all()), kept);
    };
    check(|store, _| store.bounds[0].disk_bytes = 1 << 20, 1 << 20);
    check(|store, _| store.disk_bytes = 1 << 20, 1 << 20);
    check(|_, depot| depot.data_limit = 1 << 20, 1 << 20);
}

#[test]
fn one_signal_never_evicts_another() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |settings| settings.disk_bytes = 1 << 20);
    let head = crate::Head {
        time: glasshouse_model::UnixNanos(START),
        origin: glasshouse_model::Origin::Guest,
        cut: false,
        batched: false,
        context: b"",
    };
    store.recorder().append(Signal::Alert, head, 4, b"an alert");
    logs(&store, 1..60_000);
    depot.settle();
    assert_eq!(store.reader(Signal::Alert).all().len(), 1);
    assert!(store.reader(Signal::Log).evicted() > 0);
}

#[test]
fn what_is_over_its_age_goes_and_the_rest_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = hand();
    let depot = depot(folder.path(), clock.clone());
    let store = store(&depot, |settings| settings.bounds[0].age = Duration::from_secs(1));
    logs(&store, 1..10_000);
    depot.settle();
    assert_eq!(store.reader(Signal::Log).evicted(), 0);
    let now = START + 2_000_000_000;
    clock.0.store(now, Ordering::Relaxed);
    assert_eq!(log(&store, now, "young"), 10_000);
    // The segment that is written to holds old records and a young one.
    depot.settle();
    let kept = messages(&store.reader(Signal::Log));
    assert!(kept.len() < 9000 && kept.last().is_some_and(|last| last == "young"), "{} records", kept.len());
    clock.0.store(now + 2_000_000_000, Ordering::Relaxed);
    depot.settle();
    assert_eq!(messages(&store.reader(Signal::Log)), Vec::<String>::new());
    assert_eq!(
        depot.disk_bytes(),
        files(folder.path()).iter().map(|file| file.metadata().expect("it").len()).sum::<u64>()
    );
    drop(store);
    drop(depot);
    let depot = super::support::depot(folder.path(), clock);
    let store = super::support::store(&depot, |_| {});
    assert_eq!(store.reader(Signal::Log).page(1, 10).missed, 10_000, "what has gone is known to have been there");
    assert_eq!(log(&store, now, "next"), 10_001);
    depot.settle();
    assert_eq!(messages(&stored(folder.path())), ["next"]);
}

#[test]
fn a_cursor_goes_on_where_it_was_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let cursor = {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |_| {});
        logs(&store, 1..100);
        store.reader(Signal::Log).cursor("markdown", 42)
    };
    assert_eq!(stored(folder.path()).resume(&cursor), (43, false));
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    assert_eq!(store.reader(Signal::Log).resume(&cursor), (43, false));
    let elsewhere = Depot::in_memory(hand());
    let other = super::support::store(&elsewhere, |_| {});
    assert_eq!(other.reader(Signal::Log).resume(&cursor), (1, true), "another incarnation is read from its start");
}

#[test]
fn following_a_store_that_is_written_to_gives_each_record_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let on_disk = depot(folder.path(), hand());
    let in_memory = Depot::in_memory(hand());
    for depot in [&on_disk, &in_memory] {
        let store = store(depot, |settings| settings.bounds[0].records = 1_000_000);
        let reader = store.reader(Signal::Log);
        let writer = std::thread::spawn(move || logs(&store, 1..100_001));
        let mut next = 1;
        while next <= 100_000 {
            let page = reader.page(next, 7_000);
            assert_eq!(page.gaps, [], "at {next}");
            assert_eq!(sequences(&page.entries), (next..page.next_sequence).collect::<Vec<_>>());
            next = page.next_sequence;
        }
        writer.join().expect("the writer ends");
        assert_eq!(next, 100_001);
    }
}

#[test]
fn following_another_process_gives_each_record_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    let writer = {
        let store = std::sync::Arc::clone(&store);
        std::thread::spawn(move || logs(&store, 1..100_001))
    };
    let reader = stored(folder.path());
    let mut next = 1;
    while next <= 100_000 {
        let is_written = writer.is_finished();
        let page = reader.page(next, 7_000);
        assert_eq!(page.gaps, [], "at {next}");
        assert_eq!(sequences(&page.entries), (next..next + page.entries.len() as u64).collect::<Vec<_>>());
        next = page.next_sequence;
        if is_written && page.entries.is_empty() {
            break;
        }
    }
    writer.join().expect("the writer ends");
    assert_eq!(next, 100_001);
}

#[test]
fn stores_that_are_opened_ahead_are_what_they_are_and_one_that_cannot_be_opened_is_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = crate::StoreSettings::new(&glasshouse_model::settings::Settings::default());
    let names: Vec<_> = (0..40).map(|number| format!("extension-{number}")).collect();
    let open = |depot: &Depot, name: &str| depot.store_of(name, &settings, std::sync::Arc::default());
    {
        let depot = depot(folder.path(), hand());
        for (number, name) in names.iter().enumerate() {
            logs(&open(&depot, name).expect("a store"), 1..number as u64 + 2);
        }
    }
    // What is no folder cannot be listed.
    let broken = folder.path().join("extensions").join(&names[7]).join("spans");
    fs::write(&broken, "").expect("a file");
    let depot = depot(folder.path(), hand());
    depot.open_ahead(names.iter().map(String::as_str));
    for (number, name) in names.iter().enumerate() {
        match open(&depot, name) {
            Ok(store) => assert_eq!(store.reader(Signal::Log).stored(), number as u64 + 1),
            Err(error) => assert!(number == 7 && error.to_string().contains("spans"), "{name}: {error}"),
        }
    }
    fs::remove_file(&broken).expect("the file goes");
    assert_eq!(open(&depot, &names[7]).expect("a store").reader(Signal::Log).stored(), 8);
    let unheard_of = open(&depot, "another").expect("a store");
    assert_eq!(unheard_of.reader(Signal::Log).stored(), 0);
}

#[test]
fn a_disk_that_fails_costs_nothing_of_what_is_on_it_and_memory_has_its_bound() {
    let folder = tempfile::tempdir().expect("a folder");
    let kept_in_memory = 256 << 10;
    {
        let depot = depot(folder.path(), hand());
        let store = store(&depot, |settings| settings.bounds[0].bytes = kept_in_memory);
        logs(&store, 1..10_000);
        depot.settle();
        logs(&store, 10_000..10_100);
        // What would be tried of it cannot be.
        fs::create_dir(folder.path().join("probe")).expect("a folder");
        depot.fail(&std::io::Error::from(std::io::ErrorKind::StorageFull));
        logs(&store, 10_100..40_000);
        let reader = store.reader(Signal::Log);
        let page = reader.page(1, usize::MAX);
        let (before, after): (Vec<_>, Vec<_>) = sequences(&page.entries).into_iter().partition(|it| *it < 20_000);
        assert!(before.len() >= 10_099, "{} of what was on the disk", before.len());
        assert_eq!(before, (1..=before.len() as u64).collect::<Vec<_>>());
        assert!(after.len() > 500 && after.last() == Some(&39_999), "{} in memory", after.len());
        assert_eq!(page.gaps.len(), 1, "{:?}", page.gaps);
        assert_eq!((page.missed, reader.evicted()), (store.usage().evicted[0], 0));
        assert_eq!(page.missed, 39_999 - page.entries.len() as u64);
        assert!(reader.bytes() <= kept_in_memory + (1 << 20), "{} bytes", reader.bytes());
        let on_disk = sequences(&stored(folder.path()).all());
        assert!(on_disk.len() >= 10_099, "{} are on the disk", on_disk.len());
        fs::remove_dir(folder.path().join("probe")).expect("the folder goes");
        // The host ends before those who store.
        drop(depot);
    }
    // The disk works again when the host ends, and what was in memory goes there.
    let page = stored(folder.path()).page(1, usize::MAX);
    let kept = sequences(&page.entries);
    assert!(kept.len() > 10_600 && kept.last() == Some(&39_999), "{} {:?}", kept.len(), page.gaps);
    let depot = depot(folder.path(), hand());
    let store = store(&depot, |_| {});
    assert_eq!(log(&store, START, "next"), 40_000);
    assert_eq!(sequences(&store.reader(Signal::Log).all()).len(), kept.len() + 1);
}

#[test]
fn one_extension_never_takes_the_room_of_another_that_has_no_more_than_its_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let limit = 4 << 20;
    let settings = DepotSettings { data_dir: Some(folder.path().to_owned()), data_limit: limit, ..quiet() };
    let depot = depot_of(&settings, hand());
    let of = |name: &str| {
        let mut settings = crate::StoreSettings::new(&glasshouse_model::settings::Settings::default());
        settings.bounds.iter_mut().for_each(|bounds| bounds.age = Duration::MAX);
        depot.store_of(name, &settings, std::sync::Arc::default()).expect("a store")
    };
    let numbers = |store: &std::sync::Arc<crate::Store>| sequences(&store.reader(Signal::Log).all());
    let in_files = |name: &str| {
        let data = DataDir::open(folder.path()).expect("a data directory");
        sequences(&data.reader(name, Signal::Log).all())
    };
    let (early, flood) = (of("early"), of("flood"));
    logs(&early, 1..3_000);
    depot.settle();
    logs(&flood, 1..100_000);
    assert!(flood.reader(Signal::Log).evicted() > 0, "the flood had all there was");
    assert_eq!(numbers(&early), (1..3_000).collect::<Vec<_>>());
    // One that comes late gets its part of what others have taken, in files and while these go on.
    let late = of("late");
    let flooding = std::thread::spawn({
        let flood = std::sync::Arc::clone(&flood);
        move || logs(&flood, 100_000..200_000)
    });
    logs(&early, 3_000..4_000);
    logs(&late, 1..4_000);
    flooding.join().expect("the flood ends");
    depot.settle();
    for (store, name) in [(&early, "early"), (&late, "late")] {
        assert_eq!(numbers(store), (1..4_000).collect::<Vec<_>>(), "{name}");
        assert_eq!(in_files(name), (1..4_000).collect::<Vec<_>>(), "{name}");
    }
    let newest = numbers(&flood);
    assert_eq!(newest, (newest[0]..200_000).collect::<Vec<_>>());
    assert!(newest.len() > 1_000, "{} records of the flood", newest.len());
    assert!(depot.disk_bytes() <= limit, "{} bytes", depot.disk_bytes());
}
