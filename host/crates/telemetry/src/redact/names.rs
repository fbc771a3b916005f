//! Which names of fields stand for secrets.

use std::collections::HashSet;

use super::cues::KEYS;

/// Names, in lower case and without what sets their words apart.
const SECRET: &[&str] = &[
    "password",
    "passwords",
    "passwd",
    "pwd",
    "passphrase",
    "passcode",
    "dbpass",
    "userpass",
    "smtppass",
    "mysqlpass",
    "pgpass",
    "redispass",
    "adminpass",
    "rootpass",
    "loginpass",
    "secret",
    "secrets",
    "token",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "creds",
    "sessionid",
    "sessid",
    "sid",
    "creditcard",
    "debitcard",
    "cardnumber",
    "cardnum",
    "cardno",
    "cvv",
    "cvc",
    "ssn",
    "pin",
    "otp",
    "totp",
    "csrf",
    "xsrf",
    "amzsignature",
    "googsignature",
];
/// What a word of a name may end with: `PGPASSWORD`, `authtoken`.
const SECRET_ENDS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "apikey",
    "accesskey",
    "privatekey",
    "sessionid",
    "sessid",
];
/// Last words of names that speak about a secret and do not hold it.
const ABOUT: &[&str] = &[
    "algorithm",
    "attempts",
    "bucket",
    "budget",
    "bytes",
    "count",
    "counts",
    "enabled",
    "endpoint",
    "expiration",
    "expired",
    "expires",
    "expiry",
    "file",
    "format",
    "kind",
    "len",
    "length",
    "limit",
    "limits",
    "name",
    "path",
    "policy",
    "required",
    "size",
    "status",
    "total",
    "ttl",
    "type",
    "uri",
    "url",
    "usage",
    "used",
    "version",
];
/// The same of names whose last word is `at` or `in`.
const ABOUT_TIME: &[&str] = &["changed", "created", "expires", "issued", "rotated", "updated"];
/// Ends of files' names, which a line number may follow.
const SOURCES: &[&str] = &["rs", "js", "ts", "py", "go", "html", "wasm"];
/// Words that make one name together, at most: `social-security-number` is three.
const WORDS: usize = 5;

/// The names of one set of settings.
#[derive(Debug)]
pub(super) struct Names {
    secret: HashSet<String>,
    kept: HashSet<String>,
    longest: usize,
}

impl Names {
    pub(super) fn new(further: &[String], kept: &[String]) -> Self {
        let mut secret: HashSet<String> = SECRET.iter().map(|name| (*name).to_owned()).collect();
        secret.extend(KEYS.iter().map(|word| format!("{word}key")));
        secret.extend(further.iter().map(|name| normal(name)));
        let longest = secret.iter().map(String::len).max().unwrap_or_default();
        Self { secret, kept: kept.iter().map(|name| normal(name)).collect(), longest }
    }

    /// Whether the value of a field of that name is secret.
    pub(super) fn is_secret(&self, name: &str) -> bool {
        let words: Vec<_> = words(name).collect();
        let names_secret = (0..words.len()).any(|first| {
            let word = words[first];
            let mut joined = String::new();
            SECRET_ENDS.iter().any(|end| ends_like(word, end))
                || words[first..].iter().take(WORDS).take_while(|word| word.len() <= self.longest).any(|word| {
                    joined.extend(word.chars().map(|c| c.to_ascii_lowercase()));
                    self.secret.contains(&joined)
                })
        });
        names_secret && !is_about(&words) && (self.kept.is_empty() || !self.kept.contains(&normal(name)))
    }
}

/// A name without what sets its words apart, in lower case.
fn normal(name: &str) -> String {
    words(name).flat_map(str::chars).map(|c| c.to_ascii_lowercase()).collect()
}

/// The longest word of a name, which stands in every text that has the name in some form.
pub(super) fn longest_word(name: &str) -> &str {
    words(name).max_by_key(|word| word.len()).unwrap_or_default()
}

fn ends_like(word: &str, end: &str) -> bool {
    word.len().checked_sub(end.len()).and_then(|at| word.get(at..)).is_some_and(|found| found.eq_ignore_ascii_case(end))
}

fn is_about(words: &[&str]) -> bool {
    let is_in = |word: &str, list: &[&str]| list.iter().any(|other| word.eq_ignore_ascii_case(other));
    match words {
        [.., before, last] if is_in(last, &["at", "in"]) => is_in(before, ABOUT_TIME),
        [_, .., last] => is_in(last, ABOUT) || is_in(last, SOURCES),
        _ => false,
    }
}

/// The words of a name: letters, or digits, set apart by what is neither or by a change of case.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| !is_letter(c) && !c.is_ascii_digit());
        let bytes = rest.as_bytes();
        let numeric = bytes.first().is_some_and(u8::is_ascii_digit);
        let upper = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_uppercase);
        let lower = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_lowercase);
        let ends = |at: usize, c: char| {
            if numeric {
                return !c.is_ascii_digit();
            }
            !is_letter(c) || at > 0 && upper(at) && (lower(at - 1) || upper(at - 1) && lower(at + 1))
        };
        let end = rest.char_indices().find(|(at, c)| ends(*at, *c)).map_or(rest.len(), |(at, _)| at);
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

fn is_letter(c: char) -> bool {
    c.is_ascii_alphabetic() || !c.is_ascii() && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expect: bool) {
        let names = Names::new(&["patient_no".to_owned(), "Größe".to_owned()], &["kept_token".to_owned()]);
        assert_eq!(names.is_secret(name), expect, "{name}");
    }

    #[test]
    fn names_are_told_by_their_words() {
        for name in [
            "password",
            "user_password_hash",
            "X-Auth-Token",
            "APIToken",
            "apiKey",
            "API_KEY",
            "x-api-key",
            "apikey2",
            "PGPASSWORD",
            "accesstoken",
            "authorization",
            "Proxy-Authorization",
            "Set-Cookie",
            "JSESSIONID",
            "connect.sid",
            "privateKey",
            "cardNumber",
            "db_pass",
            "token1",
            "patientNo",
            "PATIENT-NO",
            "größe",
            "clientSecret",
            "X-Amz-Signature",
            "aws_secret_access_key",
        ] {
            check(name, true);
        }
        for name in [
            "tokenizer",
            "tokens_used",
            "author",
            "authors",
            "pinned",
            "ping",
            "key",
            "cache_key",
            "primary_key",
            "token_type",
            "token_count",
            "token_bucket",
            "password_length",
            "token_expires_in",
            "discard",
            "cardinality",
            "session",
            "resident",
            "passed",
            "compass",
            "kept_token",
            "keptToken",
            "",
            "...",
            "secretary",
            "basic",
        ] {
            check(name, false);
        }
    }
}
