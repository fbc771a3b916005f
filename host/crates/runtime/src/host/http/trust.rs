//! By whom the servers are vouched for that extensions speak to over HTTPS.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::ClientConfig;

/// Whom the host trusts; read when the first request needs it.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    file: Option<PathBuf>,
    config: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Trust {
    /// Those in a file of certificates in PEM, or those that the system trusts.
    pub(crate) fn new(file: Option<PathBuf>) -> Self {
        Self { file, config: OnceLock::new() }
    }

    /// What is needed to speak TLS; `None` if nobody is trusted, which is said once. Blocks while it reads.
    pub(super) fn config(&self) -> Option<Arc<ClientConfig>> {
        self.config.get_or_init(|| self.read().inspect_err(|why| tracing::error!("{why}")).ok()).clone()
    }

    fn read(&self) -> Result<Arc<ClientConfig>, String> {
        let advice = "so no extension can use HTTPS; name a file of certificates by host.http_certificate";
        glasshouse_trust::client(self.file.as_deref(), None).map(Arc::new).map_err(|error| format!("{error}, {advice}"))
    }
}
