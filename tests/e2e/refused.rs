//! Files that are never instantiated: what each has too much of, or is made of, is told by a typed record; the host gets its memory back, and
//! the neighbours are served all the while. What is refused of a file's bytes one by one is in `loading.rs`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::{Blame, FailureKind};
use glasshouse_runtime::{CompileSettings, Extension, Status, SystemClock};
use wasm_encoder::{
    CodeSection, Component, CustomSection, DataSection, FunctionSection, Module, ModuleSection, RawSection, TypeSection,
};

use crate::compiling::{hard, scattered};
use crate::harness::{House, beside, compile, failures, guest, logs_with, scratch};
use crate::hostile::{ROUNDS, check_level, house, neighbour, resident_bytes};

/// A file that is refused: its name, how it is classified, and what the cause says.
struct Refused {
    name: &'static str,
    file: PathBuf,
    kind: FailureKind,
    words: &'static [&'static str],
}

/// A guest that is refused as what it is.
fn unfit(name: &'static str, words: &'static [&'static str]) -> Refused {
    Refused { name, file: guest(name), kind: FailureKind::LoadRefused, words }
}

/// A file of bytes.
fn made(name: &'static str, bytes: &[u8], kind: FailureKind, words: &'static [&'static str]) -> Refused {
    Refused { name, file: scratch(&format!("refused-{name}.wasm"), bytes), kind, words }
}

/// Checks what becomes of a file, each time that it is started.
async fn check(house: &House, neighbour: &Extension, Refused { name, file, kind, words }: &Refused) {
    let mut level = 0;
    for round in 0..=ROUNDS {
        let extension = house.start(&format!("{name}-{round}"), file, |_| {});
        let status = beside(neighbour, extension.loaded()).await;
        let Status::Failed { cause } = status else { panic!("{name} is {}", status.word()) };
        for expected in *words {
            assert!(cause.contains(expected), "{name}: {expected:?} is not in {cause}");
        }
        let all = failures(&extension);
        let [(_, failure)] = &all[..] else { panic!("{name}: {} failures, but {cause}", all.len()) };
        assert_eq!((failure.kind, failure.call.as_str()), (*kind, "load"), "{name}: {failure}");
        assert_eq!(failure.kind.blame(), Blame::Guest, "{name}");
        assert_eq!(logs_with(&extension, "failed to start").len(), 1, "{name}");
        assert_eq!(extension.usage().memory_bytes, 0, "{name}");
        if round == 0 {
            level = resident_bytes();
        }
    }
    check_level(name, level);
}

/// A component with a section of its own.
fn with_custom(name: &str, data: &[u8]) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&CustomSection { name: name.into(), data: data.into() });
    component.finish()
}

/// A component that exports one function under very many names.
fn many_exports(exports: usize) -> Vec<u8> {
    let names: Vec<_> = (0..exports).map(|number| format!("(export \"e{number}\" (func $f))")).collect();
    let text = format!(
        "(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m)) \
         (func $f (canon lift (core func $i \"f\"))) {})",
        names.concat()
    );
    wat::parse_str(text).expect("it assembles")
}

/// A component whose data is a little more than all that is accepted.
fn much_data() -> Vec<u8> {
    let mut data = DataSection::new();
    data.passive(std::iter::repeat_n(7, 129 << 20));
    let mut component = Component::new();
    component.section(&ModuleSection(Module::new().section(&data)));
    component.finish()
}

/// Components within each other.
fn nested(depth: usize) -> Vec<u8> {
    let mut nested = wat::parse_str("(component (core module))").expect("it assembles");
    for _ in 0..depth {
        let mut outer = Component::new();
        outer.section(&RawSection { id: 4, data: &nested });
        nested = outer.finish();
    }
    nested
}

/// A component of many functions that do nothing.
fn many_functions(count: usize) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..count {
        functions.function(0);
        code.raw(&[0, 0x0b]);
    }
    let mut component = Component::new();
    component.section(&ModuleSection(Module::new().section(&types).section(&functions).section(&code)));
    component.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_the_host_is_refused_with_the_cause_and_leaves_nothing_behind() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let precompiled = house.runtime.engine().precompile_component(b"\0asm\x0d\0\x01\0").expect("it compiles");
    let precompiled = made(
        "precompiled",
        &precompiled,
        FailureKind::LoadRefused,
        &["native or precompiled code, which is never loaded"],
    );
    for refused in [
        unfit("wrong-world", &["it does not fit this host", "acme:coffee/machine@1.0.0"]),
        unfit("exceptions", &["does not compile", "exceptions"]),
        unfit("garbage", &["does not compile", "gc"]),
        unfit("shared-memory", &["does not compile", "threads"]),
        unfit("wide-memory", &["does not compile", "memory64"]),
        precompiled,
    ] {
        check(&house, &neighbour, &refused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gigantic_files_say_what_they_have_too_much_of_and_leave_nothing_behind() {
    let house = house();
    let neighbour = neighbour(&house).await;
    let breach = FailureKind::LoadBreach;
    for refused in [
        made("much-data", &much_data(), breach, &["of data segments"]),
        made("many-exports", &many_exports(2_000), breach, &["exports"]),
        made("names", &with_custom("component-name", &vec![0; 33 << 20]), breach, &["name"]),
        made("nested", &nested(40), breach, &["components within each other"]),
        made("many-functions", &many_functions(100_001), breach, &["functions; up to 100\u{202f}000 are accepted"]),
    ] {
        check(&house, &neighbour, &refused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bombs_for_the_compiler_fail_with_their_figures_and_leave_nothing_behind() {
    // It is compiled for all hosts of the tests before one has but a second for it.
    neighbour(&house()).await;
    for (seconds, memory_bytes, name, bytes, words) in [
        (1, 1 << 30, "hard", hard(3_000, 3_000), &["takes more than 1.00 s of CPU time", "raise host.compile_time"]),
        (30, 256 << 20, "scattered", scattered(), &["takes more than 256 MiB of memory", "raise host.compile_memory"]),
    ] {
        let house = House::with(|settings| {
            settings.clock = Arc::new(SystemClock::new());
            settings.compile = CompileSettings { time: Duration::from_secs(seconds), memory_bytes, ..compile() };
            settings.cache_folder = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        });
        let neighbour = neighbour(&house).await;
        check(&house, &neighbour, &made(name, &bytes, FailureKind::LoadBreach, words)).await;
    }
}
