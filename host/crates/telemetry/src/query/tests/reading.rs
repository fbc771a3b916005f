//! Which texts are queries, what they say, and what is said about those that are none.

use proptest::prelude::*;

use super::super::ast::{Ast, Condition, Literal, Operator, Order};
use super::super::fields::{Field, Kind, Known};
use super::super::parse::parse;
use super::*;

fn check(text: &str, expect: &str) {
    assert_eq!(query(text).to_string(), expect, "{text}");
    assert_eq!(query(expect).to_string(), expect, "what is printed says the same");
}

fn refused(text: &str, expect: &str) {
    let error = Query::parse(text, NOW).expect_err(text);
    assert_eq!(error.to_string(), format!("query, {expect}"), "{text}");
}

#[test]
fn queries_are_read() {
    check("", "");
    check("  ", "");
    check("timeout", "\"timeout\"");
    check(
        r#"level>=warning and message~"time ?out" and user="u1" and field.status>=500 since 15m limit 100"#,
        r#"level>=warning and message~"time ?out" and user="u1" and field.status>=500 since 2026-11-22T09:45:00.000000000Z limit 100"#,
    );
    check("a b or c and not d", r#"("a" and "b") or ("c" and not "d")"#);
    check("(a or b) c", r#"("a" or "b") and "c""#);
    check("level >= warn", "level>=warning");
    check("logger:shop", "target:\"shop\"");
    check("name=handle:render", "name=\"handle:render\"");
    check("field.\"odd name\"=true", "field.\"odd name\"=true");
    check("field.x in (1, 1.5, a, \"1\")", "field.x in (1, 1.5, \"a\", \"1\")");
    check("has field.http.status", "has field.http.status");
    check("elapsed>250ms memory<64MiB", "duration>250ms and memory<67108864");
    check("time>=1h ago and time<now", "time>=2026-11-22T09:00:00.000000000Z and time<2026-11-22T10:00:00.000000000Z");
    check("OLDEST first LIMIT 5 until 2026-11-22", "until 2026-11-22T00:00:00.000000000Z limit 5 oldest first");
    check("signal=log", "signal=\"logs\"");
    check(r#"message~"a\.b\"c""#, r#"message~"a\\.b\"c""#);
    check("logged in today", "\"logged\" and \"in\" and \"today\"");
}

#[test]
fn errors_say_where_and_what() {
    refused(
        "messge:timeout",
        r#"column 1: found "messge", expected a field, such as level or message (did you mean "message"?)"#,
    );
    refused(
        "level>=loud",
        r#"column 8: found "loud", expected a level: trace, debug, info, warning, error or critical"#,
    );
    refused(
        "größe and level~err",
        r#"column 16: found "~", expected =, != or a comparison of size, for level is no text"#,
    );
    refused(
        "status>=500",
        "column 7: found \">=\", expected =, !=, ~, !~ or :, for one status is not less than another (of a field that an \
         extension gave: field.status)",
    );
    refused("level>=", "column 8: found the end, expected a level: trace, debug, info, warning, error or critical");
    refused("(a or b", "column 8: found the end, expected \")\", \"and\" or \"or\"");
    refused(
        "a )",
        "column 3: found \")\", expected \"since\", \"until\", \"limit\", \"newest first\" or \"oldest first\"",
    );
    refused("\"open", "column 1: found \"\"open\", expected a closing quote");
    refused(
        "a since soon",
        "column 9: found \"soon\", expected a duration or a time, such as 15m or 2026-11-22T10:00:00Z",
    );
    refused(
        "levle in (error)",
        "column 1: found \"levle\", expected a field, such as level or message (did you mean \"level\"?)",
    );
    refused("limit 0", "column 7: found \"0\", expected a limit from 1 to 100000");
    refused("limit 5 limit 6", "column 9: found \"limit\", expected each clause once");
    refused("duration>250", "column 10: found \"250\", expected a duration with its unit, such as 250ms or 1h30m");
    refused("field.x>=abc", "column 10: found \"abc\", expected a number");
    refused("message~\"(\"", "column 9: found \"(\", expected a regular expression (unclosed group)");
    refused(
        "message~\"(a{1000}){1000}\"",
        "column 9: found \"(a{1000}){1000}\", expected a regular expression (it takes too much memory: use smaller repetitions)",
    );
    refused(
        "and",
        "column 1: found \"and\", expected a condition: a field and a value, or text to look for (to look for the word \
         itself, put it in quotes)",
    );
    refused(
        "\"--\"",
        "column 1: found \"--\", expected a letter or a digit (text is looked for by its words; for punctuation write \
         message:\"...\")",
    );
    refused("outcome=trapped", "column 9: found \"trapped\", expected one of ok, error, trap, breach, cancelled");
}

#[test]
fn hostile_queries_are_refused() {
    let check = |text: String, expect: &str| {
        let error = Query::parse(&text, NOW).expect_err(expect).to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("(".repeat(100_000), "expected at most 4096 bytes");
    check("not ".repeat(100_000), "expected at most 4096 bytes");
    check("(".repeat(4000), "more than 32 brackets");
    check("not ".repeat(1000), "more than 32 brackets");
    check("not (".repeat(500), "more than 32 brackets");
    check("a ".repeat(2000), "after 256 terms");
    check(format!("user in ({})", "a,".repeat(500)), "after 256 terms");
    check("message~a ".repeat(17), "at most 16 regular expressions");
    check("é".repeat(3000), "column 2049");
}

#[test]
fn the_page_for_users_shows_queries_and_names_all_fields() {
    let page = include_str!("../../../../../../docs/query.md");
    let examples = page.split("## Examples").nth(1).and_then(|rest| rest.split("```").nth(1)).expect("examples");
    let queries = examples.lines().skip(1).filter_map(|line| line.split("   ").next()).collect::<Vec<_>>();
    assert!(queries.len() > 5);
    for text in queries {
        query(text);
    }
    for name in Known::ALL {
        for name in std::iter::once(name.as_str()).chain(name.aliases().iter().copied()) {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/query.md");
        }
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{0,8}", "[\"\\\\\n\t\r ()a-z=~]{0,8}"]
}

fn words() -> impl Strategy<Value = Condition> {
    text().prop_filter("no word", |text| super::super::tokens::words(text).next().is_some()).prop_map(Condition::Words)
}

fn any_field() -> impl Strategy<Value = Field> {
    let named = text().prop_filter("no name", |name| !name.is_empty()).prop_map(Field::Named);
    prop_oneof![proptest::sample::select(Known::ALL).prop_map(Field::Known), named]
}

fn number() -> impl Strategy<Value = Literal> {
    prop_oneof![any::<i64>().prop_map(Literal::Integer), proptest::num::f64::NORMAL.prop_map(Literal::Float)]
}

fn literal(kind: Kind) -> BoxedStrategy<Literal> {
    match kind {
        Kind::Text => text().prop_map(Literal::Text).boxed(),
        Kind::Word(words) => proptest::sample::select(words).prop_map(|word| Literal::Text(word.to_owned())).boxed(),
        Kind::Number | Kind::Size => number().boxed(),
        Kind::Duration => any::<u64>().prop_map(Literal::Duration).boxed(),
        Kind::Time => any::<i64>().prop_map(|nanos| Literal::Time(UnixNanos(nanos))).boxed(),
        Kind::Level => proptest::sample::select(Level::ALL).prop_map(Literal::Level).boxed(),
        Kind::Severity => proptest::sample::select(glasshouse_model::Severity::ALL).prop_map(Literal::Severity).boxed(),
        Kind::Boolean => any::<bool>().prop_map(Literal::Boolean).boxed(),
        Kind::Any => {
            prop_oneof![number(), any::<bool>().prop_map(Literal::Boolean), text().prop_map(Literal::Text)].boxed()
        }
    }
}

fn comparison() -> impl Strategy<Value = Condition> {
    (any_field(), proptest::sample::select(&Operator::ALL[..])).prop_flat_map(|(field, operator)| {
        let kind = field.kind();
        let literal = match operator {
            Operator::Matches | Operator::MatchesNot | Operator::Contains if kind.is_text() => "[a-z \\\\.]{1,3}[a-z]"
                .prop_filter("no pattern", |text| super::super::regex(text).is_ok())
                .prop_map(Literal::Text)
                .boxed(),
            operator if operator.is_order() && kind == Kind::Any => number().boxed(),
            _ => literal(kind),
        };
        let fits = if operator.is_order() { kind.is_ordered() } else { !operator.is_pattern() || kind.is_text() };
        let operator = if fits { operator } else { Operator::Equal };
        literal.prop_map(move |literal| Condition::Compare(field.clone(), operator, literal))
    })
}

fn list() -> impl Strategy<Value = Condition> {
    any_field().prop_flat_map(|field| {
        let literals = proptest::collection::vec(literal(field.kind()), 1..4);
        literals.prop_map(move |literals| Condition::In(field.clone(), literals))
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![comparison(), words(), any_field().prop_map(Condition::Has), list()];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let parts = proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            parts.clone().prop_map(Condition::and),
            parts.prop_map(Condition::or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

prop_compose! {
    fn ast()(
        condition in prop_oneof![9 => condition(), 1 => Just(Condition::All)],
        since in proptest::option::of(any::<i64>().prop_map(UnixNanos)),
        until in proptest::option::of(any::<i64>().prop_map(UnixNanos)),
        limit in proptest::option::of(1_usize..=100_000),
        order in proptest::option::of(proptest::sample::select(&[Order::NewestFirst, Order::OldestFirst][..])),
    ) -> Ast {
        Ast { condition, since, until, limit, order }
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_as_the_same(ast in ast()) {
        let printed = ast.to_string();
        prop_assume!(printed.len() <= super::super::QUERY_BYTES);
        let read = parse(&printed, NOW);
        prop_assert_eq!(read.as_ref(), Ok(&ast), "{}", printed);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC*", like in "(level|field\\.|\"| |>=|~|[(]|[)]|in|and|or|not|,|since|15m|limit|[\\\\]|é|5){0,30}") {
        for text in [text, like] {
            if let Err(error) = Query::parse(&text, NOW) {
                prop_assert!(error.column <= text.chars().count() + 1);
            }
        }
    }
}
