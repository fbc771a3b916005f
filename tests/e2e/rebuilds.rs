//! How well the errors of real guests are told apart: the same bugs in three builds with code that was changed in between, and other bugs with
//! messages like theirs.

use std::fs;
use std::time::Duration;

use glasshouse_model::{GroupId, Signal};
use glasshouse_runtime::{Extension, Status};
use glasshouse_telemetry::{Body, group_of};
use serde_json::json;

use crate::harness::{House, each, event, guest, on_behalf, scratch};

/// What precision and recall are to be, at least.
const TARGET: f64 = 0.95;
/// The bugs that end a call, and those that are reported.
const BUGS: [&str; 19] = [
    "first-shelf",
    "last-shelf",
    "reserve",
    "release",
    "count",
    "share",
    "borrow",
    "discard",
    "recall",
    "parse",
    "pick-bytes",
    "pick-pairs",
    "walk",
    "forget",
    "cut",
    "missing",
    "denied",
    "late",
    "refused",
];
/// What each is met with.
const NUMBERS: [usize; 2] = [4, 17];

/// A build, under the name of the first one: cargo builds them side by side under others.
async fn build(house: &House, name: &str) -> Extension {
    let (own, first) = (name.replace('-', "_"), "bugs_a");
    assert_eq!(own.len(), first.len(), "what is replaced in a component keeps its length");
    let mut bytes = fs::read(guest(name)).expect("it was built");
    let places: Vec<_> = bytes.windows(own.len()).enumerate().filter(|(_, text)| *text == own.as_bytes()).collect();
    assert!(places.len() > BUGS.len(), "its functions have names");
    for at in places.into_iter().map(|(at, _)| at).collect::<Vec<_>>() {
        bytes[at..][..first.len()].copy_from_slice(first.as_bytes());
    }
    let extension = house.start(name, &scratch(&format!("renamed-{name}.wasm"), &bytes), |spec| {
        spec.settings.budget.failures_in_a_row = u32::MAX;
        spec.settings.debugging.metrics_interval = Duration::from_hours(1);
    });
    assert_eq!(extension.loaded().await, Status::Ready, "{name}");
    extension
}

/// The bug and the group of each error of a build.
async fn errors(house: &House, name: &str) -> Vec<(String, GroupId)> {
    let extension = build(house, name).await;
    for bug in BUGS {
        for number in NUMBERS {
            // How it ends is in the records.
            let _ =
                extension.call(event("run", json!([bug, number]).to_string()), on_behalf(bug, "ada", "engines")).await;
        }
    }
    let labelled = each(&extension, Signal::Error, |envelope, body| {
        let bug = envelope.context.and_then(|context| context.correlation_id).expect("each call has its bug's name");
        Some((bug, group_of(&body).expect("it is an error"), matches!(body, Body::Failure(_))))
    });
    assert_eq!(labelled.len(), BUGS.len() * NUMBERS.len(), "{name}: {labelled:?}");
    assert_eq!(labelled.iter().filter(|(_, _, failed)| *failed).count(), (BUGS.len() - 4) * NUMBERS.len(), "{name}");
    labelled.into_iter().map(|(bug, group, _)| (bug, group)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
async fn errors_of_three_builds_are_grouped_by_their_bugs() {
    let house = House::new();
    let mut all = Vec::new();
    for name in ["bugs-a", "bugs-b", "bugs-c"] {
        all.extend(errors(&house, name).await);
    }
    let (mut together, mut rightly, mut alike) = (0_u32, 0_u32, 0_u32);
    let mut wrong = std::collections::BTreeSet::new();
    for (index, (bug, group)) in all.iter().enumerate() {
        for (other_bug, other_group) in &all[index + 1..] {
            let (is_same, is_together) = (bug == other_bug, group == other_group);
            alike += u32::from(is_same);
            together += u32::from(is_together);
            rightly += u32::from(is_same && is_together);
            if is_same != is_together {
                wrong.insert((bug, other_bug));
            }
        }
    }
    let part = |of: u32| f64::from(rightly) / f64::from(of);
    let (precision, recall) = (part(together), part(alike));
    eprintln!(
        "of {alike} pairs of one bug {rightly} are together: recall {recall:.3}; of {together} pairs in a group, precision {precision:.3}; not so: {wrong:?}"
    );
    assert!(precision >= TARGET && recall >= TARGET, "precision {precision:.3}, recall {recall:.3}: {wrong:?}");
}
