//! Secrets that are each like no other, so that one that comes to light says which way it came.

use std::collections::BTreeSet;

/// What every secret but a number begins with.
const MARK: &str = "c4n4ry";
/// What every card number begins with, and every number that is secret for its name.
const CARD: &str = "453900";
const NUMBER: &str = "730146";
/// Secrets in the form that [`Forms::All`] gives them.
const SHAPES: usize = 11;

/// The forms that a place takes secrets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    /// All that there are.
    All,
    /// Without line ends.
    Line,
    /// Without spaces either.
    Word,
    /// Of what a topic may consist of.
    Topic,
    /// Only by the name that it has.
    Bare,
    /// The same, as a number.
    Number,
}

/// Places that the guest knows and that a call plants in.
pub(crate) const PLACES: &[(&str, Forms)] = &[
    ("log-typed-message", Forms::All),
    ("log-typed-field", Forms::All),
    ("log-typed-field-name", Forms::All),
    ("log-typed-secret-name", Forms::Bare),
    ("log-field", Forms::All),
    ("log-message", Forms::All),
    ("log-warning", Forms::All),
    ("log-secret-name", Forms::Bare),
    ("log-secret-number", Forms::Number),
    ("log-crate", Forms::All),
    ("log-crate-target", Forms::All),
    ("log-tracing-message", Forms::All),
    ("log-tracing-field", Forms::All),
    ("log-tracing-span", Forms::All),
    ("metric-name", Forms::All),
    ("metric-unit", Forms::All),
    ("metric-label", Forms::All),
    ("metric-label-name", Forms::All),
    ("metric-secret-label", Forms::Bare),
    ("metric-meter-name", Forms::All),
    ("metric-meter-label", Forms::All),
    ("metric-typed", Forms::All),
    ("error-kind", Forms::All),
    ("error-message", Forms::All),
    ("error-stack", Forms::All),
    ("error-field", Forms::All),
    ("error-secret-name", Forms::Bare),
    ("error-exception", Forms::All),
    ("error-typed", Forms::All),
    ("alert-kind", Forms::All),
    ("alert-title", Forms::All),
    ("alert-message", Forms::All),
    ("alert-metric", Forms::All),
    ("span-name", Forms::All),
    ("span-field", Forms::All),
    ("span-set-field", Forms::All),
    ("span-secret-name", Forms::Bare),
    ("span-event", Forms::All),
    ("span-event-field", Forms::All),
    ("span-event-secret-name", Forms::Bare),
    ("span-failure", Forms::All),
    ("code-argument", Forms::All),
    ("code-secret-argument", Forms::Bare),
    ("code-result", Forms::All),
    ("code-error", Forms::All),
    ("code-state", Forms::All),
    ("code-secret-state", Forms::Bare),
    ("code-change", Forms::All),
    ("code-secret-change", Forms::Bare),
    ("code-progress", Forms::All),
    ("scope-correlation", Forms::Word),
    ("scope-tenant", Forms::Line),
    ("scope-user", Forms::Line),
    ("scope-span", Forms::Line),
    ("scope-printed", Forms::Line),
    ("scope-metric", Forms::Line),
    ("scope-denied", Forms::Line),
    ("wire-log-file", Forms::All),
    ("wire-error-file", Forms::All),
    ("stdout", Forms::All),
    ("stdout-bare", Forms::All),
    ("stdout-pieces", Forms::All),
    ("stderr", Forms::All),
    ("denied-call", Forms::All),
    ("denied-publish", Forms::Topic),
    ("denied-file", Forms::All),
    ("published", Forms::Topic),
];

/// Places that bring texts out when the host asks for them.
pub(crate) const ASKED: &[(&str, Forms)] =
    &[("collected", Forms::All), ("health-name", Forms::All), ("health-detail", Forms::All)];

/// Ways for a call to end badly.
pub(crate) const ENDS: &[(&str, Forms)] = &[
    ("end-panic", Forms::All),
    ("end-panic-user", Forms::Line),
    ("end-panic-file", Forms::All),
    ("end-gathered", Forms::All),
    ("end-open-span", Forms::All),
];

/// Makes secrets, and knows those that it made.
#[derive(Default)]
pub(crate) struct Canaries {
    made: Vec<(String, String)>,
}

impl Canaries {
    /// Secrets for a place, in its forms; each is in a text of its own.
    pub(crate) fn texts(&mut self, place: &str, forms: Forms) -> Vec<String> {
        match forms {
            Forms::Number => vec![self.number(place)],
            Forms::Bare => vec![self.canary(place, "bare")],
            Forms::Topic => {
                let canary = self.canary(place, "topic");
                vec![format!("sk-{canary}-{canary}")]
            }
            Forms::All => (0..SHAPES).map(|shape| self.shape(place, shape)).collect(),
            // The key in lines is the last one.
            Forms::Line => (0..SHAPES - 1).map(|shape| self.shape(place, shape)).collect(),
            Forms::Word => [0, 1, 2, 4, 6, 8].map(|shape| self.shape(place, shape)).into(),
        }
    }

    /// A secret in one of the forms of [`Forms::All`].
    pub(crate) fn shape(&mut self, place: &str, shape: usize) -> String {
        let of = |name: &str| format!("{place} {name}");
        let mut make = |name| self.canary(place, name);
        match shape {
            0 => format!("sk_live_{}", make("key")),
            1 => format!("eyJhbGciOiJIUzI1NiJ9.{}.dozjgNryP4J3", make("web token")),
            2 => format!("password={}", make("password")),
            3 => format!(r#"{{"user":"ada","password":"{}"}}"#, make("JSON")),
            4 => format!(r#"{{\"token\":\"{}\"}}"#, make("JSON in JSON")),
            5 => format!("Authorization: Bearer {}", make("header")),
            6 => format!("postgres://app:{}@db.local/x", make("URL")),
            7 => format!("INSERT INTO users (name, password) VALUES ('ada', '{}')", make("SQL")),
            8 => format!("{}@mail.example", make("mail")),
            9 => {
                let digits = format!("{CARD}{:05}0000", self.made.len());
                let card = format!("{digits}{}", check_digit(&digits));
                self.made.push((card.clone(), of("card")));
                card
            }
            _ => format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", make("private key")),
        }
    }

    fn canary(&mut self, place: &str, form: &str) -> String {
        let canary = format!("{MARK}{:05}q", self.made.len());
        self.made.push((canary.clone(), format!("{place} {form}")));
        canary
    }

    fn number(&mut self, place: &str) -> String {
        let number = format!("{NUMBER}{:05}0000", self.made.len());
        self.made.push((number.clone(), format!("{place} number")));
        number
    }

    /// All ways that a secret was sent.
    pub(crate) fn ways(&self) -> BTreeSet<&str> {
        self.made.iter().map(|(_, way)| way.as_str()).collect()
    }

    /// The ways of the secrets that are in a text; a piece of one counts as an unknown way.
    pub(crate) fn found(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let text = String::from_utf8_lossy(bytes);
        let mut found = BTreeSet::new();
        for (prefix, is_rare) in [(MARK, true), (CARD, false), (NUMBER, false)] {
            for (at, _) in text.match_indices(prefix) {
                let number = text.get(at + prefix.len()..at + prefix.len() + 5).and_then(|index| index.parse().ok());
                let made = number.and_then(|index: usize| self.made.get(index));
                match made.filter(|(canary, _)| text[at..].starts_with(canary.as_str())) {
                    Some((_, way)) => drop(found.insert(way.as_str())),
                    // Digits may be those of a time.
                    None if is_rare => drop(found.insert("a piece")),
                    None => {}
                }
            }
        }
        found
    }
}

/// The check digit that a card number ends with (ISO/IEC 7812, Annex B).
fn check_digit(digits: &str) -> u32 {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            if index % 2 == 0 { digit * 2 % 10 + digit * 2 / 10 } else { digit }
        })
        .sum();
    (10 - sum % 10) % 10
}
