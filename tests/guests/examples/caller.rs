//! Calls other extensions, itself among them, and publishes.

use glasshouse_sdk::events::{self, CallError, PublishError};
use glasshouse_sdk::{Payload, extension, info};
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
