//! An application that embeds the host: a shop whose prices are made by rules, which are extensions.
//!
//! The shop has a WIT world of its own (`wit/rules.wit`). It offers rules the import `prices`, and calls their export
//! `quotes`. Budgets, records and everything else is the host's. Run it with `cargo run --example embedder`.
#![expect(clippy::print_stdout, reason = "an application's own output")]

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use glasshouse::wasmtime::component::HasSelf;
use glasshouse::{Host, State};

use bindings::Rule;
use bindings::shop::rules::prices;

/// What wasmtime makes of the world: the trait `prices::Host` for the import, and `Rule` to call the export.
#[allow(missing_docs, clippy::pedantic, reason = "generated from wit/rules.wit, where every item is documented")]
mod bindings {
    glasshouse::wasmtime::component::bindgen!({
        path: "examples/wit",
        world: "rule",
        exports: { default: async },
        wasmtime_crate: glasshouse::wasmtime,
    });
}

/// The rule that the example runs; an application has its rules in a plugin directory.
const RULE: &str = include_str!("wit/bulk-discount.wat");

/// What the shop knows: each instance of a rule has its own.
struct Shop {
    cents: HashMap<&'static str, u32>,
    lookups: u64,
}

impl prices::Host for Shop {
    fn lookup(&mut self, article: String) -> Option<u32> {
        self.lookups += 1;
        self.cents.get(article.as_str()).copied()
    }
}

/// What came of the example.
#[derive(Debug, PartialEq)]
struct Outcome {
    quotes: Vec<Option<u32>>,
    lookups: u64,
    calls: u64,
    fuel: u64,
}

async fn run(plugins: &Path) -> Result<Outcome, Box<dyn Error>> {
    std::fs::write(plugins.join("bulk-discount.wasm"), wat::parse_str(RULE)?)?;
    let host = Host::builder()
        .plugin_dir(plugins)
        .without_cache()
        .config_text("[defaults.budget]\nfuel_per_call = 100000\ndeadline = \"100ms\"", plugins)
        .import(|linker| prices::add_to_linker::<State, HasSelf<Shop>>(linker, |state| state.embedder()))
        .embedder_data(|_| Shop { cents: HashMap::from([("apple", 30), ("pear", 45)]), lookups: 0 })
        .start()
        .await?;
    let rule = host.extension("bulk-discount").ok_or("the rule is not installed")?;

    let mut quotes = Vec::new();
    for (article, pieces) in [("apple", 2), ("apple", 12), ("plum", 1)] {
        let quote = rule.call_exports("quote", move |store, instance| {
            Box::pin(async move {
                let rule = Rule::new(&mut *store, instance)?;
                rule.shop_rules_quotes().call_quote(store, article, pieces).await
            })
        });
        quotes.push(quote.await?);
    }
    let lookups = rule.call_exports("count lookups", |store, _| {
        Box::pin(async move { Ok(store.data_mut().embedder::<Shop>().lookups) })
    });
    let lookups = lookups.await?;

    for call in rule.invocations().latest(10) {
        println!(
            "{} {:<14} {:<6} {:>6} fuel, {} ns of CPU",
            call.head.time,
            call.name,
            call.outcome,
            glasshouse::text::fuel(call.fuel),
            call.guest_cpu_ns
        );
    }
    let usage = rule.usage();
    host.shutdown(Duration::from_secs(1)).await;
    Ok(Outcome { quotes, lookups, calls: usage.calls, fuel: usage.fuel })
}

fn main() -> Result<(), Box<dyn Error>> {
    // Before anything else, threads included: the host starts this program anew to compile a rule.
    glasshouse::worker::run_if_asked();
    glasshouse::tokio_builder().build()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let plugins = std::env::temp_dir().join(format!("glasshouse-embedder-{}", std::process::id()));
    std::fs::create_dir_all(&plugins)?;
    let outcome = run(&plugins).await;
    std::fs::remove_dir_all(&plugins)?;
    println!("{:?}", outcome?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_embedders_imports_and_exports_are_metered_like_any_other() {
        let plugins = tempfile::tempdir().expect("a folder");
        let outcome = run(plugins.path()).await.expect("it runs");
        assert_eq!(outcome.quotes, [Some(60), Some(324), None]);
        assert_eq!((outcome.lookups, outcome.calls), (3, 4));
        assert!(outcome.fuel > 0);
    }
}
