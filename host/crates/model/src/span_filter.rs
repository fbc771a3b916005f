//! What a span has to be, as an expression: comparisons of what it has with constants, combined by and, or and not.

use std::cmp::Ordering;

use crate::UnixNanos;

/// Something that a span has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpanPart {
    /// Values of a name.
    Attribute(String, AttributesOf),
    /// The extension whose it is.
    Service,
    /// What it is called.
    Name,
    /// Its kind, such as `server`.
    Kind,
    /// `error`, or `unset` where nothing failed.
    Status,
    /// Why it failed.
    StatusMessage,
    /// The id of its trace, in hexadecimal digits.
    TraceId,
    /// Its own.
    SpanId,
    /// That of what caused it.
    ParentSpanId,
    /// When it started.
    Start,
    /// When it ended.
    End,
    /// How long it took.
    Duration,
}

/// Where attributes are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributesOf {
    /// In those of the span and of its process.
    SpanOrProcess,
    /// In those of the span.
    Span,
    /// In those of its process.
    Process,
    /// In those of the events in it.
    Events,
}

/// A value: one that a span has, or a constant that it is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanValue {
    /// Text.
    Text(String),
    /// A number.
    Number(f64),
    /// True or false.
    Switch(bool),
    /// A time.
    Time(UnixNanos),
    /// A length of time, in nanoseconds.
    Nanos(u64),
    /// A constant of any type: what it says is compared with whatever is there, by the type of that.
    Any(String),
}

/// How a value has to be, beside a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// The same.
    Equal,
    /// More, or later in the alphabet.
    Greater,
    /// Less, or earlier in the alphabet.
    Less,
    /// The same or more.
    AtLeast,
    /// The same or less.
    AtMost,
}

/// What a span has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum SpanFilter {
    /// All of these.
    All(Vec<SpanFilter>),
    /// One of these.
    Any(Vec<SpanFilter>),
    /// Not this.
    Not(Box<SpanFilter>),
    /// It has such a part.
    Has(SpanPart),
    /// It has such a part that compares so with one of these values.
    Compares(SpanPart, Comparison, Vec<SpanValue>),
}

impl SpanFilter {
    /// Whether it holds, of a span whose parts are read so.
    pub fn holds(&self, read: &dyn Fn(&SpanPart) -> Vec<SpanValue>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(read)),
            Self::Any(any) => any.iter().any(|one| one.holds(read)),
            Self::Not(one) => !one.holds(read),
            Self::Has(part) => !read(part).is_empty(),
            Self::Compares(part, how, constants) => {
                let found = read(part);
                found.iter().any(|value| constants.iter().any(|constant| how.holds(value.compared(constant))))
            }
        }
    }
}

impl Comparison {
    fn holds(self, found: Option<Ordering>) -> bool {
        match self {
            Self::Equal => found == Some(Ordering::Equal),
            Self::Greater => found == Some(Ordering::Greater),
            Self::Less => found == Some(Ordering::Less),
            Self::AtLeast => matches!(found, Some(Ordering::Greater | Ordering::Equal)),
            Self::AtMost => matches!(found, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

impl SpanValue {
    /// How it is beside a constant; `None` where they cannot be compared. Text is never a number, so that "9" is not more than 500.
    fn compared(&self, constant: &Self) -> Option<Ordering> {
        match (self, constant) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Number(one), Self::Number(other)) => one.partial_cmp(other),
            // They have no order: what is not the same is neither more nor less.
            (Self::Switch(one), Self::Switch(other)) => (one == other).then_some(Ordering::Equal),
            (Self::Time(one), Self::Time(other)) => Some(one.cmp(other)),
            (Self::Nanos(one), Self::Nanos(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Any(other)) => {
                let is_number = other.parse::<f64>().is_ok();
                (one == other || !is_number).then(|| one.cmp(other))
            }
            (Self::Number(one), Self::Any(other)) => one.partial_cmp(&other.parse().ok()?),
            (Self::Switch(one), Self::Any(other)) => (one.to_string() == *other).then_some(Ordering::Equal),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(part: &SpanPart) -> Vec<SpanValue> {
        let SpanPart::Attribute(name, _) = part else { return Vec::new() };
        match name.as_str() {
            "status" => vec![SpanValue::Number(404.0)],
            "size" => vec![SpanValue::Text("9".into())],
            "failed" => vec![SpanValue::Switch(true)],
            "route" => vec![SpanValue::Text("/a".into()), SpanValue::Text("/b".into())],
            _ => Vec::new(),
        }
    }

    fn compares(name: &str, how: Comparison, constant: SpanValue) -> SpanFilter {
        SpanFilter::Compares(SpanPart::Attribute(name.to_owned(), AttributesOf::Span), how, vec![constant])
    }

    #[test]
    fn values_are_compared_within_their_kind() {
        let any = |text: &str| SpanValue::Any(text.to_owned());
        for (name, how, constant, expect) in [
            ("status", Comparison::Equal, any("404"), true),
            ("status", Comparison::Equal, any("404.0"), true),
            ("status", Comparison::AtLeast, any("400"), true),
            ("status", Comparison::Less, any("50"), false),
            ("status", Comparison::Less, any("x"), false),
            ("status", Comparison::Equal, SpanValue::Text("404".into()), false),
            ("size", Comparison::Greater, any("500"), false),
            ("size", Comparison::Equal, any("9"), true),
            ("size", Comparison::Greater, SpanValue::Text("500".into()), true),
            ("failed", Comparison::Equal, any("true"), true),
            ("failed", Comparison::AtMost, any("true"), true),
            ("failed", Comparison::Equal, any("false"), false),
            ("failed", Comparison::Less, SpanValue::Switch(false), false),
            ("route", Comparison::Equal, any("/b"), true),
            ("route", Comparison::Greater, any("/b"), false),
            ("none", Comparison::Equal, any(""), false),
        ] {
            assert_eq!(compares(name, how, constant.clone()).holds(&read), expect, "{name} {how:?} {constant:?}");
        }
    }

    #[test]
    fn what_is_combined_holds_as_its_parts_do() {
        let yes = || compares("failed", Comparison::Equal, SpanValue::Switch(true));
        let no = || compares("failed", Comparison::Equal, SpanValue::Switch(false));
        assert!(SpanFilter::All(vec![yes(), yes()]).holds(&read) && !SpanFilter::All(vec![yes(), no()]).holds(&read));
        assert!(SpanFilter::Any(vec![no(), yes()]).holds(&read) && !SpanFilter::Any(vec![no(), no()]).holds(&read));
        assert!(SpanFilter::Not(Box::new(no())).holds(&read));
        let has = |name: &str| SpanFilter::Has(SpanPart::Attribute(name.to_owned(), AttributesOf::Span)).holds(&read);
        assert!(has("route") && !has("none"));
    }
}
