//! Renders CommonMark to HTML, with tables, footnotes, strikethrough and task lists.
//!
//! The text is not trusted. Raw HTML in it is shown as text, and a link or image whose address is neither relative nor
//! of the schemes `http`, `https` and `mailto` points to `#` instead; the reply counts both.

pub mod render;

use glasshouse_sdk::{Error, Meter, counter, debug, extension, histogram, info, span, warning};
use render::Page;
use serde::{Deserialize, Serialize};

/// What `[config]` of the manifest may say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Texts of more bytes are refused.
    pub max_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024 }
    }
}

/// The payload of `render`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Source {
    /// The text.
    pub markdown: String,
    /// The page's title; where there is none, its first heading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// The extension.
#[derive(Debug)]
pub struct Markdown {
    config: Config,
    pages: Meter,
    source_bytes: Meter,
    html_bytes: Meter,
}

#[extension]
impl Markdown {
    fn init(config: Config) -> Self {
        info!("ready", max_bytes = config.max_bytes);
        Self {
            config,
            pages: counter("markdown.pages").unit("1").bind(),
            source_bytes: histogram("markdown.source.size").unit("By").bind(),
            html_bytes: histogram("markdown.html.size").unit("By").bind(),
        }
    }

    /// Renders a text.
    #[event]
    fn render(&mut self, source: Source) -> Result<Page, Error> {
        let size = source.markdown.len();
        if size > self.config.max_bytes {
            warning!("refused a text of {size} bytes", size = size, max_bytes = self.config.max_bytes);
            return Err(Error::invalid_payload(format!(
                "the text has {size} bytes, {} are allowed",
                self.config.max_bytes
            )));
        }
        let span = span!("render", size = size);
        let page = render::page(&source.markdown, source.title);
        span.set_field("headings", page.headings.len());
        span.set_field("links", page.links.len());
        drop(span);

        self.pages.increment();
        self.source_bytes.record(size);
        self.html_bytes.record(page.html.len());
        if page.refused_links > 0 || page.escaped_html > 0 {
            warning!(
                "the text holds what is not passed on",
                refused_links = page.refused_links,
                escaped_html = page.escaped_html
            );
        }
        debug!("rendered", size = size, html_size = page.html.len(), title = page.title.as_deref().unwrap_or(""));
        Ok(page)
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the samples of these tests are exact in binary")]
mod tests {
    use glasshouse_sdk::testing::{Host, Instance, Recorded};
    use glasshouse_sdk::{Error, Level, Payload};
    use serde_json::{Value, json};

    use super::Markdown;

    fn render(config: &str, payload: &Value) -> (Result<Value, Error>, Recorded) {
        Host::new().run(|| {
            let mut markdown = Instance::<Markdown>::start(config).expect("the configuration is valid");
            markdown.handle("render", Payload::json(payload)?)?.parse()
        })
    }

    #[test]
    fn a_page_comes_with_its_headings_links_and_title() {
        let text = "# Hello *world*\n\nSee [the docs](https://example.com/a?b=1&c \"Docs\").\n\n## Hello world\n";
        let (page, recorded) = render("{}", &json!({ "markdown": text }));
        let page = page.expect("the text is rendered");
        assert_eq!(page["title"], "Hello world");
        assert_eq!(
            page["headings"],
            json!([
                { "level": 1, "text": "Hello world", "id": "hello-world" },
                { "level": 2, "text": "Hello world", "id": "hello-world-1" },
            ])
        );
        assert_eq!(page["links"], json!([{ "url": "https://example.com/a?b=1&c", "text": "the docs" }]));
        let html = page["html"].as_str().expect("html is text");
        assert!(html.starts_with("<h1 id=\"hello-world\">Hello <em>world</em></h1>"), "{html}");
        assert_eq!(recorded.sum("markdown.pages"), 1.0);
        assert_eq!(recorded.spans[0].name, "render");
        assert_eq!(recorded.spans[0].fields["headings"], 2);
    }

    #[test]
    fn what_could_run_in_a_browser_does_not_get_through() {
        let text = "<script>alert(1)</script>\n\n[a](javascript:alert(1)) [b](JaVa&#x09;Script:alert) \
                    ![c](data:text/html,x) and <b onclick=x>bold</b> [d](/fine)";
        let (page, recorded) = render("{}", &json!({ "markdown": text }));
        let page = page.expect("the text is rendered");
        let html = page["html"].as_str().expect("html is text").to_lowercase();
        for forbidden in ["<script", "<b ", "script:", "data:"] {
            assert!(!html.contains(forbidden), "{forbidden} in {html}");
        }
        assert!(html.contains("&lt;script&gt;") && html.contains("href=\"/fine\""), "{html}");
        assert_eq!(page["refused_links"], 3);
        assert_eq!(page["escaped_html"], 3);
        let warnings: Vec<_> = recorded.logs.iter().filter(|log| log.level == Level::Warning).collect();
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].fields["refused_links"], 3);
    }

    #[test]
    fn a_title_of_the_caller_wins() {
        let (page, _) = render("{}", &json!({ "markdown": "# A", "title": "B" }));
        assert_eq!(page.expect("the text is rendered")["title"], "B");
    }

    #[test]
    fn a_text_past_the_limit_is_refused() {
        let (page, _) = render(r#"{"max_bytes": 3}"#, &json!({ "markdown": "long" }));
        assert_eq!(page, Err(Error::invalid_payload("the text has 4 bytes, 3 are allowed")));
    }

    #[test]
    fn a_configuration_with_a_typing_error_is_refused() {
        let error = Instance::<Markdown>::start(r#"{"max_byte": 3}"#).expect_err("the configuration is invalid");
        assert!(error.contains("max_byte"), "{error}");
    }
}
