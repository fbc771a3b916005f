//! The present settings of an extension: one value, which is replaced as a whole while the extension runs.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Cache};
use glasshouse_model::config::{Change, OutOfBounds, changes, check_bounds};
use glasshouse_model::settings::Settings;

/// Settings that cannot take the place of those in effect; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// A key that is read only when the extension starts would change.
    #[error("{0} is read when the extension starts: change it in the configuration, and start the host anew")]
    AtStart(&'static str),
    /// A value that no configuration could have.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}

/// The settings of an extension.
pub(crate) struct Present {
    settings: Arc<ArcSwap<Settings>>,
    /// Held while settings are replaced, so that two that do it at once do not undo each other's changes halfway.
    replacing: Mutex<()>,
}

/// Reads the present settings again and again; an atomic load where they are the same as before.
pub(crate) type Settled = Cache<Arc<ArcSwap<Settings>>, Arc<Settings>>;

impl Present {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(ArcSwap::from_pointee(settings)), replacing: Mutex::default() }
    }

    /// Those in effect now.
    pub(crate) fn get(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// For whoever reads them once an invocation.
    pub(crate) fn follow(&self) -> Settled {
        Cache::new(Arc::clone(&self.settings))
    }

    /// Replaces them, if all that differs can take effect while the extension runs. `told` gets to know of the change while
    /// no other one can be made.
    pub(crate) fn replace(
        &self,
        settings: Settings,
        told: impl FnOnce(&Settings, &[Change]),
    ) -> Result<Vec<Change>, ApplyError> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = changes(&self.get(), &settings);
        if let Some(change) = changes.iter().find(|change| !change.live) {
            return Err(ApplyError::AtStart(change.key));
        }
        check_bounds(&settings)?;
        if !changes.is_empty() {
            let settings = Arc::new(settings);
            self.settings.store(Arc::clone(&settings));
            told(&settings, &changes);
        }
        Ok(changes)
    }
}
