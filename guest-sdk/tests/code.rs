//! Traced code: functions, blocks, structs and loops tell what they do, and where they are off they only do it.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use glasshouse_sdk::testing::{Host, Recorded, Span};
use glasshouse_sdk::{Kind, Level, ReportProgress, SpanKind, Tracked, instrument, watch};
use serde_json::json;

fn recorded(work: impl FnOnce()) -> Recorded {
    Host::new().run(work).1
}

/// Hosts that store no spans, or none of a level, and no logs below it.
fn off() -> [Host; 2] {
    [Host::new().without(Kind::Spans).threshold(Level::Info), Host::new().threshold(Level::Info)]
}

/// A value that counts how often it is looked at.
#[derive(Clone, Default)]
struct Seen(Rc<Cell<u32>>);

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.set(self.0.get() + 1);
        write!(f, "seen {}", self.0.get())
    }
}

/// What the author of a span chose to record: all but its place.
fn chosen(span: &Span) -> serde_json::Value {
    let rest = span.fields.iter().filter(|(name, _)| !name.starts_with("code."));
    rest.map(|(name, value)| (name.clone(), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

#[derive(Debug)]
struct Point {
    x: i32,
}

impl Point {
    #[instrument(ret)]
    fn add(&mut self, by: i32, (_low, _high): (i32, i32), _unused: Point) -> i32 {
        self.x += by;
        self.x
    }

    /// Gives away what it borrowed from its arguments.
    #[instrument(err, skip_all)]
    fn part(&mut self, name: &str) -> Result<&mut i32, String> {
        if name == "x" {
            return Ok(&mut self.x);
        }
        Err(format!("no part {name}"))
    }
}

#[instrument("sum it up", kind = SpanKind::Client, skip(secret), fields("secret.count" = secret.len(), first = %secret[0], text), ret)]
fn sum(numbers: &[u64], mut text: String, r#type: bool, secret: &[&str]) -> Option<u64> {
    text.push('!');
    (r#type && !secret.is_empty() && text.ends_with('!')).then(|| numbers.iter().sum())
}

#[instrument(err, ret(%))]
fn parse(text: &str) -> Result<u8, std::num::ParseIntError> {
    let number = text.parse()?;
    Ok(number)
}

#[instrument(level = Debug, ret, err(?))]
fn watched<T: fmt::Debug>(seen: T, fails: bool) -> Result<T, T> {
    if fails { Err(seen) } else { Ok(seen) }
}

#[instrument]
fn factorial(number: u32) -> u32 {
    if number < 2 { 1 } else { number * factorial(number - 1) }
}

const LINE_OF_ALL: u32 = line!() + 3;

#[instrument(ret(?), skip_all)]
fn all<'a>(numbers: &'a [u8]) -> impl Iterator<Item = &'a u8> + fmt::Debug + use<'a> {
    numbers.iter()
}

#[test]
fn a_function_is_a_span_with_its_arguments_result_and_place() {
    let recorded = recorded(|| {
        let mut point = Point { x: 1 };
        assert_eq!(point.add(2, (0, 9), Point { x: 0 }), 3);
        assert_eq!(sum(&[1, 2], "text".to_owned(), true, &["hunter2"]), Some(3));
        assert_eq!(all(&[1]).count(), 1);
    });
    let [add, sum, all] = &recorded.spans[..] else { panic!("three spans: {recorded:?}") };
    assert_eq!((add.name.as_str(), add.kind, add.ended), ("add", SpanKind::Internal, true));
    assert_eq!(chosen(add), json!({ "by": 2, "return": 3, "call.depth": 1 }));
    assert_eq!((sum.name.as_str(), sum.kind), ("sum it up", SpanKind::Client));
    let fields = json!({
        "numbers": "[1, 2]", "text": "text", "type": true, "secret.count": 1, "first": "hunter2", "return": "Some(3)", "call.depth": 1
    });
    assert_eq!(chosen(sum), fields);
    assert_eq!(chosen(all), json!({ "return": "Iter([1])", "call.depth": 1 }));
    assert_eq!(add.fields["code.file.path"], file!());
    assert_eq!(all.fields["code.line.number"], LINE_OF_ALL, "that of the function's name");
}

#[test]
fn an_error_fails_the_span_and_an_early_return_is_recorded() {
    let recorded = recorded(|| {
        let mut point = Point { x: 1 };
        *point.part("x").expect("there is an x") += 1;
        assert_eq!(point.x, 2);
        assert_eq!(point.part("y"), Err("no part y".to_owned()));
        assert_eq!((parse("7"), parse("x").is_err()), (Ok(7), true));
    });
    let [good, bad, seven, none] = &recorded.spans[..] else { panic!("four spans: {recorded:?}") };
    assert_eq!((chosen(good), &good.failure), (json!({ "call.depth": 1 }), &None));
    assert_eq!(chosen(bad), json!({ "call.depth": 1, "error.type": "alloc::string::String" }));
    assert_eq!(bad.failure.as_deref(), Some("no part y"));
    assert_eq!(chosen(seven), json!({ "text": "7", "return": "7", "call.depth": 1 }));
    assert_eq!(none.failure.as_deref(), Some("invalid digit found in string"));
    assert!(!none.fields.contains_key("return"), "{none:?}");
    assert!(none.fields["error.type"].as_str().is_some_and(|kind| kind.ends_with("ParseIntError")), "{none:?}");
}

fn unwind(now: bool) {
    if now {
        std::panic::resume_unwind(Box::new(()));
    }
}

#[test]
fn the_depth_is_that_of_the_traced_callers() {
    let recorded = recorded(|| {
        assert_eq!(factorial(3), 6);
        watch!("block", [], { factorial(1) });
        // What is caught of a panic has left no depth behind.
        let caught = std::panic::catch_unwind(|| watch!("panics", [], { unwind(true) }));
        assert!(caught.is_err());
        factorial(0);
    });
    let depths: Vec<_> =
        recorded.spans.iter().map(|span| (span.name.as_str(), span.fields["call.depth"].as_u64())).collect();
    let expect = [("factorial", 1), ("factorial", 2), ("factorial", 3), ("block", 1), ("factorial", 2), ("panics", 1)];
    assert_eq!(depths[..6], expect.map(|(name, depth)| (name, Some(depth))));
    assert_eq!(depths[6], ("factorial", Some(1)));
}

#[test]
fn a_block_tells_its_variables_before_and_after() {
    fn leave() -> Option<u32> {
        let number = 1;
        watch!("left", [number], {
            None::<u32>?;
        });
        Some(number)
    }
    let mut point = Point { x: 1 };
    let mut name = "old".to_owned();
    let recorded = recorded(|| {
        let given = watch!("move it", [name, ?point, x = point.x, "half.x" = ?point.x / 2], {
            point.x = 4;
            name = String::from("new");
            "given"
        });
        assert_eq!(given, "given");
        assert_eq!(leave(), None);
        for round in 0..3 {
            watch!(level: Debug, "broken off", [round,], {
                if round == 1 {
                    break;
                }
            });
        }
    });
    let [moved, left, whole, broken] = &recorded.spans[..] else { panic!("four spans: {recorded:?}") };
    let fields = json!({
        "before.name": "old", "before.point": "Point { x: 1 }", "before.x": 1, "before.half.x": "0",
        "after.name": "new", "after.point": "Point { x: 4 }", "after.x": 4, "after.half.x": "2",
        "call.depth": 1,
    });
    assert_eq!(chosen(moved), fields);
    assert_eq!((chosen(left), left.ended), (json!({ "before.number": 1, "call.depth": 1 }), true));
    assert_eq!(whole.fields["after.round"], 0);
    assert!(broken.ended && !broken.fields.contains_key("after.round"), "{broken:?}");
}

#[derive(Tracked)]
struct Cart<'a, T: fmt::Debug> {
    total: u32,
    name: &'a str,
    share: f64,
    items: Vec<T>,
    #[tracked(display)]
    address: std::net::Ipv4Addr,
    #[tracked(value)]
    boxed: Box<str>,
    #[tracked(skip)]
    hidden: u8,
}

fn cart<T: fmt::Debug>() -> Cart<'static, T> {
    let address = std::net::Ipv4Addr::LOCALHOST;
    Cart { total: 1, name: "a", share: f64::NAN, items: Vec::new(), address, boxed: "box".into(), hidden: 0 }
}

#[test]
fn a_setter_tells_the_old_and_the_new_value_and_where() {
    let mut line = 0;
    let recorded = recorded(|| {
        let mut cart = cart();
        line = line!() + 1;
        cart.set_total(3);
        cart.set_total(3);
        cart.set_share(f64::NAN);
        cart.set_items(vec!["tea"]);
        cart.set_address(std::net::Ipv4Addr::UNSPECIFIED);
        cart.set_boxed("new".into());
        assert_eq!((cart.total, &cart.items[..], &*cart.boxed), (3, &["tea"][..], "new"));
    });
    let told: Vec<_> = recorded.logs.iter().map(|log| (log.message.as_str(), json!(log.fields))).collect();
    assert_eq!(
        told,
        [
            ("Cart.total changed", json!({ "old.total": 1, "new.total": 3 })),
            ("Cart.items changed", json!({ "old.items": "[]", "new.items": "[\"tea\"]" })),
            ("Cart.address changed", json!({ "old.address": "127.0.0.1", "new.address": "0.0.0.0" })),
            ("Cart.boxed changed", json!({ "old.boxed": "box", "new.boxed": "new" })),
        ]
    );
    let first = &recorded.logs[0];
    assert_eq!((first.level, first.target.as_str()), (Level::Debug, "code"));
    assert_eq!(first.source, Some((file!().to_owned(), line)));
}

#[test]
fn a_guard_tells_what_changed_by_the_time_that_it_is_given_back() {
    let mut line = 0;
    let recorded = recorded(|| {
        let mut cart = cart();
        line = line!() + 1;
        let mut guard = cart.track();
        guard.total = 7;
        guard.total += 1;
        guard.items.push(1);
        guard.name = "b";
        guard.name = "a";
        guard.hidden = 9;
        drop(guard);
        drop(cart.track());
    });
    let told: Vec<_> = recorded.logs.iter().map(|log| (log.message.as_str(), json!(log.fields))).collect();
    let expect = [
        ("Cart.total changed", json!({ "old.total": 1, "new.total": 8 })),
        ("Cart.items changed", json!({ "old.items": "[]", "new.items": "[1]" })),
    ];
    assert_eq!(told, expect);
    assert!(recorded.logs.iter().all(|log| log.source == Some((file!().to_owned(), line))));
}

#[test]
fn an_iterator_tells_how_far_it_came_and_how_it_ended() {
    let mut line = 0;
    let recorded = recorded(|| {
        line = line!() + 1;
        assert_eq!((0..5).progress("known").every(2).count(), 5);
        let unknown = (0..5).filter(|number| number % 2 == 0);
        assert_eq!(unknown.progress("unknown").every(2).level(Level::Info).count(), 3);
        let mut left = [1, 2, 3].iter().progress("left").every(0);
        assert_eq!((left.len(), left.next()), (3, Some(&1)));
        drop(left);
        let taken = (0..2).progress("taken").zip(0..2).fold(0, |sum, (one, other)| sum + one + other);
        assert_eq!(taken, 2);
        drop((0..2).progress("not begun"));
        assert_eq!((0..0).progress("empty").count(), 0);
    });
    let told: Vec<_> = recorded.logs.iter().map(|log| log.message.as_str()).collect();
    let expect = [
        "known: 2 of 5",
        "known: 4 of 5",
        "known: done, 5",
        "unknown: 2",
        "unknown: done, 3",
        "left: left after 1 of 3",
        "taken: done, 2",
        "empty: done, 0",
    ];
    assert_eq!(told, expect);
    let fields = |index: usize| json!(recorded.logs[index].fields);
    assert_eq!(
        fields(0),
        json!({
            "progress.name": "known", "progress.state": "under way", "progress.count": 2, "progress.total": 5, "progress.percent": 40
        })
    );
    assert_eq!(fields(3), json!({ "progress.name": "unknown", "progress.state": "under way", "progress.count": 2 }));
    assert_eq!(recorded.logs[0].source, Some((file!().to_owned(), line)));
    assert_eq!((recorded.logs[0].level, recorded.logs[3].level), (Level::Debug, Level::Info));
    assert_eq!(recorded.logs[0].target, "glasshouse.progress");
}

#[test]
fn what_is_off_is_neither_evaluated_nor_sent() {
    let work = |seen: &Seen| {
        drop(watched(seen.clone(), false));
        drop(watched(seen.clone(), true));
        let evaluated = || seen.0.set(seen.0.get() + 1);
        watch!(level: Debug, "block", [?seen, "by.hand" = ?evaluated()], {});
        let mut cart = cart();
        cart.set_items(vec![seen.clone()]);
        cart.track().items.push(seen.clone());
        assert_eq!((0..5).progress("loop").every(1).count(), 5);
        assert_eq!(cart.items.len(), 2, "the work is done");
    };
    for host in off() {
        let seen = Seen::default();
        let ((), recorded) = host.run(|| work(&seen));
        assert_eq!((recorded, seen.0.get()), (Recorded::default(), 0));
    }
    let seen = Seen::default();
    let recorded = recorded(|| work(&seen));
    assert_eq!((recorded.spans.len(), recorded.logs.len()), (3, 8));
    assert!(seen.0.get() > 5);
}

#[test]
fn a_span_without_a_level_follows_the_hosts_spans_only() {
    let (_, recorded) = Host::new().threshold(Level::Critical).run(|| factorial(1));
    assert_eq!(recorded.spans.len(), 1);
    let (_, recorded) = Host::new().without(Kind::Spans).run(|| factorial(1));
    assert_eq!(recorded.spans.len(), 0);
}
