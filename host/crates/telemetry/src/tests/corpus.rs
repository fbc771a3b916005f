//! How well errors are told apart: a corpus of real ones, labelled with the bug that each of them is.

use glasshouse_model::wire::{self, Error};
use glasshouse_model::{Digest, Failure, Frame, GroupId};

use crate::{Body, group_of};

/// What precision and recall are to be, at least.
const TARGET: f64 = 0.95;

/// An error of the corpus: the bug that it is, the build of the guest, and the group that it is put into.
struct Labelled {
    bug: &'static str,
    build: u8,
    group: GroupId,
}

fn corpus() -> Vec<Labelled> {
    let lines = include_str!("corpus.tsv").lines().filter(|line| !line.starts_with('#'));
    lines.enumerate().map(|(index, line)| labelled(line, index as u64)).collect()
}

fn labelled(line: &'static str, index: u64) -> Labelled {
    let mut parts = line.split('\t');
    let mut part = || parts.next().unwrap_or_else(|| panic!("a line of the corpus lacks a part: {line}"));
    let (build, bug, kind, call, message, stack) = (part(), part(), part(), part(), part(), part());
    let build: u8 = build.parse().expect("a number");
    let group = if call.is_empty() {
        let error = Error { kind, message, stack: "", source: None, handled: true };
        let mut body = Vec::new();
        wire::write_error(&mut body, &error, &[]);
        group_of(&Body::Record(wire::decode(wire::KIND_ERROR, &body).expect("what was encoded decodes")))
    } else {
        // No two errors have a place in common.
        let frame = |function: &str| Frame { function: function.to_owned(), offset: Some(index * 1000) };
        group_of(&Body::Failure(Failure {
            kind: kind.parse().expect("a kind of failure"),
            message: message.to_owned(),
            call: call.to_owned(),
            component: Digest([build; 32]),
            location: Some(("src/lib.rs".to_owned(), index as u32)),
            frames: stack.split('|').map(frame).collect(),
            evidence: Vec::new(),
            input: None,
        }))
    };
    Labelled { bug, build, group: group.expect("it is an error") }
}

#[test]
#[expect(clippy::print_stderr, reason = "the figures are what it is run for")]
fn errors_of_one_bug_are_grouped_and_those_of_others_are_not_across_three_builds() {
    let corpus = corpus();
    assert_eq!(corpus.len(), 78);
    for build in 1..=3 {
        assert_eq!(corpus.iter().filter(|error| error.build == build).count(), 26, "build {build}");
    }
    let (mut together, mut rightly, mut alike) = (0_u32, 0_u32, 0_u32);
    for (index, one) in corpus.iter().enumerate() {
        for other in &corpus[index + 1..] {
            let (is_same, is_together) = (one.bug == other.bug, one.group == other.group);
            alike += u32::from(is_same);
            together += u32::from(is_together);
            rightly += u32::from(is_same && is_together);
        }
    }
    let part = |of: u32| f64::from(rightly) / f64::from(of);
    let (precision, recall) = (part(together), part(alike));
    eprintln!(
        "of {alike} pairs of one bug {rightly} are together: recall {recall:.3}; of {together} pairs in a group, precision {precision:.3}"
    );
    assert!(precision >= TARGET && recall >= TARGET, "precision {precision:.3}, recall {recall:.3}");
}
