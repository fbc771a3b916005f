//! Highlights source code: HTML spans with CSS classes (`hl-…`), so that the page chooses the colours.
//!
//! It logs through `tracing`, as a crate would that knows nothing of Glasshouse.

mod languages;

use glasshouse_sdk::{Error, Meter, counter, extension, histogram};
use languages::Languages;
use serde::{Deserialize, Serialize};
use syntect::html::{ClassStyle, ClassedHTMLGenerator};
use syntect::util::LinesWithEndings;
use tracing::{debug, info, info_span, warn};

/// What each CSS class begins with.
const CLASS_PREFIX: &str = "hl-";

/// What `[config]` of the manifest may say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Code of more bytes is refused.
    pub max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: 256 * 1024 }
    }
}

/// The payload of `highlight`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Snippet {
    /// The source code.
    pub code: String,
    /// The language's name or file extension, in any case; found out by the first line where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// The reply to `highlight`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Highlighted {
    /// The code as HTML, for inside of `<pre><code>`.
    pub html: String,
    /// How many lines it has.
    pub lines: usize,
    /// The language's proper name.
    pub language: String,
}

/// The extension.
#[derive(Debug)]
pub struct Snippets {
    config: Config,
    languages: Languages,
    lines: Meter,
    sizes: Meter,
}

#[extension]
impl Snippets {
    fn init(config: Config) -> Self {
        let languages = Languages::load();
        info!(languages = languages.count(), max_bytes = config.max_bytes, "ready");
        Self {
            config,
            languages,
            lines: counter("snippets.lines").unit("1").bind(),
            sizes: histogram("snippets.size").unit("By").bind(),
        }
    }

    /// Highlights a piece of code.
    #[event]
    fn highlight(&mut self, snippet: Snippet) -> Result<Highlighted, Error> {
        let size = snippet.code.len();
        if size > self.config.max_bytes {
            warn!(size, max_bytes = self.config.max_bytes, "refused code that is too long");
            let message = format!("the code has {size} bytes, {} are allowed", self.config.max_bytes);
            return Err(Error::invalid_payload(message));
        }
        let syntax = match &snippet.language {
            Some(language) => self.languages.find(language).inspect_err(|_| {
                warn!(%language, "unknown language");
                counter("snippets.unknown_language").record(1);
            })?,
            None => self.languages.detect(&snippet.code),
        };

        let span = info_span!("highlight", language = syntax.name, size, lines = tracing::field::Empty);
        let style = ClassStyle::SpacedPrefixed { prefix: CLASS_PREFIX };
        let mut generator = ClassedHTMLGenerator::new_with_class_style(syntax, self.languages.set(), style);
        let mut lines = 0;
        for line in LinesWithEndings::from(&snippet.code) {
            generator.parse_html_for_line_which_includes_newline(line)?;
            lines += 1;
        }
        let html = generator.finalize();
        span.record("lines", lines);
        drop(span);

        self.lines.record(lines);
        self.sizes.record(size);
        debug!(lines, size, html_size = html.len(), language = syntax.name, "highlighted");
        Ok(Highlighted { html, lines, language: syntax.name.clone() })
    }

    /// Names the languages.
    #[event]
    fn languages(&self) -> Vec<&str> {
        self.languages.names().collect()
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the samples of these tests are exact in binary")]
mod tests {
    use glasshouse_sdk::testing::{Host, Instance, Recorded};
    use glasshouse_sdk::{Error, Level, Payload};
    use serde_json::{Value, json};

    use super::Snippets;

    fn highlight(config: &str, payload: &Value) -> (Result<Value, Error>, Recorded) {
        Host::new().run(|| {
            let mut snippets = Instance::<Snippets>::start(config).expect("the configuration is valid");
            snippets.handle("highlight", Payload::json(payload)?)?.parse()
        })
    }

    #[test]
    fn code_is_marked_up_and_escaped() {
        let code = "fn main() {\n    let a = 1 < 2 && \"<b>\";\n}\n";
        let (reply, recorded) = highlight("{}", &json!({ "code": code, "language": "rs" }));
        let reply = reply.expect("Rust is known");
        assert_eq!(reply["language"], "Rust");
        assert_eq!(reply["lines"], 3);
        let html = reply["html"].as_str().expect("html is text");
        assert!(html.contains("<span class=\"hl-storage hl-type hl-function hl-rust\">fn</span>"), "{html}");
        assert!(html.contains("&lt;b&gt;") && !html.contains("<b>"), "{html}");
        assert_eq!(recorded.sum("snippets.lines"), 3.0);
    }

    #[test]
    fn what_it_says_through_tracing_arrives() {
        let (_, recorded) = highlight("{}", &json!({ "code": "x = 1\n", "language": "Python" }));
        let span = recorded.spans.iter().find(|span| span.name == "highlight").expect("a span of tracing");
        assert_eq!((&span.fields["language"], &span.fields["lines"]), (&json!("Python"), &json!(1)));
        assert!(span.ended);
        let log = recorded.logs.last().expect("a log of tracing");
        assert_eq!((log.level, log.message.as_str(), log.target.as_str()), (Level::Debug, "highlighted", "snippets"));
    }

    #[test]
    fn an_unknown_language_is_an_error_that_names_near_ones() {
        let (reply, recorded) = highlight("{}", &json!({ "code": "", "language": "pyhton" }));
        let Err(Error::Failed { kind, message }) = reply else { panic!("{reply:?}") };
        assert_eq!(kind, "unknown-language");
        assert_eq!(message, "no language \"pyhton\"; did you mean Python?");
        assert_eq!(recorded.sum("snippets.unknown_language"), 1.0);
    }

    #[test]
    fn a_language_is_found_out_by_the_first_line() {
        let (reply, _) = highlight("{}", &json!({ "code": "#!/bin/bash\necho hi\n" }));
        assert_eq!(reply.expect("the code is highlighted")["language"], "Bourne Again Shell (bash)");
        let (reply, _) = highlight("{}", &json!({ "code": "nothing special" }));
        assert_eq!(reply.expect("the code is shown as it is")["language"], "Plain Text");
    }

    #[test]
    fn code_past_the_limit_is_refused() {
        let (reply, _) = highlight(r#"{"max_bytes": 2}"#, &json!({ "code": "abc" }));
        assert_eq!(reply, Err(Error::invalid_payload("the code has 3 bytes, 2 are allowed")));
    }
}
