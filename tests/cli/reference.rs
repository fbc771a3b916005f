//! The references, the manual and the completions are made from the code, and are as it is.

use std::path::Path;
use std::process::Command;

use crate::harness::{Place, end};

/// That what the command writes is what is published; or how it becomes so.
fn is_published(arguments: &[&str], file: &str) {
    let written = Place::with_plugins(&[]).glasshouse(arguments).expect_code(0).stdout;
    let published = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    let published = std::fs::read_to_string(&published).unwrap_or_default();
    if written != published {
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(&made, written).expect("writing a file");
        panic!(
            "docs/{file} is not what the code says: `glasshouse {}` writes it, and it is in {}",
            arguments.join(" "),
            made.display()
        );
    }
}

#[test]
fn the_keys_of_the_configuration_are_described_as_they_are() {
    is_published(&["config", "reference", "--markdown"], "configuration.md");
}

#[test]
fn the_command_line_is_described_as_it_is() {
    is_published(&["man", "--markdown"], "cli.md");
}

#[test]
fn each_verb_has_a_page_of_the_manual() {
    let place = Place::with_plugins(&[]);
    place.glasshouse(&["man", "--output", "pages"]).expect_code(0);
    for name in ["glasshouse", "glasshouse-run", "glasshouse-logs", "glasshouse-logs-show", "glasshouse-budgets-set"] {
        let page = place.read(&format!("pages/{name}.1"));
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{page}");
    }
    let first = place.glasshouse(&["man"]).expect_code(0).stdout;
    assert!(first.contains(".TH glasshouse 1") && first.contains("budgets"), "{first}");
    let ended = place.glasshouse(&["man", "--output", "pages/glasshouse.1"]).expect_code(3);
    assert!(ended.stderr.contains("pages/glasshouse.1"), "{ended:?}");
}

#[test]
fn shells_take_the_completions() {
    let place = Place::with_plugins(&[]);
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.glasshouse(&["completions", shell]).expect_code(0).stdout;
        assert!(script.contains("glasshouse") && script.contains("budgets"), "{shell}");
        place.write(shell, &script);
    }
    // What bash offers after `glasshouse logs s` are the verbs that begin so.
    let script = place.path("bash");
    let offers = format!(
        "source {}; COMP_WORDS=(glasshouse logs s); COMP_CWORD=2; _glasshouse glasshouse s logs; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let offered = end(Command::new("bash").args(["-c", &offers])).expect_code(0).stdout;
    assert!(offered.split_whitespace().eq(["show", "search"]), "{offered}");
}
