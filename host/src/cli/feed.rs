//! The feed: events as JSON lines, each bounded in length and checked by itself.

use std::io;
use std::path::Path;

use glasshouse::text::visible;
use glasshouse::{Event, InvalidTraceParent, JSON, Redactor, TraceParent, Trigger, limits};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, BufReader};

/// Bytes of the longest line: the longest payload, escaped a little, and what stands around it.
const LINE_BYTES: usize = limits::PAYLOAD_BYTES + 1024 * 1024;

/// A feed that is being read.
pub(crate) struct Feed {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    line: Vec<u8>,
    number: u64,
}

/// A line of the feed.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number, counted from 1.
    pub(crate) number: u64,
    /// What it says, or why it cannot be used.
    pub(crate) work: Result<Work, String>,
}

/// An event for an extension.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) extension: String,
    pub(crate) event: Event,
    pub(crate) trigger: Trigger,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    extension: String,
    event: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    correlation_id: Option<String>,
    user: Option<String>,
    tenant: Option<String>,
    traceparent: Option<String>,
    tracestate: Option<String>,
    baggage: Option<String>,
}

impl Feed {
    /// Opens a file, or standard input for `-`.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::new(BufReader::new(tokio::io::stdin())));
        }
        Ok(Self::new(BufReader::with_capacity(64 * 1024, tokio::fs::File::open(path).await?)))
    }

    fn new(reader: impl AsyncBufRead + Send + Unpin + 'static) -> Self {
        Self { reader: Box::new(reader), line: Vec::new(), number: 0 }
    }

    /// The next line that is not empty; `None` at the end.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some(fits) = self.read_line().await? else { return Ok(None) };
            self.number += 1;
            let text = self.line.trim_ascii();
            if fits && text.is_empty() {
                continue;
            }
            let work = if fits { parse(text) } else { Err(format!("it has more than {LINE_BYTES} bytes")) };
            return Ok(Some(Line { number: self.number, work }));
        }
    }

    /// Reads a line; tells whether it was short enough to be kept, or nothing at the end.
    async fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        self.line.shrink_to(LINE_BYTES / 16);
        let (mut fits, mut any) = (true, false);
        loop {
            let bytes = self.reader.fill_buf().await?;
            if bytes.is_empty() {
                return Ok(any.then_some(fits));
            }
            any = true;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            fits &= self.line.len() + part.len() <= LINE_BYTES;
            if fits {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(fits));
            }
        }
    }
}

fn parse(text: &[u8]) -> Result<Work, String> {
    let written: Written<'_> = serde_json::from_slice(text).map_err(|error| {
        let message = format!("not an event: {error}").replace(" at line 1 column ", ", at column ");
        // It quotes what it found. It is nobody's yet, so that no extension's own rules hold for it.
        visible(&Redactor::default().redact_text(&message), 300).into_owned()
    })?;
    let payload = written.payload.map_or("null", RawValue::get);
    let event = Event { name: written.event, content_type: JSON.to_owned(), payload: payload.as_bytes().to_vec() };
    let parent: Option<TraceParent> = written
        .traceparent
        .map(|text| text.parse())
        .transpose()
        .map_err(|error: InvalidTraceParent| format!("its traceparent cannot be used: {error}"))?;
    let mut trigger = parent.map_or_else(Trigger::default, Trigger::from);
    if let Some(tracestate) = written.tracestate {
        trigger = trigger.tracestate(&tracestate);
    }
    if let Some(baggage) = written.baggage {
        trigger = trigger.baggage(&baggage);
    }
    (trigger.correlation_id, trigger.user, trigger.tenant) = (written.correlation_id, written.user, written.tenant);
    Ok(Work { extension: written.extension, event, trigger })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(text: &'static [u8]) -> Vec<Line> {
        // A small buffer, so that lines come in parts.
        let mut feed = Feed::new(BufReader::with_capacity(16, text));
        let mut lines = Vec::new();
        while let Some(line) = feed.next().await.expect("it is read") {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn events_are_passed_on_as_they_were_written() {
        let lines = lines(
            b"{\"extension\":\"a\",\"event\":\"e\",\"payload\":{\"n\": 1.50},\"user\":\"ada\",\"correlation_id\":\"c\"}\r\n\n\
              {\"extension\":\"b\",\"event\":\"e\"}",
        )
        .await;
        assert_eq!(lines.iter().map(|line| line.number).collect::<Vec<_>>(), [1, 3]);
        let work = lines[0].work.as_ref().expect("it is valid");
        assert_eq!(work.event.payload, b"{\"n\": 1.50}");
        assert_eq!((work.extension.as_str(), work.event.content_type.as_str()), ("a", JSON));
        assert_eq!((work.trigger.user.as_deref(), work.trigger.correlation_id.as_deref()), (Some("ada"), Some("c")));
        assert_eq!(lines[1].work.as_ref().expect("it is valid").event.payload, b"null");
    }

    #[tokio::test]
    async fn a_bad_line_does_not_spoil_the_others() {
        let lines =
            lines(b"nonsense\n{\"extension\":\"a\",\"evnt\":\"e\"}\n\xff\n{\"extension\":\"a\",\"event\":\"e\"}\n")
                .await;
        let error = |index: usize| lines[index].work.as_ref().expect_err("it is invalid").as_str();
        assert!(error(0).contains("at column 2"), "{}", error(0));
        assert!(error(1).contains("unknown field `evnt`"), "{}", error(1));
        assert!(lines[2].work.is_err());
        assert!(lines[3].work.is_ok());
    }

    #[tokio::test]
    async fn a_trace_is_continued_where_it_comes_from() {
        let lines = lines(
            b"{\"extension\":\"a\",\"event\":\"e\",\"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}\n\
              {\"extension\":\"a\",\"event\":\"e\",\"traceparent\":\"00-4bf92f35\"}",
        )
        .await;
        let trigger = &lines[0].work.as_ref().expect("it is valid").trigger;
        assert_eq!(trigger.trace_id.map(|id| id.to_string()).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trigger.parent.map(|id| id.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        let error = lines[1].work.as_ref().expect_err("it is cut");
        assert!(error.starts_with("its traceparent cannot be used: a traceparent is 00-"), "{error}");
    }

    #[tokio::test]
    async fn what_comes_with_a_trace_is_taken_as_it_is_and_never_spoils_a_line() {
        let lines = lines(
            b"{\"extension\":\"a\",\"event\":\"e\",\"baggage\":\" tier = gold\",\"tracestate\":\"rojo=1,ot=th:c\",\
              \"traceparent\":\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"}\n\
              {\"extension\":\"a\",\"event\":\"e\",\"baggage\":\"no baggage\",\"tracestate\":\"no state\"}",
        )
        .await;
        let trigger = &lines[0].work.as_ref().expect("it is valid").trigger;
        assert_eq!(trigger.carried.baggage(), "tier=gold");
        let kept = trigger.sampling.expect("whoever sent it has decided");
        assert!(kept.is_sampled && trigger.carried.tracestate(&kept).ends_with("rojo=1"));
        let trigger = &lines[1].work.as_ref().expect("it is valid all the same").trigger;
        assert!(trigger.carried.baggage().is_empty());
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_given_up_and_the_next_one_read() {
        let mut text = vec![b'x'; LINE_BYTES + 1];
        text.extend_from_slice(b"\n{\"extension\":\"a\",\"event\":\"e\"}");
        let mut feed = Feed::new(BufReader::with_capacity(1 << 20, std::io::Cursor::new(text)));
        let first = feed.next().await.expect("it is read").expect("a line");
        assert!(first.work.expect_err("it is too long").contains("bytes"));
        assert!(feed.next().await.expect("it is read").expect("a line").work.is_ok());
    }
}
