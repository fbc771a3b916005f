//! Text in, page out.

use std::collections::HashMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use serde::{Deserialize, Serialize};

/// The schemes that an address may have.
const SAFE_SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// A rendered page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Page {
    /// The caller's title, or the first heading.
    pub title: Option<String>,
    /// The body's HTML.
    pub html: String,
    /// The headings, in order.
    pub headings: Vec<Heading>,
    /// The links that were passed on, in order.
    pub links: Vec<Link>,
    /// How many links and images got `#` instead of an unsafe address.
    pub refused_links: usize,
    /// How many pieces of raw HTML are shown as text.
    pub escaped_html: usize,
}

/// A heading.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Heading {
    /// 1 to 6.
    pub level: u8,
    /// Its text without markup.
    pub text: String,
    /// What a link to it puts after `#`.
    pub id: String,
}

/// A link.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Link {
    /// Where it leads.
    pub url: String,
    /// Its text without markup.
    pub text: String,
}

/// Renders a page.
pub(crate) fn page(markdown: &str, title: Option<String>) -> Page {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page =
        Page { title, html: String::new(), headings: vec![], links: vec![], refused_links: 0, escaped_html: 0 };
    let mut slugs = Slugs::default();
    let mut events: Vec<Event<'_>> = Vec::new();
    // Where the open heading started, and whether a link that is kept is open.
    let mut heading: Option<(usize, Heading)> = None;
    let mut link: Option<Link> = None;

    for event in Parser::new_ext(markdown, options) {
        if let Event::Text(text) | Event::Code(text) = &event {
            if let Some((_, heading)) = &mut heading {
                heading.text.push_str(text);
            }
            if let Some(link) = &mut link {
                link.text.push_str(text);
            }
        }
        let event = match event {
            Event::Html(html) | Event::InlineHtml(html) => {
                page.escaped_html += 1;
                Event::Text(html)
            }
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = safe(dest_url, &mut page.refused_links);
                link = (&*dest_url != "#").then(|| Link { url: dest_url.to_string(), text: String::new() });
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
                let dest_url = safe(dest_url, &mut page.refused_links);
                Event::Start(Tag::Image { link_type, dest_url, title, id })
            }
            Event::Start(Tag::Heading { level, .. }) => {
                heading = Some((events.len(), Heading { level: level as u8, text: String::new(), id: String::new() }));
                event
            }
            Event::End(TagEnd::Link) => {
                page.links.extend(link.take());
                event
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((start, mut heading)) = heading.take() {
                    heading.id = slugs.unique(&heading.text);
                    if let Event::Start(Tag::Heading { id, .. }) = &mut events[start] {
                        *id = Some(heading.id.clone().into());
                    }
                    page.headings.push(heading);
                }
                event
            }
            event => event,
        };
        events.push(event);
    }

    html::push_html(&mut page.html, events.into_iter());
    if page.title.is_none() {
        page.title = page.headings.first().map(|heading| heading.text.clone());
    }
    page
}

/// The address, or `#` if it is of a scheme that could run something.
fn safe<'a>(url: CowStr<'a>, refused: &mut usize) -> CowStr<'a> {
    // Browsers skip control characters and spaces in a scheme, so they are skipped here as well.
    let visible: String = url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let scheme = visible.split(['/', '?', '#']).next().and_then(|head| head.split_once(':')).map(|(scheme, _)| scheme);
    if scheme.is_none_or(|scheme| SAFE_SCHEMES.iter().any(|safe| scheme.eq_ignore_ascii_case(safe))) {
        return url;
    }
    *refused += 1;
    CowStr::Borrowed("#")
}

/// Names for headings, each given once.
#[derive(Default)]
struct Slugs(HashMap<String, usize>);

impl Slugs {
    fn unique(&mut self, text: &str) -> String {
        let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let mut base = words.map(str::to_lowercase).collect::<Vec<_>>().join("-");
        if base.is_empty() {
            base.push_str("section");
        }
        let mut slug = base.clone();
        while self.0.contains_key(&slug) {
            let count = self.0.entry(base.clone()).or_default();
            *count += 1;
            slug = format!("{base}-{count}");
        }
        self.0.insert(slug.clone(), 0);
        slug
    }
}
