//! Which errors are the same: a fingerprint of what does not change from build to build or from input to input.

use std::fmt::Write as _;

use glasshouse_model::wire::Error;
use glasshouse_model::{Failure, FailureKind, Frame, GroupId, limits, text};

use super::book::OVERFLOW;
use super::names;
use crate::query::patterns::parameterise;

/// The version of the rules below. Errors that are grouped by other rules are in other groups, so a change of rules changes it.
pub const FINGERPRINT_VERSION: u8 = 1;
/// Functions of a stack that count, innermost first: further out, stacks of one bug differ by who called.
const FUNCTIONS: usize = 8;
/// Bytes of a function's name, or of a line of a guest's own stack, that count.
const LINE_BYTES: usize = 120;
/// Lines of a guest's own stack that count.
const LINES: usize = 8;

glasshouse_model::wire::byte_enum! {
    /// What errors of a group have in common beside their kind.
    Basis {
        /// The guest's functions that were being executed.
        Functions = 0 "functions",
        /// The call that ran out of something: where it was just then is chance.
        Call = 1 "call",
        /// The guest's own account of its stack.
        GuestStack = 2 "guest stack",
        /// The message, without what changes.
        Message = 3 "message",
        /// Nothing: there was no room for a group of their own.
        Overflow = 4 "overflow",
    }
}

/// What makes an error the same as others, in words: its parts are one a line.
#[derive(Debug, Default)]
pub(crate) struct Fingerprint {
    /// Version, basis and kind in the first three lines, then what they have in common.
    text: String,
    name: String,
}

impl Fingerprint {
    /// Sets it to that of a failed call.
    pub(crate) fn of_failure(&mut self, failure: &Failure) -> GroupId {
        let kind = failure.kind.as_str();
        // Where a guest was when it ran out of what it uses everywhere is chance, and so would its group be.
        let ran_out =
            matches!(failure.kind, FailureKind::FuelBreach | FailureKind::DeadlineBreach | FailureKind::MemoryBreach);
        if ran_out {
            self.start(Basis::Call, kind);
            parameterise(&failure.call, &mut self.text);
            return self.id();
        }
        self.start(Basis::Functions, kind);
        let start = self.text.len();
        self.add_functions(failure);
        if self.text.len() == start {
            self.start(Basis::Message, kind);
            parameterise(&failure.message, &mut self.text);
        }
        self.id()
    }

    /// Sets it to that of an error that a guest reported.
    pub(crate) fn of_report(&mut self, error: &Error<'_>) -> GroupId {
        let is_stack = |line: &&str| !line.trim().is_empty() && !line.starts_with("caused by: ");
        let mut lines = error.stack.lines().filter(is_stack).take(LINES).peekable();
        if lines.peek().is_none() {
            self.start(Basis::Message, error.kind);
            parameterise(error.message, &mut self.text);
            return self.id();
        }
        self.start(Basis::GuestStack, error.kind);
        for line in lines {
            parameterise(text::cut(line.trim(), LINE_BYTES), &mut self.text);
            self.text.push('\n');
        }
        self.id()
    }

    fn start(&mut self, basis: Basis, kind: &str) {
        self.text.clear();
        let kind = text::cut(kind, limits::NAME_BYTES);
        let _ = write!(self.text, "{FINGERPRINT_VERSION}\n{basis}\n");
        self.text.extend(kind.chars().map(|c| if c == '\n' { ' ' } else { c }));
        self.text.push('\n');
    }

    /// Adds the functions of a stack: those of the extension's own, or of libraries where there are no others, each once, so
    /// that it does not matter how often a loop or a recursion came by.
    fn add_functions(&mut self, failure: &Failure) {
        let start = self.text.len();
        if failure.kind == FailureKind::StackOverflow {
            // Which function of the circle used up the stack, and what it called, is chance.
            self.add_circle(&failure.frames);
        }
        for own in [true, false] {
            if self.text.len() > start {
                return;
            }
            let mut before = "";
            for frame in &failure.frames {
                self.name.clear();
                names::normalise(&frame.function, &mut self.name);
                if self.name.is_empty() || names::is_own(&self.name) != own {
                    before = &frame.function;
                    continue;
                }
                if own && self.text.len() == start && failure.kind == FailureKind::Panic && is_way_to_panic(before) {
                    self.text.push_str(text::cut(before, LINE_BYTES));
                    self.text.push('\n');
                }
                if !self.add_name(start) {
                    break;
                }
            }
        }
    }

    /// Adds the name at hand, if it is new; tells whether there is room for more.
    fn add_name(&mut self, start: usize) -> bool {
        let name = text::cut(&self.name, LINE_BYTES);
        if self.text[start..].lines().any(|line| line == name) {
            return true;
        }
        self.text.push_str(name);
        self.text.push('\n');
        self.text[start..].lines().count() < FUNCTIONS
    }

    /// Adds the extension's own functions that are on the stack more than once, by name.
    fn add_circle(&mut self, frames: &[Frame]) {
        let normalised = |frame: &Frame| {
            let mut name = String::new();
            names::normalise(&frame.function, &mut name);
            Some(name).filter(|name| names::is_own(name))
        };
        let mut all: Vec<_> = frames.iter().filter_map(normalised).collect();
        all.sort_unstable();
        let start = self.text.len();
        for pair in all.windows(2).filter(|pair| pair[0] == pair[1]) {
            self.name.clone_from(&pair[0]);
            if !self.add_name(start) {
                break;
            }
        }
    }

    fn id(&self) -> GroupId {
        let hash = blake3::hash(self.text.as_bytes());
        let id = GroupId(hash.as_bytes().first_chunk().copied().unwrap_or_default());
        // That one is the overflow's.
        if id == OVERFLOW { GroupId([1; 6]) } else { id }
    }

    /// What it is made of.
    pub(crate) fn text(&self) -> &str {
        self.text.trim_end_matches('\n')
    }
}

/// Whether a function of Rust's library is one of those by which code panics: they tell a failed `unwrap` from an index that is
/// out of bounds in the same function, and are never inlined.
fn is_way_to_panic(function: &str) -> bool {
    function.starts_with("core::panicking::") || (function.starts_with("core::") && function.ends_with("_failed"))
}

#[cfg(test)]
mod tests {
    use glasshouse_model::Digest;

    use super::*;

    fn failure(kind: FailureKind, functions: &[&str]) -> Failure {
        let frame = |(index, function): (usize, &&str)| Frame {
            function: (*function).to_owned(),
            offset: Some(index as u64 * 77),
        };
        Failure {
            kind,
            message: "index out of bounds: the len is 3 but the index is 7".to_owned(),
            call: "handle:render".to_owned(),
            component: Digest([1; 32]),
            location: Some(("src/lib.rs".to_owned(), 7)),
            frames: functions.iter().enumerate().map(frame).collect(),
            evidence: Vec::new(),
            input: None,
        }
    }

    fn text_of(failure: &Failure) -> String {
        let mut fingerprint = Fingerprint::default();
        fingerprint.of_failure(failure);
        fingerprint.text().to_owned()
    }

    #[test]
    fn a_panic_is_its_own_functions_and_the_way_by_which_it_panicked() {
        let panic = failure(
            FailureKind::Panic,
            &[
                "rust_panic",
                "std::panicking::panic_with_hook",
                "core::panicking::panic_bounds_check",
                "app::pick::<u8>",
                "app::render::{closure#3}",
                "glasshouse:extension/handler@0.1.0#handle",
            ],
        );
        let expect = "1\nfunctions\npanic\ncore::panicking::panic_bounds_check\napp::pick\napp::render::{closure}";
        assert_eq!(text_of(&panic), expect);
    }

    #[test]
    fn where_a_call_ran_out_of_something_does_not_matter() {
        let one = failure(FailureKind::FuelBreach, &["app::left", "app::work"]);
        let other = failure(FailureKind::FuelBreach, &["app::right", "app::work"]);
        assert_eq!(text_of(&one), "1\ncall\nbreach.fuel\nhandle:render");
        assert_eq!(text_of(&one), text_of(&other));
    }

    #[test]
    fn a_recursion_is_its_circle_wherever_it_ended() {
        let one = failure(FailureKind::StackOverflow, &["app::leaf", "app::b", "app::a", "app::b", "app::a", "app::x"]);
        let other = failure(FailureKind::StackOverflow, &["app::a", "app::b", "app::a", "app::b", "app::a", "app::b"]);
        assert_eq!(text_of(&one), "1\nfunctions\ntrap.stack-overflow\napp::a\napp::b");
        assert_eq!(text_of(&one), text_of(&other));
    }

    #[test]
    fn without_a_stack_it_is_the_message_without_what_changes() {
        let expect = "1\nmessage\nexit\nindex out of bounds: the len is <num> but the index is <num>";
        assert_eq!(text_of(&failure(FailureKind::Exit, &["", ""])), expect);
    }

    #[test]
    fn a_report_is_its_kind_and_what_its_stack_or_its_message_says() {
        let mut fingerprint = Fingerprint::default();
        let mut error =
            Error { kind: "upstream\n", message: "no answer in 30ms", stack: "", source: None, handled: true };
        fingerprint.of_report(&error);
        assert_eq!(fingerprint.text(), "1\nmessage\nupstream \nno answer in <duration>");
        error.stack = "caused by: timeout";
        fingerprint.of_report(&error);
        assert_eq!(fingerprint.text(), "1\nmessage\nupstream \nno answer in <duration>");
        error.stack = "  at fetch (index.js:17:4)\n\n  at 0x7f3a: main";
        let id = fingerprint.of_report(&error);
        assert_eq!(fingerprint.text(), "1\nguest stack\nupstream \nat fetch (index.js:<num>:<num>)\nat <id>: main");
        error.stack = "  at fetch (index.js:99:1)\n  at 0x10: main";
        assert_eq!(fingerprint.of_report(&error), id);
    }
}
