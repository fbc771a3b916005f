//! What a text must hold to equal, contain or match something: whole words, and pieces that stand there verbatim.
//!
//! A word at the edge of what is known of a text is not used, since in the text it could be part of a longer one.

use regex_syntax::hir::{Class, ClassUnicodeRange, Hir, HirKind, Look};

use super::needs::{Clauses, both, either};
use super::tokens::{self, is_word, lower};

/// Characters of the largest class that is looked into; white space has 25.
const CLASS_CHARACTERS: usize = 64;
/// Spellings of a run of text that are told apart; beyond it, the run is broken.
const SPELLINGS: usize = 16;

type Required = (Clauses<u64>, Clauses<Box<[u8]>>);

/// What a text needs in order to equal this one.
pub(super) fn by_text(text: &str) -> Required {
    let tokens = tokens::of(text).map(|hash| vec![hash]).collect();
    let literals = if text.is_empty() { Vec::new() } else { vec![vec![text.as_bytes().into()]] };
    (tokens, literals)
}

/// What a text needs in order to contain this one, in any case.
pub(super) fn by_part(part: &str) -> Required {
    let mut pieces = Pieces::new();
    pieces.exact(part);
    (pieces.finish().0, Vec::new())
}

/// What a text needs in order to match this regular expression.
pub(super) fn by_pattern(pattern: &str) -> Required {
    regex_syntax::parse(pattern).map(|hir| by_hir(&hir, false)).unwrap_or_default()
}

fn by_hir(hir: &Hir, is_bordered: bool) -> Required {
    let mut pieces = Pieces { is_bordered, ..Pieces::new() };
    pieces.add(hir);
    pieces.finish()
}

/// What is known so far of a text from left to right, as a row of runs with gaps or borders between them.
struct Pieces {
    /// The run's spellings in lower case: one, but for characters that match in either case.
    run: Vec<String>,
    /// Whether the run's first word cannot go on to the left.
    is_bordered: bool,
    /// The end of the run that is known in its very bytes.
    exact: String,
    tokens: Clauses<u64>,
    literals: Clauses<Box<[u8]>>,
}

impl Pieces {
    fn new() -> Self {
        Self {
            run: vec![String::new()],
            is_bordered: false,
            exact: String::new(),
            tokens: Vec::new(),
            literals: Vec::new(),
        }
    }

    fn finish(mut self) -> Required {
        self.gap();
        (self.tokens, self.literals)
    }

    fn add(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
                Ok(text) => self.exact(text),
                Err(_) => self.gap(),
            },
            HirKind::Class(Class::Unicode(class)) => {
                let count: usize = class.ranges().iter().map(ClassUnicodeRange::len).sum();
                if count > CLASS_CHARACTERS {
                    return self.gap();
                }
                self.one_of(&class.ranges().iter().flat_map(|range| range.start()..=range.end()).collect::<Vec<_>>());
            }
            HirKind::Look(look) => match look {
                // Beside `\b` stands no word, or on one side a word that starts or ends there.
                Look::WordUnicode
                | Look::WordStartUnicode
                | Look::WordEndUnicode
                | Look::Start
                | Look::End
                | Look::StartLF
                | Look::EndLF
                | Look::StartCRLF
                | Look::EndCRLF => self.border(),
                _ => {}
            },
            HirKind::Repetition(repetition) if repetition.min > 0 => {
                self.inside(by_hir(&repetition.sub, false), &repetition.sub);
            }
            HirKind::Repetition(_) | HirKind::Class(Class::Bytes(_)) => self.gap(),
            HirKind::Capture(capture) => self.add(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.add(part)),
            HirKind::Alternation(parts) => {
                let is_bordered = self.is_bordered && self.run.iter().all(String::is_empty);
                let each = parts.iter().map(|part| by_hir(part, is_bordered));
                let all = each.reduce(|(tokens, literals), (more_tokens, more_literals)| {
                    (either(&tokens, &more_tokens), either(&literals, &more_literals))
                });
                self.gap();
                self.keep(all.unwrap_or_default());
            }
        }
    }

    /// What is repeated at least once.
    fn inside(&mut self, required: Required, repeated: &Hir) {
        let mut one = Self::new();
        one.add(repeated);
        // A class of characters that part words ends a run, and so do several of them.
        let is_border = one.is_bordered && matches!(repeated.kind(), HirKind::Class(_));
        self.end_run(is_border);
        self.keep(required);
    }

    fn keep(&mut self, (tokens, literals): Required) {
        self.tokens = both(std::mem::take(&mut self.tokens), tokens);
        self.literals = both(std::mem::take(&mut self.literals), literals);
    }

    fn exact(&mut self, text: &str) {
        self.exact.push_str(text);
        for spelling in &mut self.run {
            spelling.extend(text.chars().flat_map(lower));
        }
    }

    /// One of these characters.
    fn one_of(&mut self, characters: &[char]) {
        if characters.iter().all(|c| !is_word(*c)) {
            return self.border();
        }
        let mut spellings: Vec<String> = characters.iter().map(|c| lower(*c).collect()).collect();
        spellings.sort_unstable();
        spellings.dedup();
        if !characters.iter().all(|c| is_word(*c)) || spellings.len() * self.run.len() > SPELLINGS {
            return self.gap();
        }
        self.end_exact();
        let longer =
            |spelling: &String| spellings.iter().map(move |end| format!("{spelling}{end}")).collect::<Vec<_>>();
        self.run = self.run.iter().flat_map(longer).collect();
    }

    /// Characters of which nothing is known.
    fn gap(&mut self) {
        self.end_run(false);
    }

    /// Something that no word goes across.
    fn border(&mut self) {
        self.end_run(true);
    }

    fn end_exact(&mut self) {
        if !self.exact.is_empty() {
            let literal = std::mem::take(&mut self.exact).into_bytes().into();
            self.literals = both(std::mem::take(&mut self.literals), vec![vec![literal]]);
        }
    }

    fn end_run(&mut self, is_border: bool) {
        self.end_exact();
        let run = std::mem::replace(&mut self.run, vec![String::new()]);
        let whole: Vec<Vec<u64>> =
            run.iter().map(|spelling| whole_words(spelling, self.is_bordered, is_border)).collect();
        let count = whole[0].len();
        if whole.iter().all(|words| words.len() == count) {
            for index in 0..count {
                let mut clause: Vec<u64> = whole.iter().map(|words| words[index]).collect();
                clause.sort_unstable();
                clause.dedup();
                self.tokens = both(std::mem::take(&mut self.tokens), vec![clause]);
            }
        }
        self.is_bordered = is_border;
    }
}

/// The words of a run that do not touch an edge across which they could go on.
fn whole_words(run: &str, is_bordered_left: bool, is_bordered_right: bool) -> Vec<u64> {
    let is_whole = |word: &&str| {
        let start = word.as_ptr() as usize - run.as_ptr() as usize;
        (start > 0 || is_bordered_left) && (start + word.len() < run.len() || is_bordered_right)
    };
    tokens::words(run).filter(is_whole).map(tokens::hash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as `a|b` for each clause, and literals in the same form.
    fn check(pattern: &str, words: &[&str], literals: &[&str]) {
        let (tokens, found) = by_pattern(pattern);
        let expect = words.iter().map(|clause| {
            let mut hashes: Vec<_> = clause.split('|').map(tokens::hash).collect();
            hashes.sort_unstable();
            hashes
        });
        let tokens: Vec<_> = tokens
            .into_iter()
            .map(|mut clause| {
                clause.sort_unstable();
                clause
            })
            .collect();
        assert_eq!(tokens, expect.collect::<Vec<_>>(), "words of {pattern}");
        let text = |clause: &Vec<Box<[u8]>>| {
            clause.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<Vec<_>>().join("|")
        };
        assert_eq!(found.iter().map(text).collect::<Vec<_>>(), literals, "literals of {pattern}");
    }

    #[test]
    fn patterns_require_whole_words_and_literals() {
        check("time ?out", &[], &["time", "out"]);
        check("connection refused by peer", &["refused", "by"], &["connection refused by peer"]);
        check(r"\btimeout\b", &["timeout"], &["timeout"]);
        check("^timeout$", &["timeout"], &["timeout"]);
        check(r"in timeout\s+of \d+ ms", &["timeout", "of"], &["in timeout", "of ", " ms"]);
        check("refused|timeout", &[], &["refused|timeout"]);
        check(r"\bno\b|\byes\b", &["no|yes"], &["no|yes"]);
        check("(?i)the peer is", &["peer"], &[" "]);
        check("(?i) mask ", &["mask|maſk"], &[" "]);
        check("refused by x|is not y", &["by|not"], &["refused by x|is not y"]);
        check("a(bc )+d", &[], &["a", "bc ", "d"]);
        check(r"(?-u:\b)time(?-u:\b)", &[], &["time"]);
        check(".*", &[], &[]);
        check(" x[yz] ", &["xy|xz"], &[" x", " "]);
    }

    #[test]
    fn parts_require_their_inner_words() {
        assert_eq!(by_part("and NOW then").0, vec![vec![tokens::hash("now")]]);
        assert_eq!(by_text("and now").0, vec![vec![tokens::hash("and")], vec![tokens::hash("now")]]);
    }
}
