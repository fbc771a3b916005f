//! One line of the common or combined log format; see <https://httpd.apache.org/docs/2.4/logs.html#accesslog>.

/// Why a line is not of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// A request, as the server logged it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line<'a> {
    /// When it was answered.
    pub(crate) time: &'a str,
    /// Its first line, with the server's escapes.
    pub(crate) request: &'a str,
    /// 100 to 599.
    pub(crate) status: u16,
    /// Size of the response's body.
    pub(crate) bytes: u64,
    /// How long it took, if the line says so.
    pub(crate) seconds: Option<f64>,
}

impl<'a> Line<'a> {
    pub(crate) fn parse(line: &'a str) -> Result<Self, Malformed> {
        let mut rest = Rest(line.trim());
        for missing in ["no client address", "no identity", "no user"] {
            rest.word().ok_or(Malformed(missing))?;
        }
        let time = rest.between('[', ']').ok_or(Malformed("no time in brackets"))?;
        let request = rest.between('"', '"').ok_or(Malformed("no request in quotes"))?;
        let status = rest.word().ok_or(Malformed("no status"))?;
        let status = status.parse().ok().filter(|status| (100..600).contains(status));
        let status = status.ok_or(Malformed("the status is not 100 to 599"))?;
        let bytes = match rest.word().ok_or(Malformed("no size"))? {
            "-" => 0,
            bytes => bytes.parse().map_err(|_| Malformed("the size is not a number"))?,
        };
        if rest.0.starts_with('"') {
            rest.between('"', '"').ok_or(Malformed("the referrer's quotes are not closed"))?;
            rest.between('"', '"').ok_or(Malformed("no user agent in quotes"))?;
        }
        let seconds = rest.word().map(seconds).transpose()?;
        if rest.0.is_empty() {
            Ok(Self { time, request, status, bytes, seconds })
        } else {
            Err(Malformed("the line goes on after its end"))
        }
    }
}

/// Seconds have a fraction, whole numbers are microseconds.
fn seconds(text: &str) -> Result<f64, Malformed> {
    const MALFORMED: Malformed = Malformed("the duration is not a number");
    let number: f64 = text.parse().map_err(|_| MALFORMED)?;
    if !number.is_finite() || number < 0.0 {
        return Err(MALFORMED);
    }
    Ok(if text.contains('.') { number } else { number / 1_000_000.0 })
}

/// What of the line was not read yet.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Takes what is before the next space.
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = self.0.split_once(' ').unwrap_or((self.0, ""));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    /// Takes what is between two marks; a mark after a backslash does not count.
    fn between(&mut self, open: char, close: char) -> Option<&'a str> {
        let inner = self.0.strip_prefix(open)?;
        let mut escaped = false;
        let end = inner.find(|c| {
            let ends = c == close && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        self.0 = inner[end + close.len_utf8()..].trim_start();
        Some(&inner[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Malformed};

    const HEAD: &str = r#"::1 - - [10/Oct/2025:13:55:36 +0000] "GET / HTTP/1.1""#;

    fn check(tail: &str, expect: Result<(u16, u64, Option<f64>), &'static str>) {
        let text = format!("{HEAD} {tail}");
        let found = Line::parse(&text).map(|line| (line.status, line.bytes, line.seconds));
        assert_eq!(found, expect.map_err(Malformed), "{text}");
    }

    #[test]
    fn the_formats_are_told_apart() {
        check("200 12", Ok((200, 12, None)));
        check("304 -", Ok((304, 0, None)));
        check(r#"200 12 "https://a.example/" "agent \"x\" 1""#, Ok((200, 12, None)));
        check(r#"200 12 "-" "-" 0.125"#, Ok((200, 12, Some(0.125))));
        check(r#"200 12 "-" "-" 2500"#, Ok((200, 12, Some(0.0025))));
        check("200 12 0.5", Ok((200, 12, Some(0.5))));
    }

    #[test]
    fn what_is_wrong_is_said() {
        check("", Err("no status"));
        check("999 1", Err("the status is not 100 to 599"));
        check("200 x", Err("the size is not a number"));
        check(r#"200 1 "-"#, Err("the referrer's quotes are not closed"));
        check(r#"200 1 "-" "-" inf"#, Err("the duration is not a number"));
        check(r#"200 1 "-" "-" 1 2"#, Err("the line goes on after its end"));
        for (line, reason) in [("", "no client address"), ("a b", "no user"), ("a b c d", "no time in brackets")] {
            assert_eq!(Line::parse(line), Err(Malformed(reason)), "{line}");
        }
    }
}
