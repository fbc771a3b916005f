//! The README's tours, typed as they stand there: each command ends as it says, and prints what it shows.

use std::fs;
use std::path::Path;

use crate::author::{SOURCES, built_in};
use crate::harness::Place;

/// Where the tours begin that are followed here, and what comes after them: what is shown of that depends on what takes how long.
const TOURS: (&str, &str) = ("## Five minutes for the extension author", "**What happened, also last week.**");
/// Commands that end otherwise than well, by what only they say: an extension fails in them.
const FAILING: [(&str, i32); 1] = [("budget.fuel_per_call=20000", 4)];
/// What a line of a stack begins with.
const FRAME: &str = "    ";
/// Units, which go with the number before them.
const UNITS: [&str; 12] = ["ns", "µs", "ms", "s", "min", "B", "KiB", "MiB", "k", "M", "G", "%"];

/// A command, and the lines below it.
struct Step {
    command: String,
    output: Vec<String>,
}

/// The commands of blocks for a console, in order.
fn steps(tours: &str) -> Vec<Step> {
    let blocks = tours.split("```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.flat_map(steps_of_block).collect()
}

fn steps_of_block(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => {
                let mut command = command.to_owned();
                if command.ends_with("<<'END'") {
                    for line in lines.by_ref() {
                        command.extend(["\n", line]);
                        if line == "END" {
                            break;
                        }
                    }
                }
                steps.push(Step { command, output: Vec::new() });
            }
            (None, Some(step)) => step.output.push(line.to_owned()),
            (None, None) => panic!("a block begins with a command: {block}"),
        }
    }
    steps
}

/// A line with `#` for what differs from run to run: numbers with their units, times, ids and digests; several of them are as one.
fn stable(line: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || "._-%".contains(character);
    let mut words: Vec<String> = Vec::new();
    for part in line.split_inclusive(|character: char| !is_word(character)) {
        let word = part.trim_end_matches(|character: char| !is_word(character));
        let rest = &part[word.len()..];
        let is_id = word.len() >= 12 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let after_number = words.last().is_some_and(|last| last == "# ");
        let shown = match word {
            unit if after_number && UNITS.contains(&unit) => {
                words.pop();
                "#"
            }
            number if is_id || number.starts_with(|first: char| first.is_ascii_digit()) => "#",
            other => other,
        };
        words.push(format!("{shown}{rest}"));
    }
    let mut words: Vec<_> = words.concat().split_whitespace().map(str::to_owned).collect();
    words.dedup_by(|word, before| word == "#" && before == "#");
    words.join(" ")
}

/// Each line that is shown was printed, wherever: what extensions do at once comes in any order. `...` stands for lines; a frame of a stack,
/// or where it is, changes with the code.
fn check(step: &Step, printed: &str) {
    let mut printed_lines: Vec<_> = printed.lines().map(stable).collect();
    let is_compared = |line: &&String| !["", "..."].contains(&line.trim()) && !line.starts_with(FRAME);
    for line in step.output.iter().filter(is_compared).map(|line| stable(line)) {
        let found = printed_lines.iter().position(|printed| *printed == line);
        let found = found.unwrap_or_else(|| panic!("{line:?} of `{}` is not in:\n{printed}", step.command));
        printed_lines.swap_remove(found);
    }
}

/// What the reader of the tours has by then: what `cargo xtask demo` leaves.
fn demo(place: &Place) {
    for id in ["markdown", "relay"] {
        let manifest = Path::new(SOURCES).join("example-extensions").join(id).join("extension.toml");
        let folder = format!("target/demo/plugins/{id}");
        place.write(&format!("{folder}/extension.toml"), &fs::read_to_string(manifest).expect("its manifest"));
        place.link(id, &format!("{folder}/{id}.wasm"));
    }
}

#[test]
fn the_tours_can_be_followed_as_they_stand() {
    let readme = fs::read_to_string(Path::new(SOURCES).join("README.md")).expect("the README");
    let (_, tours) = readme.split_once(TOURS.0).expect("the tours begin");
    let (tours, _) = tours.split_once(TOURS.1).expect("they end");
    let place = Place::with_plugins(&[]).lenient();
    fs::remove_dir(place.path("plugins")).expect("the reader has none yet");
    demo(&place);
    let mut commands = 0;
    for step in &steps(tours) {
        let ended = place.shell(&format!("exec 2>&1\n{}", step.command));
        let failing = FAILING.iter().find(|(part, _)| step.command.contains(part));
        assert_eq!(ended.code, Some(failing.map_or(0, |(_, code)| *code)), "{}: {}", step.command, ended.stdout);
        check(step, &ended.stdout);
        commands += usize::from(step.command.starts_with("glasshouse "));
        if step.command.starts_with("glasshouse new ") {
            built_in(&place, "hello");
            let source = place.read("hello/src/lib.rs");
            let shown = tours.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its source");
            assert!(source.contains(shown.trim()), "the source is what the tour shows: {source}");
        }
    }
    assert!(commands >= 10, "{commands} commands of ours were typed");
}

#[test]
fn what_differs_from_run_to_run_is_left_out_of_comparisons() {
    let shown = "07:13:17.621 info  component=d8e1df911caf size=14 (3.11 MiB), 38 % of 60.0 µs, in v1: a-b  1  9.85 k  2 476  -";
    assert_eq!(stable(shown), "#:#:# info component=# size=# (#), # of #, in v1: a-b # -");
}
