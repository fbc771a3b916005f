//! Reads a query: recursive descent over the grammar of the module, bounded in length, depth and number of terms.

use std::str::FromStr;

use glasshouse_model::UnixNanos;

use super::ast::{Ast, Condition, Literal, Operator, Order};
use super::error::{QueryError, shown};
use super::fields::{Field, Kind};
use super::lexer::{Lexer, Raw};
use super::{DEPTH, LIMIT, QUERY_BYTES, REGEXES, TERMS, tokens, values};

/// The words that start a clause, and so end the condition.
const CLAUSES: [&str; 5] = ["since", "until", "limit", "newest", "oldest"];

struct Parser<'q> {
    lexer: Lexer<'q>,
    now: UnixNanos,
    depth: usize,
    terms: usize,
    regexes: usize,
}

/// Reads the text of a query; times that it gives as so long ago are counted from `now`.
pub(super) fn parse(text: &str, now: UnixNanos) -> Result<Ast, QueryError> {
    if text.len() > QUERY_BYTES {
        let column = text[..text.floor_char_boundary(QUERY_BYTES)].chars().count() + 1;
        let found = format!("{} bytes", text.len());
        return Err(QueryError { column, found, expected: format!("at most {QUERY_BYTES} bytes"), hint: None });
    }
    let mut parser = Parser { lexer: Lexer::new(text), now, depth: 0, terms: 0, regexes: 0 };
    let condition = if parser.is_at_clause() { Condition::All } else { parser.any_of()? };
    let mut ast = Ast { condition, since: None, until: None, limit: None, order: None };
    loop {
        parser.lexer.skip_space();
        if parser.lexer.is_at_end() {
            return Ok(ast);
        }
        parser.clause(&mut ast)?;
    }
}

impl Parser<'_> {
    fn is_at_clause(&self) -> bool {
        let mut ahead = self.lexer;
        ahead.skip_space();
        ahead.is_at_end() || CLAUSES.iter().any(|clause| self.is_keyword(clause))
    }

    fn is_keyword(&self, keyword: &str) -> bool {
        let mut ahead = self.lexer;
        ahead.keyword(keyword)
    }

    fn any_of(&mut self) -> Result<Condition, QueryError> {
        let mut parts = vec![self.all_of()?];
        while self.lexer.keyword("or") {
            parts.push(self.all_of()?);
        }
        Ok(Condition::or(parts))
    }

    fn all_of(&mut self) -> Result<Condition, QueryError> {
        let mut parts = vec![self.one()?];
        loop {
            if !self.lexer.keyword("and") {
                let mut ahead = self.lexer;
                ahead.skip_space();
                if self.is_at_clause() || self.is_keyword("or") || ahead.peek() == Some(')') {
                    return Ok(Condition::and(parts));
                }
            }
            parts.push(self.one()?);
        }
    }

    fn one(&mut self) -> Result<Condition, QueryError> {
        if self.lexer.keyword("not") {
            return self.deeper(|parser| Ok(Condition::Not(Box::new(parser.one()?))));
        }
        if self.lexer.take('(') {
            return self.deeper(|parser| {
                let inner = parser.any_of()?;
                if parser.lexer.take(')') { Ok(inner) } else { Err(parser.lexer.error("\")\", \"and\" or \"or\"")) }
            });
        }
        self.term()
    }

    fn deeper(
        &mut self,
        inner: impl FnOnce(&mut Self) -> Result<Condition, QueryError>,
    ) -> Result<Condition, QueryError> {
        if self.depth == DEPTH {
            return Err(self.lexer.error_about(
                format!("more than {DEPTH} brackets and \"not\" within each other"),
                "a simpler condition",
            ));
        }
        self.depth += 1;
        let condition = inner(self)?;
        self.depth -= 1;
        Ok(condition)
    }

    fn count_term(&mut self) -> Result<(), QueryError> {
        self.terms += 1;
        if self.terms > TERMS {
            return Err(self.lexer.error(format!("the end of the query, after {TERMS} terms")));
        }
        Ok(())
    }

    fn term(&mut self) -> Result<Condition, QueryError> {
        const EXPECTED: &str = "a condition: a field and a value, or text to look for";
        self.count_term()?;
        self.lexer.skip_space();
        let start = self.lexer;
        if self.lexer.peek() == Some('"') {
            let text = self.lexer.quoted()?;
            return words(start, text);
        }
        let is_joint = ["and", "or"].iter().any(|keyword| self.is_keyword(keyword));
        if is_joint || CLAUSES.iter().any(|clause| self.is_keyword(clause)) {
            return Err(start.error(EXPECTED).hint("to look for the word itself, put it in quotes"));
        }
        if self.lexer.keyword("has") {
            return self.field().map(Condition::Has);
        }
        let word = self.lexer.word();
        if word.is_empty() {
            return Err(start.error(EXPECTED));
        }
        let mut ahead = self.lexer;
        let is_list = ahead.keyword("in") && ahead.take('(');
        if is_list || Field::is_prefix(word) || { self.lexer }.operator().is_some() {
            self.lexer = start;
            return self.comparison();
        }
        words(start, word.to_owned())
    }

    fn field(&mut self) -> Result<Field, QueryError> {
        self.lexer.skip_space();
        let start = self.lexer;
        let word = self.lexer.word();
        if Field::is_prefix(word) && self.lexer.peek() == Some('"') {
            let quoted = self.lexer;
            let name = self.lexer.quoted()?;
            return if name.is_empty() { Err(quoted.error("the name of a field")) } else { Ok(Field::Named(name)) };
        }
        Field::parse(word).ok_or_else(|| {
            let error = start.error("a field, such as level or message");
            if word.is_empty() { error } else { error.hint(Field::nearest(word)) }
        })
    }

    fn comparison(&mut self) -> Result<Condition, QueryError> {
        let field = self.field()?;
        let start = self.lexer;
        if self.lexer.keyword("in") {
            return self.list(field);
        }
        let operator = self.lexer.operator().ok_or_else(|| start.error("an operator, such as = or ~"))?;
        let kind = field.kind();
        let fits = if operator.is_order() { kind.is_ordered() } else { !operator.is_pattern() || kind.is_text() };
        if !fits {
            let expected = if kind.is_ordered() || kind == Kind::Boolean {
                format!("=, != or a comparison of size, for {field} is no text")
            } else {
                format!("=, !=, ~, !~ or :, for one {field} is not less than another")
            };
            let found = format!("\"{}\"", operator.as_str());
            let hint = if Field::parse(&format!("field.{field}")).is_some() && operator.is_order() {
                Some(format!("of a field that an extension gave: field.{field}"))
            } else {
                None
            };
            return Err(QueryError { hint, ..start.error_about(found, expected) });
        }
        let literal = self.literal(&field, operator)?;
        Ok(Condition::Compare(field, operator, literal))
    }

    fn list(&mut self, field: Field) -> Result<Condition, QueryError> {
        if !self.lexer.take('(') {
            return Err(self.lexer.error("\"(\" and a list of values"));
        }
        let mut literals = Vec::new();
        loop {
            literals.push(self.literal(&field, Operator::Equal)?);
            self.count_term()?;
            if self.lexer.take(')') {
                return Ok(Condition::In(field, literals));
            }
            if !self.lexer.take(',') {
                return Err(self.lexer.error("\",\" or \")\""));
            }
        }
    }

    fn literal(&mut self, field: &Field, operator: Operator) -> Result<Literal, QueryError> {
        let kind = field.kind();
        self.lexer.skip_space();
        let start = self.lexer;
        let expected = if operator.is_pattern() { "a text".to_owned() } else { kind.expected() };
        let raw = self.lexer.value(&expected)?;
        let text = match &raw {
            Raw::Bare(text) => *text,
            Raw::Quoted(text) => text,
        };
        let refused = || start.error_about(shown(text), &expected);
        if operator.is_pattern() {
            return self.pattern(start, operator, text);
        }
        let literal = match kind {
            Kind::Text => Some(Literal::Text(text.to_owned())),
            Kind::Word(words) => word_of(words, text).map(|word| Literal::Text(word.to_owned())),
            Kind::Number => values::number(text),
            Kind::Size => values::size(text),
            Kind::Duration => values::duration(text).map(Literal::Duration),
            Kind::Time => self.time(text).map(Literal::Time),
            Kind::Level => glasshouse_model::Level::from_str(if text == "warn" { "warning" } else { text })
                .ok()
                .map(Literal::Level),
            Kind::Severity => glasshouse_model::Severity::from_str(text).ok().map(Literal::Severity),
            Kind::Boolean => text.parse().ok().map(Literal::Boolean),
            Kind::Any => Some(match &raw {
                Raw::Bare(text) => values::number(text)
                    .or_else(|| text.parse().ok().map(Literal::Boolean))
                    .unwrap_or_else(|| Literal::Text((*text).to_owned())),
                Raw::Quoted(text) => Literal::Text(text.clone()),
            }),
        };
        let literal = literal.ok_or_else(refused)?;
        let is_number = matches!(literal, Literal::Integer(_) | Literal::Float(_));
        if kind == Kind::Any && operator.is_order() && !is_number {
            return Err(start.error_about(shown(text), "a number"));
        }
        Ok(literal)
    }

    fn pattern(&mut self, start: Lexer<'_>, operator: Operator, text: &str) -> Result<Literal, QueryError> {
        if operator == Operator::Contains {
            let literal = Literal::Text(text.to_owned());
            return if text.is_empty() { Err(start.error("a text that is not empty")) } else { Ok(literal) };
        }
        self.regexes += 1;
        if self.regexes > REGEXES {
            return Err(start.error(format!("at most {REGEXES} regular expressions")));
        }
        match super::regex(text) {
            Ok(_) => Ok(Literal::Text(text.to_owned())),
            Err(problem) => Err(start.error_about(shown(text), "a regular expression").hint(problem)),
        }
    }

    /// A moment, or a duration before now; an `ago` after it is passed by.
    fn time(&mut self, text: &str) -> Option<UnixNanos> {
        if text == "now" {
            return Some(self.now);
        }
        match values::duration(text) {
            Some(nanos) => {
                self.lexer.keyword("ago");
                Some(values::before(self.now, nanos))
            }
            None => values::time(text),
        }
    }

    fn clause(&mut self, ast: &mut Ast) -> Result<(), QueryError> {
        let start = self.lexer;
        let is_new = if self.lexer.keyword("since") {
            let time = self.clause_time()?;
            ast.since.replace(time).is_none()
        } else if self.lexer.keyword("until") {
            let time = self.clause_time()?;
            ast.until.replace(time).is_none()
        } else if self.lexer.keyword("limit") {
            let expected = format!("a limit from 1 to {LIMIT}");
            self.lexer.skip_space();
            let number = self.lexer;
            let limit = match self.lexer.value(&expected)? {
                Raw::Bare(text) => text.parse().ok().filter(|limit| (1..=LIMIT).contains(limit)),
                Raw::Quoted(_) => None,
            };
            ast.limit.replace(limit.ok_or_else(|| number.error(expected))?).is_none()
        } else if self.lexer.keyword("newest") {
            self.clause_order(ast, Order::NewestFirst)?
        } else if self.lexer.keyword("oldest") {
            self.clause_order(ast, Order::OldestFirst)?
        } else {
            return Err(self.lexer.error("\"since\", \"until\", \"limit\", \"newest first\" or \"oldest first\""));
        };
        if is_new { Ok(()) } else { Err(start.error("each clause once")) }
    }

    fn clause_time(&mut self) -> Result<UnixNanos, QueryError> {
        const EXPECTED: &str = "a duration or a time, such as 15m or 2026-11-22T10:00:00Z";
        self.lexer.skip_space();
        let start = self.lexer;
        let raw = self.lexer.value(EXPECTED)?;
        let text = match &raw {
            Raw::Bare(text) => *text,
            Raw::Quoted(text) => text,
        };
        self.time(text).ok_or_else(|| start.error_about(shown(text), EXPECTED))
    }

    fn clause_order(&mut self, ast: &mut Ast, order: Order) -> Result<bool, QueryError> {
        if !self.lexer.keyword("first") {
            return Err(self.lexer.error("\"first\"").hint("to look for the word before it, put that in quotes"));
        }
        Ok(ast.order.replace(order).is_none())
    }
}

/// One of the words; the singular of a signal is as good.
fn word_of(words: &'static [&'static str], text: &str) -> Option<&'static str> {
    words.iter().copied().find(|word| *word == text || word.strip_suffix('s') == Some(text))
}

fn words(start: Lexer<'_>, text: String) -> Result<Condition, QueryError> {
    if tokens::words(&text).next().is_none() {
        return Err(start
            .error_about(shown(&text), "a letter or a digit")
            .hint("text is looked for by its words; for punctuation write message:\"...\""));
    }
    Ok(Condition::Words(text))
}
