//! The extensions of a host, and what one of them may ask of the others.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use glasshouse_model::ExtensionId;
use glasshouse_model::config::matches_pattern;
use glasshouse_model::settings::Permissions;

use crate::extension::{Event, Extension};
use crate::trigger::Trigger;

/// All extensions of a host, by id.
#[derive(Default)]
pub(crate) struct Registry(RwLock<BTreeMap<ExtensionId, Extension>>);

impl Registry {
    /// Adds an extension; tells whether its id was free.
    pub(crate) fn add(&self, extension: Extension) -> bool {
        let mut extensions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match extensions.entry(extension.id().clone()) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(extension);
                true
            }
            std::collections::btree_map::Entry::Occupied(_) => false,
        }
    }

    pub(crate) fn find(&self, id: &str) -> Option<Extension> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Extension> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// The other extensions, as far as one of them may reach them.
#[derive(Clone)]
pub(crate) struct Neighbours {
    registry: Weak<Registry>,
    permissions: Arc<Permissions>,
}

impl Neighbours {
    pub(crate) fn new(registry: &Arc<Registry>, permissions: Permissions) -> Self {
        Self { registry: Arc::downgrade(registry), permissions: Arc::new(permissions) }
    }

    pub(crate) fn may_call(&self, id: &str) -> bool {
        self.permissions.call.iter().any(|pattern| matches_pattern(pattern, id))
    }

    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        self.permissions.publish.iter().any(|pattern| matches_pattern(pattern, topic))
    }

    pub(crate) fn find(&self, id: &str) -> Option<Extension> {
        self.registry.upgrade()?.find(id)
    }

    /// Queues an event for all that subscribe to its topic; returns those whose mailbox is full.
    pub(crate) fn publish(&self, event: &Event, trigger: &Trigger) -> Vec<ExtensionId> {
        let Some(registry) = self.registry.upgrade() else { return Vec::new() };
        let subscribers = registry
            .all()
            .into_iter()
            .filter(|one| one.subscriptions().iter().any(|topic| matches_pattern(topic, &event.name)));
        subscribers
            .filter(|subscriber| !subscriber.try_notify(event.clone(), trigger.clone()))
            .map(|full| full.id().clone())
            .collect()
    }
}
