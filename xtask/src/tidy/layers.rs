//! Rules about which crate may use which.

use super::{House, Violation};

/// The crates with a fixed place: each may use these of ours and no others.
const LAYERS: [(&str, &[&str]); 13] = [
    ("glasshouse-wire", &[]),
    ("glasshouse-model", &["glasshouse-wire"]),
    ("glasshouse-telemetry", &["glasshouse-model"]),
    ("glasshouse-export", &["glasshouse-model", "glasshouse-telemetry"]),
    ("glasshouse-otlp", &["glasshouse-export", "glasshouse-model", "glasshouse-telemetry", "glasshouse-trust"]),
    ("glasshouse-files", &["glasshouse-export", "glasshouse-model", "glasshouse-telemetry"]),
    ("glasshouse-trust", &[]),
    ("glasshouse-runtime", &["glasshouse-model", "glasshouse-telemetry", "glasshouse-trust"]),
    ("glasshouse-client", &["glasshouse-trust"]),
    ("glasshouse-server", &["glasshouse-client", "glasshouse-model"]),
    ("glasshouse-toolchain", &[]),
    ("glasshouse-sdk", &["glasshouse-sdk-macros", "glasshouse-wire"]),
    ("xtask", &["glasshouse-toolchain"]),
];

/// Crates of others that only some of ours may use, by the start of their names.
const OWNED: [(&str, &[&str]); 2] =
    [("wasmtime", &["glasshouse-runtime", "glasshouse-benches"]), ("axum", &["glasshouse-server"])];

/// Data flows one way: a crate uses only those below it.
pub(super) fn downwards(house: &House) -> Vec<Violation> {
    let ours = |name: &str| house.packages.iter().any(|package| package.name == name);
    let mut found = Vec::new();
    for package in &house.packages {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name) else { continue };
        for dependency in package.dependencies.iter().filter(|name| ours(name) && !allowed.contains(&name.as_str())) {
            let place = format!("{}/Cargo.toml", package.folder.display());
            let may =
                if allowed.is_empty() { "none of ours".to_owned() } else { format!("only {}", allowed.join(", ")) };
            let advice =
                format!("{} uses {dependency}, but may use {may}; move the code to the right floor", package.name);
            found.push(Violation::new(place, "layers", advice));
        }
    }
    found
}

/// Some crates of others have one owner among ours.
pub(super) fn owners(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in &house.packages {
        for (prefix, owners) in OWNED.iter().filter(|(_, owners)| !owners.contains(&package.name.as_str())) {
            for dependency in package.dependencies.iter().filter(|name| name.starts_with(prefix)) {
                let place = format!("{}/Cargo.toml", package.folder.display());
                let advice = format!("{dependency} belongs to {}; go through that crate instead", owners[0]);
                found.push(Violation::new(place, "owners", advice));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::places;
    use crate::workspace::Package;

    fn house(packages: &[(&str, &[&str])]) -> House {
        let package = |&(name, dependencies): &(&str, &[&str])| Package {
            name: name.to_owned(),
            folder: name.into(),
            dependencies: dependencies.iter().map(|&name| name.to_owned()).collect(),
            ..Package::default()
        };
        House { packages: packages.iter().map(package).collect(), ..House::default() }
    }

    #[test]
    fn telemetry_uses_model_and_nothing_else_of_ours() {
        let good = house(&[("glasshouse-telemetry", &["glasshouse-model", "thiserror"]), ("glasshouse-model", &[])]);
        assert!(places(downwards, &good).is_empty());
        let bad = house(&[("glasshouse-telemetry", &["glasshouse-runtime"]), ("glasshouse-runtime", &[])]);
        assert_eq!(places(downwards, &bad), ["glasshouse-telemetry/Cargo.toml"]);
    }

    #[test]
    fn wasmtime_belongs_to_the_runtime() {
        let house = house(&[
            ("glasshouse-runtime", &["wasmtime", "wasmtime-wasi"]),
            ("glasshouse-benches", &["wasmtime"]),
            ("glasshouse", &["wasmtime-wasi", "axum"]),
        ]);
        assert_eq!(places(owners, &house), ["glasshouse/Cargo.toml", "glasshouse/Cargo.toml"]);
    }
}
