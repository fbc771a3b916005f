//! Passes work on: has a page rendered by the extension `markdown`, publishes that it was, and, as a subscriber of the
//! topic, counts what is published.

use std::thread::sleep;
use std::time::Duration;

use glasshouse_sdk::events::{self, CallError, PublishError};
use glasshouse_sdk::{
    Error, Payload, SpanKind, counter, debug, extension, info, instrument, record_exception, span, warning,
};
use serde::{Deserialize, Serialize};

/// The longest wait for a busy renderer, whatever it hints at.
const MAX_WAIT: Duration = Duration::from_millis(250);

/// What `[config]` of the manifest may say.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The id of the extension that renders.
    pub renderer: String,
    /// The topic that rendered pages are published to.
    pub topic: String,
    /// How often a busy renderer is asked again.
    pub retries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self { renderer: "markdown".to_owned(), topic: "pages.rendered".to_owned(), retries: 2 }
    }
}

/// The payload of `page`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Page {
    /// The text.
    pub markdown: String,
    /// Another topic than the configured one.
    #[serde(default)]
    pub topic: Option<String>,
}

/// What is asked of the renderer.
#[derive(Clone, Copy, Debug, Serialize)]
struct Source<'a> {
    markdown: &'a str,
}

/// What of the renderer's reply is used.
#[derive(Clone, Debug, Deserialize)]
struct Rendered {
    title: Option<String>,
    html: String,
}

/// What is published.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Announcement {
    /// The page's title.
    pub title: Option<String>,
    /// The size of its HTML.
    pub html_bytes: usize,
}

/// The reply to `page`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Relayed {
    /// The page's title.
    pub title: Option<String>,
    /// The page's HTML.
    pub html: String,
    /// The topic that it was published to.
    pub topic: String,
    /// The published event's id; nothing if it could not be published.
    pub event_id: Option<String>,
}

/// The extension.
#[derive(Debug)]
pub struct Relay {
    config: Config,
    announced: u64,
}

#[extension]
impl Relay {
    fn init(config: Config) -> Self {
        info!("ready", renderer = config.renderer, topic = config.topic);
        Self { config, announced: 0 }
    }

    /// Has a page rendered, and publishes that it was.
    #[event]
    fn page(&mut self, page: Page) -> Result<Relayed, Error> {
        let rendered = self.render(&page.markdown)?;
        let topic = page.topic.unwrap_or_else(|| self.config.topic.clone());
        let announcement = Announcement { title: rendered.title, html_bytes: rendered.html.len() };
        let event_id = publish(&topic, &announcement);
        info!("page relayed", topic = topic, published = event_id.is_some(), html_bytes = announcement.html_bytes);
        Ok(Relayed { title: announcement.title, html: rendered.html, topic, event_id })
    }

    /// Tells how many announcements it got.
    #[event]
    fn announced(&self) -> u64 {
        self.announced
    }

    /// Takes what is published on the topic.
    #[fallback]
    fn other(&mut self, name: &str, payload: Payload) -> Result<(), Error> {
        if name != self.config.topic {
            return Err(Error::unknown_event(format!("no event \"{name}\": neither `page` nor a subscribed topic")));
        }
        let announcement: Announcement = payload.parse()?;
        self.announced += 1;
        counter("relay.announced").label("topic", name).record(1);
        debug!("a page was announced", title = announcement.title.as_deref().unwrap_or("untitled"));
        Ok(())
    }
}

impl Relay {
    /// Calls the renderer, again if it is busy.
    fn render(&self, markdown: &str) -> Result<Rendered, Error> {
        let renderer = self.config.renderer.as_str();
        let span = span!(kind: SpanKind::Client, "render", renderer = renderer, size = markdown.len());
        let mut attempt = 0;
        let error = loop {
            attempt += 1;
            match events::call(renderer, "render", Source { markdown }) {
                Ok(rendered) => {
                    span.set_field("attempts", attempt);
                    return Ok(rendered);
                }
                Err(CallError::Busy(milliseconds)) if attempt <= self.config.retries => {
                    debug!("the renderer is busy", attempt = attempt, retry_ms = milliseconds);
                    counter("relay.retries").record(1);
                    sleep(Duration::from_millis(milliseconds.into()).min(MAX_WAIT));
                }
                Err(error) => break error,
            }
        };
        span.fail(&error.to_string());
        warning!("{renderer} did not render the page", error = %error, attempts = attempt);
        Err(answer(renderer, error))
    }
}

/// What the caller gets for a failed call: its own mistakes as they are, the rest by kind.
fn answer(renderer: &str, error: CallError) -> Error {
    let kind = match error {
        CallError::Answered(error @ Error::InvalidPayload(_)) => return error,
        CallError::Denied => "denied",
        CallError::Busy(_) => "busy",
        CallError::UnknownExtension | CallError::Unavailable(_) => "unavailable",
        _ => "renderer-failed",
    };
    record_exception(&error);
    Error::failed(kind, format!("call of {renderer}: {error}"))
}

/// Publishes an announcement. The page is rendered all the same where that fails, so it is reported and left at that.
#[instrument(kind = Producer, skip(announcement))]
fn publish(topic: &str, announcement: &Announcement) -> Option<String> {
    match events::publish(topic, announcement) {
        Ok(id) => Some(id),
        Err(PublishError::Full(subscribers)) => {
            warning!("some subscribers are busy and miss it", subscribers = subscribers.join(", "), topic = topic);
            counter("relay.missed").record(subscribers.len());
            None
        }
        Err(error) => {
            warning!("not published", error = %error, topic = topic);
            record_exception(&error);
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the samples of these tests are exact in binary")]
mod tests {
    use glasshouse_sdk::events::{CallError, PublishError};
    use glasshouse_sdk::testing::{Host, Instance, Recorded};
    use glasshouse_sdk::{Error, Payload};
    use serde_json::json;

    use super::{Announcement, Relay, Relayed};

    fn page(host: Host) -> (Result<Relayed, Error>, Recorded) {
        host.run(|| {
            let mut relay = Instance::<Relay>::start(r#"{"retries": 1}"#).expect("the configuration is valid");
            relay.handle("page", Payload::json(&json!({ "markdown": "# Hi" }))?)?.parse()
        })
    }

    fn rendered() -> Payload {
        Payload::json(&json!({ "title": "Hi", "html": "<h1>Hi</h1>", "links": [] })).expect("this is JSON")
    }

    fn failing(error: CallError) -> Host {
        Host::new().answering(move |_, _, _| Err(error.clone()))
    }

    #[test]
    fn a_page_is_rendered_elsewhere_and_announced() {
        let (relayed, recorded) = page(Host::new().answering(|extension, event, payload| {
            assert_eq!((extension, event), ("markdown", "render"));
            assert_eq!(payload.parse::<serde_json::Value>().expect("a JSON payload"), json!({ "markdown": "# Hi" }));
            Ok(rendered())
        }));
        let relayed = relayed.expect("the page is rendered");
        assert_eq!((relayed.html.as_str(), relayed.topic.as_str()), ("<h1>Hi</h1>", "pages.rendered"));
        assert!(relayed.event_id.is_some());
        let (topic, payload) = &recorded.published[0];
        assert_eq!(topic, "pages.rendered");
        let announcement: Announcement = payload.parse().expect("an announcement");
        assert_eq!(announcement, Announcement { title: Some("Hi".to_owned()), html_bytes: 11 });
        let spans: Vec<_> = recorded.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(spans, ["render", "publish"]);
    }

    #[test]
    fn a_busy_renderer_is_asked_again() {
        let mut calls = 0;
        let (relayed, recorded) = page(Host::new().answering(move |_, _, _| {
            calls += 1;
            if calls == 1 { Err(CallError::Busy(0)) } else { Ok(rendered()) }
        }));
        assert!(relayed.is_ok(), "{relayed:?}");
        assert_eq!(recorded.spans[0].fields["attempts"], 2);

        let (relayed, recorded) = page(failing(CallError::Busy(0)));
        assert!(matches!(&relayed, Err(Error::Failed { kind, .. }) if kind == "busy"), "{relayed:?}");
        assert_eq!(recorded.sum("relay.retries"), 1.0);
    }

    #[test]
    fn each_failure_has_its_kind() {
        for (error, expected) in [
            (CallError::Denied, "denied"),
            (CallError::UnknownExtension, "unavailable"),
            (CallError::Unavailable("quarantined".to_owned()), "unavailable"),
            (CallError::Cycle, "renderer-failed"),
            (CallError::Failed("out of fuel".to_owned()), "renderer-failed"),
        ] {
            let (relayed, recorded) = page(failing(error));
            assert!(matches!(&relayed, Err(Error::Failed { kind, .. }) if kind == expected), "{relayed:?}");
            assert!(recorded.spans[0].failure.is_some());
            assert_eq!(recorded.errors.len(), 1);
        }
        let (relayed, _) = page(failing(CallError::Answered(Error::invalid_payload("too long"))));
        assert_eq!(relayed, Err(Error::invalid_payload("too long")));
    }

    #[test]
    fn a_page_that_cannot_be_announced_is_rendered_all_the_same() {
        for refusal in [PublishError::Denied, PublishError::Full(vec!["search".to_owned()])] {
            let (relayed, recorded) = page(Host::new().answering(|_, _, _| Ok(rendered())).refusing(refusal));
            assert_eq!(relayed.expect("the page is rendered").event_id, None);
            assert!(recorded.published.is_empty());
        }
    }

    #[test]
    fn announcements_are_counted_and_other_events_are_unknown() {
        let ((), recorded) = Host::new().run(|| {
            let mut relay = Instance::<Relay>::start("{}").expect("the configuration is valid");
            let announcement = Announcement { title: None, html_bytes: 3 };
            let payload = Payload::json(&announcement).expect("this is JSON");
            relay.handle("pages.rendered", payload.clone()).expect("it is counted");
            assert!(matches!(relay.handle("else", payload), Err(Error::UnknownEvent(_))));
            let announced = relay.handle("announced", Payload::default()).expect("it is known");
            assert_eq!(announced.parse(), Ok(1));
        });
        assert_eq!(recorded.sum("relay.announced"), 1.0);
    }
}
