//! Calls other extensions, itself among them, and publishes.

use std::time::Duration;

use glasshouse_sdk::events::{self, CallError, PublishError};
use glasshouse_sdk::{Error, Payload, extension, info, span};
use serde::{Deserialize, Serialize};

/// A call to make.
#[derive(Deserialize, Serialize)]
struct Target {
    /// Whom to call.
    extension: String,
    /// With which event.
    event: String,
    /// The event's payload.
    #[serde(default)]
    payload: String,
    /// Calls to make in turn from there.
    #[serde(default)]
    then: Vec<Target>,
}

/// What to do in one call, in this order, in a span of its own.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Work {
    /// Spans to make.
    spans: u64,
    /// Calls to make in turn.
    calls: Vec<Target>,
    /// What to publish for others to do.
    publish: Option<Box<Work>>,
    /// Milliseconds to wait.
    nap: u64,
    /// Whether to answer with an error.
    fail: bool,
}

/// The extension.
#[derive(Default)]
pub struct Caller {
    heard: Vec<String>,
}

#[extension]
impl Caller {
    /// Makes a call and tells what came of it, in one line.
    #[event]
    fn call(&mut self, target: Target) -> String {
        info!("calling", target = target.extension);
        let payload = match target.then.into_iter().next() {
            Some(next) => Payload::json(&next),
            None => Ok(Payload::new("application/json", target.payload)),
        };
        let Ok(payload) = payload else { return "no payload".to_owned() };
        match events::call::<Payload>(&target.extension, &target.event, payload) {
            Ok(reply) => format!("replied {}", String::from_utf8_lossy(&reply.bytes)),
            Err(CallError::Cycle) => "cycle".to_owned(),
            Err(CallError::Denied) => "denied".to_owned(),
            Err(CallError::UnknownExtension) => "unknown".to_owned(),
            Err(CallError::Busy(_)) => "busy".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    /// Does what it is told to.
    #[event]
    fn work(&mut self, work: Work) -> Result<(), Error> {
        let _work = span!("work");
        (0..work.spans).for_each(|number| drop(span!("part", number = number)));
        for Target { extension, event, payload, .. } in work.calls {
            // What comes of it is not looked at.
            drop(events::call::<Payload>(&extension, &event, Payload::new("application/json", payload)));
        }
        if let Some(work) = work.publish {
            events::publish("work", &*work).map_err(|error| Error::failed("unpublished", error.to_string()))?;
        }
        std::thread::sleep(Duration::from_millis(work.nap));
        if work.fail { Err(Error::failed("told-to", "as it was told to")) } else { Ok(()) }
    }

    /// Publishes its payload to a topic and tells what came of it.
    #[event]
    fn publish(&mut self, topic: String) -> String {
        match events::publish(&topic, "news") {
            Ok(_) => "published".to_owned(),
            Err(PublishError::Denied) => "denied".to_owned(),
            Err(PublishError::InvalidTopic) => "invalid topic".to_owned(),
            Err(PublishError::Full(who)) => format!("full: {}", who.join(", ")),
            Err(error) => error.to_string(),
        }
    }

    /// Tells which topics it heard of.
    #[event]
    fn heard(&mut self) -> Vec<String> {
        self.heard.clone()
    }

    /// Takes what it subscribes to.
    #[fallback]
    fn listen(&mut self, name: &str, _payload: Payload) {
        info!("heard", topic = name);
        self.heard.push(name.to_owned());
    }
}
