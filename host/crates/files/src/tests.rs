//! The files of a store that is written to while they are: nothing is missing, and nothing is there twice.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use glasshouse_export::Source;
use glasshouse_model::config::LogFileSettings;
use glasshouse_model::settings::Settings;
use glasshouse_model::{Clock, Level};
use glasshouse_telemetry::{Depot, Store};

use crate::names::Rotated;
use crate::testing::SetClock;
use crate::{HostLog, LogFiles};

const NOW: i64 = 1_795_358_417_000_000_000;

struct House {
    place: tempfile::TempDir,
    clock: Arc<SetClock>,
    store: Arc<Store>,
    settings: LogFileSettings,
}

impl House {
    fn new(kept: usize) -> Self {
        let place = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(SetClock::at(NOW));
        let mut settings = Settings::default();
        settings.debugging.max_log_entries = kept;
        let store = Depot::in_memory(Arc::<SetClock>::clone(&clock)).store_in_memory(&settings);
        let settings = LogFileSettings { folder: Some(place.path().join("logs")), ..LogFileSettings::default() };
        Self { place, clock, store, settings }
    }

    fn log(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            self.store.recorder().host_log(self.clock.now(), &[], Level::Info, &format!("number {number}"), &[]);
        }
    }

    fn open(&self) -> LogFiles {
        let clock = Arc::<SetClock>::clone(&self.clock);
        let opened = LogFiles::open(&self.settings, &HostLog::default(), clock);
        opened.expect("it is opened").expect("there is a folder")
    }

    fn start(&self) -> LogFiles {
        let files = self.open();
        files.start(&[Source::new("shop", |signal| self.store.reader(signal))]).expect("it starts");
        files
    }

    /// The text of a tier: of what was set aside, and of what is written to.
    fn text(&self, stem: &str) -> String {
        let folder = self.place.path().join("logs");
        let mut names: Vec<_> = std::fs::read_dir(&folder).expect("it is there").flatten().collect();
        names.sort_by_key(std::fs::DirEntry::file_name);
        let name = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let aside = names.iter().filter(|entry| Rotated::parse(&name(entry)).is_some_and(|it| it.tier.stem() == stem));
        let mut text: String = aside.map(|entry| read(&entry.path())).collect();
        text.push_str(&read(&folder.join(format!("{stem}.log"))));
        text
    }

    /// The numbers in it.
    fn numbers(&self, stem: &str) -> Vec<u64> {
        let text = self.text(stem);
        text.lines().filter_map(|line| line.rsplit_once("number ")?.1.trim_end().parse().ok()).collect()
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    let mut file = std::fs::File::open(path).expect("it is there");
    if path.extension().is_some_and(|ending| ending == "gz") {
        GzDecoder::new(file).read_to_string(&mut text).expect("it is whole");
    } else {
        file.read_to_string(&mut text).expect("it is text");
    }
    text
}

#[test]
fn each_record_is_once_in_the_files_over_rotations_and_over_starts() {
    let mut house = House::new(100_000);
    house.settings.rotate_size = 64 << 10;
    house.log(1..=10);
    // The host's clock goes on, so that what was recorded before it was started is known as that.
    house.clock.set(NOW + 1);
    let files = house.open();
    house.log(11..=3000);
    files.start(&[Source::new("shop", |signal| house.store.reader(signal))]).expect("it starts");
    house.log(3001..=5000);
    files.finish();
    drop(files);
    house.log(5001..=6000);
    house.start().finish();
    assert_eq!(house.numbers("all"), (11..=6000).collect::<Vec<_>>());
    let json = house.text("structured.json");
    assert_eq!(json.lines().count(), 5990);
    assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    assert!(house.text("error").is_empty() && house.text("debug").is_empty());
    let folder = house.place.path().join("logs");
    for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
        let bytes = entry.metadata().expect("it is there").len();
        assert!(bytes <= 64 << 10, "{}: {bytes}", entry.path().display());
    }
}

#[test]
fn what_was_evicted_before_it_could_be_written_is_told_and_counted() {
    let house = House::new(100);
    house.start().finish();
    house.log(1..=1000);
    let files = house.start();
    files.finish();
    let told = house.text("error");
    assert!(told.contains(" warning  shop/- host logs:1 glasshouse::files: 900 logs were evicted before"), "{told}");
    assert!(told.contains("first=1 last=900 missing=900"), "{told}");
    assert_eq!(files.status().missed, 900);
    assert_eq!(house.numbers("all"), (901..=1000).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_old_is_set_aside_and_one_that_was_moved_is_made_again() {
    let mut house = House::new(1000);
    house.settings.compress = false;
    house.log(1..=1);
    house.start().finish();
    house.clock.set(NOW + 3600 * 1_000_000_000);
    house.settings.rotate_age = std::time::Duration::from_hours(1);
    let logs = house.place.path().join("logs");
    std::fs::remove_file(logs.join("structured.json.log")).expect("it is there");
    house.log(2..=2);
    house.start().finish();
    assert_eq!(read(&logs.join("all.00000001.20261122T154017Z.log")).lines().count(), 1);
    assert_eq!(read(&logs.join("all.log")).lines().count(), 1);
    assert_eq!(read(&logs.join("structured.json.log")).lines().count(), 1);
    assert_eq!(house.numbers("all"), [1, 2]);
}

#[test]
fn what_a_killed_host_wrote_after_its_last_position_is_written_once() {
    let house = House::new(1000);
    house.log(1..=10);
    house.start().finish();
    let logs = house.place.path().join("logs");
    let position = read(&logs.join(".glasshouse.position"));
    house.log(11..=20);
    house.start().finish();
    // As it is where the host is killed before it could say how far it got.
    std::fs::write(logs.join(".glasshouse.position"), position).expect("it is written");
    house.log(21..=30);
    house.start().finish();
    assert_eq!(house.numbers("all"), (1..=30).collect::<Vec<_>>());
    assert_eq!(house.text("structured.json").lines().count(), 30);
}

#[test]
fn a_file_that_was_emptied_goes_on_at_its_start_and_nothing_is_there_twice() {
    let house = House::new(1000);
    let logs = house.place.path().join("logs");
    let files = house.start();
    house.log(1..=10);
    for _ in 0..1000 {
        if house.numbers("all").last() == Some(&10) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(house.numbers("all"), (1..=10).collect::<Vec<_>>());
    std::fs::write(logs.join("all.log"), "").expect("it is emptied");
    house.log(11..=12);
    files.finish();
    drop(files);
    assert_eq!(house.numbers("all"), [11, 12]);
    assert!(!house.text("all").contains('\0'));
    // The position speaks of what is in it now: what a killed host wrote after it is taken back.
    let position = read(&logs.join(".glasshouse.position"));
    house.log(13..=14);
    house.start().finish();
    std::fs::write(logs.join(".glasshouse.position"), position).expect("it is written");
    house.log(15..=15);
    house.start().finish();
    assert_eq!(house.numbers("all"), (11..=15).collect::<Vec<_>>());
}

#[test]
fn a_link_in_the_place_of_a_file_is_an_error_that_names_it() {
    let house = House::new(10);
    drop(house.open());
    let logs = house.place.path().join("logs");
    std::fs::remove_file(logs.join("error.log")).expect("it is there");
    std::os::unix::fs::symlink(house.place.path().join("outside"), logs.join("error.log")).expect("a link");
    let refused = LogFiles::open(&house.settings, &HostLog::default(), Arc::<SetClock>::clone(&house.clock));
    let refused = refused.err().expect("it is refused").to_string();
    assert!(refused.contains("error.log is a link; remove it"), "{refused}");
    assert!(!house.place.path().join("outside").exists());
}
