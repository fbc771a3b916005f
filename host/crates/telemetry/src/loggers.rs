//! Least levels of single loggers, that is of logs whose target starts with a text, and aspects that are off.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use arc_swap::ArcSwap;
use glasshouse_model::{Aspect, Level};

use crate::store::{Drop, StoreSettings};

/// What logs of each logger are stored. Where no logger has a level of its own, and no aspect is off, asking costs a load.
pub(crate) struct Loggers {
    any: AtomicBool,
    levels: ArcSwap<Levels>,
    /// A bit for each aspect that is watched.
    watched: AtomicU8,
}

/// The levels, of the longest start of a target first.
struct Levels {
    otherwise: Level,
    by_start: Vec<(String, Level)>,
    /// Aspects whose loggers are off, whatever their levels.
    off: Vec<Aspect>,
}

impl Loggers {
    pub(crate) fn new(settings: &StoreSettings) -> Self {
        let loggers = Self {
            any: AtomicBool::new(false),
            levels: ArcSwap::from_pointee(Levels {
                otherwise: settings.log_level,
                by_start: Vec::new(),
                off: Vec::new(),
            }),
            watched: AtomicU8::new(0),
        };
        loggers.apply(settings);
        loggers
    }

    pub(crate) fn apply(&self, settings: &StoreSettings) {
        let mut by_start = settings.log_levels.clone();
        by_start.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        let watched = |aspect: &Aspect| settings.aspects[*aspect as usize];
        let bits = Aspect::ALL.iter().map(|aspect| u8::from(watched(aspect)) << *aspect as u8).sum();
        self.watched.store(bits, Ordering::Relaxed);
        let off: Vec<_> = Aspect::ALL.iter().copied().filter(|aspect| !watched(aspect)).collect();
        let any = !by_start.is_empty() || !off.is_empty();
        self.levels.store(Levels { otherwise: settings.log_level, by_start, off }.into());
        self.any.store(any, Ordering::Release);
    }

    /// Whether an aspect is watched.
    #[inline]
    pub(crate) fn is_watched(&self, aspect: Aspect) -> bool {
        self.watched.load(Ordering::Relaxed) & (1 << aspect as u8) != 0
    }

    /// Why a log of this level is not stored, if it is of the logger that `target` gives and is not.
    #[inline]
    pub(crate) fn refusal<'t>(&self, level: Level, target: impl FnOnce() -> &'t str) -> Option<Drop> {
        if self.any.load(Ordering::Acquire) { self.refusal_of(level, target()) } else { None }
    }

    #[cold]
    fn refusal_of(&self, level: Level, target: &str) -> Option<Drop> {
        let levels = self.levels.load();
        if levels.off.iter().any(|aspect| aspect.has_logger(target)) {
            return Some(Drop::Off);
        }
        let own = levels.by_start.iter().find(|(start, _)| target.starts_with(start.as_str()));
        (level < own.map_or(levels.otherwise, |(_, level)| *level)).then_some(Drop::BelowLevel)
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
                let refusal = (*level < expect).then_some(Drop::BelowLevel);
                assert_eq!(loggers.refusal(*level, || target), refusal, "{target} {level}");
            }
        };
        check("http.server", Level::Info);
        check("http.client.tls", Level::Trace);
        check("db", Level::Critical);
        check("other", Level::Warning);
        check("", Level::Warning);
        check("glasshouse.request", Level::Warning);
        loggers.apply(&StoreSettings::new(&Settings::default()));
        assert_eq!(loggers.refusal(Level::Trace, || unreachable!("nobody asks for it")), None);
    }

    #[test]
    fn the_logger_of_an_aspect_that_is_off_stores_nothing_whatever_its_level() {
        let mut settings = Settings::default();
        settings.debugging.log_levels = vec!["glasshouse.request.upstream=trace".into()];
        settings.debugging.aspects[Aspect::Request as usize] = false;
        let loggers = Loggers::new(&StoreSettings::new(&settings));
        for (target, expect) in [
            ("glasshouse.request", Some(Drop::Off)),
            ("glasshouse.request.upstream", Some(Drop::Off)),
            ("glasshouse.requests", None),
            ("glasshouse.database", None),
            ("shop", None),
        ] {
            assert_eq!(loggers.refusal(Level::Critical, || target), expect, "{target}");
        }
        for aspect in Aspect::ALL {
            assert_eq!(loggers.is_watched(*aspect), *aspect != Aspect::Request);
        }
    }
}
