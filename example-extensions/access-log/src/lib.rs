//! Turns a web server's access log into metrics, and raises an alert when too many of the last requests failed.
//!
//! Lines are of the common or the combined log format, which Apache, nginx and others write, and may end in the time
//! that the request took: seconds with a fraction (nginx's `$request_time`) or whole microseconds (Apache's `%D`).

mod line;
mod window;

use std::borrow::Cow;
use std::collections::BTreeMap;

use glasshouse_sdk::{
    Check, Error, Meter, Payload, Severity, alert, batch, counter, debug, extension, gauge, histogram, info, span,
    warning,
};
use line::{Line, Malformed};
use serde::{Deserialize, Serialize};
pub use window::{State, Window};

/// So many malformed lines of one event are logged one by one; all are counted.
const MAX_MALFORMED_LOGGED: usize = 3;

/// What `[config]` of the manifest may say.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many of the last requests are looked at.
    pub window: usize,
    /// With fewer requests than this no alert is raised.
    pub min_requests: usize,
    /// More failures than this share of the window raise an alert; over 0 and at most 1.
    pub error_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { window: 200, min_requests: 20, error_ratio: 0.1 }
    }
}

/// The JSON payload of `ingest`; the other kind is plain text.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Batch {
    /// The lines.
    pub lines: Vec<String>,
}

/// The reply to `ingest`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Summary {
    /// Lines that were read, without empty ones.
    pub lines: u64,
    /// Lines that are not of the format.
    pub malformed: u64,
    /// Requests by class of status: `2xx`.
    pub statuses: BTreeMap<Cow<'static, str>, u64>,
    /// Sum of the response sizes.
    pub bytes: u64,
    /// How long requests took, of those that say it.
    pub latency: Option<Latency>,
    /// Share of the window that failed.
    pub error_ratio: f64,
    /// Whether an error burst is on.
    pub error_burst: bool,
}

/// How long requests took.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Latency {
    /// Requests that say it.
    pub requests: u64,
    /// Their mean.
    pub mean_seconds: f64,
    /// The longest.
    pub max_seconds: f64,
}

impl Latency {
    fn add(&mut self, seconds: f64) {
        self.requests += 1;
        self.mean_seconds += (seconds - self.mean_seconds) / self.requests as f64;
        self.max_seconds = self.max_seconds.max(seconds);
    }
}

/// The extension.
#[derive(Debug)]
pub struct AccessLog {
    window: Window,
    /// One meter for each class of status, 1xx to 5xx.
    requests: [Meter; 5],
    bytes: Meter,
    latency: Meter,
    malformed: Meter,
}

#[extension]
impl AccessLog {
    fn init(config: Config) -> Result<Self, Error> {
        let window = Window::new(config)?;
        // Each line has three.
        batch::start_samples();
        info!("ready", window = config.window, error_ratio = config.error_ratio);
        let class = |class| counter("http.requests").unit("1").label("status", class).bind();
        Ok(Self {
            window,
            requests: CLASSES.map(class),
            bytes: counter("http.response.bytes").unit("By").bind(),
            latency: histogram("http.request.duration").unit("s").bind(),
            malformed: counter("access_log.malformed").unit("1").bind(),
        })
    }

    /// Reads lines: plain text, or JSON with a list of them.
    #[event]
    fn ingest(&mut self, payload: Payload) -> Result<Summary, Error> {
        let span = span!("ingest", size = payload.bytes.len());
        let mut summary = Summary::default();
        if payload.is_json() {
            for line in &payload.parse::<Batch>()?.lines {
                self.line(line, &mut summary);
            }
        } else {
            for line in payload.as_str()?.lines() {
                self.line(line, &mut summary);
            }
        }
        summary.error_ratio = self.window.error_ratio();
        summary.error_burst = self.window.is_burst();
        span.set_field("lines", summary.lines);
        span.set_field("malformed", summary.malformed);
        if summary.malformed > 0 {
            warning!("{} of {} lines are malformed", summary.malformed, summary.lines, malformed = summary.malformed);
        }
        debug!("ingested", lines = summary.lines, bytes = summary.bytes, error_ratio = summary.error_ratio);
        Ok(summary)
    }

    fn line(&mut self, text: &str, summary: &mut Summary) {
        if text.trim().is_empty() {
            return;
        }
        summary.lines += 1;
        match Line::parse(text) {
            Ok(line) => self.request(&line, summary),
            Err(Malformed(reason)) => {
                summary.malformed += 1;
                self.malformed.increment();
                if summary.malformed <= MAX_MALFORMED_LOGGED as u64 {
                    debug!("malformed line: {reason}", number = summary.lines, text = text);
                }
            }
        }
    }

    fn request(&mut self, line: &Line<'_>, summary: &mut Summary) {
        let class = usize::from(line.status / 100 - 1);
        self.requests[class].increment();
        *summary.statuses.entry(CLASSES[class].into()).or_default() += 1;
        self.bytes.record(line.bytes);
        summary.bytes += line.bytes;
        if let Some(seconds) = line.seconds {
            self.latency.record(seconds);
            summary.latency.get_or_insert_default().add(seconds);
        }
        if self.window.add(line.status >= 500) {
            self.raise(line);
        }
    }

    fn raise(&self, line: &Line<'_>) {
        let (ratio, threshold) = (self.window.error_ratio(), self.window.threshold());
        let message = format!(
            "{:.0} % of the last {} requests were answered with 5xx, {:.0} % is the limit; the latest was {} \"{}\" of \
             {}. Look at the server behind it.",
            ratio * 100.0,
            self.window.len(),
            threshold * 100.0,
            line.status,
            line.request,
            line.time,
        );
        alert("error-burst", Severity::High, "Too many requests fail")
            .message(&message)
            .metric("http.error_ratio")
            .value(ratio)
            .threshold(threshold)
            .raise();
    }

    fn collect(&mut self) {
        gauge("http.error_ratio").unit("1").record(self.window.error_ratio());
    }

    fn health(&mut self) -> Vec<Check> {
        let name = "requests";
        vec![if self.window.is_burst() {
            Check::degraded(name, format!("{:.0} % of the last requests failed", self.window.error_ratio() * 100.0))
        } else {
            Check::healthy(name)
        }]
    }

    fn save(&self) -> State {
        self.window.state()
    }

    fn restore(&mut self, state: State) {
        self.window.restore(state);
    }
}

/// The classes of status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the samples of these tests are exact in binary")]
mod tests {
    use glasshouse_sdk::testing::{Host, Instance, Recorded};
    use glasshouse_sdk::{Error, Payload, Status};

    use super::{AccessLog, Summary};

    const OK: &str = r#"1.2.3.4 - ada [10/Oct/2025:13:55:36 +0000] "GET /a HTTP/1.1" 200 100 "-" "curl" 0.250"#;
    const BAD: &str = r#"1.2.3.4 - - [10/Oct/2025:13:55:37 +0000] "GET /b HTTP/1.1" 503 10 "-" "curl" 750000"#;
    const CONFIG: &str = r#"{"window": 4, "min_requests": 4, "error_ratio": 0.5}"#;

    fn ingest(access_log: &mut Instance<AccessLog>, payload: Payload) -> Result<Summary, Error> {
        access_log.handle("ingest", payload)?.parse()
    }

    fn run<T>(work: impl FnOnce(&mut Instance<AccessLog>) -> T) -> (T, Recorded) {
        Host::new().run(|| work(&mut Instance::start(CONFIG).expect("the configuration is valid")))
    }

    #[test]
    fn lines_become_metrics_and_a_summary() {
        let text = format!("{OK}\n\n{BAD}\nnonsense\n");
        let (summary, recorded) = run(|access_log| ingest(access_log, Payload::text(text)));
        let summary = summary.expect("the payload is valid");
        assert_eq!((summary.lines, summary.malformed, summary.bytes), (3, 1, 110));
        assert_eq!(summary.statuses, [("2xx".into(), 1), ("5xx".into(), 1)].into());
        let latency = summary.latency.expect("both lines say how long they took");
        assert_eq!((latency.requests, latency.mean_seconds, latency.max_seconds), (2, 0.5, 0.75));
        assert_eq!(recorded.sum("http.requests"), 2.0);
        assert_eq!(recorded.sum("http.response.bytes"), 110.0);
        assert_eq!(recorded.sum("http.request.duration"), 1.0);
        assert_eq!(recorded.sum("access_log.malformed"), 1.0);
        assert!(recorded.logs.iter().any(|log| log.message == "1 of 3 lines are malformed"), "{:?}", recorded.logs);
    }

    #[test]
    fn an_error_burst_raises_one_alert_until_it_is_over() {
        let ((), recorded) = run(|access_log| {
            for line in [OK, BAD, BAD] {
                assert!(!ingest(access_log, Payload::text(line)).expect("the line is valid").error_burst);
            }
            for line in [BAD, BAD] {
                assert!(ingest(access_log, Payload::text(line)).expect("the line is valid").error_burst);
            }
            assert_eq!(access_log.health()[0].status, Status::Degraded);
            for line in [OK, OK, OK, BAD, BAD, BAD] {
                ingest(access_log, Payload::text(line)).expect("the line is valid");
            }
        });
        assert_eq!(recorded.alerts.len(), 2, "{:?}", recorded.alerts);
        let alert = &recorded.alerts[0];
        assert_eq!((alert.kind.as_str(), alert.value, alert.threshold), ("error-burst", Some(0.75), Some(0.5)));
        assert!(alert.message.starts_with("75 % of the last 4 requests were answered with 5xx"), "{}", alert.message);
    }

    #[test]
    fn json_is_read_as_well() {
        let batch = Payload::json(&serde_json::json!({ "lines": [OK, BAD] })).expect("this is JSON");
        let (summary, _) = run(|access_log| ingest(access_log, batch));
        assert_eq!(summary.expect("the payload is valid").lines, 2);
        let (summary, _) = run(|access_log| ingest(access_log, Payload::new("application/json", "[1]")));
        assert!(matches!(summary, Err(Error::InvalidPayload(_))), "{summary:?}");
    }

    #[test]
    fn a_successor_takes_over_the_window() {
        let (state, _) = run(|access_log| {
            for line in [BAD, BAD, BAD, BAD] {
                ingest(access_log, Payload::text(line)).expect("the line is valid");
            }
            access_log.save().expect("there is state")
        });
        let (burst, recorded) = run(|access_log| {
            access_log.restore(state).expect("the state is valid");
            ingest(access_log, Payload::text(OK)).expect("the line is valid").error_burst
        });
        assert!(burst);
        assert!(recorded.alerts.is_empty(), "the predecessor raised it already");
    }

    #[test]
    fn a_configuration_out_of_range_is_refused() {
        for (config, expected) in [
            (r#"{"window": 0}"#, "window"),
            (r#"{"error_ratio": 1.5}"#, "error_ratio"),
            (r#"{"error_ratio": "x"}"#, "configuration"),
        ] {
            let error = Instance::<AccessLog>::start(config).expect_err("the configuration is invalid");
            assert!(error.contains(expected), "{error}");
        }
    }
}
