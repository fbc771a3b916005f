//! Rules about the members' manifests.

use toml::{Table, Value};

use super::{House, SourceFile, Violation};

const SECTIONS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// Every member takes the workspace's lints.
pub(super) fn lints(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, manifest) in members(house) {
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
        if inherits != Some(true) {
            found.push(Violation::new(&file.path, "lints", "add `[lints]` with `workspace = true`"));
        }
    }
    found
}

/// Every dependency is declared once, in the root's manifest.
pub(super) fn versions(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, manifest) in members(house) {
        for (name, dependency) in dependencies(&manifest) {
            if dependency.get("workspace").and_then(Value::as_bool) != Some(true) {
                let advice = format!(
                    "{name} is declared here; declare it in [workspace.dependencies] and write `{name}.workspace = true`"
                );
                found.push(Violation::new(&file.path, "versions", advice));
            }
        }
    }
    found
}

/// The manifests of the members: those of packages that are in the workspace.
fn members(house: &House) -> impl Iterator<Item = (&SourceFile, Table)> {
    let of_a_member =
        |path: &str| house.packages.iter().any(|package| path.strip_suffix("/Cargo.toml") == package.folder.to_str());
    house
        .files_ending("/Cargo.toml")
        .filter(move |file| of_a_member(&file.path))
        .filter_map(|file| file.text.parse().ok().map(|manifest| (file, manifest)))
}

fn dependencies(manifest: &Table) -> Vec<(&String, &Value)> {
    let targets = manifest.get("target").and_then(Value::as_table).into_iter().flat_map(Table::values);
    let tables = std::iter::once(manifest).chain(targets.filter_map(Value::as_table));
    let sections = tables.flat_map(|table| SECTIONS.iter().filter_map(|section| table.get(*section)));
    sections.filter_map(Value::as_table).flat_map(Table::iter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;
    use crate::workspace::Package;

    fn house(manifest: &str) -> House {
        let packages = vec![Package { name: "one".to_owned(), folder: "one".into(), ..Package::default() }];
        House {
            packages,
            ..House::of(&[("one/Cargo.toml", manifest), ("data/Cargo.toml", "[dependencies]\nx = \"1\"")])
        }
    }

    #[test]
    fn a_member_inherits_the_lints() {
        assert!(places(lints, &house("[lints]\nworkspace = true")).is_empty());
        assert_eq!(places(lints, &house("[lints.rust]\nunsafe_code = \"allow\"")), ["one/Cargo.toml"]);
    }

    #[test]
    fn a_member_declares_no_version_of_its_own() {
        let good = "[dependencies]\na.workspace = true\nb = { workspace = true, features = [\"c\"] }";
        assert!(places(versions, &house(good)).is_empty());
        assert_eq!(places(versions, &house("[dev-dependencies]\na = \"1\"")), ["one/Cargo.toml"]);
        assert_eq!(places(versions, &house("[target.'cfg(unix)'.dependencies]\na = \"1\"")), ["one/Cargo.toml"]);
    }
}
