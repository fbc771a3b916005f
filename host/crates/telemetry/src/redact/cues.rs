//! The table of cues: what stands in a text that holds a secret, and how to tell it from what looks like it.

/// A few bytes that every secret of one kind comes with.
#[derive(Debug)]
pub(super) struct Cue {
    /// The bytes, as they are written in the source that they are from; they are searched for in any case.
    pub(super) text: &'static str,
    pub(super) kind: CueKind,
    /// Whether the bytes around a find could make it one: `(cue, bytes, start, end)`.
    pub(super) confirm: fn(&Cue, &[u8], usize, usize) -> bool,
}

/// What a cue belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CueKind {
    /// A name, whose value is secret.
    Name,
    /// A token that starts with the cue, in exactly this case, and goes on with so many characters or more.
    Token { tail: usize, class: Class },
    /// A JSON web token.
    Jwt,
    /// `Bearer` or `Basic` with credentials.
    Scheme,
    /// `://`, which a password may follow.
    Url,
    /// SQL's `IDENTIFIED BY`.
    Identified,
}

/// The characters of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Letters, digits, `_` and `-`.
    Word,
    /// These and `.`, `/`, `+`, `=` and `~`.
    Wide,
    /// Capital letters and digits.
    Capitals,
}

impl Class {
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Word => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Wide => Self::Word.has(byte) || matches!(byte, b'.' | b'/' | b'+' | b'=' | b'~'),
            Self::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

const fn name(text: &'static str) -> Cue {
    Cue { text, kind: CueKind::Name, confirm: ends_a_word }
}

const fn name_if(text: &'static str, confirm: fn(&Cue, &[u8], usize, usize) -> bool) -> Cue {
    Cue { text, kind: CueKind::Name, confirm }
}

const fn token(text: &'static str, tail: usize, class: Class) -> Cue {
    Cue { text, kind: CueKind::Token { tail, class }, confirm: starts_a_token }
}

/// All of them; none starts with another.
pub(super) static CUES: &[Cue] = &[
    name_if("pass", is_pass),
    name("pwd"),
    name_if("secret", |_, bytes, _, end| next_is(bytes, end, b"sk")),
    name("token"),
    name_if("key", |_, bytes, start, end| ends_a_word(&CUES[0], bytes, start, end) && follows(bytes, start, KEYS)),
    name("authorization"),
    name_if("cookie", |_, bytes, _, end| next_is(bytes, end, b"s")),
    name_if("credential", |_, bytes, _, end| next_is(bytes, end, b"s")),
    name("creds"),
    name_if("session", |_, bytes, _, end| goes_on(bytes, end, b"id")),
    name("sessid"),
    name("sid"),
    name_if("card", |_, bytes, start, end| goes_on(bytes, end, b"n") || follows(bytes, start, &["credit", "debit"])),
    name("cvv"),
    name("cvc"),
    name("ssn"),
    name("pin"),
    name("otp"),
    name("csrf"),
    name("xsrf"),
    name_if("signature", |_, bytes, start, _| follows(bytes, start, &["amz", "goog"])),
    Cue { text: "eyJ", kind: CueKind::Jwt, confirm: |_, bytes, start, end| &bytes[start..end] == b"eyJ" },
    Cue { text: "bearer ", kind: CueKind::Scheme, confirm: starts_credentials },
    Cue { text: "basic ", kind: CueKind::Scheme, confirm: starts_credentials },
    Cue {
        text: "://",
        kind: CueKind::Url,
        confirm: |_, bytes, _, end| memchr::memchr(b'@', ahead(bytes, end, URL_BYTES)).is_some(),
    },
    Cue {
        text: "identified",
        kind: CueKind::Identified,
        confirm: |_, bytes, _, end| {
            let next = ahead(bytes, end, 5);
            starts_like(next, b" by") || starts_like(next, b" with")
        },
    },
    // AWS: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
    token("AKIA", 16, Class::Capitals),
    token("ASIA", 16, Class::Capitals),
    // GitHub, GitLab: prefixes as their documentation of token formats lists them.
    token("ghp_", 20, Class::Word),
    token("gho_", 20, Class::Word),
    token("ghu_", 20, Class::Word),
    token("ghs_", 20, Class::Word),
    token("ghr_", 20, Class::Word),
    token("github_pat_", 20, Class::Word),
    token("glpat-", 16, Class::Wide),
    token("gldt-", 16, Class::Wide),
    token("glrt-", 16, Class::Wide),
    // Slack.
    token("xoxb-", 10, Class::Word),
    token("xoxp-", 10, Class::Word),
    token("xoxa-", 10, Class::Word),
    token("xoxr-", 10, Class::Word),
    token("xoxs-", 10, Class::Word),
    token("xapp-", 10, Class::Word),
    token("hooks.slack.com/services/", 12, Class::Wide),
    // Stripe.
    token("sk_live_", 10, Class::Word),
    token("sk_test_", 10, Class::Word),
    token("rk_live_", 10, Class::Word),
    token("rk_test_", 10, Class::Word),
    token("whsec_", 16, Class::Wide),
    // Google.
    token("AIza", 30, Class::Word),
    token("ya29.", 20, Class::Wide),
    token("GOCSPX-", 16, Class::Word),
    // OpenAI and Anthropic, and whoever follows them.
    token("sk-", 20, Class::Word),
    // npm, PyPI, Hugging Face, SendGrid, Shopify, DigitalOcean, Vault.
    token("npm_", 30, Class::Word),
    token("pypi-", 30, Class::Word),
    token("hf_", 30, Class::Word),
    token("SG.", 40, Class::Wide),
    token("shpat_", 30, Class::Word),
    token("dop_v1_", 30, Class::Word),
    token("hvs.", 20, Class::Word),
];

/// What makes a key a secret one.
pub(super) const KEYS: &[&str] = &[
    "api",
    "access",
    "private",
    "secret",
    "signing",
    "encryption",
    "master",
    "ssh",
    "session",
    "auth",
    "account",
    "shared",
    "deploy",
    "hmac",
    "jwt",
    "storage",
    "service",
    "app",
    "client",
    "server",
];

/// Bytes of a URL's user, password and host that are looked at.
pub(super) const URL_BYTES: usize = 512;
/// Characters of credentials after `Bearer` or `Basic`, at least.
pub(super) const CREDENTIALS: usize = 8;

/// Up to `count` bytes from `at` on.
fn ahead(bytes: &[u8], at: usize, count: usize) -> &[u8] {
    &bytes[at..bytes.len().min(at + count)]
}

/// Whether the bytes start so, in any case; `start` is in lower case.
pub(super) fn starts_like(bytes: &[u8], start: &[u8]) -> bool {
    bytes.get(..start.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(start))
}

/// Between two lower-case letters there is never a border of words.
fn ends_a_word(_: &Cue, bytes: &[u8], _: usize, end: usize) -> bool {
    next_is(bytes, end, b"")
}

/// Whether a word ends here, or goes on with one of these letters.
fn next_is(bytes: &[u8], end: usize, letters: &[u8]) -> bool {
    bytes.get(end).is_none_or(|byte| !byte.is_ascii_lowercase() || letters.contains(byte))
}

/// `password`, `passwd`, `passphrase`, `passcode`, `db_pass`.
fn is_pass(_: &Cue, bytes: &[u8], _: usize, end: usize) -> bool {
    let next = ahead(bytes, end, 2);
    next_is(bytes, end, b"") || [b"wo", b"wd", b"ph", b"co"].into_iter().any(|start| starts_like(next, start))
}

/// Whether one of these words stands before, set apart by at most one character.
fn follows(bytes: &[u8], start: usize, words: &[&str]) -> bool {
    let before = &bytes[..start];
    let before = match before.last() {
        Some(b'_' | b'-' | b'.' | b' ') => &before[..start - 1],
        _ => before,
    };
    words.iter().any(|word| {
        before.len().checked_sub(word.len()).is_some_and(|at| before[at..].eq_ignore_ascii_case(word.as_bytes()))
    })
}

/// Whether it goes on so, set apart by at most one character.
fn goes_on(bytes: &[u8], end: usize, word: &[u8]) -> bool {
    let next = &bytes[end..];
    starts_like(next, word) || next.split_first().is_some_and(|(_, rest)| starts_like(rest, word))
}

fn starts_a_token(cue: &Cue, bytes: &[u8], start: usize, end: usize) -> bool {
    let CueKind::Token { tail, class } = cue.kind else { return false };
    let rest = ahead(bytes, end, tail);
    &bytes[start..end] == cue.text.as_bytes() && rest.len() == tail && rest.iter().all(|byte| class.has(*byte))
}

fn starts_credentials(_: &Cue, bytes: &[u8], _: usize, end: usize) -> bool {
    let rest = ahead(bytes, end, CREDENTIALS);
    rest.len() == CREDENTIALS && rest.iter().all(|byte| Class::Wide.has(*byte))
}
