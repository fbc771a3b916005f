//! Whom a collector is trusted by, and by what it is shown who sends.

use glasshouse_model::config::OtlpSettings;
use glasshouse_trust::{Identity, TrustError};
use tokio_rustls::rustls::ClientConfig;

/// How collectors are spoken to: those who are vouched for by somebody in `otlp.certificate`, or else by whom the system trusts. Blocks
/// while it reads. `protocol` is what is to be spoken within TLS.
pub(crate) fn config(settings: &OtlpSettings, protocol: &[u8]) -> Result<ClientConfig, String> {
    let identity = match (&settings.client_certificate, &settings.client_key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => return Err("otlp.client_certificate and otlp.client_key go together: name both".to_owned()),
    };
    let mut config =
        glasshouse_trust::client(settings.certificate.as_deref(), identity).map_err(|error| match error {
            TrustError::System { .. } => format!("{error}; name a file of them in otlp.certificate"),
            error => error.to_string(),
        })?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Whether collectors can be spoken to by TLS; if not, what to do about it. Blocks while it reads.
pub fn check_tls(settings: &OtlpSettings) -> Result<(), String> {
    config(settings, b"").map(drop)
}
