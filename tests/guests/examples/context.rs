//! Works for several users and tenants in one call.

use glasshouse_sdk::{
    Field, Link, Payload, Severity, Value, alert, context, counter, events, extension, in_span, info, record_error,
    root_span, span,
};
use serde::Serialize;

/// Whose work it was told to be.
#[derive(Serialize)]
struct Told {
    correlation_id: String,
    user: Option<String>,
    tenant: Option<String>,
    trace_id: String,
    span_id: String,
}

/// The extension.
#[derive(Default)]
pub struct Context {
    overheard: [String; 4],
}

#[extension]
impl Context {
    /// Tells whose work this is.
    #[event]
    fn tell(&mut self) -> Told {
        let info = context::current();
        Told {
            correlation_id: info.correlation_id,
            user: info.user,
            tenant: info.tenant,
            trace_id: info.trace_id,
            span_id: info.span_id,
        }
    }

    /// Tells by which headers other programs go on with this, and a value that came along.
    #[event]
    fn headers(&mut self) -> [String; 4] {
        let headers = context::headers();
        let tier = context::baggage("tier").unwrap_or_default();
        [headers.traceparent, headers.tracestate, headers.baggage, tier]
    }

    /// Takes an event of this topic, and remembers the same of it, since nobody gets its reply.
    #[event]
    fn overhear(&mut self, _news: Payload) {
        self.overheard = self.headers();
    }

    /// Tells what it remembers.
    #[event]
    fn overheard(&mut self) -> [String; 4] {
        self.overheard.clone()
    }

    /// Leaves one of each signal behind.
    #[event]
    fn signals(&mut self) {
        let _span = span!("work");
        info!("a log");
        counter("a.metric").record(1);
        record_error("an-error", "an error");
        alert("an-alert", Severity::Low, "an alert").raise();
    }

    /// Opens a span with links to what some headers `traceparent` name, and adds one to a span that came before it.
    #[event]
    fn linked(&mut self, traceparents: Vec<String>) {
        let before = in_span("before", |_| context::headers());
        let fields = [Field { name: "reason", value: Value::Text("batched together") }];
        let links = traceparents.iter().filter_map(|header| Link::from_traceparent(header));
        let batch = span!(links: links.map(|link| link.tracestate("rojo=1").fields(&fields)), "batch", messages = 2);
        if let Some(link) = before.link() {
            batch.add_link(link);
        }
    }

    /// Works in a trace of its own for a while, in which it calls an extension, if it is told one; answers with the headers before, within and
    /// after, and each time with the correlation id.
    #[event]
    #[allow(clippy::print_stdout, reason = "it is to be found among the logs")]
    fn round(&mut self, callee: String) -> [[String; 4]; 3] {
        let tell = || {
            let headers = context::headers();
            [headers.traceparent, headers.tracestate, headers.baggage, context::current().correlation_id]
        };
        let _outer = span!("outer");
        info!("before");
        let before = tell();
        let within = {
            let round = root_span!("round", number = 1);
            info!("within");
            {
                let _ada = context::scope().user("ada").enter();
                let _inner = span!("inner");
                info!("inside");
            }
            if !callee.is_empty() {
                let called = events::call::<Payload>(&callee, "echo", Payload::new("application/json", "7"));
                round.set_field("called", called.is_ok());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
            println!("printed");
            tell()
        };
        info!("after");
        [before, within, tell()]
    }

    /// Begins a trace in a trace, ends the outer one first, and then fails.
    #[event("round-broken")]
    fn round_broken(&mut self) {
        let first = root_span!("first");
        let second = root_span!("second");
        drop(first);
        info!("in the second");
        let third = span!("third");
        drop(second);
        info!("in the third");
        std::mem::forget(third);
        panic!("enough");
    }

    /// Naps outside of a scope and in one.
    #[event]
    fn nap(&mut self) {
        let nap = || std::thread::sleep(std::time::Duration::from_millis(1));
        nap();
        {
            let _ada = context::scope().user("ada").enter();
            nap();
        }
        nap();
    }

    /// Logs in nested scopes, and outside of them again.
    #[event]
    fn nested(&mut self) {
        info!("outside");
        {
            let _ada = context::scope().user("ada").tenant("engines").enter();
            info!("for ada");
            {
                let _grace = context::scope().user("grace").correlation_id("inner-1").enter();
                info!("for grace");
            }
            info!("for ada again");
        }
        info!("outside again");
    }

    /// Prints in a scope and outside of it.
    #[event]
    #[allow(clippy::print_stdout, reason = "it is to be found among the logs")]
    fn print(&mut self) {
        println!("printed outside");
        {
            let _span = span!("work");
            let _ada = context::scope().user("ada").enter();
            println!("printed for ada");
        }
        println!("printed outside again");
    }

    /// Tries to enter scopes that no context can hold.
    #[event]
    fn illegal(&mut self) {
        let _long = context::scope().user(&"u".repeat(1000)).enter();
        let _control = context::scope().correlation_id("a\nb").enter();
        info!("as before");
    }
}
