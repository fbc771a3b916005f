//! The HTTP requests of a call of the guest: each is a span of kind client, with the names that OpenTelemetry's conventions have for
//! it (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use std::sync::{Arc, OnceLock};

use glasshouse_model::invocation::HostUses;
use glasshouse_model::settings::HttpAccess;
use glasshouse_model::text::cut;
use glasshouse_model::wire::{Field, Fields, Links, Value};
use glasshouse_model::{Origin, Span, SpanCost, SpanId, SpanKind, SpanStatus};
use glasshouse_telemetry::{Load, Verdict, Worth};
use tokio::sync::watch;

use super::exchange::{Ending, Outcome, Strays};
use super::wire::Carried;
use crate::denials::{Denials, Denied, DeniedBy};
use crate::host::open_span::Ended;
use crate::intake::Intake;

/// Requests that get spans in one call of the guest, some 300 KiB of them; the rest is counted.
const MOST: usize = 256;
/// Bytes of a URL that are kept.
const URL_BYTES: usize = 1024;
/// Methods that have a name of their own in spans; all others are one.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A request that was sent.
pub(super) struct Sent {
    /// Its own encoded context, and the id of its span.
    pub(super) context: Vec<u8>,
    pub(super) id: SpanId,
    /// Whether it gets one.
    pub(super) is_traced: bool,
    /// The span in which it was sent.
    pub(super) parent: SpanId,
    /// When, in `Clock::monotonic_nanos`.
    pub(super) start: u64,
    pub(super) method: String,
    pub(super) url: String,
    /// Whether the URL was longer.
    pub(super) is_cut: bool,
    pub(super) server: HttpAccess,
    pub(super) carried: Arc<Carried>,
    pub(super) outcome: Arc<OnceLock<Outcome>>,
}

/// The requests of a call of the guest, in the order in which they were sent.
#[derive(Default)]
pub(crate) struct Requests {
    sent: Vec<Sent>,
    left_out: u64,
    /// Where names of theirs led and may not.
    pub(super) strays: Arc<Strays>,
    /// Gone once the call is over, and all that was made for its requests with it.
    over: Option<watch::Sender<()>>,
}

impl Requests {
    /// What is closed once the call of the guest is over.
    pub(super) fn over(&mut self) -> watch::Receiver<()> {
        self.over.get_or_insert_with(|| watch::channel(()).0).subscribe()
    }

    /// Whether there is room for another one's span.
    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < MOST
    }

    /// Notes a request, if there is room.
    pub(super) fn note(&mut self, mut sent: Sent) {
        if !self.has_room() {
            self.left_out += u64::from(sent.is_traced);
            return;
        }
        let kept = cut(&sent.url, URL_BYTES).len();
        sent.is_cut = kept < sent.url.len();
        sent.url.truncate(kept);
        sent.url.shrink_to_fit();
        self.sent.push(sent);
    }

    /// Whether none was sent.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Ends those that are under way, and tells of those that were denied for where their names lead.
    #[inline]
    pub(crate) fn end(&mut self, intake: &Intake, denials: &Denials) {
        if self.over.take().is_some() {
            self.tell_prohibited(intake, denials);
        }
    }

    #[cold]
    fn tell_prohibited(&self, intake: &Intake, denials: &Denials) {
        for target in self.strays.take() {
            let denied = Denied { by: DeniedBy::Grants, permission: "http", operation: "handle", target: &target };
            denials.tell(denied, |level, message, fields| intake.host_log(level, message, fields));
        }
    }

    /// Stores the requests of a call that was run until a time, each as a span, keeps them for what is decided on its trace, or leaves them out:
    /// those that failed are stored if failed spans are, and all of them if the trace is kept. The intake's context is the call's own. Tells
    /// how many there was no room for, and how many were left out.
    #[cold]
    pub(crate) fn decide(&mut self, intake: &Intake, verdict: Verdict, run_until: u64) -> [u64; 2] {
        let (now, recorder) = (intake.clock().now(), intake.recorder());
        let mut left_out = 0;
        for sent in self.sent.drain(..).filter(|sent| sent.is_traced) {
            let timed = intake.cross();
            // Its trace may be one that the extension has begun.
            let is_kept = recorder.judge_span(&sent.context) == Verdict::Keep;
            if sent.status(run_until) == SpanStatus::Failed {
                if recorder.admit_failed_span() {
                    // It stands for itself alone.
                    sent.end(intake, Worth::Urgent, run_until, |ended| ended.store(intake, &sent.context, now));
                }
            } else if verdict == Verdict::LeaveOut && !is_kept {
                left_out += 1;
            } else {
                sent.end(intake, Worth::Usual, run_until, |ended| {
                    ended.settle(intake, &sent.context, is_kept, verdict, now);
                });
            }
            intake.crossed(timed, || Load::Span);
        }
        if left_out > 0 {
            recorder.leave_out_spans(intake.context_bytes(), left_out);
        }
        [std::mem::take(&mut self.left_out), left_out]
    }
}

impl Sent {
    /// How it ended for a call that was run until some time.
    fn status(&self, run_until: u64) -> SpanStatus {
        match self.outcome.get() {
            None | Some(Outcome { result: Err(Ending::GivenUp), .. }) => SpanStatus::Unfinished,
            Some(Outcome { at, .. }) if *at > run_until => SpanStatus::Unfinished,
            // By the conventions a client's request fails where the server says that it was wrong, too.
            Some(Outcome { result: Ok(..400), .. }) => SpanStatus::Ok,
            Some(_) => SpanStatus::Failed,
        }
    }

    /// Encodes it as a span of a call that was run until a time, which is given to `put`.
    fn end(&self, intake: &Intake, worth: Worth, run_until: u64, put: impl FnOnce(Ended<'_>)) {
        let status = self.status(run_until);
        let outcome = self.outcome.get().filter(|outcome| outcome.at <= run_until);
        let end = outcome.map_or(run_until, |outcome| outcome.at).max(self.start);
        let known = METHODS.contains(&&*self.method);
        let (method, name) = if known { (&*self.method, &*self.method) } else { ("_OTHER", "HTTP") };
        let host = self.server.host.to_string();
        let url = cut(&self.url, intake.recorder().string_bytes());
        let text = |name, text| Field { name, value: Value::Text(text) };
        let number = |name, number| Field { name, value: Value::Integer(number) };
        let mut fields = vec![
            text("http.request.method", method),
            text("server.address", host.trim_matches(['[', ']'])),
            number("server.port", self.server.port.into()),
            text("url.full", url),
            text("network.protocol.version", "1.1"),
        ];
        if !known {
            fields.push(text("http.request.method_original", &self.method));
        }
        let (code, mut failure) =
            (outcome.and_then(Outcome::status).map(|code| (code, code.to_string())), String::new());
        if let Some((code, shown)) = &code {
            fields.push(number("http.response.status_code", i64::from(*code)));
            if status == SpanStatus::Failed {
                fields.push(text("error.type", shown));
                failure = format!("the server answered {shown}");
            }
        }
        match outcome.map(|outcome| &outcome.result) {
            Some(Err(Ending::Failed(word, why))) => {
                fields.push(text("error.type", word));
                failure.clone_from(why);
            }
            Some(Err(Ending::Prohibited(address))) => {
                fields.push(text("error.type", "destination-IP-prohibited"));
                failure = format!("its name leads to {address}, which was not granted");
            }
            _ => {}
        }
        // From its start on it waits for the network, while the guest may do other things.
        let elapsed_nanos = end - self.start;
        let total = SpanCost {
            elapsed_nanos,
            idle_nanos: elapsed_nanos,
            host_calls: 1,
            transfer: self.carried.read(),
            ..SpanCost::default()
        };
        let span = Span {
            parent: self.parent,
            kind: SpanKind::Client,
            status,
            name,
            failure: &failure,
            start: intake.clock().at(self.start),
            total,
            children: SpanCost::default(),
            fields: Fields::EMPTY,
            events: Vec::new(),
            links: Links::EMPTY,
            memory_bytes: 0,
            host: HostUses::default(),
        };
        let mut body = Vec::with_capacity(512);
        span.encode(&mut body, &fields, 0, &[]);
        let cut = self.is_cut || url.len() < self.url.len();
        put(Ended { body: &body, at: end, origin: Origin::Host, worth, cut, is_clean: false });
    }
}

impl Outcome {
    fn status(&self) -> Option<u16> {
        self.result.as_ref().ok().copied()
    }
}

#[cfg(test)]
mod tests {
    use glasshouse_model::settings::{Debugging, Settings};
    use glasshouse_model::wire::Record;
    use glasshouse_model::{Context, Level, Signal};
    use glasshouse_telemetry::{Body, Store, StoreSettings};

    use super::*;
    use crate::clock::SystemClock;

    fn sent(result: Result<u16, Ending>) -> Sent {
        let mut context = Vec::new();
        Context::default().encode(&mut context);
        Sent {
            context,
            id: SpanId::default(),
            is_traced: true,
            parent: SpanId::default(),
            start: 0,
            method: "GET".to_owned(),
            url: format!("https://api.example/{}", "x".repeat(2 * URL_BYTES)),
            is_cut: false,
            server: "https://api.example".parse().expect("an origin"),
            carried: Arc::default(),
            outcome: Arc::new(OnceLock::from(Outcome { at: 1, result })),
        }
    }

    #[test]
    fn a_name_that_leads_where_it_may_not_is_told_with_the_address_at_the_end_of_the_call() {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
        let denials = Denials::new(store.recorder());
        let mut requests = Requests::default();
        let mut over = requests.over();
        // However many others there were.
        (0..=MOST).for_each(|_| requests.note(sent(Ok(200))));
        let server = "https://api.example".parse().expect("an origin");
        requests.strays.note(&server, [169, 254, 169, 254].into());
        assert!(over.has_changed().is_ok());
        requests.end(&intake, &denials);
        assert!(over.has_changed().is_err(), "what is under way ends");
        requests.end(&intake, &denials);
        let logs = store.reader(Signal::Log).all();
        let [log] = &logs[..] else { panic!("{} logs", logs.len()) };
        let Ok(Body::Record(Record::Log(log, fields))) = log.body() else { panic!("a log") };
        let target = fields.iter().find(|field| field.name == "target").map(|field| field.value);
        assert_eq!(log.level, Level::Warning);
        assert_eq!(target, Some(Value::Text("https://api.example at 169.254.169.254")));
        drop(over.borrow_and_update());
    }

    #[test]
    fn requests_that_are_kept_for_how_their_call_ended_stand_for_no_others_and_failed_ones_for_themselves() {
        for (tracing_enabled, matters, expect) in
            [(false, false, vec![true]), (false, true, vec![false, true]), (true, false, vec![true, true])]
        {
            let debugging = Debugging { tracing_enabled, ..Debugging::default() };
            let settings = Settings { debugging, ..Settings::default() };
            let store = Store::new(&StoreSettings::new(&settings), Arc::default());
            let mut intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
            intake.set_context(Context::default());
            let mut requests = Requests::default();
            for status in [200, 500] {
                requests.note(sent(Ok(status)));
            }
            let verdict = if matters { Verdict::Keep } else { Verdict::LeaveOut };
            requests.decide(&intake, verdict, u64::MAX);
            let spans = store.reader(Signal::Span).all();
            let sampled = spans.iter().map(|span| span.envelope().context.is_some_and(|own| own.sampling.is_sampled));
            assert_eq!(sampled.collect::<Vec<_>>(), expect, "tracing: {tracing_enabled}, matters: {matters}");
        }
    }

    #[test]
    fn requests_beyond_those_that_get_spans_take_no_memory_and_are_counted() {
        let store = Store::new(&StoreSettings::new(&Settings::default()), Arc::default());
        let intake = Intake::new(store.recorder(), Arc::new(SystemClock::new()));
        let mut requests = Requests::default();
        (0..MOST + 7).for_each(|_| requests.note(sent(Ok(200))));
        assert_eq!(requests.sent.len(), MOST);
        assert!(requests.sent.iter().all(|sent| sent.url.len() <= URL_BYTES));
        assert_eq!(requests.decide(&intake, Verdict::Keep, u64::MAX), [7, 0]);
        assert!(requests.is_empty());
        let spans = store.reader(Signal::Span).all();
        assert_eq!(spans.len(), MOST);
        assert!(spans.iter().all(|span| span.envelope().cut), "their URLs are longer");
    }
}
