//! The kinds of telemetry that an extension has a store for each of.

glasshouse_wire::byte_enum! {
    /// A kind of telemetry. Each extension has a bounded store of its own for each.
    Signal {
        /// What was said.
        Log = 0 "logs",
        /// What was counted or measured.
        Metric = 1 "metrics",
        /// What went wrong.
        Error = 2 "errors",
        /// Timed pieces of work.
        Span = 3 "spans",
        /// What a person should know now.
        Alert = 4 "alerts",
        /// Calls of an export, with their cost and outcome.
        Invocation = 5 "invocations",
    }
}

impl Signal {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
}
