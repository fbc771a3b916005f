//! What the macros complain of, and where.

use proc_macro2::TokenStream;

use crate::expand::extension;
use crate::instrument::instrument;
use crate::tracked::tracked;

fn tokens(source: &str) -> TokenStream {
    source.parse().expect("the source is Rust")
}

/// Errors as message, and the source that it points at.
fn told<T>(expanded: Result<T, syn::Error>) -> Vec<(String, String)> {
    let errors = expanded.err().into_iter().flatten();
    errors.map(|error| (error.to_string(), error.span().source_text().unwrap_or_default())).collect()
}

/// Expands a block and gives the errors.
fn errors(source: &str) -> Vec<(String, String)> {
    told(extension(TokenStream::new(), tokens(source)).map_err(|(_, error)| error))
}

fn check(source: &str, message: &str, place: &str) {
    check_one(source, &errors(source), message, place);
}

fn check_one(source: &str, errors: &[(String, String)], message: &str, place: &str) {
    let [(found, at)] = errors else { panic!("one error for {source}: {errors:?}") };
    assert!(found.contains(message), "{source}: {found}");
    assert_eq!(at, place, "{source}: {found}");
}

/// Expands `#[instrument]` on a function.
fn instrumented(options: &str, source: &str) -> Vec<(String, String)> {
    told(instrument(tokens(options), tokens(source)).map_err(|(_, error)| error))
}

fn check_instrument(options: &str, source: &str, message: &str, place: &str) {
    check_one(source, &instrumented(options, source), message, place);
}

/// Expands `#[derive(Tracked)]` on a struct that is wrong.
fn check_tracked(source: &str, message: &str, place: &str) {
    check_one(source, &told(tracked(tokens(source))), message, place);
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

#[test]
fn what_can_be_instrumented_passes() {
    let all = "\"name\", level = Level::Debug, kind = Client, skip(self, a, r#type), fields(b = %b, \"c.d\" = 1), ret(?), err(%),";
    for options in ["", "ret", "err", "ret, err", "skip_all", "name = \"name\"", all] {
        let source = "pub(crate) unsafe fn f<'a, T: X>(&'a mut self, mut a: u8, b: T, (c, d): (u8, u8), r#type: u8) -> R<u8, E> { a? }";
        assert_eq!(instrumented(options, source), [], "{options}");
    }
}

#[test]
fn what_cannot_be_instrumented_is_told() {
    let stands = "stands on a function or a method with a body";
    check_instrument("", "struct A;", stands, "struct A;");
    check_instrument("", "impl A { fn f() {} }", stands, "impl A { fn f() {} }");
    check_instrument("", "fn f();", stands, "fn f();");
    check_instrument("", "async fn f() {}", "an async function cannot be instrumented", "async");
    check_instrument("", "const fn f() {}", "a const function cannot be instrumented", "const");
    check_instrument("ret", "fn f() {}", "`ret` needs a function that returns something", "f");
    check_instrument("ret, err", "fn f() {}", "`err` needs a function that returns a `Result`", "f");
}

#[test]
fn a_wrong_option_is_told() {
    let f = "fn f(a: u8) -> u8 { a }";
    check_instrument("skipp(a)", f, "the options of #[instrument] are", "skipp");
    check_instrument("3", f, "the options of #[instrument] are", "3");
    check_instrument("skip(b)", f, "there is no argument `b` to skip", "b");
    check_instrument("level = Loud", f, "no level `Loud`: there are Trace, Debug", "Loud");
    check_instrument(
        "kind = SpanKind::Cable",
        f,
        "no kind `SpanKind :: Cable`: there are Internal, Server",
        "SpanKind::Cable",
    );
    check_instrument("ret(debug)", f, "write `ret`, `ret(?)` for the `Debug` form", "ret");
    check_instrument("ret, ret", f, "`ret` stands here twice", "ret");
    check_instrument("\"a\", name = \"b\"", f, "`name` stands here twice", "name");
    check_instrument("\"\"", f, "a span's name is not empty", "\"\"");
}

#[test]
fn what_cannot_be_tracked_is_told() {
    let wrong = "a struct with named fields";
    check_tracked("enum A { B }", wrong, "A");
    check_tracked("struct A(u8);", wrong, "A");
    check_tracked("struct A;", wrong, "A");
    check_tracked("struct A { #[tracked(skip)] a: u8 }", "there is no field to track", "A");
    check_tracked("struct A { #[tracked(hidden)] a: u8 }", "on a field there are #[tracked(skip)]", "hidden");
    check_tracked("#[tracked(skip)] struct A { a: u8 }", "on a struct there is #[tracked(level = …)]", "skip");
    check_tracked("#[tracked(level = Loud)] struct A { a: u8 }", "no level `Loud`", "Loud");
    check_tracked("struct A { #[tracked(skip)] #[tracked(debug)] a: u8 }", "told in one way", "#[tracked(debug)]");
    assert_eq!(
        told(tracked(tokens("#[tracked(level = Info)] pub struct A<'a, T> where T: X { a: &'a T, r#b: u8 }"))),
        []
    );
}
