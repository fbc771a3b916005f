//! Whom a collector is trusted by.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Where systems keep the certificates that their users trust, all in one file.
const OF_SYSTEMS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// How collectors are spoken to: those whose certificates are signed by somebody in this file, or else by whom the system trusts. Blocks
/// while it reads. `protocol` is what is to be spoken within TLS.
pub(crate) fn config(file: Option<&Path>, protocol: &[u8]) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(trusted(file)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// The certificates that collectors are trusted by; the error says which file has none.
pub fn trusted(file: Option<&Path>) -> Result<RootCertStore, String> {
    let file = match file {
        Some(file) => file.to_owned(),
        None => OF_SYSTEMS
            .iter()
            .map(PathBuf::from)
            .find(|file| file.exists())
            .ok_or("this system has no list of certificates to trust; name a file of them in otlp.certificate")?,
    };
    let failed = |why: String| format!("the certificates in {} cannot be used: {why}", file.display());
    let found = CertificateDer::pem_file_iter(&file).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    // A system's list may hold some that are of no use here.
    let (added, _) = roots.add_parsable_certificates(found.filter_map(Result::ok));
    if added == 0 {
        return Err(failed("it has none in PEM".to_owned()));
    }
    Ok(roots)
}
