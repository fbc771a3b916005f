//! By whom servers are vouched for: those whom the host's extensions ask, collectors, and hosts that the command asks. All are judged alike.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Why servers cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file that was named is of no use.
    #[error("the certificates in {} cannot be used: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The private key that was named is of no use.
    #[error("the key in {} cannot be used: {why}", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is nobody whom the system trusts.
    #[error("the system trusts no certificates{why}")]
    System {
        /// What could not be read, if something could not; begins with a colon then.
        why: String,
    },
    /// TLS cannot be spoken at all.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Those who are trusted: whoever is in a file of certificates in PEM, or else whom the system trusts. Blocks while it reads.
///
/// # Errors
///
/// The file cannot be read as PEM, or nobody in it, or in what the system has, can vouch for anybody. Single certificates that cannot are left out: who is vouched
/// for by one of these is not trusted.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        let loaded = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(loaded.certs);
        if roots.is_empty() {
            let why = loaded.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(TrustError::System { why });
        }
        return Ok(roots);
    };
    roots.add_parsable_certificates(in_file(path)?);
    if roots.is_empty() {
        return Err(failed(path, "it has none in PEM that could vouch for anybody".to_owned()));
    }
    Ok(roots)
}

/// By what a client shows who it is, to servers that ask: files in PEM.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// Certificates, its own first.
    pub certificate: &'a Path,
    /// The private key of the first of them.
    pub key: &'a Path,
}

/// How servers are spoken to that are vouched for by [`roots`]. Blocks while it reads.
///
/// # Errors
///
/// As those of [`roots`], the identity cannot be used, or TLS cannot be spoken at all.
pub fn client(file: Option<&Path>, identity: Option<Identity<'_>>) -> Result<ClientConfig, TrustError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TrustError::Tls(error.to_string()))?
        .with_root_certificates(roots(file)?);
    let Some(Identity { certificate, key }) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = in_file(certificate)?;
    if chain.is_empty() {
        return Err(failed(certificate, "it has none in PEM".to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| TrustError::Key { path: key.to_owned(), why: error.to_string() })?;
    builder.with_client_auth_cert(chain, private).map_err(|error| failed(certificate, error.to_string()))
}

fn in_file(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.map_err(|error| failed(path, error.to_string()))
}

fn failed(path: &Path, why: String) -> TrustError {
    TrustError::File { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_vouches_by_its_certificates_and_one_without_any_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let certificate = made.cert.pem();
        let key = made.signing_key.serialize_pem();
        // One that is none in between vouches for nobody.
        let useless = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let none = Err("has none in PEM that could vouch for anybody");
        for (text, expect) in [
            (certificate.as_str(), Ok(1)),
            (&format!("{certificate}{key}{useless}{certificate}"), Ok(2)),
            ("", none),
            (&key, none),
            (useless, none),
            (&certificate[..certificate.len() / 2], Err("list.pem cannot be used")),
        ] {
            let path = folder.path().join("list.pem");
            std::fs::write(&path, text).expect("writing it");
            let found = roots(Some(&path)).map(|roots| roots.len()).map_err(|error| error.to_string());
            match (&found, expect) {
                (Ok(found), Ok(expect)) => assert_eq!(*found, expect, "{text}"),
                (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
                _ => panic!("{text}: {found:?}"),
            }
        }
        let missing = client(Some(&folder.path().join("none.pem")), None).expect_err("it is not there").to_string();
        assert!(missing.contains("none.pem cannot be used"), "{missing}");
    }

    #[test]
    fn who_shows_who_it_is_needs_a_certificate_and_the_key_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writing it");
            path
        };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let other = rcgen::KeyPair::generate().expect("a key");
        let (cert, key) = (write("cert.pem", &made.cert.pem()), write("key.pem", &made.signing_key.serialize_pem()));
        let (other, empty) = (write("other.pem", &other.serialize_pem()), write("empty.pem", ""));
        let of = |certificate, key| client(Some(&cert), Some(Identity { certificate, key })).map(drop);
        of(&cert, &key).expect("they belong together");
        for (certificate, key, expect) in [
            (&cert, &other, "the certificates in"),
            (&empty, &key, "it has none in PEM"),
            (&cert, &empty, "the key in"),
        ] {
            let error = of(certificate, key).expect_err(expect).to_string();
            assert!(error.contains(expect) && error.contains("cannot be used"), "{error}");
        }
    }
}
