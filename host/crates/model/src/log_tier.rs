//! The log files that a host writes, by what is in each.

glasshouse_wire::byte_enum! {
    /// What a log file has of all that is told.
    LogTier {
        /// Everything.
        All = 0 "all",
        /// Fine detail: what is at debug and trace.
        Debug = 1 "debug",
        /// What went wrong: warnings, errors, and what is worse.
        Error = 2 "error",
        /// Everything, as JSON lines.
        Structured = 3 "structured",
        /// What was used: calls with their cost, the host's process.
        Performance = 4 "performance",
        /// What concerns security.
        Security = 5 "security",
        /// Queries of databases.
        Database = 6 "database",
        /// Requests to other services.
        Request = 7 "request",
        /// Uses of caches.
        Cache = 8 "cache",
        /// Functions and plugins that were run.
        Function = 9 "function",
        /// What was done to go on after something failed.
        Recovery = 10 "recovery",
    }
}

impl LogTier {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// What the names of its files begin with.
    pub const fn stem(self) -> &'static str {
        match self {
            Self::Structured => "structured.json",
            other => other.as_str(),
        }
    }
}
