//! A query made ready to run: patterns compiled, values converted, and the cheap conditions first.

use std::cmp::Ordering;

use regex::Regex;

use super::ast::{Condition, Literal, Operator};
use super::fields::{Field, Kind, Known};
use super::needle::Needle;
use super::record::{Operand, View};
use super::{tokens, values};

/// A condition that is ready to run.
#[derive(Clone, Debug)]
pub(super) enum Matcher {
    All,
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Has(Field),
    Words(Vec<Needle>),
    /// What `test` says of the field, or the contrary of it; false of a record without the field.
    Field {
        field: Field,
        negated: bool,
        test: Test,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    OneOf(Vec<Constant>),
    Order(Operator, Number),
    Regex(Regex),
    Contains(Needle),
}

#[derive(Clone, Debug)]
pub(super) enum Constant {
    Text(String),
    Number(Number),
    Boolean(bool),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Number {
    Integer(i128),
    Float(f64),
}

impl Matcher {
    /// Makes a condition ready. A pattern that does not compile was refused when it was read.
    pub(super) fn new(condition: &Condition) -> Self {
        match condition {
            Condition::All => Self::All,
            Condition::And(parts) => Self::And(sorted(parts)),
            Condition::Or(parts) => Self::Or(sorted(parts)),
            Condition::Not(inner) => Self::Not(Box::new(Self::new(inner))),
            Condition::Has(field) => Self::Has(field.clone()),
            Condition::Words(text) => Self::Words(tokens::words(text).map(Needle::new).collect()),
            Condition::In(field, literals) => {
                let test = Test::OneOf(literals.iter().map(constant).collect());
                Self::Field { field: field.clone(), negated: false, test }
            }
            Condition::Compare(field, operator, literal) => {
                let field = field.clone();
                let negated = matches!(operator, Operator::NotEqual | Operator::MatchesNot);
                let test = match (operator, constant(literal)) {
                    (Operator::Matches | Operator::MatchesNot, Constant::Text(text)) => match super::regex(&text) {
                        Ok(regex) => Test::Regex(regex),
                        Err(_) => Test::OneOf(Vec::new()),
                    },
                    (Operator::Contains, Constant::Text(text)) => Test::Contains(Needle::new(&text)),
                    (operator, Constant::Number(number)) if operator.is_order() => Test::Order(*operator, number),
                    (_, constant) => Test::OneOf(vec![constant]),
                };
                Self::Field { field, negated, test }
            }
        }
    }

    /// Whether the record matches.
    pub(super) fn matches(&self, view: View<'_>) -> bool {
        match self {
            Self::All => true,
            Self::And(parts) => parts.iter().all(|part| part.matches(view)),
            Self::Or(parts) => parts.iter().any(|part| part.matches(view)),
            Self::Not(inner) => !inner.matches(view),
            Self::Has(field) => view.value(field).is_some(),
            Self::Words(words) => words.iter().all(|word| view.any_text(|text| word.is_word_of(text))),
            // A span has several: what is said of one holds of any of them, and its contrary of all.
            Self::Field { field: Field::Known(Known::Link), negated, test } => {
                let mut links = view.links().peekable();
                links.peek().is_some() && links.any(|link| test.accepts(&Operand::Hex(link))) != *negated
            }
            Self::Field { field, negated, test } => {
                view.value(field).is_some_and(|value| test.accepts(&value) != *negated)
            }
        }
    }

    /// A rank by what a run costs.
    fn cost(&self) -> u32 {
        match self {
            Self::All => 0,
            Self::And(parts) | Self::Or(parts) => parts.iter().map(Self::cost).sum(),
            Self::Not(inner) => inner.cost(),
            Self::Has(field) => field_cost(field),
            Self::Words(words) => 40 * words.len() as u32,
            Self::Field { field, test, .. } => {
                field_cost(field)
                    + match test {
                        Test::Order(..) => 1,
                        Test::OneOf(list) => 1 + list.len() as u32,
                        Test::Contains(_) => 20,
                        Test::Regex(_) => 50,
                    }
            }
        }
    }
}

fn field_cost(field: &Field) -> u32 {
    match (field, field.kind()) {
        (Field::Named(_), _) => 10,
        (_, Kind::Text) => 3,
        _ => 0,
    }
}

fn sorted(conditions: &[Condition]) -> Vec<Matcher> {
    let mut parts: Vec<_> = conditions.iter().map(Matcher::new).collect();
    parts.sort_by_key(Matcher::cost);
    parts
}

fn constant(literal: &Literal) -> Constant {
    let integer = |number: i128| Constant::Number(Number::Integer(number));
    match literal {
        Literal::Text(text) => Constant::Text(text.clone()),
        Literal::Integer(number) => integer((*number).into()),
        Literal::Float(number) => Constant::Number(Number::Float(*number)),
        Literal::Boolean(value) => Constant::Boolean(*value),
        Literal::Duration(nanos) => integer((*nanos).into()),
        Literal::Time(time) => integer(time.0.into()),
        Literal::Level(level) => integer(*level as i128),
        Literal::Severity(severity) => integer(*severity as i128),
    }
}

impl Test {
    fn accepts(&self, value: &Operand<'_>) -> bool {
        match self {
            Self::OneOf(constants) => constants.iter().any(|constant| constant.equals(value)),
            Self::Order(operator, number) => {
                let Some(order) = Number::of(value).and_then(|value| value.compare(*number)) else { return false };
                match operator {
                    Operator::Less => order.is_lt(),
                    Operator::LessOrEqual => order.is_le(),
                    Operator::Greater => order.is_gt(),
                    _ => order.is_ge(),
                }
            }
            Self::Regex(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
            Self::Contains(needle) => value.as_str().is_some_and(|text| needle.is_in(text)),
        }
    }
}

impl Constant {
    fn equals(&self, value: &Operand<'_>) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Boolean(wanted) => *value == Operand::Boolean(*wanted),
            Self::Number(number) => Number::of(value).and_then(|value| value.compare(*number)) == Some(Ordering::Equal),
        }
    }
}

impl Number {
    /// The number that a value is, or that its text is written as: labels are always text.
    fn of(value: &Operand<'_>) -> Option<Self> {
        match value {
            Operand::Integer(number) => Some(Self::Integer(*number)),
            Operand::Float(number) => Some(Self::Float(*number)),
            Operand::Boolean(_) => None,
            text => match values::number(text.as_str()?)? {
                Literal::Integer(number) => Some(Self::Integer(number.into())),
                Literal::Float(number) => Some(Self::Float(number)),
                _ => None,
            },
        }
    }

    /// Compares exactly: no whole number is rounded to a float.
    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Integer(a), Self::Float(b)) => integer_with_float(a, b),
            (Self::Float(a), Self::Integer(b)) => integer_with_float(b, a).map(Ordering::reverse),
        }
    }
}

fn integer_with_float(integer: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // A cast saturates, far beyond any integer that a record holds.
    let whole = float.trunc();
    integer.cmp(&(whole as i128)).then(whole.partial_cmp(&float)?).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_floats_compare_exactly() {
        let check = |integer: i128, float: f64, expect: Option<Ordering>| {
            assert_eq!(Number::Integer(integer).compare(Number::Float(float)), expect, "{integer} and {float}");
            assert_eq!(Number::Float(float).compare(Number::Integer(integer)), expect.map(Ordering::reverse));
        };
        check(2, 2.0, Some(Ordering::Equal));
        check(0, -0.0, Some(Ordering::Equal));
        check(2, 2.5, Some(Ordering::Less));
        check(-2, -2.5, Some(Ordering::Greater));
        check((1 << 53) + 1, (1_i64 << 53) as f64, Some(Ordering::Greater));
        check(i64::MAX.into(), f64::INFINITY, Some(Ordering::Less));
        check(1, f64::NAN, None);
    }
}
