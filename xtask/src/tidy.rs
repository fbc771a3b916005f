//! `cargo xtask tidy`: the rules of the house, checked by code.

mod layers;
mod manifests;
mod sources;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;

use crate::workspace::{self, Package, Workspace};

/// What the rules look at.
#[derive(Default)]
struct House {
    packages: Vec<Package>,
    /// The files of the kinds that a rule reads, with paths relative to the root and `/` between folders.
    files: Vec<SourceFile>,
    /// Every file's path.
    paths: Vec<String>,
    /// The verbs of `cargo xtask`.
    verbs: BTreeSet<String>,
}

struct SourceFile {
    path: String,
    text: String,
}

/// A place where a rule is broken.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    /// The file, with a line where there is one.
    place: String,
    /// The rule.
    rule: &'static str,
    /// What was found and what to do.
    advice: String,
}

impl Violation {
    fn new(place: impl Into<String>, rule: &'static str, advice: impl Into<String>) -> Self {
        Self { place: place.into(), rule, advice: advice.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}", self.place, self.rule, self.advice)
    }
}

pub(crate) fn run() -> Result<()> {
    let house = House::load(&Workspace::load()?)?;
    let violations = violations(&house);
    for violation in &violations {
        println!("{violation}");
    }
    match violations.len() {
        0 => {
            eprintln!("tidy: {} files of {} crates keep the rules", house.files.len(), house.packages.len());
            Ok(())
        }
        count => bail!("{count} {} broken", if count == 1 { "rule is" } else { "rules are" }),
    }
}

fn violations(house: &House) -> Vec<Violation> {
    let rules: [fn(&House) -> Vec<Violation>; 11] = [
        layers::downwards,
        layers::owners,
        manifests::lints,
        manifests::versions,
        sources::first_line,
        sources::length,
        sources::unfinished,
        sources::tested_guests,
        sources::told_guests,
        sources::known_verbs,
        sources::readers,
    ];
    let mut found: Vec<_> = rules.into_iter().flat_map(|rule| rule(house)).collect();
    found.sort();
    found
}

impl House {
    fn load(workspace: &Workspace) -> Result<Self> {
        let mut house = Self { packages: workspace.packages.clone(), ..Self::default() };
        for path in workspace::files(&workspace.root)? {
            let name = path.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
            if path.extension().is_some_and(|ending| ["rs", "md", "toml", "txt"].iter().any(|read| ending == *read)) {
                let text = fs::read_to_string(workspace.root.join(&path)).with_context(|| format!("reading {name}"))?;
                house.files.push(SourceFile { path: name.clone(), text });
            }
            house.paths.push(name);
        }
        house.verbs = crate::Arguments::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        Ok(house)
    }

    fn files_ending(&self, ending: &str) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(move |file| file.path.ends_with(ending))
    }
}

#[cfg(test)]
impl House {
    /// A house of the given files.
    fn of(files: &[(&str, &str)]) -> Self {
        let paths = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        let file = |&(path, text): &(&str, &str)| SourceFile { path: path.to_owned(), text: text.to_owned() };
        Self { files: files.iter().map(file).collect(), paths, ..Self::default() }
    }
}

/// Where a rule finds something in a house.
#[cfg(test)]
fn places(rule: fn(&House) -> Vec<Violation>, house: &House) -> Vec<String> {
    rule(house).into_iter().map(|violation| violation.place).collect()
}
