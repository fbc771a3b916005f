//! Server-sent events of a host, as the HTML standard has them (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use std::collections::VecDeque;
use std::time::Duration;

use crate::ClientError;
use crate::connection::Answering;

/// How long a stream may say nothing: three times as long as a host lets pass.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes of an event; a record is at most as large as what a guest may say at once, and some.
const EVENT_BYTES: usize = 16 << 20;

/// Something that a stream tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEvent {
    /// Where to go on after it.
    pub id: Option<String>,
    /// `record`, `gap` or `manager`; empty where there is nothing but a place to go on from.
    pub name: String,
    /// What is told, as JSON.
    pub data: String,
}

/// What a host tells as it happens.
pub struct Events {
    answering: Answering,
    parser: Parser,
}

impl Events {
    pub(crate) fn new(answering: Answering) -> Self {
        Self { answering, parser: Parser::default() }
    }

    /// The next event; `None` where the host has ended the stream. May be cancelled, and loses nothing by that.
    ///
    /// # Errors
    ///
    /// The connection broke off, says nothing any more, or what came is no event.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>, ClientError> {
        loop {
            if let Some(event) = self.parser.events.pop_front() {
                return Ok(Some(event));
            }
            let Ok(chunk) = tokio::time::timeout(SILENCE, self.answering.chunk()).await else {
                return Err(ClientError::Broken(format!("it has said nothing for {} seconds", SILENCE.as_secs())));
            };
            match chunk? {
                Some(bytes) => self.parser.take(&bytes)?,
                None => return Ok(None),
            }
        }
    }
}

/// Makes events of bytes, wherever they are cut.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    event: StreamEvent,
    has_data: bool,
    events: VecDeque<StreamEvent>,
}

impl Parser {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.event.data.len() + part.len() > EVENT_BYTES {
                return Err(ClientError::Answer(format!("an event is longer than {} MiB", EVENT_BYTES >> 20)));
            }
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                let Ok(line) = str::from_utf8(&line) else {
                    return Err(ClientError::Answer("an event is not UTF-8".to_owned()));
                };
                self.line(line.trim_end_matches(['\n', '\r']));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            if std::mem::take(&mut self.has_data) || event.id.is_some() {
                self.events.push_back(event);
            }
            return;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.has_data = true;
            }
            // Comments, which only show that somebody is there, and what is not known.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_wherever_their_bytes_are_cut() {
        let text = "id: 1\n\n: heartbeat\n\nevent: record\ndata: {\"a\":\"é\"}\nid: 2\n\r\nevent:gap\r\ndata:x\r\ndata: y\r\n\r\ndata";
        let event = |id: Option<&str>, name: &str, data: &str| StreamEvent {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        let expect =
            [event(Some("1"), "", ""), event(Some("2"), "record", "{\"a\":\"é\"}"), event(None, "gap", "x\ny")];
        for size in 1..text.len() {
            let mut parser = Parser::default();
            for chunk in text.as_bytes().chunks(size) {
                parser.take(chunk).expect("it is text");
            }
            assert_eq!(Vec::from(parser.events), expect, "{size}");
        }
    }

    #[test]
    fn what_is_no_text_or_has_no_end_is_refused() {
        assert!(Parser::default().take(b"data: \xff\n").is_err());
        let mut parser = Parser::default();
        let chunk = vec![b'x'; 1 << 20];
        let refused = (0..20).any(|_| parser.take(&chunk).is_err());
        assert!(refused && parser.line.len() <= EVENT_BYTES);
        let (mut parser, line) = (Parser::default(), [b"data: ".as_slice(), &chunk, b"\n"].concat());
        assert!((0..20).any(|_| parser.take(&line).is_err()));
    }
}
