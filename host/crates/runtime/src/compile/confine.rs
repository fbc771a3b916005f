//! What a process that compiles takes from itself before it reads a component: memory, time, files, network, all but a
//! few system calls.
#![expect(unsafe_code, reason = "closing whatever this process inherited has no safe interface; see `close_inherited`")]

use std::io;
use std::time::Duration;

use landlock::{ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _};
use landlock::{Ruleset, RulesetAttr as _, RulesetStatus, Scope};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// The version of Landlock whose rights are all refused: signals and abstract sockets came with it. A kernel with an older
/// one refuses what it knows.
const LANDLOCK: ABI = ABI::V6;
/// The stack of the one thread. Components that nest deeply use it up, and then only this process ends.
const STACK_BYTES: u64 = 8 * 1024 * 1024;
/// Seconds of CPU time between the signal that ends the process and the one that cannot be caught.
const GRACE_SECONDS: u64 = 1;

/// The system calls that reading, compiling and writing need; memory that can be executed is not among them.
const ALLOWED: [libc::c_long; 30] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_close,
    libc::SYS_ftruncate,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrusage,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What the kernel did not give to confine the process with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks(u8);

impl Lacks {
    const LIMITS: u8 = 1;
    const LANDLOCK: u8 = 2;
    const LANDLOCK_PARTS: u8 = 4;
    const SECCOMP: u8 = 8;
    const WORDS: [(u8, &'static str); 4] = [
        (Self::LIMITS, "some of the limits on memory and CPU time (setrlimit)"),
        (Self::LANDLOCK, "Landlock, which refuses files and addresses (Linux 5.13, with landlock among the LSMs)"),
        (Self::LANDLOCK_PARTS, "the newer parts of Landlock, which refuse sockets and signals (Linux 6.12)"),
        (Self::SECCOMP, "seccomp, which refuses system calls"),
    ];

    pub(crate) fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) fn byte(self) -> u8 {
        self.0
    }

    /// What either lacks.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is lacking, in words.
    pub(crate) fn words(self) -> Vec<&'static str> {
        Self::WORDS.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, word)| *word).collect()
    }
}

/// Closes every descriptor but the three standard ones: a library of the host's may have left some open for children.
pub(crate) fn close_inherited() -> io::Result<()> {
    // SAFETY: this is called first in `main`, where nothing in this process owns a descriptor beyond the standard ones;
    // the call reads and writes no memory.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Bounds memory, CPU time and what is written. Tells what the kernel refused.
pub(crate) fn limit(memory_bytes: u64, cpu: Duration) -> Lacks {
    let own = address_space().unwrap_or_default();
    // The kernel counts whole seconds; the host kills sooner.
    let cpu_seconds = cpu.as_millis().div_ceil(1000) as u64;
    let cpu = Rlimit { current: Some(cpu_seconds), maximum: Some(cpu_seconds + GRACE_SECONDS) };
    let exact = |most: u64| Rlimit { current: Some(most), maximum: Some(most) };
    let limits = [
        (Resource::Core, exact(0)),
        (Resource::Cpu, cpu),
        (Resource::Data, exact(memory_bytes)),
        // What is not counted as data: shared mappings, and the stack.
        (Resource::As, exact(own.saturating_add(memory_bytes).saturating_add(STACK_BYTES))),
        (Resource::Stack, exact(STACK_BYTES)),
        (Resource::Fsize, exact(memory_bytes)),
        (Resource::Memlock, exact(0)),
        (Resource::Msgqueue, exact(0)),
        (Resource::Nproc, exact(0)),
    ];
    let mut lacks = Lacks::default();
    for (resource, wanted) in limits {
        // A limit that the host has from elsewhere may be lower already.
        let lower = |wanted: Option<u64>, have: Option<u64>| wanted.into_iter().chain(have).min();
        let have = getrlimit(resource);
        let maximum = lower(wanted.maximum, have.maximum);
        let new = Rlimit { current: lower(wanted.current, maximum), maximum };
        if setrlimit(resource, new).is_err() {
            lacks.0 |= Lacks::LIMITS;
        }
    }
    lacks
}

/// Gives up files and addresses, for ever. Tells what the kernel lacked.
pub(crate) fn give_up_access() -> Lacks {
    match refuse_access() {
        Ok(RulesetStatus::FullyEnforced) => Lacks::default(),
        Ok(RulesetStatus::PartiallyEnforced) => Lacks(Lacks::LANDLOCK_PARTS),
        Ok(RulesetStatus::NotEnforced) | Err(_) => Lacks(Lacks::LANDLOCK),
    }
}

/// Gives up further descriptors and nearly all system calls, for ever. Tells what the kernel lacked.
pub(crate) fn give_up_calls() -> Lacks {
    let mut lacks = Lacks::default();
    // Landlock needed a descriptor to set itself up.
    let none_more = Rlimit { current: Some(3), maximum: Some(3) };
    if setrlimit(Resource::Nofile, none_more).is_err() {
        lacks.0 |= Lacks::LIMITS;
    }
    if refuse_calls().is_err() {
        lacks.0 |= Lacks::SECCOMP;
    }
    lacks
}

/// By Landlock: no file, no port, no signal to others, and no rule that allows any.
fn refuse_access() -> Result<RulesetStatus, landlock::RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// By seccomp: all system calls fail with EPERM but those of [`ALLOWED`], plain memory, and signals to itself.
fn refuse_calls() -> Result<(), seccompiler::Error> {
    let executable = u64::from(libc::PROT_EXEC as u32);
    let plain = |argument| rule(argument, SeccompCmpOp::MaskedEq(executable), 0);
    let itself = || rule(0, SeccompCmpOp::Eq, u64::from(std::process::id()));
    let mut rules: std::collections::BTreeMap<_, _> = ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
    rules.insert(libc::SYS_mmap, vec![plain(2)?]);
    rules.insert(libc::SYS_mprotect, vec![plain(2)?]);
    rules.insert(libc::SYS_tgkill, vec![itself()?]);
    let architecture = std::env::consts::ARCH.try_into()?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let program: BpfProgram = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?.try_into()?;
    seccompiler::apply_filter(&program)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

/// What this process has of the address space by itself, mostly its program.
fn address_space() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_whitespace().next()?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
