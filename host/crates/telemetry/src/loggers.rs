//! Least levels of single loggers: of logs whose target starts with a text.

use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use glasshouse_model::Level;

use crate::store::StoreSettings;

/// What logs of each logger are stored. Where no logger has a level of its own, asking costs a load.
pub(crate) struct Loggers {
    any: AtomicBool,
    levels: ArcSwap<Levels>,
}

/// The levels, of the longest start of a target first.
struct Levels {
    otherwise: Level,
    by_start: Vec<(String, Level)>,
}

impl Loggers {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        let loggers = Self {
            any: AtomicBool::new(false),
            levels: ArcSwap::from_pointee(Levels { otherwise: settings.log_level, by_start: Vec::new() }),
        };
        loggers.apply(settings);
        loggers
    }

    pub(crate) fn apply(&self, settings: &StoreSettings) {
        let mut by_start = settings.log_levels.clone();
        by_start.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        let any = !by_start.is_empty();
        self.levels.store(Levels { otherwise: settings.log_level, by_start }.into());
        self.any.store(any, Ordering::Release);
    }

    /// Whether logs of this level are stored, if they are of the logger that `target` gives.
    #[inline]
    pub(crate) fn stores<'t>(&self, level: Level, target: impl FnOnce() -> &'t str) -> bool {
        !self.any.load(Ordering::Acquire) || self.stores_of(level, target())
    }

    #[cold]
    fn stores_of(&self, level: Level, target: &str) -> bool {
        let levels = self.levels.load();
        let own = levels.by_start.iter().find(|(start, _)| target.starts_with(start.as_str()));
        level >= own.map_or(levels.otherwise, |(_, level)| *level)
    }
}

/// The least level that any logger stores.
pub(crate) fn least(settings: &StoreSettings) -> Level {
    settings.log_levels.iter().map(|(_, level)| *level).fold(settings.log_level, Level::min)
}

#[cfg(test)]
mod tests {
    use glasshouse_model::settings::Settings;

    use super::*;

    #[test]
    fn the_longest_start_of_a_target_decides() {
        let mut settings = Settings::default();
        settings.debugging.log_level = Level::Warning;
        settings.debugging.log_levels = ["http=info", "http.client=trace", "db=critical"].map(str::to_owned).into();
        let settings = StoreSettings::new(&settings);
        assert_eq!(least(&settings), Level::Trace);
        let loggers = Loggers::new(&settings);
        let check = |target: &str, expect: Level| {
            for level in Level::ALL {
                assert_eq!(loggers.stores(*level, || target), *level >= expect, "{target} {level}");
            }
        };
        check("http.server", Level::Info);
        check("http.client.tls", Level::Trace);
        check("db", Level::Critical);
        check("other", Level::Warning);
        check("", Level::Warning);
        loggers.apply(&StoreSettings::new(&Settings::default()));
        assert!(loggers.stores(Level::Trace, || unreachable!("nobody asks for it")));
    }
}
