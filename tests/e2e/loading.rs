//! What can be loaded, what cannot and why, and what is compiled only once.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use glasshouse_model::FailureKind;
use glasshouse_model::settings::Settings;
use glasshouse_runtime::{CallError, ExtensionSpec, RuntimeError, Status, inspect};
use wasm_encoder::{CodeSection, Component, Function, FunctionSection, Module, ModuleSection, TypeSection};

use crate::harness::{House, LONG, ask, beside, call, compile, failures, guest, logs_with, scratch};

/// Bytes of a real component, from which broken ones are made.
fn real() -> Vec<u8> {
    fs::read(guest("neighbour")).expect("the guest is built")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_component_is_refused_with_the_reason_and_stops_nobody() {
    let house = House::new();
    let neighbour = house.ready("neighbour").await;
    let real = real();
    let mut flipped = real.clone();
    for byte in flipped.iter_mut().skip(1000).step_by(97) {
        *byte ^= 0x55;
    }
    let precompiled = house.runtime.engine().precompile_component(b"\0asm\x0d\0\x01\0").expect("it compiles");
    let files: [(&str, &[u8], &str); 9] = [
        ("empty", b"", "it does not start with the bytes of WebAssembly"),
        ("text", b"#!/bin/sh\necho hello\n", "it does not start with the bytes of WebAssembly"),
        ("elf", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0", "native or precompiled code, which is never loaded"),
        ("precompiled", &precompiled, "native or precompiled code, which is never loaded"),
        ("core-module", b"\0asm\x01\0\0\0", "it is a core module; build it for the target wasm32-wasip2"),
        ("half-a-header", &real[..6], "cut off"),
        ("truncated", &real[..real.len() / 2], "does not compile"),
        ("one-byte-short", &real[..real.len() - 1], "does not compile"),
        ("flipped", &flipped, "does not compile"),
    ];
    for (id, bytes, expected) in files {
        let file = scratch(&format!("broken-{id}.wasm"), bytes);
        let cause = beside(&neighbour, house.refused(id, &file)).await;
        assert!(cause.contains(expected), "{id}: {cause}");
        assert!(cause.contains(&format!("broken-{id}.wasm")), "the file is named: {cause}");
        let extension = house.runtime.extension(id).expect("it is listed");
        assert_eq!(logs_with(&extension, "failed to start").len(), 1);
        let [(_, failure)] = failures(&extension).try_into().expect("one failure is stored");
        assert_eq!((failure.kind, failure.call.as_str()), (FailureKind::LoadRefused, "load"), "{id}");
        assert!(matches!(call(&extension, "echo", "").await, Err(CallError::Unavailable(_))));
    }
    assert_eq!(house.runtime.extensions().len(), files.len() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_is_named() {
    let house = House::new();
    let cause = house.refused("nowhere", Path::new("/no/such/file.wasm")).await;
    assert!(cause.starts_with("cannot read /no/such/file.wasm: "), "{cause}");
    let folder = tempfile::tempdir().expect("a folder");
    let cause = house.refused("folder", folder.path()).await;
    assert!(cause.contains("it is not a file"), "{cause}");
    // Whoever opens it waits for somebody to write to it.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("making a pipe").success());
    let cause = house.refused("pipe", &pipe).await;
    assert!(cause.contains("it is not a file"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_is_changed_in_place_is_another_at_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("component.wasm");
    for content in 0..5 {
        // A component of one custom section, as large and as old as the one before.
        fs::write(&path, [b"\0asm\x0d\0\x01\0\0\x03\x01m".as_slice(), &[content]].concat()).expect("writing it");
        let file = OpenOptions::new().append(true).open(&path).expect("opening it");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).expect("setting its time");
        let house = House::with_cache(Some(folder.path().join("cache")));
        let extension = house.start("changed", &path, |_| {});
        assert_eq!(extension.loaded().await, Status::Ready);
        let found = extension.component().expect("it is loaded");
        let expected = inspect(&path, &compile()).expect("it compiles");
        assert_eq!((found.digest, found.file_bytes, found.compiled), (expected.digest, expected.file_bytes, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_of_another_world_is_told_what_this_one_offers() {
    let house = House::new();
    let cause = house.refused("wrong-world", &guest("wrong-world")).await;
    assert!(cause.contains("it does not fit this host") && cause.contains("acme:coffee/machine@1.0.0"), "{cause}");
    assert!(cause.contains("WASI 0.2"), "{cause}");
    let seen = inspect(&guest("wrong-world"), &compile()).expect("it can be inspected all the same");
    assert_eq!(seen.imports, ["acme:coffee/machine@1.0.0 (brew)"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_without_exports_runs_and_takes_no_events() {
    let house = House::new();
    let extension = house.ready("mute").await;
    assert!(matches!(call(&extension, "anything", "").await, Err(CallError::NoHandler)));
    assert_eq!(extension.status(), Status::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_extensions_cannot_have_one_id() {
    let house = House::new();
    house.ready("neighbour").await;
    let spec = ExtensionSpec {
        id: "neighbour".parse().expect("an id"),
        version: None,
        component: guest("neighbour"),
        subscriptions: Vec::new(),
        settings: Settings::default(),
    };
    assert!(matches!(house.runtime.start(spec), Err(RuntimeError::Duplicate(_))));
}

/// Starts a neighbour with a cache; tells whether it had to be compiled, once it has replied.
async fn compiled(cache: &Path) -> bool {
    let house = House::with_cache(Some(cache.to_owned()));
    let extension = house.ready("neighbour").await;
    assert_eq!(ask(&extension, "echo", "x").await, "x");
    // At its end it unmaps the artefact, which a test may then damage.
    house.runtime.shutdown(LONG).await;
    extension.component().expect("it is loaded").compiled
}

fn artefacts(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cache).expect("the cache is there").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "artefact")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_start_compiles_nothing_and_a_damaged_artefact_is_compiled_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    assert!(compiled(&cache).await);
    assert!(!compiled(&cache).await);
    let [artefact] = artefacts(&cache).try_into().expect("one component makes one artefact");
    let good = fs::read(&artefact).expect("the artefact can be read");
    let half = good.len() / 2;
    let mut flipped = good.clone();
    flipped[half] ^= 1;
    let code_alone = good[..good.len() - 16].to_vec();
    for damaged in [flipped, code_alone, good[..half].to_vec(), Vec::new()] {
        fs::remove_file(&artefact).expect("removing the artefact");
        fs::write(&artefact, damaged).expect("putting a damaged one in its place");
        assert!(compiled(&cache).await);
        assert!(!compiled(&cache).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_cannot_be_used_costs_time_only() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    assert!(compiled(file.path()).await);
    assert!(compiled(file.path()).await);
}

/// A component of many functions, which takes a compiler many times as long as a small one.
pub(crate) fn large() -> Vec<u8> {
    const FUNCTIONS: u32 = 2_000;
    const ROUNDS: u32 = 400;
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([wasm_encoder::ValType::I64], [wasm_encoder::ValType::I64]);
    for function in 0..FUNCTIONS {
        functions.function(0);
        let mut body = Function::new([]);
        let mut instructions = body.instructions();
        for round in 0..ROUNDS {
            instructions.local_get(0).i64_const(i64::from(function ^ round)).i64_rotl();
            instructions.local_get(0).i64_xor().local_set(0);
        }
        instructions.local_get(0).end();
        code.function(&body);
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    let mut component = Component::new();
    component.section(&ModuleSection(&module));
    component.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loading_a_large_component_delays_no_small_one() {
    let house = House::with_cache(None);
    let path = scratch("large.wasm", &large());
    let large: Vec<_> = ["large-1", "large-2", "large-3"].map(|id| house.start(id, &path, |_| {})).into();
    let neighbour = house.ready("neighbour").await;
    assert_eq!(ask(&neighbour, "echo", "first").await, "first");
    assert!(large.iter().all(|extension| extension.status() == Status::Loading));
    assert!(neighbour.component().expect("it is loaded").compiled);
}
