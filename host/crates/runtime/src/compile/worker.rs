//! The process that compiles one component for a host, and can do nothing else: see [`run_if_asked`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getppid, nice, set_parent_process_death_signal};
use wasmtime::error::OutOfMemory;

use super::confine::{close_inherited, give_up_access, give_up_calls, limit};
use super::report::{Head, Kind, write};
use crate::engine::{compatibility, engine};
use crate::flavour::Flavour;
use crate::lines;

/// The first argument of a worker.
pub(crate) const ASKED: &str = "--glasshouse-worker";
/// The exit code of a worker that could not even begin; what is wrong stands on its standard error.
pub(crate) const UNFIT: u8 = 64;
/// Whether this program's `main` calls [`run_if_asked`], and so can be started as a worker.
static AVAILABLE: AtomicBool = AtomicBool::new(false);

/// Whether this program can be started as a worker.
pub(crate) fn is_available() -> bool {
    AVAILABLE.load(Ordering::Relaxed)
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// To compile a component for engines of this flavour.
    Compile(Flavour),
    /// To answer a question about source lines, see [`crate::lines`].
    Lines,
    /// To tell what it can still do, as a list of words.
    Probe,
}

/// What a worker is told on its command line, which is the host's and not the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orders {
    pub(crate) task: Task,
    pub(crate) memory_bytes: u64,
    pub(crate) cpu: Duration,
    pub(crate) niceness: i32,
    /// The host's process; the worker ends with it.
    pub(crate) host: i32,
}

/// The unit in which CPU time is told: a worker of another version may know another one.
const MILLIS: &str = "ms";
/// Bytes of the longest answer to a question that compiles nothing: the places of a stack take some kilobytes.
const ANSWER_BYTES: u64 = 16 << 20;

impl Orders {
    /// Bytes of the longest report that is taken from it.
    pub(crate) fn report_bytes(&self) -> u64 {
        match self.task {
            Task::Compile(_) => self.memory_bytes,
            Task::Lines | Task::Probe => ANSWER_BYTES,
        }
    }

    /// The worker's arguments.
    pub(crate) fn arguments(&self) -> [String; 6] {
        let task = match self.task {
            Task::Compile(flavour) => flavour.word(),
            Task::Lines => "lines",
            Task::Probe => "probe",
        };
        let Self { memory_bytes, cpu, niceness, host, .. } = self;
        [
            ASKED.to_owned(),
            task.to_owned(),
            memory_bytes.to_string(),
            format!("{}{MILLIS}", cpu.as_millis()),
            niceness.to_string(),
            host.to_string(),
        ]
    }

    fn read(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut texts = arguments.map_while(|argument| argument.into_string().ok());
        let task = match texts.next()?.as_str() {
            "lines" => Task::Lines,
            "probe" => Task::Probe,
            word => Task::Compile(Flavour::from_word(word)?),
        };
        let memory_bytes = texts.next()?.parse().ok()?;
        let cpu = Duration::from_millis(texts.next()?.strip_suffix(MILLIS)?.parse().ok()?);
        let mut number = || texts.next()?.parse::<i64>().ok();
        Some(Self { task, memory_bytes, cpu, niceness: number()?.try_into().ok()?, host: number()?.try_into().ok()? })
    }
}

/// Call this first in `main`, before any thread is started and anything is opened: an application's host compiles components
/// in a process of their own by starting the application's program anew, and in that process this function does not return.
///
/// Everywhere else it returns at once. The process it runs in then has no files, no network and nearly no system calls,
/// limits on memory and CPU time, and ends with its host.
pub fn run_if_asked() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == ASKED) {
        std::process::exit(match work(arguments) {
            Ok(()) => 0,
            Err(error) => {
                // Nobody is left to tell if this fails.
                let _ = writeln!(io::stderr(), "{error}");
                i32::from(UNFIT)
            }
        });
    }
    AVAILABLE.store(true, Ordering::Relaxed);
}

/// A `main` for a program that is nothing but a worker.
pub fn main() -> ExitCode {
    run_if_asked();
    let _ = writeln!(io::stderr(), "this program compiles extensions for a Glasshouse host, which starts it");
    ExitCode::from(UNFIT)
}

/// Gives up all privileges, then reads, compiles and writes.
fn work(arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    close_inherited().map_err(|error| {
        io::Error::new(error.kind(), format!("cannot close inherited files (close_range, Linux 5.9): {error}"))
    })?;
    let orders = Orders::read(arguments).ok_or_else(|| io::Error::other("the host and its worker do not fit"))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid().map(|host| host.as_raw_nonzero().get()) != Some(orders.host) {
        return Err(io::Error::other("its host is gone"));
    }
    // Refused where the system does not let a process lower itself: it then compiles as usual.
    let _ = nice(orders.niceness);
    rustix::process::chdir("/")?;
    let mut input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let limits = limit(orders.memory_bytes, orders.cpu);
    // The engine asks the system about the processor, and nothing of it comes from the component.
    let engine = match orders.task {
        Task::Compile(flavour) => {
            Some(engine(flavour).map_err(|error| io::Error::other(format!("the engine: {error:#}")))?)
        }
        Task::Lines | Task::Probe => None,
    };
    let lacks = limits.and(give_up_access());
    // Each of them has to hold by itself: whoever gets by one is to be stopped by the other.
    let by_landlock = if orders.task == Task::Probe { past_landlock() } else { Vec::new() };
    let lacks = lacks.and(give_up_calls());
    let head = |kind| Head { compatibility: engine.as_ref().map_or(0, compatibility), lacks, kind };
    let mut given = Vec::new();
    input.read_to_end(&mut given)?;
    let Some(engine) = &engine else {
        return match orders.task {
            Task::Probe => {
                let found = [escapes(), by_landlock].map(|words| words.join("\n")).join(PROBE_PARTS);
                write(&mut output, head(Kind::Made), found.as_bytes())
            }
            _ => match lines::answer(&given) {
                Some(answer) => write(&mut output, head(Kind::Made), &answer),
                None => write(&mut output, head(Kind::Invalid), b"it is no question"),
            },
        };
    };
    match engine.precompile_component(&given) {
        Ok(code) => write(&mut output, head(Kind::Made), &code),
        Err(error) if is_out_of_memory(&error) => write(&mut output, head(Kind::OverMemory), b""),
        Err(error) => write(&mut output, head(Kind::Invalid), format!("{error:#}").as_bytes()),
    }
}

/// What stands between what a probe could do at the end and what only seccomp kept it from.
pub(crate) const PROBE_PARTS: &str = "\n\n";

/// What this process could do before seccomp refused it: Landlock and the limits on what it uses hold already.
fn past_landlock() -> Vec<&'static str> {
    // A port on which nobody listens refuses as well, in other words.
    let is_refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let tried = [
        ("open files", File::open("/").is_ok()),
        ("connect", !TcpStream::connect("127.0.0.1:9").is_err_and(|error| is_refused(&error))),
        ("start programs", Command::new("/bin/true").spawn().is_ok()),
    ];
    tried.into_iter().filter(|(_, done)| *done).map(|(what, _)| what).collect()
}

/// What this process can still do that it should not.
fn escapes() -> Vec<&'static str> {
    let tried = [
        ("open files", File::open("/").is_ok()),
        ("make sockets", UdpSocket::bind("127.0.0.1:0").is_ok()),
        ("start programs", Command::new("/bin/true").spawn().is_ok()),
    ];
    tried.into_iter().filter(|(_, done)| *done).map(|(what, _)| what).collect()
}

fn is_out_of_memory(error: &wasmtime::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<OutOfMemory>()
            || cause.downcast_ref::<rustix::io::Errno>() == Some(&rustix::io::Errno::NOMEM)
            || cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::OutOfMemory)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_understood_as_they_were_given() {
        for task in [Flavour::Fuel, Flavour::Epochs, Flavour::FuelAndEpochs]
            .map(Task::Compile)
            .into_iter()
            .chain([Task::Lines, Task::Probe])
        {
            let orders =
                Orders { task, memory_bytes: 1 << 30, cpu: Duration::from_millis(250), niceness: 10, host: 4321 };
            let [asked, arguments @ ..] = orders.arguments();
            assert_eq!(asked, ASKED);
            assert_eq!(Orders::read(arguments.into_iter().map(OsString::from)), Some(orders));
        }
        for nonsense in [["fuel", "much", "250ms", "10", "1"], ["fuel", "1", "60", "10", "1"]] {
            assert_eq!(Orders::read(nonsense.map(OsString::from).into_iter()), None);
        }
    }
}
