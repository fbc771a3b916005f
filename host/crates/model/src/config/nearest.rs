//! What somebody who wrote an unknown key probably meant.

use super::keys::{KEYS, Scope};

/// Likeness of the last parts of two paths below which nothing is proposed (Jaro-Winkler, 0 to 1).
const LIKE: f64 = 0.75;
/// The same for paths of one section, where there are few keys to mean.
const LIKE_IN_SECTION: f64 = 0.55;

/// The candidate most like a text with a typing error, if any is like it at all. The last part of a path counts as much as the whole,
/// so that a key in the wrong section finds its own.
pub fn nearest<'c>(text: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let (section, last) = split(text);
    let mut best = (0.0, None);
    for candidate in candidates {
        let (other_section, other_last) = split(candidate);
        let like = strsim::jaro_winkler(last, other_last);
        let enough = if section == other_section && !section.is_empty() { LIKE_IN_SECTION } else { LIKE };
        let score = like + strsim::jaro_winkler(text, candidate);
        if like >= enough && score > best.0 {
            best = (score, Some(candidate));
        }
    }
    best.1
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// All keys and sections of a scope.
pub(super) fn known(scope: Scope) -> impl Iterator<Item = &'static str> {
    let keys = KEYS.iter().filter(move |key| key.scopes.contains(&scope)).map(|key| key.path);
    let sections = ["budget", "debugging", "permissions", "redaction"]
        .into_iter()
        .filter(move |section| is_section(scope, section));
    keys.chain(sections)
}

/// Whether keys of the scope stand below that path.
pub(super) fn is_section(scope: Scope, path: &str) -> bool {
    let below = |key: &str| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
    KEYS.iter().any(|key| key.scopes.contains(&scope) && below(key.path))
}

/// The end of a message about an unknown key.
pub(super) fn hint(shown: &str, proposal: Option<&str>) -> String {
    match proposal {
        Some(proposal) => format!(" (did you mean \"{shown}{proposal}\"?)"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        assert_eq!(nearest(text, known(Scope::Manifest)), expect, "{text}");
    }

    #[test]
    fn typing_errors_find_their_key() {
        check("permissions.fs", Some("permissions.files"));
        check("permissions.netwrok", Some("permissions.network"));
        check("budget.dead_line", Some("budget.deadline"));
        check("deadline", Some("budget.deadline"));
        check("bugdet", Some("budget"));
        check("author", Some("authors"));
        check("debugging.log-level", Some("debugging.log_level"));
        check("xyzzy", None);
        check("", None);
    }
}
