//! What wasmtime says of a failed call, in Glasshouse's words: the kind of failure, its evidence and the guest's stack.

use glasshouse_model::record::KIND_FAILURE;
use glasshouse_model::settings::Budget;
use glasshouse_model::{Digest, Failure, FailureKind, Frame, Signal, text};
use glasshouse_telemetry::{Head, Recorder};
use rustix::io::Errno;
use wasmtime::component::ResourceTableError;
use wasmtime::error::OutOfMemory;
use wasmtime::{ResourceLimiter as _, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::demangle::demangled;
use crate::imports::{Imports, TooManyHostCalls};
use crate::intake::PanicReport;
use crate::limiter::{Limiter, MemoryRefused, TablesRefused};
use crate::state::{Overdue, TooMuchData};

/// How many of a stack's frames must be of one function for running out of memory bounds to be runaway recursion.
const RECURSION_FRAMES: usize = 24;

/// What is known about a call that failed.
pub(crate) struct Circumstances<'a> {
    pub(crate) call: String,
    pub(crate) component: Digest,
    pub(crate) budget: &'a Budget,
    pub(crate) limiter: &'a Limiter,
    pub(crate) imports: &'a Imports,
    pub(crate) panic: Option<PanicReport>,
}

/// Whether a call ended as a panic ends it. A guest can report a panic and end in another way, to hide a breach: the report
/// then is an error of its own.
pub(crate) fn ends_like_a_panic(error: &wasmtime::Error) -> bool {
    error.downcast_ref() == Some(&Trap::UnreachableCodeReached)
}

/// An embedder's own import failed for a reason that is not the guest's: returned as the error of a host function, it ends
/// the call as `internal`, with the host to blame, and does not count against the extension.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct HostFault(pub String);

/// An error in making an instance, as a [`HostFault`] if it is that the system has no more memory, address space or mappings
/// for it: the budget bounds what the guest may take of these, and other extensions have their share.
pub(crate) fn or_host_fault(error: wasmtime::Error) -> wasmtime::Error {
    // A start function runs guest code, which has a stack, and its imports may fail for reasons of their own.
    let by_guest = error.is::<WasmBacktrace>() || error.is::<Trap>();
    let cause = error.root_cause();
    if !by_guest && (cause.is::<Errno>() || cause.is::<std::io::Error>() || cause.is::<OutOfMemory>()) {
        return wasmtime::Error::new(HostFault(format!("cannot make an instance: {error:#}")));
    }
    error
}

/// What a count that reached its bound is of, and how many there would be, as wasmtime says it.
fn over_count(message: &str) -> Option<(&str, u64)> {
    let (what, count) = message.strip_prefix("resource limit exceeded: ")?.split_once(" count too high at ")?;
    Some((what, count.parse().ok()?))
}

/// How many core instances there would be, if that is why there is not one more.
pub(crate) fn counted_instances(error: &wasmtime::Error) -> Option<u64> {
    let cause = error.root_cause().to_string();
    over_count(&cause).filter(|(what, _)| *what == "instance").map(|(_, count)| count)
}

/// What is known of a call that wanted more of the host's own memory than its budget allows: core instances, memories,
/// tables, handles, resources. wasmtime keeps the types of most of these errors to itself.
fn resource_breach(
    error: &wasmtime::Error,
    message: &str,
    at: &Circumstances<'_>,
) -> Option<(String, Vec<(&'static str, u64)>)> {
    let (budget, limiter) = (at.budget, at.limiter);
    if let Some(refused) = error.downcast_ref::<TablesRefused>() {
        return Some((refused.to_string(), vec![("table_elements_limit", refused.limit)]));
    }
    if message.starts_with("table minimum size") {
        let limit = budget.table_elements as u64;
        let message = format!("needs tables of more than its {} elements from the start", text::count(limit));
        return Some((message, vec![("table_elements_limit", limit)]));
    }
    if message.ends_with("store handle limit exceeded") {
        let limit = budget.handles as u64;
        let message = format!("holds {} handles of resources, as many as an instance may", text::count(limit));
        return Some((message, vec![("handles_limit", limit)]));
    }
    if error.chain().any(|cause| matches!(cause.downcast_ref(), Some(ResourceTableError::Full))) {
        let limit = budget.resources as u64;
        let message = format!("holds {} resources of the host, as many as an instance may", text::count(limit));
        return Some((message, vec![("resources_limit", limit)]));
    }
    let (what, wanted) = over_count(message)?;
    let (what, limit) = match what {
        "instance" => ("core instances", limiter.instances()),
        "memory" => ("memories", limiter.memories()),
        "table" => ("tables", limiter.tables()),
        _ => return None,
    };
    let evidence = vec![("wanted", wanted), ("limit", limit as u64)];
    Some((format!("needs {wanted} {what}; an instance may have {limit}"), evidence))
}

/// Classifies an error that ended a call.
pub(crate) fn classify(error: &wasmtime::Error, at: Circumstances<'_>) -> Failure {
    if error.is::<TooManyHostCalls>() {
        return host_calls(at, Some(error));
    }
    let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    let trap = error.downcast_ref::<Trap>().copied();
    let budget = at.budget;
    let (kind, message, evidence) =
        if let Some(wanted) = at.limiter.refused().filter(|_| gave_up_for_memory(error, at.panic.as_ref())) {
            let message = format!(
                "wanted {} of memory, {} over its budget of {}",
                text::bytes(wanted),
                text::bytes(wanted - budget.memory_bytes.min(wanted)),
                text::bytes(budget.memory_bytes)
            );
            let evidence = vec![("memory_wanted_bytes", wanted), ("memory_budget_bytes", budget.memory_bytes)];
            (FailureKind::MemoryBreach, message, evidence)
        } else if let Some(panic) = &at.panic {
            (FailureKind::Panic, panic.message.clone(), vec![])
        } else if trap == Some(Trap::OutOfFuel) {
            let message = format!("used up its {} of fuel", text::short_count(budget.fuel_per_call));
            (FailureKind::FuelBreach, message, vec![("fuel_per_call", budget.fuel_per_call)])
        } else if let Some(trap) = trap {
            let (kind, message) = trap_kind(trap, &frames);
            (kind, message, vec![])
        } else if let Some(exit) = error.downcast_ref::<I32Exit>() {
            (FailureKind::Exit, format!("called exit with status {}", exit.0), vec![])
        } else {
            let message = format!("{:#}", error.root_cause());
            // wasmtime keeps this error's type to itself.
            if error.is::<TooMuchData>() {
                (FailureKind::HostDataBreach, message, vec![("host_data_per_call_bytes", budget.host_data_per_call)])
            } else if let Some(fault) = error.downcast_ref::<HostFault>() {
                (FailureKind::Internal, fault.to_string(), vec![])
            } else if message.contains("fuel allocated for hostcalls has been exhausted") {
                let message = format!("passed more than {} in one host call", text::bytes(budget.host_data_per_call));
                (FailureKind::HostDataBreach, message, vec![("host_data_per_call_bytes", budget.host_data_per_call)])
            } else if let Some((message, evidence)) = resource_breach(error, &message, &at) {
                (FailureKind::ResourceBreach, message, evidence)
            } else {
                (FailureKind::InvalidInterfaceUse, message, vec![])
            }
        };
    Failure {
        kind,
        message,
        call: at.call,
        component: at.component,
        location: at.panic.filter(|_| kind == FailureKind::Panic).and_then(|panic| panic.location),
        frames,
        evidence: evidence.into_iter().map(|(name, value)| (name.to_owned(), value as i64)).collect(),
        input: None,
    }
}

/// Whether a guest that was refused memory ended for want of it: Rust's allocator aborts without a panic, and other
/// languages' runtimes do likewise, while a panic that speaks of something else has another cause.
fn gave_up_for_memory(error: &wasmtime::Error, panic: Option<&PanicReport>) -> bool {
    let aborted = matches!(error.downcast_ref(), Some(Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds));
    let speaks_of_memory =
        panic.is_none_or(|panic| panic.message.contains("alloc") || panic.message.contains("capacity"));
    // A memory that is too large from the start is refused by an error of wasmtime's that has no type.
    let from_start = || error.root_cause().to_string().starts_with("memory minimum size");
    error.is::<MemoryRefused>() || (aborted && speaks_of_memory) || from_start()
}

/// Whether a guest was made to trap since it was past its deadline.
pub(crate) fn is_overdue(error: &wasmtime::Error) -> bool {
    error.downcast_ref() == Some(&Trap::Interrupt) || error.is::<Overdue>()
}

/// The failure of a call that was given up at its deadline. Where the host dropped the call, and did not make it trap, its stack
/// is not known.
pub(crate) fn deadline(at: Circumstances<'_>, cpu_nanos: u64, trapped: Option<&wasmtime::Error>) -> Failure {
    let limit = at.budget.deadline;
    Failure {
        kind: FailureKind::DeadlineBreach,
        message: format!(
            "was not done after {}, {} of it on the CPU",
            text::duration(limit),
            text::duration(std::time::Duration::from_nanos(cpu_nanos))
        ),
        call: at.call,
        component: at.component,
        location: None,
        frames: trapped.and_then(wasmtime::Error::downcast_ref).map(frames).unwrap_or_default(),
        evidence: vec![("deadline_ns".to_owned(), limit.as_nanos() as i64), ("cpu_ns".to_owned(), cpu_nanos as i64)],
        input: None,
    }
}

/// The failure of a call that called too many functions of the host. Its stack is known if one of them could fail for it.
pub(crate) fn host_calls(at: Circumstances<'_>, error: Option<&wasmtime::Error>) -> Failure {
    let (calls, limit) = (at.imports.calls(), at.budget.host_calls_per_call);
    let busiest = at.imports.busiest();
    let most =
        busiest.map(|one| format!(", {} of them of {}", text::count(one.calls), one.function)).unwrap_or_default();
    Failure {
        kind: FailureKind::HostCallBreach,
        message: format!(
            "called functions of the host {} times{most}; a call may do so {} times",
            text::count(calls),
            text::count(limit)
        ),
        call: at.call,
        component: at.component,
        location: None,
        frames: error.and_then(wasmtime::Error::downcast_ref).map(frames).unwrap_or_default(),
        evidence: vec![("host_calls".to_owned(), calls as i64), ("host_calls_per_call".to_owned(), limit as i64)],
        input: None,
    }
}

fn frames(backtrace: &WasmBacktrace) -> Vec<Frame> {
    let frame = |frame: &wasmtime::FrameInfo| Frame {
        function: frame.func_name().map(demangled).unwrap_or_default(),
        offset: frame.module_offset().map(|offset| offset as u64),
    };
    backtrace.frames().iter().map(frame).collect()
}

fn trap_kind(trap: Trap, frames: &[Frame]) -> (FailureKind, String) {
    let told = trap.to_string();
    let message = told.strip_prefix("wasm trap: ").unwrap_or(&told).to_owned();
    let kind = match trap {
        Trap::StackOverflow => FailureKind::StackOverflow,
        Trap::MemoryOutOfBounds if let Some(function) = recursing(frames) => {
            // A Rust guest keeps its own stack at the start of its memory; recursion runs it below address 0.
            return (
                FailureKind::StackOverflow,
                format!("the guest's stack is used up: {function} keeps calling itself"),
            );
        }
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => FailureKind::MemoryOutOfBounds,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => FailureKind::Arithmetic,
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature | Trap::NullReference => {
            FailureKind::BadCall
        }
        Trap::UnreachableCodeReached => FailureKind::Unreachable,
        Trap::CannotEnterComponent
        | Trap::CannotLeaveComponent
        | Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer => FailureKind::InvalidInterfaceUse,
        _ => FailureKind::OtherTrap,
    };
    (kind, message)
}

/// The function that most of a stack consists of, if it is one that recurses without an end.
fn recursing(frames: &[Frame]) -> Option<&str> {
    let mut counts = std::collections::HashMap::new();
    for frame in frames {
        *counts.entry(frame.function.as_str()).or_insert(0) += 1;
    }
    let (function, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= RECURSION_FRAMES).then_some(function)
}

/// Stores a failure whose texts are searched for secrets, if errors are stored; it is encoded in `body`.
pub(crate) fn store(recorder: &Recorder, head: Head<'_>, failure: &Failure, body: &mut Vec<u8>) {
    if recorder.is_on(Signal::Error) {
        body.clear();
        failure.encode(body);
        recorder.append(Signal::Error, head, KIND_FAILURE, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_the_system_has_no_room_for_is_the_hosts_fault_and_any_other_error_is_not() {
        let check = |error: wasmtime::Error, expect: Option<&str>| {
            let error = or_host_fault(error);
            assert_eq!(error.downcast_ref::<HostFault>().map(|fault| fault.0.as_str()), expect, "{error:#}");
        };
        let full = || wasmtime::Error::new(Errno::NOMEM).context("mmap failed to reserve 0x100000000 bytes");
        let told = format!("cannot make an instance: mmap failed to reserve 0x100000000 bytes: {}", Errno::NOMEM);
        check(full(), Some(&told));
        check(wasmtime::Error::msg("resource limit exceeded: memory count too high at 17"), None);
        check(full().context(Trap::UnreachableCodeReached), None);
    }
}
