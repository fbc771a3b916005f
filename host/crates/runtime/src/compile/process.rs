//! Runs one worker from the host's side: gives it its input, watches over its time, and judges how it ended.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::report::{self, Head, Kind};
use super::worker::{Orders, UNFIT};

/// How often a worker's memory is looked at, for the figures of one that fails.
const LOOK: Duration = Duration::from_millis(50);
/// The same when its CPU time is nearly used up: the kernel tells that in hundredths of a second.
const LEAST_LOOK: Duration = Duration::from_millis(5);
/// How much longer than its CPU time a worker may take by the clock: it has low priority on a machine with much to do, and
/// one that does not even compute is of no use.
const CLOCK_TIMES: u32 = 20;
/// The least that a worker may take by the clock, whatever its CPU time: a machine may stand still for a while.
const LEAST_CLOCK: Duration = Duration::from_secs(30);
/// Bytes of a worker's standard error that are read, from its start.
const COMPLAINT_BYTES: u64 = 4 * 1024;
/// What Rust's runtime says as it gives up for want of memory.
const NO_MEMORY: &str = "memory allocation of ";

/// What a worker used, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileCost {
    /// CPU time.
    pub cpu: Duration,
    /// The most memory that was seen, in bytes.
    pub memory_peak_bytes: u64,
}

/// How a worker ended.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// What it was asked for.
    Made { head: Head, body: Vec<u8> },
    /// The component does not compile, with the reason.
    Invalid(String),
    /// It reached its limit of CPU time.
    OverTime,
    /// It did not end within so much time by the clock, though it had not used up its CPU time.
    Overdue(Duration),
    /// It reached its limit of memory.
    OverMemory,
    /// It broke off, with what is known of that.
    Broken(String),
    /// It does not fit this host, or could not begin.
    Unfit(String),
}

/// Runs a worker to its end. Blocks; the worker is killed if the calling thread ends before.
pub(crate) fn run(program: &Path, orders: Orders, input: &[u8]) -> io::Result<(Verdict, CompileCost)> {
    let given = memfd("glasshouse-component")?;
    (&given).write_all(input)?;
    (&given).rewind()?;
    fcntl_add_seals(&given, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let mut taken = memfd("glasshouse-compiled")?;
    let mut child = Command::new(program)
        .arg0("glasshouse-worker")
        .args(orders.arguments())
        .env_clear()
        // What a terminal sends to the host's processes is not for this one.
        .process_group(0)
        .stdin(Stdio::from(given))
        .stdout(Stdio::from(taken.try_clone()?))
        .stderr(Stdio::piped())
        .spawn()?;
    let watched = watch(&mut child, orders.cpu);
    if watched.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
    }
    let status = child.wait()?;
    let (spent, given_up) = watched?;
    if let Some(verdict) = given_up {
        return Ok((verdict, spent));
    }
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // A pipe holds some of it, and nobody writes to it any more.
        stderr.take(COMPLAINT_BYTES).read_to_end(&mut complaint)?;
    }
    taken.rewind()?;
    let report = match report::read(&mut taken, orders.report_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Ok((Verdict::Broken(error.to_string()), spent));
        }
        report => report?,
    };
    Ok((judge(status, report, &String::from_utf8_lossy(&complaint)), spent))
}

fn memfd(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

/// Waits until the process has ended, and kills it when it has used so much CPU time, or will not in any sensible time; it is not reaped
/// yet. Tells what it used, and why it was killed, if it was.
fn watch(child: &mut Child, cpu: Duration) -> io::Result<(CompileCost, Option<Verdict>)> {
    let id = Pid::from_child(child);
    let process = pidfd_open(id, PidfdFlags::empty())?;
    let limit = (cpu * CLOCK_TIMES).max(LEAST_CLOCK);
    let end = Instant::now() + limit;
    let mut spent = CompileCost::default();
    let mut given_up = None;
    loop {
        // It has one thread, and cannot use its CPU time faster than the clock goes.
        let left = cpu.saturating_sub(spent.cpu).clamp(LEAST_LOOK, LOOK);
        let left = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        match poll(&mut ended, Some(&left)) {
            Ok(0) => {}
            Ok(_) => break,
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        spent = CompileCost {
            cpu: cpu_time(id).unwrap_or_default(),
            memory_peak_bytes: memory_peak(id).unwrap_or_default().max(spent.memory_peak_bytes),
        };
        if given_up.is_none() {
            given_up = judge_running(spent.cpu, cpu, Instant::now() >= end, limit);
            if given_up.is_some() {
                child.kill()?;
            }
        }
    }
    spent.cpu = cpu_time(id).unwrap_or_default();
    Ok((spent, given_up))
}

/// Whether a worker is to be killed: the kernel counts whole seconds only, and may keep no limit at all.
fn judge_running(used: Duration, cpu: Duration, is_late: bool, limit: Duration) -> Option<Verdict> {
    if used >= cpu {
        return Some(Verdict::OverTime);
    }
    is_late.then_some(Verdict::Overdue(limit))
}

fn judge(status: ExitStatus, report: Option<(Head, Vec<u8>)>, complaint: &str) -> Verdict {
    let complaint = complaint.trim();
    match (status.code(), status.signal().and_then(Signal::from_named_raw)) {
        (Some(0), _) => match report {
            Some((head, body)) if head.kind == Kind::Made => Verdict::Made { head, body },
            Some((head, _)) if head.kind == Kind::OverMemory => Verdict::OverMemory,
            Some((_, body)) => Verdict::Invalid(String::from_utf8_lossy(&body).into_owned()),
            None => Verdict::Unfit(format!("it wrote no report; does its main call run_if_asked? {complaint}")),
        },
        (Some(code), _) if code == i32::from(UNFIT) => Verdict::Unfit(complaint.to_owned()),
        (Some(code), _) if complaint.is_empty() => Verdict::Broken(format!("exit code {code}")),
        (_, Some(Signal::XCPU)) => Verdict::OverTime,
        (_, Some(Signal::XFSZ)) => Verdict::OverMemory,
        (_, Some(Signal::ABORT)) if complaint.contains(NO_MEMORY) => Verdict::OverMemory,
        (_, Some(Signal::SEGV)) => {
            Verdict::Broken("it used up its stack, or broke its own memory (SIGSEGV); does it nest too deeply?".into())
        }
        (_, Some(Signal::KILL)) => Verdict::Broken(format!("{status}; did the system run out of memory?")),
        (_, Some(_)) if complaint.is_empty() => Verdict::Broken(status.to_string()),
        _ => Verdict::Broken(complaint.to_owned()),
    }
}

/// The most resident memory that a process has had, in bytes.
fn memory_peak(id: Pid) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kibibytes.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The CPU time of a process, also of one that has ended and is not reaped, as proc_pid_stat(5) has it.
fn cpu_time(id: Pid) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is a name in parentheses, which may contain anything; `utime` and `stime` are the 14th and 15th.
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_secs(ticks) / rustix::param::clock_ticks_per_second() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::confine::Lacks;

    fn check(raw_status: i32, report: Option<(Kind, &str)>, complaint: &str, expect: &str) {
        let head = |kind| Head { compatibility: 1, lacks: Lacks::default(), kind };
        let report = report.map(|(kind, body)| (head(kind), body.as_bytes().to_vec()));
        let verdict = format!("{:?}", judge(ExitStatus::from_raw(raw_status), report, complaint));
        assert!(verdict.starts_with(expect), "{verdict} is not {expect}");
    }

    #[test]
    fn each_end_of_a_worker_has_its_verdict() {
        check(0, Some((Kind::Made, "code")), "", "Made");
        check(0, Some((Kind::Invalid, "no")), "", "Invalid(\"no\")");
        check(0, Some((Kind::OverMemory, "")), "", "OverMemory");
        check(0, None, "", "Unfit");
        check(i32::from(UNFIT) << 8, None, "its host is gone", "Unfit(\"its host is gone\")");
        check(101 << 8, None, "panicked at", "Broken(\"panicked at\")");
        check(3 << 8, None, "", "Broken(\"exit code 3\")");
        let signal = |signal: Signal| signal.as_raw();
        check(signal(Signal::XCPU), None, "", "OverTime");
        check(signal(Signal::ABORT), None, "memory allocation of 8 bytes failed", "OverMemory");
        check(signal(Signal::ABORT), None, "something else", "Broken(\"something else\")");
        check(signal(Signal::SEGV), None, "", "Broken(\"it used up its stack");
        check(signal(Signal::KILL), None, "", "Broken(\"signal: 9 (SIGKILL); did the system");
        check(signal(Signal::ILL), None, "", "Broken(\"signal: 4 (SIGILL)");
    }

    #[test]
    fn a_worker_that_got_too_little_of_the_processor_is_not_said_to_have_used_it() {
        let check = |used: u64, is_late: bool, expect: &str| {
            let [used, cpu] = [used, 250].map(Duration::from_millis);
            assert_eq!(format!("{:?}", judge_running(used, cpu, is_late, LEAST_CLOCK)), expect);
        };
        check(0, true, "Some(Overdue(30s))");
        check(240, true, "Some(Overdue(30s))");
        check(240, false, "None");
        check(250, false, "Some(OverTime)");
        check(250, true, "Some(OverTime)");
    }

    #[test]
    fn the_figures_of_a_process_are_read_though_its_name_is_odd() {
        let id = rustix::process::getpid();
        assert!(memory_peak(id).expect("it has some") > 1 << 20);
        assert!(cpu_time(id).is_some());
    }
}
