//! What was released goes on to work: an extension that was built against a released contract finds all that it imports, and a program
//! that speaks to a released API is understood, and understands.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wit_parser::Resolve;

/// What the contract's files say of its version.
const VERSION: &str = "@0.1.0;";
/// What the released copy says instead, so that both can be looked at together.
const EARLIER: &str = "@0.0.1;";

/// The repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The folders of `released`, one a version.
fn released() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("released")).expect("there is a folder of released versions");
    let paths = entries.map(|entry| entry.expect("reading a folder").path());
    let found: Vec<_> = paths.filter(|path| path.is_dir()).collect();
    assert!(!found.is_empty(), "nothing is released");
    found
}

#[test]
fn extensions_of_a_released_contract_find_all_that_they_import() {
    for version in released() {
        let earlier = tempfile::tempdir().expect("making a folder");
        copy_contract(&version.join("wit"), earlier.path(), |text| text);
        is_upgrade(earlier.path()).unwrap_or_else(|error| panic!("{}: {error}", version.display()));
    }
}

#[test]
fn a_contract_that_lacks_something_or_has_it_otherwise_is_no_upgrade() {
    let contract = root().join("wit");
    for (now, before) in [
        ("enabled: func() -> enabled-set;", "enabled: func() -> u64;"),
        ("collect: func();", "collect: func(); further: func();"),
        ("handled: bool,", "handled: bool, further: bool,"),
        ("log: func(", "write: func(level: level); log: func("),
    ] {
        let earlier = tempfile::tempdir().expect("making a folder");
        let mut changed = false;
        copy_contract(&contract, earlier.path(), |text| {
            changed |= text.contains(now);
            text.replacen(now, before, 1)
        });
        assert!(changed, "the contract has no `{now}`");
        let upgrade = is_upgrade(earlier.path());
        // What a host may call and an old extension has beside, does no harm.
        assert_eq!(upgrade.is_ok(), now.starts_with("collect"), "{before}: {upgrade:?}");
    }
}

/// Copies the files of a contract, with some change, as those of an earlier version.
fn copy_contract(from: &Path, to: &Path, mut change: impl FnMut(String) -> String) {
    for entry in fs::read_dir(from).expect("there is a contract") {
        let path = entry.expect("reading a folder").path();
        let text = fs::read_to_string(&path).expect("reading a file of the contract");
        let name = path.file_name().expect("a file has a name");
        fs::write(to.join(name), change(text.replace(VERSION, EARLIER))).expect("writing a file");
    }
}

/// Whether an extension of the contract in this folder runs where today's is offered, or why not.
fn is_upgrade(earlier: &Path) -> Result<(), String> {
    let told = |error| format!("{error:#}");
    let mut resolve = Resolve::default();
    let (before, _) = resolve.push_dir(earlier).map_err(told)?;
    let (now, _) = resolve.push_dir(root().join("wit")).map_err(told)?;
    let before = resolve.select_world(&[before], None).map_err(told)?;
    let now = resolve.select_world(&[now], None).map_err(told)?;
    wit_component::semver_check(resolve, before, now).map_err(told)
}

#[test]
fn programs_that_speak_to_a_released_api_are_understood_and_understand() {
    let now = description(&root().join("docs"));
    for version in released() {
        let breaks = breaks(&description(&version), &now);
        assert!(breaks.is_empty(), "{}:\n{}", version.display(), breaks.join("\n"));
    }
}

#[test]
fn a_path_a_property_or_a_type_that_is_gone_breaks_the_api_and_what_is_new_does_not() {
    let now = description(&root().join("docs"));
    assert_eq!(breaks(&now, &now), [""; 0]);
    let path = "/api/extensions/debugging/budgets/{id}/release";
    let change = |change: &dyn Fn(&mut Value)| {
        let mut other = now.clone();
        change(&mut other);
        (breaks(&now, &other), breaks(&other, &now))
    };
    let (gone, new) = change(&|api| drop(api["paths"].as_object_mut().expect("paths").remove(path)));
    assert_eq!((gone.len(), new.len()), (1, 0), "{gone:?}");
    let schema = |api: &mut Value, change: &dyn Fn(&mut Value)| change(&mut api["components"]["schemas"]["Released"]);
    let (gone, new) = change(&|api| {
        schema(api, &|schema| schema["properties"]["further"] = serde_json::json!({"type": "string"}));
    });
    assert_eq!((gone.len(), new.is_empty()), (0, false), "{gone:?}");
    let (other, _) = change(&|api| {
        schema(api, &|schema| schema["properties"]["extension"]["type"] = "integer".into());
    });
    assert!(!other.is_empty());
    let (asked, _) = change(&|api| {
        api["components"]["schemas"]["ResolveAlert"]["required"] = serde_json::json!(["note", "further"]);
    });
    assert!(!asked.is_empty());
    // Programs tell problems apart by their codes: none goes, and others may come.
    let (gone, new) = change(&|api| {
        let codes = &mut api["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
        codes.as_array_mut().expect("codes are listed").retain(|code| code != "unknown-trace");
    });
    assert!(!gone.is_empty() && new.is_empty(), "{gone:?} {new:?}");
}

fn description(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("openapi.json")).expect("there is a description of the API");
    serde_json::from_str(&text).expect("it is JSON")
}

/// What of an API a later one has not, or has otherwise.
fn breaks(before: &Value, now: &Value) -> Vec<String> {
    let mut found = Comparison { before, now, under_way: Vec::new(), breaks: Vec::new() };
    for (path, methods) in entries(&before["paths"]) {
        for (method, operation) in entries(methods) {
            found.operation(&format!("{method} {path}"), operation, &now["paths"][path][method]);
        }
    }
    found.breaks
}

/// Which way what is described goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// To the host: what was left out may still be.
    Asked,
    /// From the host: what was there still is.
    Answered,
}

struct Comparison<'a> {
    before: &'a Value,
    now: &'a Value,
    /// The named schemas that are being compared, since they may hold themselves.
    under_way: Vec<&'a str>,
    breaks: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn breaks(&mut self, at: &str, why: &str) {
        self.breaks.push(format!("{at}: {why}"));
    }

    fn operation(&mut self, at: &str, before: &'a Value, now: &'a Value) {
        if now.is_null() {
            return self.breaks(at, "is gone");
        }
        let parameters = |operation: &'a Value| operation["parameters"].as_array().into_iter().flatten();
        let same = |one: &Value, other: &Value| one["name"] == other["name"] && one["in"] == other["in"];
        for parameter in parameters(before) {
            let at = format!("{at}, parameter {}", parameter["name"]);
            match parameters(now).find(|other| same(parameter, other)) {
                Some(other) => self.schema(&at, Way::Asked, &parameter["schema"], &other["schema"]),
                None => self.breaks(&at, "is gone"),
            }
        }
        for parameter in parameters(now).filter(|parameter| parameter["required"] == true) {
            if !parameters(before).any(|other| same(parameter, other) && other["required"] == true) {
                self.breaks(at, &format!("asks for the parameter {}", parameter["name"]));
            }
        }
        if now["requestBody"]["required"] == true && before["requestBody"]["required"] != true {
            self.breaks(at, "asks for a body");
        }
        self.content(&format!("{at}, body"), Way::Asked, &before["requestBody"], &now["requestBody"]);
        for (status, answer) in entries(&before["responses"]) {
            let at = format!("{at}, answer {status}");
            let other = named(self.now, &now["responses"][status]);
            if other.is_null() {
                self.breaks(&at, "is gone");
            } else {
                self.content(&at, Way::Answered, named(self.before, answer), other);
            }
        }
    }

    fn content(&mut self, at: &str, way: Way, before: &'a Value, now: &'a Value) {
        for (media, content) in entries(&before["content"]) {
            let other = &now["content"][media];
            if other.is_null() {
                self.breaks(at, &format!("{media} is gone"));
            } else {
                self.schema(at, way, &content["schema"], &other["schema"]);
            }
        }
    }

    fn schema(&mut self, at: &str, way: Way, before: &'a Value, now: &'a Value) {
        if let Some(name) = before["$ref"].as_str() {
            if self.under_way.contains(&name) {
                return;
            }
            self.under_way.push(name);
            self.schema(at, way, named(self.before, before), now);
            self.under_way.pop();
            return;
        }
        let now = named(self.now, now);
        for part in ["type", "format", "enum", "const", "oneOf", "anyOf", "allOf"] {
            // What may be one of several is compared as it is written: it is rare, and short.
            let same = match (part, &before[part], &now[part]) {
                ("enum", Value::Array(before), Value::Array(now)) => before.iter().all(|value| now.contains(value)),
                (_, before, now) => before == now,
            };
            if !same {
                self.breaks(at, &format!("its {part} is {} and was {}", now[part], before[part]));
            }
        }
        for (name, property) in entries(&before["properties"]) {
            let at = format!("{at}, {name}");
            let other = &now["properties"][name];
            if other.is_null() {
                self.breaks(&at, "is gone");
            } else {
                self.schema(&at, way, property, other);
            }
        }
        let required = |schema: &Value| schema["required"].as_array().cloned().unwrap_or_default();
        let (more, fewer) = match way {
            Way::Asked => (required(now), required(before)),
            Way::Answered => (required(before), required(now)),
        };
        for name in more.iter().filter(|name| !fewer.contains(name)) {
            self.breaks(at, &format!("{name} is {}", if way == Way::Asked { "asked for" } else { "not always there" }));
        }
        for part in ["items", "additionalProperties"] {
            if before[part].is_object() {
                self.schema(at, way, &before[part], &now[part]);
            }
        }
    }
}

/// What a reference stands for.
fn named<'a>(api: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(name) => api.pointer(name.trim_start_matches('#')).unwrap_or(&Value::Null),
        None => value,
    }
}

/// The entries of an object; none of anything else.
fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}
