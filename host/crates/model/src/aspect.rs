//! Aspects of what an extension does, each of which is watched or not.

glasshouse_wire::byte_enum! {
    /// An aspect. The records of all but the last are logs, which the SDK's helpers make for a logger of the aspect's own.
    Aspect {
        /// Functions and plugins that were run.
        Function = 0 "function",
        /// Requests to other services.
        Request = 1 "request",
        /// Queries of databases.
        Database = 2 "database",
        /// Uses of caches.
        Cache = 3 "cache",
        /// What concerns security, denied uses that the host tells of included.
        Security = 4 "security",
        /// What the extension uses, as samples of the host's.
        Resources = 5 "resources",
    }
}

/// What the loggers of aspects start with; no others do.
const LOGGERS: &str = "glasshouse.";

impl Aspect {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();

    /// Whether a logger is the aspect's, such as `glasshouse.request` and `glasshouse.request.upstream`.
    pub fn has_logger(self, target: &str) -> bool {
        let rest = target.strip_prefix(LOGGERS).and_then(|rest| rest.strip_prefix(self.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logger_is_an_aspects_by_its_name_and_below_it() {
        for (target, expect) in [
            ("glasshouse.request", true),
            ("glasshouse.request.upstream", true),
            ("glasshouse.requests", false),
            ("glasshouse.req", false),
            ("glasshouse", false),
            ("request", false),
            ("", false),
        ] {
            assert_eq!(Aspect::Request.has_logger(target), expect, "{target}");
        }
    }
}
