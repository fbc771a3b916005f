//! The reference of configuration keys, printed from their table.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, Scope};

/// All keys, in the order of the reference.
pub fn reference() -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
}

/// What the reference says before its table.
const INTRODUCTION: &str = "\
# The configuration

Every key, from the table that the host reads its configuration by. *Where* says where a key may stand: in an extension's `extension.toml`
(manifest), or in `glasshouse.toml` under `defaults` (for all extensions), `extensions.<id>` (for one) or `host`. A manifest can ask for less than the operator
allows, and never for more. Over the file go variables (`GLASSHOUSE_DEFAULTS__BUDGET__DEADLINE=2s`), over these flags
(`--set defaults.budget.deadline=2s`). Below all of these stand OpenTelemetry's variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, see otlp.md).
`glasshouse config show plugins` shows what is in effect, and where each value comes from.

| Key | Type | Default | Allowed | Where | Meaning |
|---|---|---|---|---|---|
";

/// The reference in Markdown, for the documentation.
pub fn reference_markdown() -> String {
    let mut table = String::from(INTRODUCTION);
    for key in reference() {
        let default = if key.default_text().is_empty() { String::new() } else { format!("`{}`", key.default_text()) };
        let bounds = key.bounds().map_or_else(String::new, |(least, most)| format!("{least} to {most}"));
        let places: Vec<_> = key.scopes().iter().map(|scope| place(*scope)).collect();
        let (path, kind, meaning) = (key.path(), key.kind(), key.meaning());
        let _ = writeln!(table, "| `{path}` | {kind} | {default} | {bounds} | {} | {meaning} |", places.join(", "));
    }
    table
}

fn place(scope: Scope) -> &'static str {
    match scope {
        Scope::Manifest => "manifest",
        Scope::Extension => "`extensions.<id>`",
        Scope::Defaults => "`defaults`",
        Scope::Host => "host",
    }
}
