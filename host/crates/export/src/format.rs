//! What can be exported, and the formats that there are.

use glasshouse_model::Signal;

glasshouse_model::wire::byte_enum! {
    /// What is exported.
    What {
        /// Logs.
        Logs = 0 "logs",
        /// Metric samples.
        Metrics = 1 "metrics",
        /// Errors and failures.
        Errors = 2 "errors",
        /// Records of alerts.
        Alerts = 3 "alerts",
        /// Spans and calls.
        Traces = 4 "traces",
        /// Calls, with what they cost.
        Invocations = 5 "invocations",
        /// All of it.
        All = 6 "all",
    }
}

impl What {
    /// The signals that belong to it, in the order in which they are written.
    pub fn signals(self) -> &'static [Signal] {
        match self {
            Self::Logs => &[Signal::Log],
            Self::Metrics => &[Signal::Metric],
            Self::Errors => &[Signal::Error],
            Self::Alerts => &[Signal::Alert],
            Self::Traces => &[Signal::Invocation, Signal::Span],
            Self::Invocations => &[Signal::Invocation],
            Self::All => &[Signal::Log, Signal::Metric, Signal::Error, Signal::Alert, Signal::Invocation, Signal::Span],
        }
    }
}

glasshouse_model::wire::byte_enum! {
    /// A format that exports are written in. `docs/export.md` says what each of them holds.
    Format {
        /// One JSON document.
        Json = 0 "json",
        /// A JSON object a line.
        JsonLines = 1 "jsonl",
        /// Comma-separated values, as RFC 4180 has them.
        Csv = 2 "csv",
        /// OpenTelemetry's protocol, in protobuf.
        Otlp = 3 "otlp",
        /// OpenTelemetry's protocol as JSON, a message a line.
        OtlpJson = 4 "otlp-json",
        /// The file that Jaeger's user interface writes and reads.
        Jaeger = 5 "jaeger",
        /// Prometheus' text format 0.0.4.
        Prometheus = 6 "prometheus",
        /// OpenMetrics 1.0.
        OpenMetrics = 7 "openmetrics",
    }
}

impl Format {
    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json | Self::Jaeger => "application/json",
            Self::JsonLines | Self::OtlpJson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Otlp => "application/x-protobuf",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What names of its files end with.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json | Self::Jaeger => "json",
            Self::JsonLines | Self::OtlpJson => "jsonl",
            Self::Csv => "csv",
            Self::Otlp => "binpb",
            Self::Prometheus | Self::OpenMetrics => "prom",
        }
    }

    /// Whether it is text in which control characters of what extensions recorded cannot be, so that it may be shown on a terminal.
    pub fn is_for_terminals(self) -> bool {
        !matches!(self, Self::Csv | Self::Otlp)
    }

    /// What of an extension's telemetry there is a place for in it.
    pub(crate) fn takes(self, what: What) -> Result<(), &'static str> {
        match (self, what) {
            (Self::Otlp | Self::OtlpJson, What::All) => {
                Err("a file of OpenTelemetry's protocol holds logs, metrics or traces; export them one by one")
            }
            (Self::Jaeger, What::Traces | What::Invocations)
            | (Self::Prometheus | Self::OpenMetrics, What::Metrics) => Ok(()),
            (Self::Jaeger, _) => Err("Jaeger's files hold traces; export `traces`"),
            (Self::Prometheus | Self::OpenMetrics, _) => {
                Err("Prometheus' formats hold metrics as they stand now; export `metrics`")
            }
            _ => Ok(()),
        }
    }
}
