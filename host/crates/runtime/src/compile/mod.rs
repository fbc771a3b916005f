//! From a component's bytes to native code: in a process that can do nothing else where there is one, in this one otherwise.

mod confine;
mod process;
mod report;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use glasshouse_model::text;
use rustix::process::{getpid, nice};
use wasmtime::Engine;

pub use process::CompileCost;

use crate::engine::compatibility;
use crate::flavour::Flavour;
use process::{Verdict, run};
use report::Head;
use worker::{Orders, Task};

/// Components with so many bytes of code have lanes of their own, so that smaller ones never wait for them. The file's size
/// says little: an extension of 100 KB of code carries 3 MB of line tables.
const LARGE_CODE_BYTES: u64 = 1024 * 1024;
/// CPU time that a small component may take in its first try, whatever its size and for each byte of its code: two and a half times as much as the guests of the
/// tests and the examples took where that was measured (37 KB to 700 KB of code; 50 ms, and 1.25 us a byte), since other machines are slower.
const FIRST_CPU: Duration = Duration::from_millis(125);
const FIRST_CPU_PER_BYTE: Duration = Duration::from_nanos(3_125);
const FIRST_NICENESS: i32 = 10;
/// What a small component may take before it counts as hard, or twice its first share if that is more. One that needs more than its first share starts anew among its like, so that one made to be
/// hard holds up others for a moment only.
const QUICK: Share = Share { cpu: Duration::from_secs(3), memory_bytes: 512 << 20, niceness: 13 };
/// How much lower than the guests' the priority of compiling a large component is, and that of one that is hard.
const LARGE_NICENESS: i32 = 15;
const HARD_NICENESS: i32 = 19;
/// What a worker that is only asked what it can do may use.
const PROBE: Share = Share { cpu: Duration::from_secs(10), memory_bytes: 512 << 20, niceness: 0 };
/// What reading a component's line tables may use: honest ones take a tenth of a second.
const LINES: Share = Share { cpu: Duration::from_secs(10), memory_bytes: 1 << 30, niceness: 10 };

/// How components are compiled.
#[derive(Clone, Debug)]
pub struct CompileSettings {
    /// A program whose `main` is [`worker::main`], or calls [`worker::run_if_asked`] first. `None` stands for the program
    /// that runs, if its `main` does; where it does not, components are compiled in the host's own process, which a
    /// hostile one can then occupy for minutes, and that is said in the log.
    ///
    /// [`worker::main`]: crate::worker::main
    /// [`worker::run_if_asked`]: crate::worker::run_if_asked
    pub worker: Option<PathBuf>,
    /// Memory that compiling one component may take, in bytes.
    pub memory_bytes: u64,
    /// CPU time that compiling one component may take, a second at least.
    pub time: Duration,
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self { worker: None, memory_bytes: 2 << 30, time: Duration::from_mins(1) }
    }
}

/// What one attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    cpu: Duration,
    pub(crate) memory_bytes: u64,
    niceness: i32,
}

/// Why a component was not compiled.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It is damaged, or uses what is not supported.
    Invalid(String),
    /// It takes more than it may.
    Costly { limit: CompileLimit, spent: CompileCost },
    /// It did not end in time by the clock, though it had not used up its CPU time.
    Overdue { limit: Duration, spent: CompileCost },
    /// The compiler broke off.
    Broken { cause: String, spent: CompileCost },
    /// The host could not have it compiled.
    Host(String),
}

/// What was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompileLimit {
    /// CPU time.
    Time(Duration),
    /// Bytes of memory.
    Memory(u64),
}

pub(crate) fn costly(limit: &CompileLimit, spent: &CompileCost) -> String {
    let (what, key) = match limit {
        CompileLimit::Time(time) => (text::duration(*time) + " of CPU time", "host.compile_time"),
        CompileLimit::Memory(bytes) => (text::bytes(*bytes) + " of memory", "host.compile_memory"),
    };
    format!(
        "compiling it takes more than {what}: it was given up after {}, with {} of memory in use; if it is an honest \
         extension, build it smaller or raise {key}",
        text::duration(spent.cpu),
        text::bytes(spent.memory_peak_bytes)
    )
}

/// What became of a worker that got too little of the processor, in words.
pub(crate) fn overdue(limit: Duration, spent: &CompileCost) -> String {
    format!(
        "the worker was given up after {}, in which it had {} of CPU time; is the machine overloaded?",
        text::duration(limit),
        text::duration(spent.cpu)
    )
}

/// Compiles components for one host.
#[derive(Debug)]
pub(crate) struct Compiler {
    /// The program to start; `None` compiles in this process.
    program: Option<PathBuf>,
    settings: CompileSettings,
    /// What the kernel lacks to confine workers, once one of them has said so.
    lacks: OnceLock<Vec<&'static str>>,
}

impl Compiler {
    pub(crate) fn new(settings: CompileSettings) -> Self {
        let own = || worker::is_available().then(|| PathBuf::from("/proc/self/exe"));
        Self { program: settings.worker.clone().or_else(own), settings, lacks: OnceLock::new() }
    }

    /// Says in the log if compiling is not contained.
    pub(crate) fn warn_if_in_process(&self) {
        if self.program.is_none() {
            tracing::warn!(
                "components are compiled in the host's own process, where a hostile one can use much time and memory; call \
                 glasshouse::worker::run_if_asked() first in main, or name a worker with HostBuilder::compile_worker"
            );
        }
    }

    /// Whether components are compiled in a process of their own.
    pub(crate) fn is_contained(&self) -> bool {
        self.program.is_some()
    }

    /// The small shares that a component with so many bytes of code may have one after the other before it counts as hard, each twice the one before at
    /// least. A large component has none.
    pub(crate) fn tries(&self, code_bytes: u64) -> Vec<Share> {
        if code_bytes >= LARGE_CODE_BYTES {
            return Vec::new();
        }
        let whole = self.whole();
        if self.program.is_none() {
            // In this process nothing is bounded.
            return vec![whole];
        }
        let memory_bytes = QUICK.memory_bytes.min(whole.memory_bytes);
        let cpu = FIRST_CPU + FIRST_CPU_PER_BYTE * code_bytes as u32;
        let first = Share { cpu, memory_bytes, niceness: FIRST_NICENESS };
        let quick = Share { cpu: QUICK.cpu.max(2 * cpu), memory_bytes, ..QUICK };
        let mut tries = vec![first, quick];
        tries.retain(|share| share.cpu < whole.cpu);
        tries
    }

    /// All that compiling a component may use.
    pub(crate) fn whole(&self) -> Share {
        let CompileSettings { time, memory_bytes, .. } = self.settings;
        Share { cpu: time.max(Duration::from_secs(1)), memory_bytes, niceness: LARGE_NICENESS }
    }

    /// The same for a component that turned out to be hard.
    pub(crate) fn whole_of_hard(&self) -> Share {
        Share { niceness: HARD_NICENESS, ..self.whole() }
    }

    /// Compiles; blocks. In this process, there are no bounds.
    pub(crate) fn compile(
        &self,
        (flavour, engine): (Flavour, &Engine),
        component: &[u8],
        share: Share,
    ) -> Result<Vec<u8>, Refusal> {
        let Some(program) = &self.program else {
            // Refused where the system does not let a process lower itself: it then compiles as usual.
            let _ = nice(FIRST_NICENESS);
            return engine.precompile_component(component).map_err(|error| Refusal::Invalid(format!("{error:#}")));
        };
        let (head, code) = ask(program, Task::Compile(flavour), share, component)?;
        self.note_what_lacks(head);
        if head.compatibility != compatibility(engine) {
            return Err(unfit(program, "it was built from another version"));
        }
        Ok(code)
    }

    /// Has a [`crate::lines::question`] answered by a worker; blocks.
    pub(crate) fn lines(&self, question: &[u8]) -> Result<Vec<u8>, Refusal> {
        let Some(program) = &self.program else { return Err(Refusal::Host("there is no worker".to_owned())) };
        ask(program, Task::Lines, LINES, question).map(|(_, answer)| answer)
    }

    /// What the kernel lacks to confine workers, as far as that is known: none has run where all was compiled before.
    pub(crate) fn lacks(&self) -> &[&'static str] {
        self.lacks.get().map_or(&[], Vec::as_slice)
    }

    fn note_what_lacks(&self, head: Head) {
        self.lacks.get_or_init(|| {
            let lacks = head.lacks.words();
            if !lacks.is_empty() {
                tracing::warn!(
                    "the process that compiles components keeps more rights than it needs; the kernel lacks: {}",
                    lacks.join("; ")
                );
            }
            lacks
        });
    }
}

/// Runs a worker and takes what it made.
fn ask(program: &Path, task: Task, share: Share, input: &[u8]) -> Result<(Head, Vec<u8>), Refusal> {
    let Share { cpu, memory_bytes, niceness } = share;
    let orders = Orders { task, memory_bytes, cpu, niceness, host: getpid().as_raw_nonzero().get() };
    let (verdict, spent) = run(program, orders, input)
        .map_err(|error| Refusal::Host(format!("cannot run the worker {}: {error}", program.display())))?;
    match verdict {
        Verdict::Made { head, body } => {
            tracing::debug!(cpu = ?spent.cpu, memory = spent.memory_peak_bytes, bytes = body.len(), "a worker is done");
            Ok((head, body))
        }
        Verdict::Invalid(cause) => Err(Refusal::Invalid(cause)),
        Verdict::OverTime => Err(Refusal::Costly { limit: CompileLimit::Time(cpu), spent }),
        Verdict::OverMemory => Err(Refusal::Costly { limit: CompileLimit::Memory(memory_bytes), spent }),
        Verdict::Overdue(limit) => Err(Refusal::Overdue { limit, spent }),
        Verdict::Broken(cause) => Err(Refusal::Broken { cause, spent }),
        Verdict::Unfit(cause) => Err(unfit(program, &cause)),
    }
}

/// A refusal of a task that compiles nothing.
pub(crate) fn sentence(refusal: Refusal) -> String {
    match refusal {
        Refusal::Invalid(cause) | Refusal::Broken { cause, .. } | Refusal::Host(cause) => cause,
        Refusal::Overdue { limit, spent } => overdue(limit, &spent),
        Refusal::Costly { limit: CompileLimit::Time(time), .. } => {
            format!("it takes more than {} of CPU time", text::duration(time))
        }
        Refusal::Costly { limit: CompileLimit::Memory(bytes), .. } => {
            format!("it takes more than {} of memory", text::bytes(bytes))
        }
    }
}

fn unfit(program: &Path, cause: &str) -> Refusal {
    Refusal::Host(format!("the worker {} does not fit this host: {cause}", program.display()))
}

/// How well compiling is contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Containment {
    /// Components are compiled in the host's own process.
    None,
    /// They are compiled in a process of their own.
    Process {
        /// What the kernel lacks to confine it.
        lacks: Vec<&'static str>,
        /// What it could still do when it tried.
        escapes: Vec<String>,
        /// What it could do when it tried before seccomp was in force, with Landlock and limits alone.
        past_landlock: Vec<String>,
        /// From its start to its end, by the clock.
        took: Duration,
    },
}

impl Containment {
    /// Starts a worker that tries what it should not be able to do. Blocks for some milliseconds; the error says why it
    /// could not be started.
    pub fn probe(settings: &CompileSettings) -> Result<Self, String> {
        let Some(program) = Compiler::new(settings.clone()).program else { return Ok(Self::None) };
        let began = std::time::Instant::now();
        let (head, found) = ask(&program, Task::Probe, PROBE, b"").map_err(sentence)?;
        let found = String::from_utf8_lossy(&found);
        let (escapes, past_landlock) = found.split_once(worker::PROBE_PARTS).unwrap_or((&found, ""));
        let [escapes, past_landlock] = [escapes, past_landlock].map(|words| words.lines().map(str::to_owned).collect());
        Ok(Self::Process { lacks: head.lacks.words(), escapes, past_landlock, took: began.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries(settings: CompileSettings, code_bytes: u64) -> Vec<(u128, u64)> {
        let tries = Compiler::new(settings).tries(code_bytes);
        tries.into_iter().map(|share| (share.cpu.as_millis(), share.memory_bytes >> 20)).collect()
    }

    #[test]
    fn a_component_has_what_its_size_asks_for_then_what_any_small_one_may() {
        let contained = CompileSettings { worker: Some("worker".into()), ..CompileSettings::default() };
        let check = |code_bytes, expected: &[(u128, u64)]| assert_eq!(tries(contained.clone(), code_bytes), expected);
        check(0, &[(125, 512), (3_000, 512)]);
        check(100_000, &[(437, 512), (3_000, 512)]);
        check(440_000, &[(1_500, 512), (3_000, 512)]);
        check(600_000, &[(2_000, 512), (4_000, 512)]);
        check(LARGE_CODE_BYTES - 1, &[(3_401, 512), (6_803, 512)]);
        check(LARGE_CODE_BYTES, &[]);
        check(u64::MAX, &[]);
    }

    #[test]
    fn no_try_has_more_than_all_that_a_component_may_have() {
        let lean = |seconds| CompileSettings {
            worker: Some("worker".into()),
            memory_bytes: 64 << 20,
            time: Duration::from_secs(seconds),
        };
        assert_eq!(tries(lean(0), 0), [(125, 64)]);
        assert_eq!(tries(lean(1), 300_000), []);
        assert_eq!(tries(lean(6), 0), [(125, 64), (3_000, 64)]);
    }

    #[test]
    fn in_the_hosts_own_process_one_try_has_no_bounds() {
        // No test calls `run_if_asked`.
        let own = CompileSettings::default();
        assert_eq!(tries(own.clone(), 0), [(60_000, 2_048)]);
        assert_eq!(tries(own, u64::MAX), []);
    }
}
