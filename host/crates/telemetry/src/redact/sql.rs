//! Secrets in SQL that stand apart from their column's name: `INSERT INTO t (name, password) VALUES ('a', 'secret')`.

use std::ops::Range;

use super::cues::starts_like;
use super::value::{Place, value_at, word_end};

/// Bytes of a list of columns that are looked at.
const COLUMNS_BYTES: usize = 2048;
/// Bytes between `INTO` and the list of columns: the table's name.
const TABLE_BYTES: usize = 160;

/// Looks at a name as a column of an `INSERT`. Statements are looked at once, for all their columns.
#[derive(Debug, Default)]
pub(super) struct Inserts {
    /// Where the last list of columns opened that was looked at.
    looked_at: Option<usize>,
}

impl Inserts {
    /// Adds the values of all secret columns of the statement that has the name at `name` among its columns.
    pub(super) fn find(
        &mut self,
        text: &str,
        name: Range<usize>,
        is_secret: impl Fn(&str) -> bool,
        places: &mut Vec<Place>,
    ) -> Option<()> {
        let bytes = text.as_bytes();
        let from = name.start.saturating_sub(COLUMNS_BYTES);
        let open = from + memchr::memrchr(b'(', &bytes[from..name.start])?;
        if self.looked_at == Some(open) {
            return None;
        }
        self.looked_at = Some(open);
        let before = &bytes[open.saturating_sub(TABLE_BYTES)..open];
        (0..before.len()).rev().find(|at| starts_like(&before[*at..], b"into "))?;
        let close = open + memchr::memchr(b')', &bytes[open..bytes.len().min(open + COLUMNS_BYTES)])?;
        if memchr::memchr(b'(', &bytes[open + 1..close]).is_some() {
            return None;
        }
        let secret: Vec<bool> = text.get(open + 1..close)?.split(',').map(is_secret).collect();
        let mut at = skip_space(bytes, close + 1);
        if !starts_like(&bytes[at..], b"values") {
            return None;
        }
        at = skip_space(bytes, at + 6);
        while bytes.get(at) == Some(&b'(') {
            at = row(bytes, at + 1, &secret, places);
            at = skip_space(bytes, at);
            if bytes.get(at) == Some(&b',') {
                at = skip_space(bytes, at + 1);
            }
        }
        Some(())
    }
}

/// Adds the secret values of a row; gives where it ends.
fn row(bytes: &[u8], start: usize, secret: &[bool], places: &mut Vec<Place>) -> usize {
    let mut at = start;
    let mut column = 0;
    loop {
        at = skip_space(bytes, at);
        if secret.get(column) == Some(&true)
            && let Some(place) = value_at(bytes, at, word_end, 0..0)
        {
            // The quote that ends the value is seen as one that opens and so ends nothing: it is stepped over.
            at = place.range.end + usize::from(bytes.get(place.range.end) == Some(&b'\''));
            places.push(place);
        }
        // On to the next comma or the end, past any quotes.
        let mut quoted = false;
        loop {
            match bytes.get(at) {
                None => return at,
                Some(b'\'') => quoted = !quoted,
                Some(b'\\') if quoted => at += 1,
                Some(b',') if !quoted => break,
                Some(b')') if !quoted => return at + 1,
                _ => {}
            }
            at += 1;
        }
        at += 1;
        column += 1;
    }
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    let at = at.min(bytes.len());
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}
