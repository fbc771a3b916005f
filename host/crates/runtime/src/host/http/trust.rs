//! By whom the servers are vouched for that extensions speak to over HTTPS.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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

    /// What is needed to speak TLS; `None` if the file cannot be used, which is said once. Blocks while it reads.
    pub(super) fn config(&self) -> Option<Arc<ClientConfig>> {
        self.config.get_or_init(|| self.read().inspect_err(|why| tracing::error!("{why}")).ok()).clone()
    }

    fn read(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = &self.file {
            let failed = |why: String| {
                format!(
                    "host.http_certificate: {} cannot be used, so no extension can use HTTPS: {why}",
                    file.display()
                )
            };
            let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            let certificates = read.map_err(|error| failed(error.to_string()))?;
            if certificates.is_empty() {
                return Err(failed("it has no certificate in PEM".to_owned()));
            }
            for certificate in certificates {
                roots.add(certificate).map_err(|error| failed(error.to_string()))?;
            }
        } else {
            // Those that cannot be read vouch for nobody; a server that they would have vouched for is not trusted.
            let loaded = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(loaded.certs);
            if roots.is_empty() {
                tracing::warn!(
                    errors = ?loaded.errors,
                    "the system trusts no certificates, so no request of an extension over HTTPS will succeed; install some, or name a file by host.http_certificate"
                );
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}
