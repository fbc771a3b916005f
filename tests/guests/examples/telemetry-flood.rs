//! Records far more than it is allowed to, in every way, and tries to pass for the host.

use glasshouse_sdk::{
    SecurityEvent, SecurityKind, Severity, alert, counter, debug, error, extension, info, record_error, span, warning,
};

/// The extension.
#[derive(Default)]
pub struct TelemetryFlood;

#[extension]
impl TelemetryFlood {
    /// Writes so many debug logs, and then what matters.
    #[event]
    fn debug(&mut self, logs: u64) {
        for number in 0..logs {
            debug!("noise", number = number);
        }
        tell_what_matters();
    }

    /// Writes so many debug logs and as many at info, and spans, and then what matters.
    #[event]
    fn everything(&mut self, times: u64) {
        for number in 0..times {
            debug!("noise", number = number);
            info!("news", number = number);
            drop(span!("step"));
        }
        tell_what_matters();
    }

    /// Writes so many logs at error.
    #[event]
    fn errors(&mut self, logs: u64) {
        for number in 0..logs {
            error!("cried wolf", number = number);
        }
    }

    /// Prints so many lines.
    #[event]
    #[allow(clippy::print_stdout, reason = "it is to be counted")]
    fn print(&mut self, lines: u64) {
        for _ in 0..lines {
            println!("a line");
        }
    }

    /// Counts with so many sets of labels, each twice.
    #[event]
    fn labels(&mut self, sets: u64) {
        for set in (0..sets).chain(0..sets) {
            counter("calls").label("user", &set.to_string()).record(1);
        }
    }

    /// The same through meters.
    #[event]
    fn meters(&mut self, sets: u64) {
        for set in 0..sets {
            let user = set.to_string();
            let calls = counter("bound.calls").label("user", &user).bind();
            calls.record(1);
            calls.record(1);
        }
    }

    /// The same through typed calls.
    #[event]
    fn typed(&mut self, sets: u64) {
        for set in (0..sets).chain(0..sets) {
            count("typed.calls", &set.to_string());
        }
    }

    /// Makes so many metrics, with a meter and without.
    #[event]
    fn names(&mut self, names: u64) {
        for name in 0..names {
            counter(&format!("name.{name}")).record(1);
            counter(&format!("name.{name}")).bind().record(1);
        }
    }

    /// Starts so many spans, each in the one before it, which ends then: two are open at once at most.
    #[event]
    fn chain(&mut self, spans: u64) {
        let mut last = span!("link");
        for _ in 1..spans {
            last = span!("link");
        }
        drop(last);
    }

    /// Logs long texts and many fields, counts and works under a long name.
    #[event]
    #[allow(clippy::print_stdout, reason = "it is to be cut")]
    fn long(&mut self) {
        let long = "x".repeat(1000);
        info!("long", text = long.as_str(), second = 2, third = 3);
        counter(&long).label(&long, &long).record(1);
        let span = span!("work", text = long.as_str());
        span.set_field("second", 2);
        span.set_field("third", 3);
        record_error(&long, &long);
        println!("{long}");
    }

    /// Leaves a log at each level behind, and a span that ends well and one that fails.
    #[event]
    fn work(&mut self) {
        debug!("at debug");
        info!("at info");
        warning!("at warning");
        drop(span!("done"));
        span!("failed").fail("it did not work");
    }

    /// Fails, so that a new instance takes its place.
    #[event]
    fn fail(&mut self) {
        panic!("a new instance may record no more");
    }

    /// Sends what the host alone may say: logs under its name, and records of kinds that are its own.
    #[event]
    fn forge(&mut self) {
        let mut log = vec![1, 1];
        let body = [&[3, 0, 10][..], b"glasshouse", &[9], b"all right", &[0]].concat();
        log.extend_from_slice(&(body.len() as u32).to_le_bytes());
        log.extend_from_slice(&body);
        emit(&log);
        for kind in 64..=255 {
            emit(&[1, kind, 1, 0, 0, 0, 0]);
        }
    }
    /// Logs so many times what looks like the host's record of a debug session.
    #[event]
    fn impersonate(&mut self, logs: u64) {
        for _ in 0..logs {
            warning!(
                target: "glasshouse",
                "a debug session",
                event = "debug.started",
                session = "0123456789ab",
                started_by = "nobody",
                started_ns = 1,
                until_ns = 2
            );
        }
    }
}

/// An error as a log and as a report, an alert, and a security event.
fn tell_what_matters() {
    error!("a log that matters");
    record_error("that-matters", "an error that matters");
    alert("that-matters", Severity::High, "an alert that matters").raise();
    SecurityEvent::new(SecurityKind::SessionCreated).user("ada").log();
}

#[cfg(target_family = "wasm")]
fn count(name: &str, user: &str) {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{Instrument, metric};
    metric(name, Instrument::Counter, 1.0, "", &[("user", user)]);
}

#[cfg(target_family = "wasm")]
fn emit(batch: &[u8]) {
    glasshouse_sdk::bindings::glasshouse::extension::debugging::emit(batch);
}

#[cfg(not(target_family = "wasm"))]
fn count(_name: &str, _user: &str) {}

#[cfg(not(target_family = "wasm"))]
fn emit(_batch: &[u8]) {}
