//! What a host is going to run, with which settings: everything that is known before anything is started.

use std::path::{Path, PathBuf};

use glasshouse_model::ExtensionId;
use glasshouse_model::config::{DEFAULT_VERSION, Layers, Manifest, OperatorConfig, Resolved, ResolvedHost, Setting};
use glasshouse_runtime::ExtensionSpec;
use glasshouse_telemetry::Redactor;

use crate::discover::Candidate;

/// What a host is going to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What holds for the host itself.
    pub host: ResolvedHost,
    /// The extensions, in the order in which they were found.
    pub extensions: Vec<Planned>,
    /// Extensions that the operator's configuration speaks of and that are not there.
    pub unknown: Vec<ExtensionId>,
    pub(crate) layers: Layers,
}

/// An extension that a host is going to run.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The id that it is listed by.
    pub id: ExtensionId,
    /// The folder that it is in.
    pub folder: PathBuf,
    /// Its component file.
    pub component: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
    /// What holds for it.
    pub resolved: Resolved,
    /// Why it cannot be started.
    pub problem: Option<String>,
}

/// The values in effect, each with its origin.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectiveConfig {
    /// Those of the host.
    pub host: Vec<Setting>,
    /// Those of each extension.
    pub extensions: Vec<(ExtensionId, Vec<Setting>)>,
}

impl Plan {
    pub(crate) fn new(layers: Layers, candidates: Vec<Candidate>) -> Self {
        let extensions: Vec<_> = candidates.into_iter().map(|candidate| planned(&layers, candidate)).collect();
        let named =
            [&layers.file, &layers.environment, &layers.flags].into_iter().flat_map(OperatorConfig::extension_ids);
        let mut unknown: Vec<_> =
            named.filter(|id| !extensions.iter().any(|planned| planned.id == **id)).cloned().collect();
        unknown.sort();
        unknown.dedup();
        let mut host = layers.host();
        redact(&Redactor::default(), &mut host.origins);
        Self { host, extensions, unknown, layers }
    }

    /// What would hold for an extension of that id that says nothing of itself.
    pub fn bare(&self, id: ExtensionId) -> Resolved {
        let mut resolved = self.layers.resolve(&Manifest::bare(id), Path::new("."));
        redact(&Redactor::new(&resolved.settings.redaction).unwrap_or_default(), &mut resolved.origins);
        resolved
    }

    /// The values in effect.
    pub fn config(&self) -> EffectiveConfig {
        let of = |planned: &Planned| (planned.id.clone(), planned.resolved.origins.clone());
        EffectiveConfig { host: self.host.origins.clone(), extensions: self.extensions.iter().map(of).collect() }
    }
}

impl Planned {
    /// What the runtime is to run.
    pub(crate) fn spec(&self) -> ExtensionSpec {
        ExtensionSpec {
            id: self.id.clone(),
            version: Some(&self.manifest.version).filter(|version| **version != DEFAULT_VERSION).cloned(),
            component: self.component.clone(),
            subscriptions: self.manifest.subscribe.clone(),
            settings: self.resolved.settings.clone(),
        }
    }

    /// Says in the host's log what it asks for and does not get.
    pub(crate) fn warn_of_denied(&self) {
        for denied in &self.resolved.grant.denied {
            tracing::warn!(extension = %self.id, "it asks for what it does not get: {denied}");
        }
    }
}

fn planned(layers: &Layers, candidate: Candidate) -> Planned {
    let Candidate { id, folder, component, mut manifest, problem } = candidate;
    let mut resolved = layers.resolve(&manifest, &folder);
    // What is shown of a manifest may quote what should not stand in one.
    let redactor = Redactor::new(&resolved.settings.redaction).unwrap_or_default();
    let clean = |text: &str| redactor.redact_text(text).into_owned();
    let problem = problem.or_else(|| led_astray(&resolved)).map(|problem| clean(&problem));
    manifest.description = clean(&manifest.description);
    redact(&redactor, &mut resolved.origins);
    resolved.grant.denied.iter_mut().for_each(|denied| *denied = clean(denied));
    Planned { id, folder, component, manifest, resolved, problem }
}

/// Values that are shown may quote what should not stand in a configuration.
fn redact(redactor: &Redactor, shown: &mut [Setting]) {
    for setting in shown {
        let own = setting.key.strip_prefix("config.").unwrap_or_default();
        setting.value = redactor.redact_value(own, &setting.value).into_owned();
        setting.note = setting.note.as_deref().map(|note| redactor.redact_text(note).into_owned());
    }
}

/// A folder that lies in a granted one by its name, but that a symbolic link leads elsewhere.
fn led_astray(resolved: &Resolved) -> Option<String> {
    resolved.grant.effective.files.iter().find_map(|file| {
        // What does not exist is reported by whoever opens it.
        let (real, granted_real) = (file.host.canonicalize().ok()?, file.root.canonicalize().ok()?);
        (!real.starts_with(&granted_real)).then(|| {
            format!(
                "permissions.files: a symbolic link leads from {} out of the granted folder {}; grant {} itself",
                file.host.display(),
                file.root.display(),
                real.display()
            )
        })
    })
}
