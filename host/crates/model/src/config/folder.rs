//! Reads one folder of `permissions.files`: `{ host = "docs", guest = "/docs", access = "read" }`.

use std::path::PathBuf;

use super::check::guest_path;
use super::keys::Scope;
use super::nearest::{hint, nearest};
use super::read::{Given, Reader, Section, found};
use crate::settings::FileAccess;
use crate::text::visible;

const NAMES: [&str; 3] = ["host", "guest", "access"];

/// The folder, or problems.
pub(super) fn read(reader: &mut Reader<'_>, section: Section<'_>, item: &Given<'_>) -> Option<FileAccess> {
    let path = format!("{}permissions.files", section.shown);
    let start = item.span().start;
    let Some(table) = item.get_ref().as_table() else {
        let found = found(item.get_ref());
        let example = r#"{ host = "docs", guest = "/docs", access = "read" }"#;
        reader.problem(start, || format!("{path}: found {found}, expected a folder, such as {example}"));
        return None;
    };
    let mut problems: Vec<(usize, String)> = Vec::new();
    let mut texts = [None, None, None];
    for (name, given) in table {
        let at = given.span().start;
        match (NAMES.iter().position(|known| known == name.get_ref()), given.get_ref().as_str()) {
            (Some(index), Some(text)) => texts[index] = Some((at, text)),
            (Some(index), None) => {
                problems
                    .push((at, format!("{path}.{}: found {}, expected a text", NAMES[index], found(given.get_ref()))));
            }
            (None, _) => {
                let (shown, name_at) = (format!("{path}."), name.span().start);
                let proposal = hint(&shown, nearest(name.get_ref(), NAMES));
                problems.push((name_at, format!("unknown key \"{shown}{}\"{proposal}", visible(name.get_ref(), 80))));
            }
        }
    }
    let [host, guest, access] = texts;
    let names_are_right = problems.is_empty();
    match host {
        None if names_are_right => {
            problems.push((start, format!("{path}: a folder without host; add host = \"path\"")));
        }
        Some((at, host)) if host.is_empty() || host.contains('\0') => {
            problems.push((at, format!("{path}.host: an empty path names no folder")));
        }
        None | Some(_) => {}
    }
    match guest.map(|(at, guest)| (at, guest_path(guest))) {
        None if names_are_right && section.scope == Scope::Manifest => {
            let advice = "add guest = \"/path\", where the extension sees it";
            problems.push((start, format!("{path}: a folder without guest; {advice}")));
        }
        Some((at, Err(message))) => problems.push((at, format!("{path}.guest: {message}"))),
        None | Some((_, Ok(()))) => {}
    }
    let write = match access {
        None | Some((_, "read")) => false,
        Some((_, "write")) => true,
        Some((at, access)) => {
            problems.push((at, format!("{path}.access: found \"{}\", use \"read\" or \"write\"", visible(access, 80))));
            false
        }
    };
    if problems.is_empty() {
        let text = |part: Option<(usize, &str)>| part.map_or_else(String::new, |(_, text)| text.to_owned());
        let host = PathBuf::from(text(host));
        return Some(FileAccess { root: host.clone(), host, guest: text(guest), write });
    }
    for (at, message) in problems {
        reader.problem(at, || message);
    }
    None
}
