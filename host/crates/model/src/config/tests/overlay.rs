//! What is in force while debug sessions lie over settings, and that nothing of them is left afterwards.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Holding, LAYERS, Overlay, assign, read_overrides, values};
use super::{id, manifest};
use crate::settings::Settings;
use crate::{Level, SessionId};

/// Keys with the values that they may get here.
const CHOICES: [(&str, [&str; 3]); 4] = [
    ("debugging.log_level", ["trace", "warning", "critical"]),
    ("debugging.tracing_enabled", ["true", "false", "true"]),
    ("debugging.sampling_rate", ["0.0", "0.5", "1.0"]),
    ("debugging.metrics_interval", ["1s", "2s", "30s"]),
];

fn session(number: u8) -> SessionId {
    SessionId([number; 6])
}

/// What happens to an extension's settings.
#[derive(Clone, Debug)]
enum Step {
    /// A session of so much time is started, with a choice for some keys.
    Start(u64, [Option<u8>; CHOICES.len()]),
    /// One of those so far is stopped.
    Stop(u8),
    /// An operator sets keys by name.
    Set([Option<u8>; CHOICES.len()]),
    /// An embedder puts in other settings as a whole: those in force, with another value for a key.
    Apply(u8, u8),
    /// Time passes.
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let some = || prop::array::uniform4(prop::option::of(0..3_u8));
    prop_oneof![
        (1..20_u64, some()).prop_map(|(time, some)| Step::Start(time, some)),
        any::<u8>().prop_map(Step::Stop),
        some().prop_map(Step::Set),
        (0..CHOICES.len() as u8, 0..3_u8).prop_map(|(key, value)| Step::Apply(key, value)),
        (1..15_u64).prop_map(Step::Wait),
    ]
}

fn chosen(some: &[Option<u8>]) -> Vec<(&'static str, &'static str)> {
    let choice = |(index, value): (usize, &Option<u8>)| {
        let (key, values) = CHOICES[index];
        value.map(|value| (key, values[usize::from(value)]))
    };
    some.iter().enumerate().filter_map(choice).collect()
}

fn set(settings: &Settings, wanted: &[(&str, &str)]) -> Settings {
    assign(&bare(), settings, wanted.iter().copied(), "a test").expect("all of them can be set").settings
}

fn bare() -> super::Manifest {
    super::Manifest::bare(id("relay"))
}

/// A session as a book-keeper sees it: since when, until when, and what it asked for.
struct Noted {
    id: SessionId,
    begun: usize,
    ends_at: u64,
    asked: BTreeMap<&'static str, String>,
}

proptest! {
    /// The rule in another form: of all that was ever said of a key, the last word counts whose speaker still has a say. An operator
    /// always has; a session, while it is there, if no operator spoke after it.
    #[test]
    fn what_is_in_force_is_the_last_word_of_who_still_has_a_say(steps in prop::collection::vec(step(), 1..40)) {
        let mut overlay = Overlay::new(Settings::default());
        let (mut now, mut numbers) = (0, 0..);
        let mut sessions: Vec<Noted> = Vec::new();
        // What operators said: when, and the value.
        let mut said: BTreeMap<&str, (usize, String)> =
            values(&Settings::default()).into_iter().map(|(key, value)| (key, (0, value))).collect();
        for (moment, step) in steps.iter().enumerate() {
            let moment = moment + 1;
            match step {
                Step::Start(time, some) => {
                    let wanted = chosen(some);
                    let read = read_overrides(&bare(), overlay.beneath(), wanted.iter().copied(), "a test");
                    let Ok(overrides) = read else {
                        prop_assert!(wanted.is_empty());
                        continue;
                    };
                    let asked = overrides.iter().map(|over| (over.key(), over.value())).collect();
                    let id = session(numbers.next().expect("there are enough"));
                    let laid = overlay.lay(id, overrides, now + time);
                    prop_assert_eq!(laid, sessions.len() < LAYERS);
                    if laid {
                        sessions.push(Noted { id, begun: moment, ends_at: now + time, asked });
                    }
                }
                Step::Stop(number) => {
                    let id = session(*number);
                    prop_assert_eq!(overlay.lift(id), sessions.iter().any(|noted| noted.id == id));
                    sessions.retain(|noted| noted.id != id);
                }
                Step::Set(some) => {
                    let wanted = chosen(some);
                    let beneath = set(overlay.beneath(), &wanted);
                    overlay.settle(beneath, |key| wanted.iter().any(|(named, _)| *named == key));
                    for (key, value) in wanted {
                        said.insert(key, (moment, value.to_owned()));
                    }
                }
                Step::Apply(key, value) => {
                    let (key, all) = CHOICES[usize::from(*key)];
                    let in_force = overlay.in_force();
                    let asked = set(&in_force, &[(key, all[usize::from(*value)])]);
                    let (beneath, named) = overlay.asked_for(asked.clone());
                    prop_assert_eq!(&named[..], if asked == in_force { &[][..] } else { &[key] });
                    overlay.settle(beneath, |other| named.contains(&other));
                    prop_assert_eq!(overlay.in_force(), asked);
                    for key in named {
                        said.insert(key, (moment, all[usize::from(*value)].to_owned()));
                    }
                }
                Step::Wait(time) => {
                    now += time;
                    let over = overlay.over(now);
                    let mut expect: Vec<_> = sessions.iter().filter(|noted| noted.ends_at <= now).collect();
                    expect.sort_by_key(|noted| noted.ends_at);
                    prop_assert_eq!(&over, &expect.iter().map(|noted| noted.id).collect::<Vec<_>>());
                    for id in over {
                        prop_assert!(overlay.lift(id));
                        sessions.retain(|noted| noted.id != id);
                    }
                    prop_assert_eq!(overlay.next_end(), sessions.iter().map(|noted| noted.ends_at).min());
                }
            }
            let in_force: BTreeMap<_, _> = values(&overlay.in_force()).into_iter().collect();
            for (key, value) in &in_force {
                let (spoken, word) = &said[key];
                let later = sessions.iter().rev().find(|noted| noted.begun > *spoken && noted.asked.contains_key(key));
                let expect = later.map_or(word, |noted| &noted.asked[key]);
                prop_assert_eq!(value, expect, "{}", key);
                prop_assert_eq!(overlay.holder(key), later.map(|noted| noted.id));
            }
        }
        // With the last session goes the last trace of them.
        for noted in &sessions {
            overlay.lift(noted.id);
        }
        prop_assert_eq!(&overlay.in_force(), overlay.beneath());
        let left: BTreeMap<_, _> = values(overlay.beneath()).into_iter().collect();
        prop_assert!(left.iter().all(|(key, value)| *value == said[key].1));
    }
}

#[test]
fn each_override_says_what_has_become_of_it() {
    let mut overlay = Overlay::new(Settings::default());
    let read = |overlay: &Overlay, values: &[(&'static str, &'static str)]| {
        read_overrides(&bare(), overlay.beneath(), values.iter().copied(), "a test").expect("they can be set")
    };
    let both = read(&overlay, &[("log_level", "trace"), ("tracing_enabled", "true")]);
    assert!(overlay.lay(session(1), both, 10), "there is room");
    let one = read(&overlay, &[("debugging.log_level", "error")]);
    assert!(overlay.lay(session(2), one, 5), "there is room");
    assert_eq!(overlay.in_force().debugging.log_level, Level::Error);
    assert_eq!(overlay.holding(session(1), "debugging.log_level"), Holding::Under(session(2)));
    assert_eq!(overlay.holding(session(1), "debugging.tracing_enabled"), Holding::InForce);
    overlay.settle(overlay.beneath().clone(), |key| key == "debugging.tracing_enabled");
    assert_eq!(overlay.holding(session(1), "debugging.tracing_enabled"), Holding::SetSince);
    assert!(overlay.lift(session(2)));
    assert_eq!(overlay.holding(session(1), "debugging.log_level"), Holding::InForce);
    assert_eq!((overlay.ends_at(session(1)), overlay.ends_at(session(2))), (Some(10), None));
}

#[test]
fn what_cannot_be_overridden_says_why() {
    let strict = manifest("id = \"relay\"\n[debugging]\nprofiling_overhead_limit = 2.0").expect("a manifest");
    let check = |values: &[(&'static str, &'static str)], expect: &str| {
        let error = read_overrides(&strict, &Settings::default(), values.iter().copied(), "a test");
        let error = error.expect_err("it is refused").to_string();
        assert!(error.contains(expect), "{error}");
    };
    check(&[], "nothing is overridden");
    check(&[("log_levle", "trace")], "did you mean \"extensions.relay.debugging.log_level\"");
    check(&[("log_level", "loud")], "use one of trace, debug");
    check(&[("sampling_rate", "2")], "debugging.sampling_rate: found \"2\", allowed is 0.0 to 1.0");
    check(&[("budget.deadline", "2s")], "\"budget.deadline\" is no key of debugging");
    check(&[("config.mode", "x")], "\"config.mode\" is no key of debugging");
    check(&[("max_log_entries", "7")], "debugging.max_log_entries is read when the extension starts");
    check(&[("log_level", "trace"), ("debugging.log_level", "info")], "debugging.log_level has two values");
    check(&[("", "")], "unknown key");
    check(&[("\u{1b}[2J=", "1")], "unknown key");
    let read = |values: &[(&'static str, &'static str)]| {
        read_overrides(&strict, &Settings::default(), values.iter().copied(), "a test").expect("it can be set")
    };
    let capped = &read(&[("profiling_overhead_limit", "100")])[0];
    assert_eq!((capped.value().as_str(), capped.note()), ("2.0", Some("stricter than 100.0 by what a test set")));
    assert_eq!(read(&[("aspects.cache", "false")])[0].key(), "debugging.aspects.cache");
}
