//! Compiling is contained: components that are made to be hard to compile fail with their figures, and delay nobody.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use glasshouse_model::FailureKind;
use glasshouse_runtime::{CompileSettings, Containment, Status, TooMuch, inspect};
use rustix::process::{Pid, Signal, kill_process};
use wasm_encoder::{
    BlockType, CodeSection, Component, ConstExpr, DataSection, Function, FunctionSection, MemorySection, MemoryType,
    Module, ModuleSection, TypeSection, ValType,
};

use crate::harness::{House, ask, beside, compile, failures, guest, scratch};

/// A component with one module.
fn component(module: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    component.finish()
}

/// A few kilobytes that a compiler takes long for: every local changes in a loop within loops, so each is a parameter of each.
fn hard(locals: u32, loops: u32) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    functions.function(0);
    let mut body = Function::new([(locals, ValType::I64)]);
    let mut instructions = body.instructions();
    for _ in 0..loops {
        instructions.loop_(BlockType::Empty);
    }
    for local in 0..locals {
        instructions.local_get(local).i64_const(1).i64_add().local_set(local);
    }
    instructions.local_get(0).i32_wrap_i64().br_if(0);
    for _ in 0..loops {
        instructions.end();
    }
    instructions.end();
    code.function(&body);
    component(Module::new().section(&types).section(&functions).section(&code))
}

/// A component of many data segments far from each other, for each of which the compiler keeps pages of memory.
fn scattered() -> Vec<u8> {
    const SEGMENTS: u32 = 90_000;
    let (mut memories, mut data) = (MemorySection::new(), DataSection::new());
    memories.memory(MemoryType {
        minimum: 60_000,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    for segment in 0..SEGMENTS {
        data.active(0, &ConstExpr::i32_const((segment * 20_000) as i32), [1]);
    }
    component(Module::new().section(&memories).section(&data))
}

fn within(time_seconds: u64, memory_bytes: u64) -> CompileSettings {
    CompileSettings { time: Duration::from_secs(time_seconds), memory_bytes, ..compile() }
}

fn hard_file() -> PathBuf {
    scratch("hard.wasm", &hard(3_000, 3_000))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_takes_too_long_to_compile_fails_with_its_figures() {
    let house = House::with(|settings| settings.compile = within(1, 1 << 30));
    let cause = house.refused("hard", &hard_file()).await;
    let told = "hard.wasm was not loaded: compiling it takes more than 1.00 s of CPU time: it was given up after ";
    assert!(cause.contains(told) && cause.contains("raise host.compile_time"), "{cause}");
    let [(_, failure)] = failures(&house.runtime.extension("hard").expect("it is listed")).try_into().expect("one");
    assert_eq!((failure.kind, failure.call.as_str()), (FailureKind::LoadBreach, "load"));
    assert_ne!(failure.component.0, [0; 32], "it is named by its digest");
    let figures: Vec<_> = failure.evidence.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(figures, ["cpu_ns", "memory_peak_bytes", "cpu_limit_ns"]);
    assert!(failure.evidence.iter().all(|(_, value)| *value > 100_000_000), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_takes_too_much_memory_to_compile_fails_with_its_figures() {
    let house = House::with(|settings| settings.compile = within(30, 256 << 20));
    let neighbour = house.ready("neighbour").await;
    let cause = beside(&neighbour, house.refused("scattered", &scratch("scattered.wasm", &scattered()))).await;
    assert!(cause.contains("compiling it takes more than 256 MiB of memory: it was given up after "), "{cause}");
    assert!(cause.contains("raise host.compile_memory"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_components_that_are_hard_to_compile_hold_up_an_easy_one_for_a_moment_only() {
    let house = House::with(|settings| settings.compile_threads = 1);
    let hard = house.start("hard", &hard_file(), |_| {});
    let neighbour = house.ready("neighbour").await;
    assert!(neighbour.component().expect("it is loaded").compiled);
    assert_eq!(ask(&neighbour, "echo", "first").await, "first");
    assert_eq!(hard.status(), Status::Loading);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_component_may_consist_of_is_bounded_before_it_is_compiled() {
    let house = House::with(|settings| settings.compile.worker = Some("/never/started".into()));
    let mut nested = wat::parse_str("(component (core module))").expect("it assembles");
    for _ in 0..40 {
        let mut outer = Component::new();
        outer.section(&wasm_encoder::RawSection { id: 4, data: &nested });
        nested = outer.finish();
    }
    let cause = house.refused("nested", &scratch("nested.wasm", &nested)).await;
    assert!(cause.contains("components within each other; up to 32 are accepted"), "{cause}");
    let [(_, failure)] = failures(&house.runtime.extension("nested").expect("it is listed")).try_into().expect("one");
    assert_eq!(failure.kind, FailureKind::LoadBreach);
    assert_eq!(failure.evidence, [("found".to_owned(), 33), ("limit".to_owned(), 32)]);
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    types.ty().function([], []);
    for _ in 0..100_001 {
        functions.function(0);
        code.raw(&[0, 0x0b]);
    }
    let many = component(Module::new().section(&types).section(&functions).section(&code));
    let cause = house.refused("functions", &scratch("functions.wasm", &many)).await;
    assert!(cause.contains("functions; up to 100\u{202f}000 are accepted"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_missing_or_another_program_is_the_hosts_fault_and_said() {
    for (worker, expected) in [
        ("/no/such/program", "cannot run the worker /no/such/program: No such file"),
        ("/bin/true", "the worker /bin/true does not fit this host: it wrote no report"),
        ("/bin/false", "the compiler broke off after 0 ns of CPU time: exit code 1"),
    ] {
        let house = House::with(|settings| settings.compile.worker = Some(worker.into()));
        let cause = house.refused("neighbour", &guest("neighbour")).await;
        assert!(cause.contains(expected), "{cause}");
    }
}

/// The processes that this one has started: those that compile.
fn workers() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").expect("the threads are listed").flatten();
    let children: String =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok()).collect();
    children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_killed_fails_its_extension_only() {
    let house = House::with_cache(None);
    let hard = house.start("hard", &hard_file(), |_| {});
    while hard.status() == Status::Loading {
        for worker in workers() {
            // It may have ended meanwhile.
            let _ = kill_process(worker, Signal::KILL);
        }
        tokio::task::yield_now().await;
    }
    let Status::Failed { cause } = hard.status() else { panic!("it is {}", hard.status().word()) };
    assert!(cause.contains("the compiler broke off") && cause.contains("signal: 9 (SIGKILL)"), "{cause}");
    house.ready("neighbour").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_compile_for_one_cache_at_once_all_get_their_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let houses: Vec<_> = (0..3).map(|_| House::with_cache(Some(folder.path().join("cache")))).collect();
    let started: Vec<_> = houses.iter().map(|house| house.start("neighbour", &guest("neighbour"), |_| {})).collect();
    for extension in started {
        assert_eq!(extension.loaded().await, Status::Ready);
        assert_eq!(ask(&extension, "echo", "x").await, "x");
    }
}

#[test]
fn a_worker_can_open_nothing_connect_to_nothing_and_start_nothing() {
    let Containment::Process { escapes, .. } = Containment::probe(&compile()).expect("it starts") else {
        panic!("it is a process");
    };
    assert_eq!(escapes, Vec::<String>::new());
}

#[test]
fn without_a_worker_the_bounds_hold_all_the_same() {
    let settings = CompileSettings { worker: None, ..CompileSettings::default() };
    assert_eq!(Containment::probe(&settings), Ok(Containment::None), "the tests' own program is not started");
    assert_eq!(inspect(&guest("mute"), &settings).expect("it is compiled here").exports, Vec::<String>::new());
    let many = wat::parse_str("(component".to_owned() + &"(core module)".repeat(201) + ")").expect("it assembles");
    let refused = inspect(&scratch("modules.wasm", &many), &settings).expect_err("it has too many modules");
    let glasshouse_runtime::LoadError::TooMuch { cause: TooMuch::Count { found, limit, .. }, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!((found, limit), (201, 200));
}
