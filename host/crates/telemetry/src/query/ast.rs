//! What a query says, apart from how it was written; printing it gives a text that says the same.

use std::fmt;

use glasshouse_model::{Level, Severity, UnixNanos};

use super::fields::Field;
use super::lexer::quote;

/// A condition on a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Condition {
    /// Any record.
    All,
    /// Two or more conditions, none of them an `And`.
    And(Vec<Self>),
    /// Two or more conditions, none of them an `Or`.
    Or(Vec<Self>),
    /// What does not match.
    Not(Box<Self>),
    /// The record has the field.
    Has(Field),
    /// The record holds all words of this text.
    Words(String),
    /// The field compares so with a value.
    Compare(Field, Operator, Literal),
    /// The field is one of these, of which there is at least one.
    In(Field, Vec<Literal>),
}

/// The condition that both of these hold.
pub(super) fn both(one: &Condition, other: &Condition) -> Condition {
    let mut parts = Vec::new();
    for condition in [one, other] {
        match condition {
            Condition::All => {}
            Condition::And(inner) => parts.extend(inner.iter().cloned()),
            single => parts.push(single.clone()),
        }
    }
    match parts.len() {
        0 => Condition::All,
        1 => parts.remove(0),
        _ => Condition::And(parts),
    }
}

/// How a field is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    MatchesNot,
    Contains,
}

/// A value that a field is compared with, of the field's own kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// In nanoseconds.
    Duration(u64),
    Time(UnixNanos),
    Level(Level),
    Severity(Severity),
}

/// In which order records are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// The latest record comes first.
    #[default]
    NewestFirst,
    /// The earliest record comes first.
    OldestFirst,
}

/// All that a query says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ast {
    pub(super) condition: Condition,
    /// Inclusive.
    pub(super) since: Option<UnixNanos>,
    /// Exclusive.
    pub(super) until: Option<UnixNanos>,
    pub(super) limit: Option<usize>,
    pub(super) order: Option<Order>,
}

impl Condition {
    /// The fields that it speaks of.
    pub(super) fn fields(&self) -> Box<dyn Iterator<Item = &Field> + '_> {
        match self {
            Self::All | Self::Words(_) => Box::new(std::iter::empty()),
            Self::And(parts) | Self::Or(parts) => Box::new(parts.iter().flat_map(Self::fields)),
            Self::Not(inner) => inner.fields(),
            Self::Has(field) | Self::Compare(field, ..) | Self::In(field, _) => Box::new(std::iter::once(field)),
        }
    }

    /// All of the conditions, of which there is at least one.
    pub(super) fn and(conditions: Vec<Self>) -> Self {
        Self::join(conditions, Self::And, |condition| match condition {
            Self::And(inner) => Ok(inner),
            other => Err(other),
        })
    }

    /// Any of the conditions, of which there is at least one.
    pub(super) fn or(conditions: Vec<Self>) -> Self {
        Self::join(conditions, Self::Or, |condition| match condition {
            Self::Or(inner) => Ok(inner),
            other => Err(other),
        })
    }

    fn join(conditions: Vec<Self>, make: fn(Vec<Self>) -> Self, inner: fn(Self) -> Result<Vec<Self>, Self>) -> Self {
        let mut flat = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match inner(condition) {
                Ok(several) => flat.extend(several),
                Err(one) => flat.push(one),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { make(flat) }
    }
}

impl Operator {
    /// Longer ones before those that they start with.
    pub(super) const ALL: [Self; 9] = [
        Self::NotEqual,
        Self::MatchesNot,
        Self::LessOrEqual,
        Self::GreaterOrEqual,
        Self::Equal,
        Self::Less,
        Self::Greater,
        Self::Matches,
        Self::Contains,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Matches => "~",
            Self::MatchesNot => "!~",
            Self::Contains => ":",
        }
    }

    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    pub(super) fn is_pattern(self) -> bool {
        matches!(self, Self::Matches | Self::MatchesNot | Self::Contains)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, parts: &[Self], between: &str| {
            for (index, part) in parts.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { between })?;
                match part {
                    Self::And(_) | Self::Or(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::All => Ok(()),
            Self::And(parts) => list(f, parts, " and "),
            Self::Or(parts) => list(f, parts, " or "),
            Self::Not(inner) => match **inner {
                Self::And(_) | Self::Or(_) => write!(f, "not ({inner})"),
                _ => write!(f, "not {inner}"),
            },
            Self::Has(field) => write!(f, "has {field}"),
            Self::Words(text) => f.write_str(&quote(text)),
            Self::Compare(field, operator, literal) => write!(f, "{field}{}{literal}", operator.as_str()),
            Self::In(field, literals) => {
                write!(f, "{field} in (")?;
                for (index, literal) in literals.iter().enumerate() {
                    write!(f, "{}{literal}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quote(text)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::Duration(nanos) => super::values::write_duration(f, *nanos),
            Self::Time(time) => write!(f, "{time}"),
            Self::Level(level) => write!(f, "{level}"),
            Self::Severity(severity) => write!(f, "{severity}"),
        }
    }
}

impl fmt::Display for Ast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut clauses = Vec::new();
        if self.condition != Condition::All {
            clauses.push(self.condition.to_string());
        }
        clauses.extend(self.since.map(|time| format!("since {time}")));
        clauses.extend(self.until.map(|time| format!("until {time}")));
        clauses.extend(self.limit.map(|limit| format!("limit {limit}")));
        clauses.extend(self.order.map(|order| match order {
            Order::NewestFirst => "newest first".to_owned(),
            Order::OldestFirst => "oldest first".to_owned(),
        }));
        f.write_str(&clauses.join(" "))
    }
}
