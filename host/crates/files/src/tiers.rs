//! Which files a line is for.

use glasshouse_model::{Aspect, Level, LogTier, Origin};

/// Some of the tiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tiers(u16);

/// The logger of what was done to go on after something failed, which is no aspect that can be switched off.
const RECOVERY: &str = "glasshouse.recovery";
/// What the host says of itself under this logger is what it used.
pub(crate) const PERFORMANCE: &str = "glasshouse::performance";

/// The tiers of aspects' loggers.
const ASPECTS: [(Aspect, LogTier); 5] = [
    (Aspect::Security, LogTier::Security),
    (Aspect::Database, LogTier::Database),
    (Aspect::Request, LogTier::Request),
    (Aspect::Cache, LogTier::Cache),
    (Aspect::Function, LogTier::Function),
];

/// Starts of what the host's own logs have as their `event`, by the tier that they are for.
const EVENTS: [(&str, LogTier); 7] = [
    ("permission.", LogTier::Security),
    ("login.", LogTier::Security),
    ("token.", LogTier::Security),
    ("data.", LogTier::Security),
    ("audit", LogTier::Security),
    ("overhead.", LogTier::Performance),
    ("budget.", LogTier::Performance),
];

impl Tiers {
    /// What everything is for, and what a level is for.
    pub(crate) fn of_level(level: Level) -> Self {
        let tiers = Self(0).and(LogTier::All).and(LogTier::Structured);
        match level {
            Level::Trace | Level::Debug => tiers.and(LogTier::Debug),
            Level::Info => tiers,
            Level::Warning | Level::Error | Level::Critical => tiers.and(LogTier::Error),
        }
    }

    /// The tiers of a log. What the host tells of an extension is known by its event, which a guest's own log is not asked for.
    pub(crate) fn of_log(level: Level, logger: &str, origin: Origin, event: Option<&str>) -> Self {
        let mut tiers = Self::of_level(level);
        if let Some((_, tier)) = ASPECTS.iter().find(|(aspect, _)| aspect.has_logger(logger)) {
            tiers = tiers.and(*tier);
        }
        if logger.strip_prefix(RECOVERY).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            tiers = tiers.and(LogTier::Recovery);
        }
        if origin != Origin::Host {
            return tiers;
        }
        if logger == PERFORMANCE {
            tiers = tiers.and(LogTier::Performance);
        }
        let of_event = EVENTS.iter().find(|(start, _)| event.is_some_and(|event| event.starts_with(start)));
        of_event.map_or(tiers, |(_, tier)| tiers.and(*tier))
    }

    pub(crate) fn and(self, tier: LogTier) -> Self {
        Self(self.0 | 1 << tier as u8)
    }

    pub(crate) fn has(self, tier: LogTier) -> bool {
        self.0 & 1 << tier as u8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: Level, logger: &str, origin: Origin, event: Option<&str>, expect: &[LogTier]) {
        let tiers = Tiers::of_log(level, logger, origin, event);
        let found: Vec<_> = LogTier::ALL.iter().copied().filter(|tier| tiers.has(*tier)).collect();
        let mut expect = [&[LogTier::All, LogTier::Structured], expect].concat();
        expect.sort();
        assert_eq!(found, expect, "{level} {logger} {origin} {event:?}");
    }

    #[test]
    fn a_line_is_for_its_level_and_for_what_it_is_about() {
        use Level::{Critical, Debug, Error, Info, Trace, Warning};
        use Origin::{Guest, Host, Stdio};
        check(Trace, "a", Guest, None, &[LogTier::Debug]);
        check(Debug, "a", Guest, None, &[LogTier::Debug]);
        check(Info, "a", Stdio, None, &[]);
        check(Warning, "a", Guest, None, &[LogTier::Error]);
        check(Error, "a", Guest, None, &[LogTier::Error]);
        check(Critical, "a", Guest, None, &[LogTier::Error]);
        check(Info, "glasshouse.security", Guest, None, &[LogTier::Security]);
        check(Debug, "glasshouse.database.pool", Guest, None, &[LogTier::Debug, LogTier::Database]);
        check(Info, "glasshouse.request", Guest, None, &[LogTier::Request]);
        check(Info, "glasshouse.requests", Guest, None, &[]);
        check(Info, "glasshouse.cache", Guest, None, &[LogTier::Cache]);
        check(Info, "glasshouse.function", Guest, None, &[LogTier::Function]);
        check(Warning, "glasshouse.recovery", Guest, None, &[LogTier::Error, LogTier::Recovery]);
        check(Warning, "glasshouse", Host, Some("permission.denied"), &[LogTier::Error, LogTier::Security]);
        for event in ["audit", "login.failed", "token.made", "token.revoked", "data.exported"] {
            check(Info, "glasshouse", Host, Some(event), &[LogTier::Security]);
        }
        check(Info, "glasshouse", Host, Some("overhead.step"), &[LogTier::Performance]);
        check(Info, PERFORMANCE, Host, None, &[LogTier::Performance]);
    }

    #[test]
    fn a_guest_does_not_get_among_what_only_the_host_tells() {
        check(Level::Info, "glasshouse", Origin::Guest, Some("permission.denied"), &[]);
        check(Level::Info, PERFORMANCE, Origin::Guest, Some("overhead.step"), &[]);
        check(Level::Info, PERFORMANCE, Origin::Stdio, None, &[]);
    }
}
