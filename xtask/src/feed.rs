//! The demo's feed: the project's own files and a made-up access log, as JSON lines for `glasshouse run --feed`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::access_log;

/// How many lines of the access log go into one event.
const LOG_CHUNK: usize = 200;
/// Larger files are left out: highlighting them shows nothing that smaller ones do not.
const FILE_BYTES_MAX: u64 = 48 * 1024;
/// How many files of a kind are sent: enough to see the cost, few enough for a demo of seconds.
const FILES_MAX: usize = 40;
/// How many pages `relay` passes on.
const PAGES: usize = 5;
/// Whose work the events are, in turn; `None` is work of the system's own.
const ORIGINS: [Option<(&str, &str)>; 4] =
    [Some(("alice", "acme")), Some(("bob", "acme")), None, Some(("carol", "globex"))];

/// One line of the feed.
struct Event {
    extension: &'static str,
    name: &'static str,
    payload: Value,
}

/// The whole feed, a JSON object a line: the extensions in turn, so that all of them are busy at once.
pub(crate) fn feed(root: &Path) -> Result<String> {
    let documents = files(root, &["md"])?;
    let sources = files(root, &["rs"])?;
    let markdown = documents.iter().map(|(_, text)| Event {
        extension: "markdown",
        name: "render",
        payload: json!({ "markdown": text }),
    });
    let snippets = sources.iter().map(|(_, text)| highlight(text, "rust"));
    // On purpose: an unknown language is an error with a type, and the demo is to show one.
    let unknown = highlight("MOVE 1 TO ANSWER.", "cobol-61");
    let access_log = access_log::lines();
    let access_log = access_log.chunks(LOG_CHUNK).map(|lines| Event {
        extension: "access-log",
        name: "ingest",
        payload: json!({ "lines": lines }),
    });
    let relay = documents.iter().cycle().take(PAGES).map(|(path, text)| {
        let payload = json!({ "title": path.display().to_string(), "markdown": text });
        Event { extension: "relay", name: "page", payload }
    });
    Ok(interleave([markdown.collect(), snippets.chain([unknown]).collect(), access_log.collect(), relay.collect()]))
}

fn highlight(code: &str, language: &str) -> Event {
    Event { extension: "snippets", name: "highlight", payload: json!({ "code": code, "language": language }) }
}

/// Takes one event of each queue in turn until all are empty.
fn interleave<const N: usize>(queues: [Vec<Event>; N]) -> String {
    let mut queues = queues.map(Vec::into_iter);
    let mut text = String::new();
    let mut count = 0;
    loop {
        let before = count;
        for queue in &mut queues {
            if let Some(event) = queue.next() {
                text.push_str(&line(&event, count).to_string());
                text.push('\n');
                count += 1;
            }
        }
        if count == before {
            return text;
        }
    }
}

fn line(event: &Event, index: usize) -> Value {
    let mut line = json!({ "extension": event.extension, "event": event.name, "payload": event.payload });
    if let Some((user, tenant)) = ORIGINS[index % ORIGINS.len()] {
        line["correlation_id"] = json!(format!("demo-{index:04}"));
        line["user"] = json!(user);
        line["tenant"] = json!(tenant);
    }
    line
}

/// The project's own files with one of the endings, in the order of their paths, with their text.
fn files(root: &Path, endings: &[&str]) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    for path in crate::workspace::files(root)? {
        let wanted = path.extension().is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted));
        let full = root.join(&path);
        if wanted && full.metadata().is_ok_and(|data| data.len() <= FILE_BYTES_MAX) {
            let text = fs::read_to_string(&full).with_context(|| format!("reading {}", full.display()))?;
            found.push((path, text));
        }
        if found.len() == FILES_MAX {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Value> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the root");
        let text = feed(root).expect("a feed");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn every_extension_is_fed() {
        let lines = lines();
        for extension in ["markdown", "snippets", "access-log", "relay"] {
            assert!(lines.iter().any(|line| line["extension"] == extension), "{extension}");
        }
    }

    #[test]
    fn the_whole_access_log_is_sent() {
        let sent: usize = lines().iter().filter_map(|line| line["payload"]["lines"].as_array()).map(Vec::len).sum();
        assert_eq!(sent, access_log::LINES);
    }

    #[test]
    fn some_events_belong_to_a_user_and_some_to_none() {
        let lines = lines();
        assert!(lines.iter().any(|line| line["user"] == "alice" && line["tenant"] == "acme"));
        assert!(lines.iter().any(|line| line.get("user").is_none()));
    }
}
