//! Rules about sources, tests and documents.

use super::{House, SourceFile, Violation};
use crate::readers::READERS;

/// A file that is longer is two things.
const LINES_MAX: usize = 600;

/// What no source may contain, and what to do instead. Pieced together, so that this file does not contain it either.
const UNFINISHED: [(&str, &str); 3] = [
    (concat!("todo", "!("), "finish it, or return an error that says what is missing"),
    (concat!("unimplemented", "!("), "finish it, or return an error that says what is missing"),
    (concat!("#[", "ignore"), "make the test run everywhere, or remove it"),
];

/// The folder of the failing guests' sources.
const GUESTS: &str = "tests/guests/examples/";
/// What tells of each of them.
const TABLE: &str = "tests/README.md";
/// The folder of the command's tests.
const COMMAND_TESTS: &str = "tests/cli/";
/// The folder of lists of such guests.
const LISTS: &str = "tests/guests/";

/// Each file begins by saying what it is for.
pub(super) fn first_line(house: &House) -> Vec<Violation> {
    let silent = house.files_ending(".rs").filter(|file| !file.text.starts_with("//! "));
    let advice = "begin with a `//!` sentence that says what the file is for";
    silent.map(|file| Violation::new(format!("{}:1", file.path), "first line", advice)).collect()
}

/// A file is a page that one can hold in one's head.
pub(super) fn length(house: &House) -> Vec<Violation> {
    let lengths = house.files_ending(".rs").map(|file| (file, file.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| {
            let advice = format!("{lines} lines, more than {LINES_MAX}: it is two things; part them");
            Violation::new(&file.path, "length", advice)
        })
        .collect()
}

/// Nothing is left for later, and no test is switched off.
pub(super) fn unfinished(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in house.files_ending(".rs") {
        for (index, line) in file.text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for (word, advice) in UNFINISHED.iter().filter(|(word, _)| line.contains(word)) {
                let place = format!("{}:{}", file.path, index + 1);
                found.push(Violation::new(place, "unfinished", format!("`{word}`: {advice}")));
            }
        }
    }
    found
}

/// Each failing guest is run by a test: its name is in one, or in a list that one includes. `-` and `_` are the same, as they are to cargo.
pub(super) fn tested_guests(house: &House) -> Vec<Violation> {
    let is_test = |path: &str| path.contains("tests/") && !path.starts_with("tests/guests/");
    let tests: String = house
        .files_ending(".rs")
        .filter(|file| is_test(&file.path))
        .map(|file| file.text.replace('_', "-"))
        .collect::<Vec<_>>()
        .join("\n");
    let included = |file: &&SourceFile| {
        let list = file.path.strip_prefix(LISTS).filter(|name| !name.contains('/'));
        list.is_some_and(|name| tests.contains(&format!("include-str!(\"../guests/{}\")", name.replace('_', "-"))))
    };
    let lists = house.files_ending(".txt").filter(included).map(|file| file.text.replace('_', "-"));
    let named = std::iter::once(tests.clone()).chain(lists).collect::<Vec<_>>().join("\n");
    guests(house)
        .filter(|(_, name)| !names(&named, name))
        .map(|(path, name)| {
            Violation::new(path, "tested guests", format!("no test names {name}; write one that runs it"))
        })
        .collect()
}

/// The table of the tests' README says of each failing guest what it does and what the host answers.
pub(super) fn told_guests(house: &House) -> Vec<Violation> {
    let Some(readme) = house.files_ending(TABLE).next() else { return Vec::new() };
    let firsts = readme.text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let told = firsts.collect::<Vec<_>>().join("\n");
    guests(house)
        .filter(|(_, name)| !told.contains(&format!("`{name}`")))
        .map(|(path, name)| {
            Violation::new(path, "told guests", format!("the table in {TABLE} has no row for {name}; add one"))
        })
        .collect()
}

/// The failing guests: each one's path, and its name as cargo takes it.
fn guests(house: &House) -> impl Iterator<Item = (&String, String)> {
    house.paths.iter().filter_map(|path| {
        let name = path.strip_prefix(GUESTS)?;
        let name = name.strip_suffix(".rs").or_else(|| name.strip_suffix(".wat"))?;
        (!name.contains('/')).then_some((path, name.replace('_', "-")))
    })
}

/// Whether a text has a word that is no part of a longer one.
fn names(text: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '-';
    text.match_indices(word)
        .any(|(start, _)| !text[..start].ends_with(part) && !text[start + word.len()..].starts_with(part))
}

/// Documents name only verbs that `cargo xtask` has.
pub(super) fn known_verbs(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in house.files_ending(".md") {
        for (index, line) in file.text.lines().enumerate() {
            for verb in line.split("cargo xtask ").skip(1).map(first_word) {
                if !verb.is_empty() && !house.verbs.contains(verb) {
                    let known = house.verbs.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                    let advice = format!("`cargo xtask {verb}` is no verb; there are {known}");
                    found.push(Violation::new(format!("{}:{}", file.path, index + 1), "known verbs", advice));
                }
            }
        }
    }
    found
}

/// Tests that have others read what the host writes are in modules that can be left out where those are missing.
pub(super) fn readers(house: &House) -> Vec<Violation> {
    let known = READERS.iter().flat_map(|reader| reader.modules).copied();
    let known: std::collections::BTreeSet<_> = known.collect();
    let is_known = |path: &str| {
        let module = path.trim_end_matches(".rs").replace('/', "::");
        known
            .iter()
            .any(|known| module.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")))
    };
    let uses = |file: &&SourceFile| file.text.contains("peers::") || file.text.contains("crate::peers");
    let files = house.files.iter().filter_map(|file| Some((file, file.path.strip_prefix(COMMAND_TESTS)?)));
    let unknown = files.filter(|(file, path)| uses(file) && !is_known(path));
    let list = known.iter().copied().collect::<Vec<_>>().join(", ");
    let advice = format!(
        "it has others read what the host writes; that belongs into {list}, or name it in xtask/src/readers.rs"
    );
    unknown.map(|(file, _)| Violation::new(&file.path, "readers", &advice)).collect()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_lowercase()).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;

    #[test]
    fn a_file_says_what_it_is_for() {
        let house = House::of(&[("a.rs", "//! A.\n"), ("b.rs", "use std::fs;\n"), ("c.rs", "")]);
        assert_eq!(places(first_line, &house), ["b.rs:1", "c.rs:1"]);
    }

    #[test]
    fn a_file_is_at_most_six_hundred_lines() {
        let (fits, long) = ("x\n".repeat(LINES_MAX), "x\n".repeat(LINES_MAX + 1));
        assert_eq!(places(length, &House::of(&[("a.rs", &fits), ("b.rs", &long)])), ["b.rs"]);
    }

    #[test]
    fn unfinished_code_is_refused_but_may_be_spoken_of() {
        let text = format!("// {0}\nfn a() {{ {0}) }}\n{1}]\n", UNFINISHED[0].0, UNFINISHED[2].0);
        assert_eq!(places(unfinished, &House::of(&[("a.rs", &text)])), ["a.rs:2", "a.rs:3"]);
    }

    #[test]
    fn a_guest_without_a_test_is_found() {
        let house = House::of(&[
            ("tests/guests/examples/log-flood.rs", ""),
            ("tests/guests/examples/memory_bomb.rs", ""),
            ("tests/guests/examples/spin.wat", ""),
            ("tests/tests/budgets.rs", "load(\"memory-bomb\"); load(\"spinning\"); load(\"log-flood\")"),
        ]);
        assert_eq!(places(tested_guests, &house), ["tests/guests/examples/spin.wat"]);
    }

    #[test]
    fn a_list_of_guests_counts_only_where_a_test_includes_it() {
        let house = House::of(&[
            ("tests/guests/examples/spin.wat", ""),
            ("tests/guests/examples/memory_bomb.rs", ""),
            ("tests/guests/run.txt", "memory-bomb\n"),
            ("tests/guests/idle.txt", "spin\n"),
            ("tests/e2e/hostile.rs", "const RUN: &str = include_str!(\"../guests/run.txt\");"),
        ]);
        assert_eq!(places(tested_guests, &house), ["tests/guests/examples/spin.wat"]);
    }

    #[test]
    fn a_guest_that_the_table_does_not_tell_of_is_found() {
        let house = House::of(&[
            ("tests/guests/examples/spin.wat", ""),
            ("tests/guests/examples/memory_bomb.rs", ""),
            ("tests/guests/examples/mute.wat", ""),
            ("tests/README.md", "| guest | does |\n|---|---|\n| `memory-bomb`, `spin` | harm, unlike `mute` |\n"),
        ]);
        assert_eq!(places(told_guests, &house), ["tests/guests/examples/mute.wat"]);
    }

    #[test]
    fn tests_that_need_readers_are_where_they_can_be_left_out() {
        let house = House::of(&[
            ("tests/cli/otlp.rs", "use crate::peers;"),
            ("tests/cli/otlp/rotel.rs", "peers::rotel()"),
            ("tests/cli/otlpish.rs", "peers::read()"),
            ("tests/cli/export.rs", "use crate::{jaeger, peers};\npeers::read()"),
            ("tests/cli/api/peers.rs", "use crate::peers;"),
            ("tests/cli/main.rs", "mod peers;"),
        ]);
        assert_eq!(places(readers, &house), ["tests/cli/otlpish.rs", "tests/cli/export.rs"]);
    }

    #[test]
    fn a_document_names_only_verbs_that_exist() {
        let mut house = House::of(&[("README.md", "Type `cargo xtask demo --serve`,\n`cargo xtask dance`.")]);
        house.verbs = ["demo".to_owned()].into();
        assert_eq!(places(known_verbs, &house), ["README.md:2"]);
    }
}
