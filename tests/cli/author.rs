//! What the author of an extension does: make one, build it, call it, and see where it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use glasshouse::text;
use serde_json::{Value, json};

use crate::harness::{Place, end};

/// The versions of other crates that the tests are built with, so that nothing else is downloaded.
const LOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.lock");

/// The sources of this project.
pub(crate) const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where an extension is built: what is made for it, perhaps a standard library, is kept from one run of the tests to the next.
pub(crate) fn built_in(place: &Place, extension: &str) -> PathBuf {
    fs::copy(LOCK, place.path(extension).join("Cargo.lock")).expect("copying the versions");
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("greeter");
    fs::create_dir_all(&built).expect("making a folder");
    std::os::unix::fs::symlink(&built, place.path(extension).join("target")).expect("linking the folder");
    built
}

#[test]
fn a_new_extension_builds_and_answers_its_first_call_and_passes_its_own_test() {
    let place = Place::with_plugins(&[]);
    let made = place.glasshouse(&["new", "greeter", "--format", "json"]).expect_code(0).json();
    let files = ["Cargo.toml", "src/lib.rs", "extension.toml", ".gitignore"];
    assert_eq!(made, json!({"extension": "greeter", "folder": "greeter", "files": files}));
    let target = built_in(&place, "greeter");
    let built = place.glasshouse(&["build", "greeter"]).expect_code(0);
    let bytes = fs::metadata(place.path("greeter/greeter.wasm")).expect("it was built").len();
    assert!(built.stdout.starts_with("built greeter/greeter.wasm ("), "{built:?}");
    let again = place.glasshouse(&["build", "greeter", "--format", "json"]).expect_code(0).json();
    assert!(again["toolchain"].as_str().is_some_and(|toolchain| toolchain.starts_with("wasm32-wasip2")), "{again}");
    let toolchain = &again["toolchain"];
    assert_eq!(
        again,
        json!({"extension": "greeter", "component": "greeter/greeter.wasm", "file_bytes": bytes, "toolchain": toolchain})
    );
    check_inspection(&place);
    let payload = "\"Ada\"";
    let called = place.glasshouse(&["call", "greeter", "--event", "greet", "--payload", payload]).expect_code(0);
    assert_eq!(called.stdout, "\"Hello, Ada!\"\n");
    assert!(called.stderr.contains("greeting Ada name=Ada"), "{}", called.stderr);
    let again = place.glasshouse(&["new", "greeter"]).expect_code(3);
    assert!(again.stderr.contains("not empty"), "{}", again.stderr);

    let mut test = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    test.args(["test", "--offline", "--manifest-path"]).arg(place.path("greeter/Cargo.toml"));
    let tested = end(test.env("CARGO_TARGET_DIR", target)).expect_code(0);
    assert!(tested.stdout.contains("test tests::greets_by_name ... ok"), "{tested:?}");

    let source = place.read("greeter/src/lib.rs");
    place.write("greeter/src/lib.rs", &(source + "\nfn broken() -> u32 {\n    \"a text\"\n}\n"));
    let refused = place.glasshouse(&["build", "greeter"]).expect_code(4);
    for said in ["error[E0308]: mismatched types", "src/lib.rs:", "error: building greeter for wasm32-wasip2 failed"] {
        assert!(refused.stderr.contains(said), "{said}: {}", refused.stderr);
    }
    assert!(refused.stdout.is_empty(), "{refused:?}");
    let kept = fs::metadata(place.path("greeter/greeter.wasm")).expect("what was built before stays").len();
    assert_eq!(kept, bytes);
}

/// What `inspect` shows to people is what it says to programs.
fn check_inspection(place: &Place) {
    let told = place.glasshouse(&["inspect", "greeter", "--format", "json"]).expect_code(0).json();
    let shown = place.glasshouse(&["inspect", "greeter"]).expect_code(0).stdout;
    let (size, code) =
        (told["file_bytes"].as_u64().unwrap_or_default(), told["code_bytes"].as_u64().unwrap_or_default());
    let digest = told["digest"].as_str().and_then(|digest| digest.get(..12)).expect("it has a digest");
    let component = format!("component {}, compiled {}, digest {digest}", text::bytes(size), text::bytes(code));
    let mut expected =
        vec!["greeter (Greeter) 0.1.0".to_owned(), "Greets whoever it is told of.".to_owned(), component];
    for part in ["imports", "exports"] {
        expected.extend([String::new(), part.to_owned()]);
        let names = told[part].as_array().expect("a list");
        expected.extend(names.iter().map(|name| format!("  {}", name.as_str().expect("a name"))));
    }
    for part in ["subscribes to", "asks for", "would be granted", "would be denied", "granted, but not asked for"] {
        expected.extend([String::new(), format!("{part}: nothing")]);
    }
    expected.extend([String::new(), "settings".to_owned()]);
    assert_eq!(shown.lines().take(expected.len()).collect::<Vec<_>>(), expected);
    let imports = told["imports"].to_string();
    assert!(imports.contains("glasshouse:extension/debugging@0.1.0"), "{imports}");
    assert!(told["exports"].to_string().contains("glasshouse:extension/handler@0.1.0"), "{told}");
    // The table of settings has a head, and then a line for each: the key first.
    let settings = told["settings"].as_array().expect("a list");
    let keys: Vec<_> = settings.iter().map(|setting| setting["key"].as_str().expect("a key")).collect();
    let rows = shown.lines().skip(expected.len() + 1).map(|line| line.split_whitespace().next().unwrap_or_default());
    assert_eq!(rows.collect::<Vec<_>>(), keys);
}

#[test]
fn an_extension_is_made_and_built_with_an_sdk_that_lies_elsewhere() {
    let place = Place::with_plugins(&[]);
    // In a folder that is there the next time as well, so that what is built of it is not built again under another name each time.
    let sources = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elsewhere");
    for folder in ["guest-sdk", "wit"] {
        copy_folder(&Path::new(SOURCES).join(folder), &sources.join(folder));
    }
    let root = fs::read_to_string(Path::new(SOURCES).join("Cargo.toml")).expect("the workspace");
    let (before, rest) = root.split_once("members = [").expect("it has members");
    let (_, after) = rest.split_once(']').expect("they end");
    let members = "members = [\"guest-sdk\", \"guest-sdk/wire\", \"guest-sdk/macros\"]";
    fs::write(sources.join("Cargo.toml"), [before, members, after].concat()).expect("writing the workspace");

    let sdk = sources.join("guest-sdk").display().to_string();
    place.glasshouse(&["new", "faraway", "--sdk", &sdk]).expect_code(0);
    let manifest = place.read("faraway/Cargo.toml");
    assert!(manifest.contains(&format!("glasshouse-sdk = {{ path = \"{sdk}\" }}")), "{manifest}");
    built_in(&place, "faraway");
    place.glasshouse(&["build", "faraway"]).expect_code(0);
    let called = place.glasshouse(&["call", "faraway", "--event", "greet", "--payload", "\"Ada\""]).expect_code(0);
    assert_eq!(called.stdout, "\"Hello, Ada!\"\n");

    let refused = place.glasshouse(&["new", "nowhere", "--sdk", "plugins"]).expect_code(2);
    assert!(refused.stderr.contains("there is no Cargo.toml") && !place.path("nowhere").exists(), "{refused:?}");
}

/// Copies files that differ, so that what was built of the others is up to date.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("making a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &copy);
        } else {
            let bytes = fs::read(&source).expect("reading a file");
            if fs::read(&copy).ok().as_ref() != Some(&bytes) {
                fs::write(&copy, bytes).expect("copying a file");
            }
        }
    }
}

#[test]
fn what_is_no_extension_is_neither_built_nor_made() {
    let place = Place::with_plugins(&[]);
    let ended = place.glasshouse(&["build", "plugins"]).expect_code(3);
    assert!(ended.stderr.contains("extension.toml") && ended.stderr.contains("glasshouse new"), "{}", ended.stderr);
    place.glasshouse(&["new", "Not An Id"]).expect_code(2);
}

#[test]
fn a_call_shows_the_reply_the_cost_and_the_logs() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("payload.json", "{\"from\": \"a file\"}");
    let call = ["call", "plugins/neighbour.wasm", "--event", "echo", "--payload"];
    let ended = place.glasshouse(&[&call[..], &["@payload.json"]].concat()).expect_code(0);
    assert_eq!(ended.stdout.trim(), "{\"from\": \"a file\"}");
    assert!(ended.stderr.contains("echoed number=1 size=18"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" fuel, ") && ended.stderr.contains(" CPU, "), "{}", ended.stderr);
    let from_input = place.glasshouse_with_input(&[&call[..], &["-"]].concat(), "[1]").expect_code(0);
    assert_eq!(from_input.stdout.trim(), "[1]");
}

#[test]
fn a_panic_is_shown_with_its_place_and_its_stack() {
    let place = Place::with_plugins(&["panic"]);
    let call = ["call", "plugins/panic.wasm", "--event", "panic", "--payload", "\"noon\""];
    let shown = place.glasshouse(&call).expect_code(4).stderr;
    for expected in ["the kettle boiled dry: noon", "tests/guests/examples/panic.rs:", "boil", "what to do:"] {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
    let context = ["--user", "ada", "--tenant", "engines", "--correlation-id", "c-1", "--format", "json"];
    let json = place.glasshouse(&[&call[..], &context].concat()).expect_code(4).json();
    assert_eq!((&json["ok"], &json["error"]["kind"]), (&json!(false), &json!("panic")));
    let stack = json["error"]["stack"].as_array().expect("there is a stack");
    let boil = stack.iter().find(|frame| frame["function"].as_str().is_some_and(|name| name.contains("boil")));
    let place_of_boil = boil.map(ToString::to_string).unwrap_or_default();
    assert!(place_of_boil.contains("tests/guests/examples/panic.rs"), "{stack:?}");
}

#[test]
fn what_a_guest_writes_cannot_move_the_cursor() {
    let place = Place::with_plugins(&["stdio"]);
    let ended = place.glasshouse(&["call", "plugins/stdio.wasm", "--event", "speak"]).expect_code(0);
    assert!(ended.stderr.contains("\\u{1b}[31mred"), "{}", ended.stderr);
    let raw = |text: &str| text.chars().any(|character| character.is_control() && character != '\n');
    assert!(!raw(&ended.stderr) && !raw(&ended.stdout), "{ended:?}");
}

#[test]
fn the_second_call_compiles_nothing() {
    let place = Place::with_plugins(&["neighbour"]);
    let compiled = || -> Option<Value> {
        let mut command = place.command(&["call", "plugins/neighbour.wasm", "--event", "count", "--format", "json"]);
        let shown = end(command.env("XDG_CACHE_HOME", place.path("cache"))).expect_code(0).json();
        let started = shown["logs"].as_array()?.iter().find(|log| log["message"] == "started")?.clone();
        Some(started["fields"]["compiled"].clone())
    };
    assert_eq!(compiled(), Some(json!(true)));
    assert_eq!(compiled(), Some(json!(false)));
}
