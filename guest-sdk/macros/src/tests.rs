//! What the attribute complains of, and where.

use proc_macro2::TokenStream;

use crate::expand::extension;

/// Expands a block and gives the errors: message, and the source that it points at.
fn errors(source: &str) -> Vec<(String, String)> {
    let tokens: TokenStream = source.parse().expect("the source is Rust");
    match extension(TokenStream::new(), tokens) {
        Ok(_) => Vec::new(),
        Err((_, errors)) => errors
            .into_iter()
            .map(|error| (error.to_string(), error.span().source_text().unwrap_or_default()))
            .collect(),
    }
}

fn check(source: &str, message: &str, place: &str) {
    let errors = errors(source);
    let [(found, at)] = &errors[..] else { panic!("one error for {source}: {errors:?}") };
    assert!(found.contains(message), "{source}: {found}");
    assert_eq!(at, place, "{source}: {found}");
}

#[test]
fn what_is_right_passes() {
    let source = "impl A { #[event] fn a(&mut self, x: u8) -> u8 { x } #[event(\"b.c\")] fn b(&self) {} \
                  #[fallback] fn c(&mut self, n: &str, p: Payload) {} fn init() -> Self { A } fn other(self) {} }";
    assert_eq!(errors(source), []);
}

#[test]
fn a_wrong_item_is_told() {
    check("struct A;", "stands on an `impl Type { … }` block", "struct A;");
    check("impl Handler for A {}", "not on the impl of a trait", "Handler");
    check("impl<T> A<T> {}", "cannot be generic", "<T>");
}

#[test]
fn a_wrong_handler_is_told() {
    check("impl A { #[event] fn a(x: u8) {} }", "`self` is missing", "a");
    check("impl A { #[event] fn a(self) {} }", "the extension outlives the call", "self");
    check("impl A { #[event] async fn a(&self) {} }", "cannot be async", "async");
    check("impl A { #[event] fn a<T>(&self, x: T) {} }", "cannot be generic", "<T>");
    check("impl A { #[event] fn a(&self, x: u8, y: u16) {} }", "at most one payload", "u16");
}

#[test]
fn a_wrong_event_name_is_told() {
    check("impl A { #[event(\"\")] fn a(&self) {} }", "1 to 128 characters", "\"\"");
    check("impl A { #[event(b)] fn a(&self) {} }", "name as a string", "b");
    check("impl A { #[event = \"b\"] fn a(&self) {} }", "in parentheses", "#[event = \"b\"]");
    let twice = "impl A { #[event] fn a(&self) {} #[event(\"a\")] fn b(&self) {} }";
    check(twice, "the event \"a\" is handled by `a` already", "\"a\"");
}

#[test]
fn a_wrong_fallback_is_told() {
    check("impl A { #[fallback] fn a(&self, p: Payload) {} }", "`&mut self, name: &str, payload: Payload`", "a");
    check("impl A { #[fallback(x)] fn a(&self, n: &str, p: Payload) {} }", "takes no arguments", "#[fallback(x)]");
    let two = "impl A { #[fallback] fn a(&self, n: &str, p: P) {} #[fallback] fn b(&self, n: &str, p: P) {} }";
    check(two, "`a` is the fallback already", "b");
    check("impl A { #[event] #[fallback] fn a(&self) {} }", "not both", "#[fallback]");
}

#[test]
fn a_wrong_method_of_a_known_name_is_told() {
    check("impl A { fn init(&self) -> Self { A } }", "there is no extension yet", "&self");
    check("impl A { fn init(a: u8) {} }", "returns `Self` or `Result<Self, E>`", "init");
    check("impl A { fn shutdown() {} }", "`self` is missing", "shutdown");
    check("impl A { fn collect(&self, x: u8) {} }", "`&mut self` only", "u8");
    check("impl A { fn restore(&mut self) {} }", "one argument, the state", "restore");
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = errors("impl A { #[event] fn a() {} #[event(\"\")] fn b(&self) {} }");
    assert_eq!(errors.len(), 2, "{errors:?}");
}
