//! What records must have for a query to match any of them, so that whole runs of records can be passed by.

use std::ops::RangeInclusive;

use glasshouse_model::wire::Record;
use glasshouse_model::{Level, Signal, UnixNanos};

use super::ast::{Ast, Condition, Literal, Operator};
use super::fields::{Field, Kind, Known};
use super::{required, tokens};
use crate::Body;

/// Conditions that are kept of each kind; more would only cost time.
const CLAUSES: usize = 64;
/// Alternatives of one condition, beyond which it is given up as not worth its cost.
const ALTERNATIVES: usize = 256;
/// Bytes of the shortest text worth scanning for.
const LITERAL_BYTES: usize = 3;

/// Conditions all of which must hold, each of them by one of its alternatives.
pub type Clauses<T> = Vec<Vec<T>>;

/// What a run of records must have for any of them to match. It never excludes a record that matches; that it excludes
/// none is no promise that one does.
#[derive(Clone, Debug, PartialEq)]
pub struct Needs {
    /// The record's time is this or later.
    pub since: Option<UnixNanos>,
    /// The record's time is earlier than this.
    pub until: Option<UnixNanos>,
    /// The record's sequence number is one of these. Empty if none will do.
    pub sequences: RangeInclusive<u64>,
    /// The record's level, or lack of one, is one of these.
    pub levels: LevelSet,
    /// The record is of one of these signals.
    pub signals: SignalSet,
    /// Hashes of words (see [`tokens`]) for a [`TokenFilter`](super::TokenFilter): of each inner list, the record holds one.
    pub tokens: Clauses<u64>,
    /// Bytes of text: of each inner list, one stands verbatim in the record's encoded body (not in its context).
    pub literals: Clauses<Box<[u8]>>,
}

/// A set of levels, in which records without a level have a place too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelSet(u8);

/// A set of signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalSet(u8);

impl LevelSet {
    /// No records.
    pub const NONE: Self = Self(0);
    /// All levels, and records without one.
    pub const ALL: Self = Self(0b111_1111);
    /// Records without a level: all but logs.
    pub const WITHOUT: Self = Self(0b100_0000);

    /// The set of one level.
    pub fn of(level: Level) -> Self {
        Self(1 << level as u8)
    }

    /// The set that a record is in.
    pub fn of_body(body: &Body<'_>) -> Self {
        match body {
            Body::Record(Record::Log(log, _)) => Self::of(log.level),
            _ => Self::WITHOUT,
        }
    }

    /// What is in either set.
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether anything is in both sets.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The set as one byte, for storing: a bit for each level, and bit 6 for records without one.
    pub fn to_byte(self) -> u8 {
        self.0
    }

    /// The set that [`LevelSet::to_byte`] gave; bits that it does not know are passed by.
    pub fn from_byte(byte: u8) -> Self {
        Self(byte & Self::ALL.0)
    }
}

impl SignalSet {
    /// All signals.
    pub const ALL: Self = Self((1 << Signal::COUNT) - 1);

    /// The set of these signals.
    pub fn of(signals: &[Signal]) -> Self {
        Self(signals.iter().fold(0, |set, signal| set | 1 << *signal as u8))
    }

    /// Whether the signal is in the set.
    pub fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << signal as u8) != 0
    }

    /// The signals in the set.
    pub fn iter(self) -> impl Iterator<Item = Signal> {
        Signal::ALL.iter().copied().filter(move |signal| self.contains(*signal))
    }
}

impl Needs {
    /// The needs of a query that matches everything.
    pub const fn nothing() -> Self {
        Self {
            since: None,
            until: None,
            sequences: 0..=u64::MAX,
            levels: LevelSet::ALL,
            signals: SignalSet::ALL,
            tokens: Vec::new(),
            literals: Vec::new(),
        }
    }

    /// Whether no record at all can match.
    pub fn is_impossible(&self) -> bool {
        let no_time = self.since.zip(self.until).is_some_and(|(since, until)| since >= until);
        no_time || self.sequences.is_empty() || self.levels == LevelSet::NONE || self.signals == SignalSet(0)
    }

    /// Whether a run of records can hold a match by the times of its earliest and latest record.
    pub fn time_meets(&self, earliest: UnixNanos, latest: UnixNanos) -> bool {
        self.since.is_none_or(|since| latest >= since) && self.until.is_none_or(|until| earliest < until)
    }

    /// Whether the bytes hold what the record's encoded body, or the bodies of a run of records, must hold.
    pub fn literals_meet(&self, bytes: &[u8]) -> bool {
        self.literals.iter().all(|clause| clause.iter().any(|literal| memchr::memmem::find(bytes, literal).is_some()))
    }

    pub(super) fn of(ast: &Ast) -> Self {
        let clauses = Self { since: ast.since, until: ast.until, ..Self::nothing() };
        of_condition(&ast.condition, true).and(clauses)
    }

    fn and(mut self, other: Self) -> Self {
        self.since = self.since.max(other.since);
        self.until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let (a, b) = (&self.sequences, &other.sequences);
        self.sequences = *a.start().max(b.start())..=*a.end().min(b.end());
        self.levels.0 &= other.levels.0;
        self.signals.0 &= other.signals.0;
        self.tokens = both(self.tokens, other.tokens);
        self.literals = both(self.literals, other.literals);
        self
    }

    fn or(self, other: &Self) -> Self {
        let (a, b) = (&self.sequences, &other.sequences);
        Self {
            since: self.since.min(other.since),
            until: self.until.zip(other.until).map(|(a, b)| a.max(b)),
            sequences: *a.start().min(b.start())..=*a.end().max(b.end()),
            levels: self.levels.union(other.levels),
            signals: SignalSet(self.signals.0 | other.signals.0),
            tokens: either(&self.tokens, &other.tokens),
            literals: either(&self.literals, &other.literals),
        }
    }
}

pub(super) fn both<T: PartialEq>(mut clauses: Clauses<T>, more: Clauses<T>) -> Clauses<T> {
    for clause in more {
        if clauses.len() < CLAUSES && !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses
}

/// By the law of distribution: each clause of the one side together with each of the other.
pub(super) fn either<T: Clone + PartialEq>(left: &Clauses<T>, right: &Clauses<T>) -> Clauses<T> {
    let pairs = left.iter().flat_map(|a| right.iter().map(move |b| (a, b)));
    let mut clauses = Vec::new();
    for (a, b) in pairs.take(CLAUSES) {
        let mut clause = a.clone();
        clause.extend(b.iter().filter(|alternative| !a.contains(alternative)).cloned());
        if clause.len() <= ALTERNATIVES && !clauses.contains(&clause) {
            clauses.push(clause);
        }
    }
    clauses
}

/// The needs of a condition, or of its contrary.
fn of_condition(condition: &Condition, wanted: bool) -> Needs {
    let of_parts = |parts: &[Condition], join: fn(Needs, Needs) -> Needs| {
        parts.iter().map(|part| of_condition(part, wanted)).reduce(join).unwrap_or_else(Needs::nothing)
    };
    match (condition, wanted) {
        (Condition::And(parts), true) | (Condition::Or(parts), false) => of_parts(parts, Needs::and),
        (Condition::And(parts), false) | (Condition::Or(parts), true) => of_parts(parts, |a, b| a.or(&b)),
        (Condition::Not(inner), _) => of_condition(inner, !wanted),
        (Condition::Compare(field, operator, literal), _) => of_comparison(field, *operator, literal, wanted),
        (Condition::In(field, literals), true) => {
            let each = literals.iter().map(|literal| of_comparison(field, Operator::Equal, literal, true));
            each.reduce(|a, b| a.or(&b)).unwrap_or_else(Needs::nothing)
        }
        (Condition::In(field, literals), false) => {
            let each = literals.iter().map(|literal| of_comparison(field, Operator::Equal, literal, false));
            each.reduce(Needs::and).unwrap_or_else(Needs::nothing)
        }
        (Condition::Has(field), true) => of_presence(field),
        (Condition::Words(text), true) => {
            let is_number = |word: &&str| word.len() >= LITERAL_BYTES && word.bytes().all(|byte| byte.is_ascii_digit());
            Needs {
                tokens: tokens::of(text).take(CLAUSES).map(|hash| vec![hash]).collect(),
                // Digits have no case; and nothing that is not stored as text has one.
                literals: tokens::words(text)
                    .filter(is_number)
                    .take(CLAUSES)
                    .map(|word| vec![word.as_bytes().into()])
                    .collect(),
                ..Needs::nothing()
            }
        }
        (Condition::All | Condition::Has(_) | Condition::Words(_), _) => Needs::nothing(),
    }
}

/// A record that has the field is of a signal that can have it, and holds the name that an extension gave it.
fn of_presence(field: &Field) -> Needs {
    let literals = match field {
        Field::Named(name) if name.len() >= LITERAL_BYTES => vec![vec![name.as_bytes().into()]],
        _ => Vec::new(),
    };
    Needs { signals: field.signals(), literals, ..Needs::nothing() }
}

fn of_comparison(field: &Field, operator: Operator, literal: &Literal, wanted: bool) -> Needs {
    let is_always_there =
        matches!(field, Field::Known(Known::Time | Known::Sequence | Known::Signal | Known::Extension));
    let operator = match (wanted, is_always_there) {
        (true, _) => operator,
        (false, true) => contrary(operator),
        (false, false) => {
            let levels = match (field.kind(), literal) {
                (Kind::Level, Literal::Level(level)) => LevelSet(!levels(operator, *level).0 & LevelSet::ALL.0),
                _ => LevelSet::ALL,
            };
            return Needs { levels, ..Needs::nothing() };
        }
    };
    let mut needs = of_presence(field);
    match (field, literal) {
        (Field::Known(Known::Level), Literal::Level(level)) => needs.levels = levels(operator, *level),
        (Field::Known(Known::Time), Literal::Time(time)) => {
            let (from, to) = bounds(operator, time.0.into());
            needs.since = from.and_then(|from| i64::try_from(from).ok()).map(UnixNanos);
            needs.until = to.and_then(|to| i64::try_from(to + 1).ok()).map(UnixNanos);
        }
        (Field::Known(Known::Sequence), Literal::Integer(number)) => {
            let clamp = |bound: i128| u64::try_from(bound.max(0)).unwrap_or(u64::MAX);
            let (from, to) = bounds(operator, (*number).into());
            needs.sequences = match to {
                Some(to) if to < 0 => RangeInclusive::new(1, 0),
                to => from.map_or(0, clamp)..=to.map_or(u64::MAX, clamp),
            };
        }
        (Field::Known(Known::Signal), Literal::Text(text)) => {
            let is_meant = |signal: &Signal| match operator {
                Operator::Equal => signal.as_str() == text,
                Operator::NotEqual => signal.as_str() != text,
                _ => true,
            };
            needs.signals = SignalSet::of(&Signal::ALL.iter().copied().filter(is_meant).collect::<Vec<_>>());
        }
        (_, Literal::Text(text)) => {
            let (tokens, literals) = match operator {
                Operator::Equal => required::by_text(text),
                Operator::Contains => required::by_part(text),
                Operator::Matches => required::by_pattern(text),
                _ => return needs,
            };
            if is_tokenised(field) {
                needs.tokens = both(needs.tokens, tokens);
            }
            let is_whole = |clause: &Vec<Box<[u8]>>| {
                clause.iter().all(|literal| literal.len() >= LITERAL_BYTES && !literal.contains(&b'\n'))
            };
            if is_verbatim(field) {
                needs.literals = both(needs.literals, literals.into_iter().filter(is_whole).collect());
            }
        }
        _ => {}
    }
    needs
}

fn contrary(operator: Operator) -> Operator {
    match operator {
        Operator::Equal => Operator::NotEqual,
        Operator::NotEqual => Operator::Equal,
        Operator::Less => Operator::GreaterOrEqual,
        Operator::LessOrEqual => Operator::Greater,
        Operator::Greater => Operator::LessOrEqual,
        Operator::GreaterOrEqual => Operator::Less,
        Operator::Matches | Operator::Contains => Operator::MatchesNot,
        Operator::MatchesNot => Operator::Matches,
    }
}

/// The least and the greatest whole number that compares so.
fn bounds(operator: Operator, number: i128) -> (Option<i128>, Option<i128>) {
    match operator {
        Operator::Equal => (Some(number), Some(number)),
        Operator::Less => (None, Some(number - 1)),
        Operator::LessOrEqual => (None, Some(number)),
        Operator::Greater => (Some(number + 1), None),
        Operator::GreaterOrEqual => (Some(number), None),
        _ => (None, None),
    }
}

fn levels(operator: Operator, than: Level) -> LevelSet {
    let is_meant = |level: Level| match operator {
        Operator::Equal => level == than,
        Operator::NotEqual => level != than,
        Operator::Less => level < than,
        Operator::LessOrEqual => level <= than,
        Operator::Greater => level > than,
        Operator::GreaterOrEqual => level >= than,
        _ => true,
    };
    let meant = Level::ALL.iter().filter(|level| is_meant(**level));
    meant.fold(LevelSet::NONE, |set, level| set.union(LevelSet::of(*level)))
}

/// Whether a filter holds the words of the field.
fn is_tokenised(field: &Field) -> bool {
    let is_left_out =
        matches!(field, Field::Known(Known::Extension | Known::Span | Known::Parent | Known::InputDigest));
    !is_left_out && matches!(field.kind(), Kind::Text | Kind::Any)
}

/// Whether the field's text stands in the record's body as it is; of a stack's lines each does.
fn is_verbatim(field: &Field) -> bool {
    matches!(
        field,
        Field::Named(_)
            | Field::Known(
                Known::Target
                    | Known::Message
                    | Known::File
                    | Known::Call
                    | Known::Stack
                    | Known::Unit
                    | Known::Name
                    | Known::Failure
                    | Known::Title
                    | Known::Type
                    | Known::Metric
            )
    )
}
