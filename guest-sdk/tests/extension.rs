//! What the `#[extension]` attribute makes of an `impl` block.

use glasshouse_sdk::testing::{Host, Instance};
use glasshouse_sdk::{Check, Error, Extension, Payload, Status, extension};
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default = "one")]
    step: i64,
}

fn one() -> i64 {
    1
}

#[derive(Deserialize, Serialize)]
struct Sum {
    terms: Vec<i64>,
}

#[derive(Debug)]
struct Counter {
    step: i64,
    total: i64,
    others: Vec<String>,
    collected: u32,
}

#[extension]
impl Counter {
    const LIMIT: i64 = 1000;

    fn init(config: Config) -> Result<Self, Error> {
        if config.step == 0 {
            return Err(Error::failed("configuration", "a step of 0 leads nowhere"));
        }
        Ok(Self { step: config.step, total: 0, others: Vec::new(), collected: 0 })
    }

    #[event]
    fn add(&mut self, sum: Sum) -> Result<i64, Error> {
        let total = self.total + self.step * sum.terms.iter().sum::<i64>();
        if total > Self::LIMIT {
            return Err(Error::failed("overflow", format!("{total} is over {}", Self::LIMIT)));
        }
        self.total = total;
        Ok(total)
    }

    #[event("parse.text")]
    fn parse_text(&self, text: Payload) -> Result<i64, std::num::ParseIntError> {
        text.as_str().unwrap_or_default().parse()
    }

    /// A plain value, and no argument.
    #[event]
    fn total(&self) -> i64 {
        self.total
    }

    #[event]
    fn raw(&self, payload: Payload) -> Payload {
        payload
    }

    #[event]
    fn nothing(&self) {}

    #[event]
    fn r#match(&self) -> &'static str {
        "found"
    }

    #[fallback]
    fn other(&mut self, name: String, _payload: Payload) -> Result<usize, Error> {
        if name == "unwanted" {
            return Err(Error::no_such_event(&name, Self::EVENTS));
        }
        self.others.push(name);
        Ok(self.others.len())
    }

    fn collect(&mut self) {
        self.collected += 1;
    }

    fn health(&mut self) -> Vec<Check> {
        vec![Check::degraded("total", self.total.to_string())]
    }

    fn save(&self) -> i64 {
        self.total
    }

    fn restore(&mut self, total: i64) -> Result<(), Error> {
        self.total = total;
        Ok(())
    }

    fn shutdown(&mut self) {
        glasshouse_sdk::info!("bye");
    }
}

fn counter() -> Instance<Counter> {
    Instance::start("{}").expect("the configuration is valid")
}

fn json(text: &str) -> Payload {
    Payload::new("application/json", text)
}

fn check(event: &str, payload: Payload, expect: Result<&str, Error>) {
    let reply = counter().handle(event, payload);
    let reply = reply.map(|payload| String::from_utf8(payload.bytes).expect("the reply is text"));
    assert_eq!(reply, expect.map(str::to_owned), "{event}");
}

#[test]
fn events_reach_their_handlers() {
    check("add", json(r#"{"terms": [1, 2]}"#), Ok("3"));
    check("total", Payload::default(), Ok("0"));
    check("parse.text", Payload::text("12"), Ok("12"));
    check("raw", Payload::new("x/y", "as it is"), Ok("as it is"));
    check("nothing", Payload::default(), Ok("null"));
    check("match", Payload::default(), Ok("\"found\""));
    check("something.else", Payload::default(), Ok("1"));
    assert_eq!(Counter::EVENTS, ["add", "parse.text", "total", "raw", "nothing", "match"]);
}

#[test]
fn a_payload_that_does_not_parse_is_invalid_and_says_why() {
    check(
        "add",
        json(r#"{"terms": 1}"#),
        Err(Error::invalid_payload("invalid type: integer `1`, expected a sequence at line 1 column 11")),
    );
    let reply = counter().handle("add", Payload::text("hello"));
    let Err(Error::InvalidPayload(message)) = reply else { panic!("{reply:?}") };
    assert!(message.ends_with("(it came as text/plain; charset=utf-8)"), "{message}");
}

#[test]
fn errors_keep_their_kind() {
    check("add", json(r#"{"terms": [1001]}"#), Err(Error::failed("overflow", "1001 is over 1000")));
    let kind = "core::num::error::ParseIntError";
    let reply = counter().handle("parse.text", Payload::text("x"));
    assert_eq!(reply, Err(Error::failed(kind, "invalid digit found in string")));
    let known = "no event \"unwanted\": this extension handles add, parse.text, total, raw, nothing, match";
    check("unwanted", Payload::default(), Err(Error::unknown_event(known)));
}

#[test]
fn the_configuration_is_read_or_refused() {
    let mut counter = Instance::<Counter>::start(r#"{"step": 10}"#).expect("the configuration is valid");
    assert_eq!(counter.handle("add", json(r#"{"terms": [1]}"#)).and_then(|reply| reply.parse()), Ok(10));
    let refusal = |config| Instance::<Counter>::start(config).expect_err("the configuration is invalid");
    assert_eq!(refusal(r#"{"step": 0}"#), "a step of 0 leads nowhere");
    assert!(refusal(r#"{"step": "x"}"#).starts_with("the configuration is not what this extension takes: "));
}

#[test]
fn the_methods_with_a_name_of_their_own_are_called() {
    let ((), recorded) = Host::new().run(|| {
        let mut first = counter();
        first.handle("add", json(r#"{"terms": [5]}"#)).expect("5 is under the limit");
        first.collect();
        assert_eq!(first.get().collected, 1);
        let mut second = counter();
        second.restore(first.save().expect("there is state")).expect("the state is valid");
        assert_eq!(second.get().total, 5);
        assert!(second.restore(b"x".to_vec()).is_err());
        let health = second.health();
        assert_eq!((health[0].status, health[0].detail.as_str()), (Status::Degraded, "5"));
        first.shutdown();
    });
    assert_eq!(recorded.logs[0].message, "bye");
}

mod smallest {
    //! An extension with nothing but a handler, in a module of its own since a crate has one.
    use super::{Error, Instance, Payload, extension};

    #[derive(Debug, Default)]
    struct Smallest;

    #[extension]
    impl Smallest {
        #[event]
        fn ping(&self) -> &'static str {
            "pong"
        }
    }

    #[test]
    fn what_is_not_there_has_a_default() {
        let mut smallest = Instance::<Smallest>::start("").expect("there is nothing to configure");
        assert_eq!(smallest.handle("ping", Payload::default()).and_then(|reply| reply.parse()), Ok("pong".to_owned()));
        let reply = smallest.handle("pong", Payload::default());
        assert_eq!(reply, Err(Error::unknown_event("no event \"pong\": this extension handles ping")));
        assert!(smallest.health().is_empty());
        assert_eq!(smallest.save(), None);
        assert!(smallest.restore(Vec::new()).is_err());
        smallest.collect();
        smallest.shutdown();
    }
}
