//! Errors that are answers: which report they are the same as, and whether they come by the same input each time.

use glasshouse_model::{FailureKind, InputDigest, Outcome, Severity, Signal};
use glasshouse_runtime::{CallError, Extension, HandlerError};
use glasshouse_telemetry::{Body, ErrorGroup};

use crate::harness::{House, ask, call, each, fail, guest};

/// Makes a call that is answered with an error.
async fn answered(extension: &Extension, event: &str, text: &str) {
    let answer = call(extension, event, format!("\"{text}\"")).await;
    assert!(matches!(answer, Err(CallError::Answered(HandlerError::Failed { .. }))), "{answer:?}");
}

/// The groups by what they are about: how many errors, how many inputs of how many of them, and how bad.
fn groups(extension: &Extension) -> Vec<(String, u64, u64, u64, Severity)> {
    let shown = |group: ErrorGroup| (group.title, group.count, group.inputs, group.with_input, group.severity);
    let mut groups: Vec<_> = extension.error_groups().into_iter().map(shown).collect();
    groups.sort();
    groups
}

/// The digests of the inputs of invocations, with how they ended.
fn inputs(extension: &Extension) -> Vec<(Outcome, Option<InputDigest>)> {
    each(extension, Signal::Invocation, |_, body| match body {
        Body::Invocation(call) if call.name.starts_with("handle:") => Some((call.outcome, call.input)),
        _ => None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_is_reported_and_answered_with_counts_once_and_as_not_handled() {
    let house = House::new();
    let extension = house.ready("answers").await;
    answered(&extension, "both", "a").await;
    answered(&extension, "both", "a").await;
    let stored = each(&extension, Signal::Error, |envelope, body| match body {
        Body::Answered(answered) => Some((envelope.sequence, answered.reported.map(|reported| reported.sequence))),
        _ => Some((envelope.sequence, None)),
    });
    assert_eq!(stored, [(1, None), (2, Some(1)), (3, None), (4, Some(3))], "both are kept, and one tells of the other");
    let found = groups(&extension);
    assert_eq!(found, [("there is no page".to_owned(), 2, 1, 2, Severity::Medium)]);
    assert_eq!(extension.error_groups()[0].samples, [1, 3]);

    // What says something else, or was said in another call, is another error.
    answered(&extension, "other", "there is no page").await;
    call(&extension, "report", "").await.expect("it replies");
    answered(&extension, "answer", "there is no page").await;
    let found = groups(&extension);
    let page = "there is no page".to_owned();
    assert_eq!(
        found,
        [
            ("the index is old".to_owned(), 1, 0, 0, Severity::Low),
            (page.clone(), 2, 1, 2, Severity::Medium),
            (page, 3, 2, 2, Severity::Medium),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_fail_tell_whether_their_input_was_the_same_and_good_ones_are_not_looked_at() {
    let house = House::new();
    let mut digests = Vec::new();
    for id in ["answers", "again"] {
        let extension = house.start(id, &guest("answers"), |_| {});
        extension.loaded().await;
        ask(&extension, "echo", "\"7\"").await;
        for text in ["7", "8", "7"] {
            answered(&extension, "answer", text).await;
        }
        let failure = fail(&extension, "panic", "\"7\"", FailureKind::Panic).await;
        let found = inputs(&extension);
        let [good, first, other, again, failed] = &*found else { panic!("{found:?}") };
        assert_eq!(*good, (Outcome::Ok, None));
        assert!(first.1.is_some() && first == again && first.1 != other.1, "{found:?}");
        assert_eq!((failed.0, failed.1), (Outcome::Trapped, failure.input));
        assert!(failure.input.is_some() && failure.input != first.1, "the event is a part of it");
        digests.push(found);
    }
    assert_eq!(digests[0], digests[1], "what several extensions were given can be compared");
}
