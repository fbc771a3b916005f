//! Answers the events that it hears of: with the same event again, or with a call of whoever is named in it.

use glasshouse_sdk::events::{self, CallError, PublishError};
use glasshouse_sdk::{Payload, extension, info};

/// What the topics begin with whose events are answered with a call; the rest is whom to call.
const ASK: &str = "ask.";

/// The extension.
#[derive(Default)]
pub struct Gossip {
    heard: Vec<String>,
    answers: Vec<String>,
}

#[extension]
impl Gossip {
    /// Publishes to a topic, and tells what came of it.
    #[event]
    fn publish(&mut self, topic: String) -> String {
        publish(&topic)
    }

    /// The topics of the events that it heard of.
    #[event]
    fn heard(&mut self) -> Vec<String> {
        self.heard.clone()
    }

    /// What came of its answers.
    #[event]
    fn answers(&mut self) -> Vec<String> {
        self.answers.clone()
    }

    /// Takes what it subscribes to, and answers.
    #[fallback]
    fn listen(&mut self, name: &str, _payload: Payload) {
        info!("heard", topic = name);
        self.heard.push(name.to_owned());
        let answer = match name.strip_prefix(ASK) {
            Some(whom) => match events::call::<Payload>(whom, "heard", Payload::default()) {
                Ok(reply) => format!("replied {}", String::from_utf8_lossy(&reply.bytes)),
                Err(CallError::Cycle) => "cycle".to_owned(),
                Err(error) => error.to_string(),
            },
            None => publish(name),
        };
        self.answers.push(answer);
    }
}

fn publish(topic: &str) -> String {
    match events::publish(topic, "hearsay") {
        Ok(_) => "published".to_owned(),
        Err(PublishError::Full(who)) => format!("full: {}", who.join(", ")),
        Err(error) => error.to_string(),
    }
}
