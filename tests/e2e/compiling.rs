//! Compiling is contained: components that are made to be hard to compile fail with their figures, and delay nobody.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use glasshouse_model::FailureKind;
use glasshouse_runtime::{CompileSettings, Containment, ExtensionSpec, Status, TooMuch, inspect};
use rustix::process::{Pid, Signal, kill_process};
use wasm_encoder::{
    BlockType, CodeSection, Component, ConstExpr, DataSection, Function, FunctionSection, MemorySection, MemoryType,
    Module, ModuleSection, TypeSection, ValType,
};

use crate::harness::{House, LONG, ask, beside, compile, failures, guest, scratch};
use crate::loading::large;

/// A component with one module.
fn component(module: &Module) -> Vec<u8> {
    let mut component = Component::new();
    component.section(&ModuleSection(module));
    component.finish()
}

/// A few kilobytes that a compiler takes long for: every local changes in a loop within loops, so each is a parameter of each.
pub(crate) fn hard(locals: u32, loops: u32) -> Vec<u8> {
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
pub(crate) fn scattered() -> Vec<u8> {
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
    // Its clock stands still, so that a rate is never filled anew, however long this takes.
    let telling = |spec: &mut ExtensionSpec| spec.settings.budget.telemetry.records_per_second = 100_000_000;
    let neighbour = house.ready_with("neighbour", telling).await;
    let cause = beside(&neighbour, house.refused("scattered", &scratch("scattered.wasm", &scattered()))).await;
    assert!(cause.contains("compiling it takes more than 256 MiB of memory: it was given up after "), "{cause}");
    assert!(cause.contains("raise host.compile_memory"), "{cause}");
}

/// CPU time of all processes that this one has started and that have ended.
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("this process has its figures");
    // The second field is a name in parentheses; `cutime` and `cstime` are the 16th and 17th.
    let fields: Vec<_> = stat.rsplit_once(')').expect("it has a name").1.split_whitespace().collect();
    let ticks = [13, 14].map(|field: usize| fields[field].parse::<u64>().expect("a number of ticks"));
    Duration::from_secs(ticks.iter().sum()) / rustix::param::clock_ticks_per_second() as u32
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_components_that_are_hard_to_compile_hold_up_an_easy_one_for_a_moment_only() {
    /// What any small component may take before it counts as hard.
    const QUICK: Duration = Duration::from_secs(3);
    let house = House::with(|settings| settings.compile_threads = 1);
    let hard: Vec<_> = (0..6)
        .map(|number| {
            let file = scratch(&format!("hard-{number}.wasm"), &hard(3_000, 3_000 - number));
            house.start(&format!("hard-{number}"), &file, |_| {})
        })
        .collect();
    // It has more code than they, so that each of them goes before it once.
    let neighbour = house.ready("neighbour").await;
    assert!(neighbour.component().expect("it is loaded").compiled);
    assert_eq!(ask(&neighbour, "echo", "first").await, "first");
    assert!(hard.iter().all(|hard| hard.status() == Status::Loading));
    let spent = cpu_of_children();
    assert!(spent < hard.len() as u32 * QUICK / 2, "they waited until {spent:?} had been spent on hard ones");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_component_that_takes_long_is_compiled_in_the_end() {
    let house = House::with(|_| {});
    let slow = house.start("slow", &scratch("slow.wasm", &hard(1_200, 1_200)), |_| {});
    assert_eq!(slow.loaded().await, Status::Ready);
    assert!(cpu_of_children() > Duration::from_millis(250), "its first try was enough");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_that_several_extensions_have_is_compiled_once_in_a_lane() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::with(|settings| {
        settings.compile_threads = 1;
        settings.cache_folder = Some(folder.path().join("cache"));
    });
    let all: Vec<_> =
        (0..4).map(|number| house.start(&format!("copy-{number}"), &guest("neighbour"), |_| {})).collect();
    for extension in &all {
        assert_eq!(extension.loaded().await, Status::Ready);
    }
    let compiled = all.iter().filter(|extension| extension.component().expect("it is loaded").compiled).count();
    assert_eq!(compiled, 1);
}

/// How many workers have been given so much CPU time, which is the fourth of their arguments.
fn workers_of(time: Duration) -> usize {
    let is_of = |worker: &Pid| {
        let line = fs::read_to_string(format!("/proc/{worker}/cmdline")).unwrap_or_default();
        line.split('\0').nth(4) == Some(format!("{}ms", time.as_millis()).as_str())
    };
    workers().iter().filter(|worker| is_of(worker)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_components_that_are_hard_to_compile_hold_up_no_large_one() {
    /// The larger one of the small shares, and all that a component may have here.
    const QUICK: Duration = Duration::from_secs(3);
    const WHOLE: Duration = Duration::from_mins(10);
    let house = House::with(|settings| {
        settings.compile = within(WHOLE.as_secs(), 2 << 30);
        settings.compile_threads = 4;
    });
    let hard: Vec<_> = (0..4)
        .map(|number| {
            let file = scratch(&format!("hard-{number}.wasm"), &hard(3_000, 3_000 - number));
            house.start(&format!("hard-{number}"), &file, |_| {})
        })
        .collect();
    // Each has its small shares before it is known to be hard; then they are compiled one at a time.
    let one_at_a_time = async {
        while workers_of(QUICK) > 0 || workers_of(WHOLE) != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(2 * LONG, one_at_a_time).await.expect("they do not take all lanes");
    let large = house.start("large", &scratch("large.wasm", &large()), |_| {});
    assert_eq!(large.loaded().await, Status::Ready);
    house.ready("neighbour").await;
    let waiting = hard.iter().filter(|hard| hard.status() == Status::Loading).count();
    assert!(waiting >= 2, "it waited for none of them; {waiting} are left of four");
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

/// The version of Landlock that the kernel has; 0 where it has none.
#[expect(unsafe_code, reason = "asking for the version has no safe interface")]
fn landlock() -> libc::c_long {
    const VERSION: libc::c_long = 1;
    // SAFETY: as landlock_create_ruleset(2) has it, this reads and writes no memory and makes nothing.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) }.max(0)
}

/// What a worker lacks, can do, and could do but for seccomp.
fn probed(settings: &CompileSettings) -> (Vec<&'static str>, Vec<String>, Vec<String>) {
    match Containment::probe(settings).expect("it starts") {
        Containment::Process { lacks, escapes, past_landlock, .. } => (lacks, escapes, past_landlock),
        Containment::None => panic!("it is a process"),
    }
}

#[test]
fn a_worker_can_open_nothing_connect_to_nothing_and_start_nothing() {
    let (lacks, escapes, past_landlock) = probed(&compile());
    assert_eq!(escapes, Vec::<String>::new());
    if landlock() >= 6 {
        assert_eq!((lacks, past_landlock), (Vec::new(), Vec::new()), "Landlock and limits hold by themselves");
    }
}

/// A worker for which it is as if the kernel had no Landlock: the same program under another name.
fn without_landlock(folder: &Path) -> CompileSettings {
    let worker = folder.join("without-landlock");
    let program = env!("CARGO_BIN_EXE_glasshouse-test-worker");
    // A link where that can be, since what was just written may still be open in a process that another test starts.
    if fs::hard_link(program, &worker).is_err() {
        fs::copy(program, &worker).expect("copying the worker");
    }
    CompileSettings { worker: Some(worker), ..CompileSettings::default() }
}

/// What was said by `tracing` at warning and above.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Said {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            let _ = write!(text, "{value:?} ");
        });
        self.0.lock().expect("nobody panicked").push(text);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_kernel_lacks_is_told_once_and_the_rest_holds_all_the_same() {
    const LANDLOCK: &str = "Landlock, which refuses files and addresses (Linux 5.13, with landlock among the LSMs)";
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let settings = without_landlock(folder.path());
    let (lacks, escapes, past_landlock) = probed(&settings);
    assert_eq!((lacks, escapes), (vec![LANDLOCK], Vec::new()), "seccomp holds by itself");
    // The limit on processes, which does not hold for root, may keep it from a third.
    assert_eq!(past_landlock[..2], ["open files", "connect"], "what Landlock is for");

    let said = Said::default();
    tracing::subscriber::set_global_default(said.clone()).expect("no other test of this process listens");
    let house = House::with(|house| house.compile = settings);
    for name in ["neighbour", "mute"] {
        let extension = house.ready(name).await;
        assert!(extension.component().expect("it is loaded").compiled);
    }
    let said = said.0.lock().expect("nobody panicked");
    let told: Vec<_> = said.iter().filter(|text| text.contains("the kernel lacks")).collect();
    assert!(told.len() == 1 && told[0].contains(LANDLOCK), "{said:?}");
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
