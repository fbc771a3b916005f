//! Reads the artefacts' names and paths out of cargo's JSON messages.

use std::path::PathBuf;

use serde_json::Value;

/// A WebAssembly file that a build made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The package's name for a library, the target's own name for an example or a program.
    pub name: String,
    /// Where the file is.
    pub path: PathBuf,
}

/// The artefact in one line of `cargo build --message-format=json`, if the line reports a `.wasm` file of an extension.
pub(crate) fn artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let target = &message["target"];
    if !has(&target["crate_types"], "cdylib") && !has(&target["crate_types"], "bin") {
        return None;
    }
    let path = message["filenames"].as_array()?.iter().filter_map(Value::as_str).find(|name| {
        let extension = PathBuf::from(name);
        extension.extension().is_some_and(|extension| extension == "wasm")
    })?;
    let name = if has(&target["kind"], "cdylib") {
        package_name(message["package_id"].as_str()?)?
    } else {
        target["name"].as_str()?
    };
    Some(Artifact { name: name.to_owned(), path: PathBuf::from(path) })
}

fn has(list: &Value, word: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == word))
}

/// The name in a package id specification: `<url>#<name>@<version>`, or `<url>/<name>#<version>` where the folder has
/// the package's name (<https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>).
fn package_name(id: &str) -> Option<&str> {
    let (url, fragment) = id.rsplit_once('#')?;
    match fragment.split_once('@') {
        Some((name, _version)) => Some(name),
        None => url.rsplit('/').next(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Artifact, artifact};

    fn check(line: &str, expect: Option<(&str, &str)>) {
        let expect = expect.map(|(name, path)| Artifact { name: name.into(), path: path.into() });
        assert_eq!(artifact(line), expect, "{line}");
    }

    #[test]
    fn a_library_is_named_after_its_package() {
        check(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/access-log#0.1.0","target":{"kind":["cdylib"],
            "crate_types":["cdylib"],"name":"access_log"},"filenames":["/t/access_log.d","/t/access_log.wasm"]}"#,
            Some(("access-log", "/t/access_log.wasm")),
        );
        check(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/folder#access-log@0.1.0","target":
            {"kind":["cdylib","rlib"],"crate_types":["cdylib","rlib"],"name":"access_log"},
            "filenames":["/t/access_log.wasm","/t/libaccess_log.rlib"]}"#,
            Some(("access-log", "/t/access_log.wasm")),
        );
    }

    #[test]
    fn an_example_is_named_after_itself() {
        check(
            r#"{"reason":"compiler-artifact","package_id":"path+file:///w/tests/guests#glasshouse-guests@0.1.0","target":
            {"kind":["example"],"crate_types":["cdylib"],"name":"log-flood"},"filenames":["/t/examples/log_flood.wasm"]}"#,
            Some(("log-flood", "/t/examples/log_flood.wasm")),
        );
    }

    #[test]
    fn what_is_no_wasm_file_is_passed_over() {
        check(r#"{"reason":"build-finished","success":true}"#, None);
        check("not json", None);
        check(
            r#"{"reason":"compiler-artifact","package_id":"p#1","target":{"kind":["lib"],"crate_types":["lib"],"name":"x"},
            "filenames":["/t/libx.rlib"]}"#,
            None,
        );
        check(
            r#"{"reason":"compiler-artifact","package_id":"p#1","target":{"kind":["cdylib"],"crate_types":["cdylib"],
            "name":"x"},"filenames":["/t/libx.so"]}"#,
            None,
        );
    }
}
