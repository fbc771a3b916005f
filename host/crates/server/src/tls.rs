//! What the API proves by who it is: a certificate, and the private key of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use glasshouse_model::UnixNanos;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, Error, RootCertStore, ServerConfig};

use crate::ServeError;

/// Files in PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificates, the host's own first.
    pub certificate: PathBuf,
    /// The private key of the first of them.
    pub key: PathBuf,
}

impl TlsFiles {
    /// Looks whether they can be used, and from when to when the host's own certificate holds.
    ///
    /// # Errors
    ///
    /// One of them cannot be read, or they do not belong to each other.
    pub fn examine(&self) -> Result<(UnixNanos, UnixNanos), ServeError> {
        acceptor(self)?;
        let chain = chain(&self.certificate)?;
        let found = chain.first().and_then(validity);
        found.ok_or_else(|| failed(&self.certificate, "nobody can tell from when to when it holds".to_owned()))
    }
}

/// What takes connections with them.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let TlsFiles { certificate, key } = files;
    let chain = chain(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| failed(key, error.to_string()))?;
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| failed(certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn failed(path: &Path, why: String) -> ServeError {
    ServeError::Tls { path: path.to_owned(), why }
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let chain = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| failed(path, error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(path, "it has no certificate in PEM".to_owned()));
    }
    Ok(chain)
}

/// From when to when a certificate holds. Who verifies one says so where it is asked about a time before or after; that nobody vouches for it here is found
/// later.
fn validity(certificate: &CertificateDer<'_>) -> Option<(UnixNanos, UnixNanos)> {
    /// After the last year that a certificate can name.
    const LATE: Duration = Duration::from_secs(1 << 40);
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let verify = |at: Duration| {
        let (nobody, algorithms) = (RootCertStore::empty(), default_provider().signature_verification_algorithms.all);
        let at = UnixTime::since_unix_epoch(at);
        match verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], at, algorithms) {
            Err(Error::InvalidCertificate(error)) => Some(error),
            _ => None,
        }
    };
    let time =
        |time: UnixTime| UnixNanos(i64::try_from(u128::from(time.as_secs()) * 1_000_000_000).unwrap_or(i64::MAX));
    let from = match verify(Duration::ZERO)? {
        CertificateError::NotValidYetContext { not_before, .. } => time(not_before),
        // It holds since 1970, or longer.
        _ => UnixNanos(0),
    };
    match verify(LATE)? {
        CertificateError::ExpiredContext { not_after, .. } => Some((from, time(not_after))),
        _ => None,
    }
}
