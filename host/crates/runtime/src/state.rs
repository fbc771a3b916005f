//! What the host keeps for one instance of an extension, beside its memory.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::settings::{Settings, SlowCall};
use glasshouse_model::{Clock, Context, ExtensionId, HostFunction, Level, SpanId};
use glasshouse_telemetry::{CallFate, DECIDED_AFTER, Decided, Drop, Fate, Recorder, Verdict};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::denials::{Denials, Denied, DeniedBy};
use crate::determinism::{GuestClock, Ids};
use crate::grants::Reachable;
use crate::host::batch::SharedBatch;
use crate::host::context::Scopes;
use crate::host::files::{Files, Folders};
use crate::host::http::{Door, Http};
use crate::host::spans::{Reading, Spans, new_trace_id};
use crate::host::streams::Streams;
use crate::imports::{Imports, Pulse, Timing};
use crate::intake::Intake;
use crate::limiter::Limiter;
use crate::neighbours::Neighbours;
use crate::stdio::Stdio;
use crate::trigger::{Carried, Chain, Passing, Trigger};

/// How often an invocation may pass what one host call may carry through calls that cannot yield: names of spans, meters
/// and scopes, which a well-behaved guest keeps short.
const CALLS_WORTH_OF_DATA: u64 = 4;

/// Bytes of one such call that are not counted, so that only a guest that passes much too much is ended, however long it runs.
const UNCOUNTED_BYTES: usize = 1024;

/// A guest passed far more data to spans, meters, scopes and topics than they are for.
#[derive(Debug, thiserror::Error)]
#[error("passed more data to spans, meters, scopes and topics than {CALLS_WORTH_OF_DATA} host calls may carry")]
pub(crate) struct TooMuchData;

/// A guest was past its deadline when it called a function that cannot yield.
#[derive(Debug, thiserror::Error)]
#[error("called the host after its deadline")]
pub(crate) struct Overdue;

/// The data of an instance's store; an embedder's own imports get it as their `T`.
pub struct State {
    pub(crate) id: ExtensionId,
    pub(crate) intake: Intake,
    pub(crate) spans: Spans,
    pub(crate) scopes: Scopes,
    /// What the guest asks of the host.
    pub(crate) imports: Imports,
    /// How the present invocation came about, and the span that caused it.
    pub(crate) chain: Chain,
    pub(crate) parent: Option<SpanId>,
    /// What is passed on with its trace.
    carried: Carried,
    /// Whether it was told that what came with a trace is unusable.
    has_told_unusable: bool,
    /// When the present invocation began, and when it has to be done, in `Clock::monotonic_nanos`.
    began_at: u64,
    pub(crate) deadline_at: u64,
    /// From when on a call is slow, in nanoseconds; `None` if that is what its like take.
    pub(crate) slow_after: Option<u64>,
    /// What the present invocation may still pass through calls that cannot yield to the neighbours, in bytes.
    data_left: u64,
    pub(crate) counts_fuel: bool,
    /// What a guest passes of a span is copied here.
    pub(crate) span_bytes: Vec<u8>,
    /// Where the guest gathers records.
    pub(crate) shared_batch: Option<SharedBatch>,
    pub(crate) limiter: Limiter,
    pub(crate) stdio: Stdio,
    pub(crate) neighbours: Neighbours,
    pub(crate) reachable: Arc<Reachable>,
    pub(crate) door: Arc<Door>,
    pub(crate) http: Http,
    /// The guest's own clock, in an instance whose runs are to be alike.
    pub(crate) guest_clock: Option<GuestClock>,
    pub(crate) table: ResourceTable,
    pub(crate) wasi: WasiCtx,
    folders: Folders,
    pub(crate) denials: Denials,
    embedder: Box<dyn Any + Send>,
}

/// What a [`State`] is made of.
pub(crate) struct StateParts {
    pub(crate) id: ExtensionId,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counts_fuel: bool,
    pub(crate) limiter: Limiter,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) stdio: Stdio,
    pub(crate) neighbours: Neighbours,
    pub(crate) reachable: Arc<Reachable>,
    pub(crate) door: Arc<Door>,
    pub(crate) wasi: WasiCtx,
    pub(crate) denials: Denials,
    pub(crate) guest_clock: Option<GuestClock>,
    pub(crate) ids: Ids,
    pub(crate) embedder: Box<dyn Any + Send>,
}

impl State {
    pub(crate) fn new(parts: StateParts) -> Self {
        Self {
            id: parts.id,
            imports: Imports::new(parts.pulse, Arc::clone(&parts.clock)),
            intake: Intake::new(parts.recorder, parts.clock),
            spans: Spans::new(parts.ids),
            scopes: Scopes::default(),
            chain: Chain::default(),
            parent: None,
            carried: Carried::default(),
            has_told_unusable: false,
            began_at: 0,
            deadline_at: 0,
            slow_after: None,
            data_left: 0,
            counts_fuel: parts.counts_fuel,
            span_bytes: Vec::new(),
            shared_batch: None,
            limiter: parts.limiter,
            stdio: parts.stdio,
            neighbours: parts.neighbours,
            reachable: parts.reachable,
            door: parts.door,
            http: Http::new(),
            guest_clock: parts.guest_clock,
            table: ResourceTable::new(),
            wasi: parts.wasi,
            folders: Folders::default(),
            denials: parts.denials,
            embedder: parts.embedder,
        }
    }

    /// The extension's id.
    pub fn extension(&self) -> &ExtensionId {
        &self.id
    }

    /// Whose work the present invocation is.
    pub fn context(&self) -> &Context {
        self.intake.context()
    }

    /// The table that resources of an embedder's own imports may live in.
    pub fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }

    /// The embedder's own data for this instance, as the factory given to the host made it.
    ///
    /// # Panics
    ///
    /// If the factory makes another type: that is a mistake in the embedder's code, which no guest can cause.
    pub fn embedder<T: Any + Send>(&mut self) -> &mut T {
        match self.embedder.downcast_mut() {
            Some(data) => data,
            None => panic!("the embedder's data is not a {}", std::any::type_name::<T>()),
        }
    }

    /// Counts what a guest passed to a call that cannot yield to the neighbours; too much of it ends the invocation, and so does
    /// much of it after the deadline.
    pub(crate) fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let counted = bytes.saturating_sub(UNCOUNTED_BYTES) as u64;
        if counted > 0 && self.intake.clock().monotonic_nanos() >= self.deadline_at {
            return Err(wasmtime::Error::new(Overdue));
        }
        match self.data_left.checked_sub(counted) {
            Some(left) => {
                self.data_left = left;
                Ok(())
            }
            None => Err(wasmtime::Error::new(TooMuchData)),
        }
    }

    /// A use of something that was not granted is a security event.
    pub(crate) fn denied(&self, permission: &str, operation: &str, target: &str) {
        let denied = Denied { by: DeniedBy::Grants, permission, operation, target };
        self.denials.tell(denied, |level, message, fields| self.intake.host_log(level, message, fields));
    }

    /// The file system, watched for what it denies, and timed.
    pub(crate) fn files(&mut self) -> Files<'_> {
        Files {
            timing: Timing::full(&mut self.imports, HostFunction::File),
            inner: WasiFilesystemCtxView { ctx: self.wasi.filesystem(), table: &mut self.table },
            folders: &mut self.folders,
            intake: &mut self.intake,
            denials: &self.denials,
        }
    }

    /// Streams and what can be waited for, timed.
    pub(crate) fn streams(&mut self, function: HostFunction) -> Streams<'_> {
        Streams { table: &mut self.table, timing: Timing::full(&mut self.imports, function) }
    }

    /// What the present invocation has used by now.
    pub(crate) fn reading(&self, fuel_left: Option<u64>) -> Reading {
        Reading::take(&self.intake, &self.imports, &self.limiter, fuel_left)
    }

    /// Goes by settings from now on, as far as they are not for one call.
    pub(crate) fn settle(&mut self, settings: &Settings) {
        let budget = &settings.budget;
        self.slow_after = match settings.debugging.slow_call {
            SlowCall::After(limit) => Some(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
            SlowCall::P95 => None,
        };
        self.intake.settle(&budget.telemetry);
        self.limiter.set_bounds(budget.into());
        self.table.set_max_capacity(budget.resources);
    }

    /// Starts an invocation: whose work it is, which is taken out of the trigger, and a clean slate. `began_at` is in
    /// `Clock::monotonic_nanos`.
    #[inline]
    pub(crate) fn begin_invocation(
        &mut self,
        trigger: &mut Trigger,
        settings: &Settings,
        began_at: u64,
        deadline: Duration,
    ) {
        let budget = &settings.budget;
        let ids = &mut self.spans.ids;
        let decided = trigger.decided();
        let trace_id = trigger.trace_id.unwrap_or_else(|| new_trace_id(ids));
        let sampling = decided.unwrap_or_else(|random| self.intake.recorder().sample_root(trace_id, random));
        self.intake.change_context(|context| {
            context.trace_id = trace_id;
            context.sampling = sampling;
            context.span_id = SpanId(ids.draw().to_be_bytes());
            if context.has_texts() || trigger.has_texts() {
                // The trigger is dropped in any case, and what is taken over so with it.
                std::mem::swap(&mut context.correlation_id, &mut trigger.correlation_id);
                std::mem::swap(&mut context.user, &mut trigger.user);
                std::mem::swap(&mut context.tenant, &mut trigger.tenant);
            }
        });
        self.parent = trigger.parent;
        std::mem::swap(&mut self.chain, &mut trigger.chain);
        self.carried = std::mem::take(&mut trigger.carried);
        self.began_at = began_at;
        self.deadline_at = began_at.saturating_add(deadline.as_nanos() as u64);
        self.intake.begin_invocation(began_at);
        self.spans.begin_invocation();
        self.imports.begin(budget.host_calls_per_call, self.intake.may_store_spans());
        self.data_left = budget.host_data_per_call.saturating_mul(CALLS_WORTH_OF_DATA);
        self.stdio.set_context(self.intake.context_bytes());
        self.limiter.start_call();
        if !self.carried.is_empty() && self.chain.cause().is_none() {
            self.tell_unusable();
        }
    }

    /// Counts the headers that came with a call and are left out of account, and tells of the first ones.
    #[cold]
    fn tell_unusable(&mut self) {
        for (header, wrong) in self.carried.wrongs() {
            self.intake.recorder().dropped(Drop::Unusable);
            if !std::mem::replace(&mut self.has_told_unusable, true) {
                let message = format!("the {header} that came with a call is left out of account: {wrong}");
                self.intake.host_log(Level::Warning, &message, &[]);
            }
        }
    }

    /// Lets those whom the present invocation is about to cause share the fate of its trace: from now on it is decided for all of them.
    pub(crate) fn share_fate(&mut self) {
        let (began_at, slow_after) = (self.began_at, self.slow_after);
        self.chain.share_fate(|| {
            // What goes on for so long is slow, whatever its like take.
            let is_slow_by_then = slow_after.is_none_or(|limit| DECIDED_AFTER.as_nanos() >= u128::from(limit));
            Fate::new(began_at, is_slow_by_then)
        });
    }

    /// What the present invocation passes on to whom it causes.
    pub(crate) fn passing(&self) -> Passing<'_> {
        let context = self.intake.context();
        Passing { chain: &self.chain, carried: self.carried(), context, cause: self.spans.root(context) }
    }

    /// What programs pass on with the trace in force. What they say of the invocation's is nothing of one that the extension has begun.
    pub fn carried(&self) -> Carried {
        if self.spans.is_in_own_trace() { self.carried.without_state() } else { self.carried.clone() }
    }

    /// Ends an invocation that was run until a time: the spans that the guest left open are closed. Its scopes stay in force, so that a failure
    /// belongs to whom the guest worked for.
    #[inline]
    pub(crate) fn end_invocation(&mut self, fuel_left: Option<u64>, ended_at: u64) {
        if self.spans.is_any_open() {
            let reading = Reading { at: ended_at, ..self.reading(fuel_left) };
            while self.spans.end_innermost(&mut self.intake, &mut self.imports, &reading) {}
        }
        self.stdio.flush();
        self.http.requests.end(&self.intake, &self.denials);
        self.denials.end_invocation(|level, message, fields| self.intake.host_log(level, message, fields));
        self.intake.end_invocation();
    }

    /// Decides on the logs and spans that waited for how the invocation would end, which was run until a time, and whose scopes were left;
    /// `matters` tells whether it failed or was slow. Where its trace has other calls here, it is decided with those.
    #[inline]
    pub(crate) fn decide(&mut self, matters: bool, run_until: u64) {
        let ended = match self.chain.fate() {
            None => CallFate::alone(matters),
            Some(fate) => fate.ended(self.chain.is_first(), matters, self.intake.clock()),
        };
        let has_calls = !self.imports.host_calls.is_empty() || !self.http.requests.is_empty();
        if has_calls || self.intake.has_undecided() || ended.missing > 0 {
            self.settle_undecided(ended, run_until);
        }
    }

    #[cold]
    fn settle_undecided(&mut self, CallFate { verdict, missing }: CallFate, run_until: u64) {
        let intake = &self.intake;
        let is_decided = verdict != Verdict::Undecided;
        let decided = if is_decided && intake.has_undecided() {
            intake.decide(verdict == Verdict::Keep)
        } else {
            Decided::default()
        };
        let (requests, calls) = (&mut self.http.requests, &self.imports.host_calls);
        let [mut without_room, mut left_out] = [0; 2];
        if !requests.is_empty() {
            [without_room, left_out] = requests.decide(intake, verdict, run_until);
        }
        if !calls.is_empty() {
            let of_calls = self.spans.tell_host_calls(intake, calls, verdict, run_until);
            (without_room, left_out) = (without_room + of_calls[0], left_out + of_calls[1]);
        }
        let (recorder, now) = (intake.recorder(), intake.clock().now());
        let own = intake.context_bytes();
        if without_room > 0 && verdict == Verdict::LeaveOut && recorder.judge_span(own) != Verdict::Keep {
            // Of a call that is left out nothing is missed.
            recorder.leave_out_spans(own, without_room);
            left_out += std::mem::take(&mut without_room);
        }
        recorder.tell_late(now, intake.context_bytes(), missing);
        match self.chain.fate() {
            Some(fate) if !is_decided => intake.leave(fate, without_room),
            fate => {
                recorder.tell_missing(now, intake.context_bytes(), decided.gone + without_room);
                let left_out = decided.left_out + left_out;
                if let Some(fate) = fate.filter(|_| left_out > 0) {
                    fate.note_left_out(left_out);
                }
            }
        }
    }

    /// Leaves the scopes that the guest left open: the context is again that of the invocation itself.
    #[inline]
    pub(crate) fn leave_scopes(&mut self) {
        if self.scopes.end() {
            self.enter_innermost_scope();
        }
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
