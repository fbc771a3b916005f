//! Where a host serves its API, who may be taken for it, and the token that it is shown.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use glasshouse_trust::TrustError;
use hyper::Uri;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::ClientError;

/// What a client knows of a host, beside where it is.
#[derive(Clone, Default)]
pub struct Access {
    /// The token that it is shown, with every request; none for a host that asks for none.
    pub token: Option<String>,
    /// Tokens that nobody named, but that were found, for want of one that is named. One is shown to a host on this machine that has shown before, on the
    /// same connection, that it knows it: see [`proof`](crate::proof).
    pub found: Vec<FoundToken>,
    /// A file with certificates in PEM: of those who vouch for the host, or its own. What the system trusts, if left out.
    pub ca: Option<PathBuf>,
    /// Whether the token may go over the network in clear text, where everybody on the way can read it.
    pub allows_clear_text: bool,
}

/// A token in a file.
#[derive(Clone)]
pub struct FoundToken {
    /// The file.
    pub path: PathBuf,
    /// The token.
    pub token: String,
}

impl fmt::Debug for FoundToken {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundToken").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Debug for Access {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, found, ca, allows_clear_text } = self;
        f.debug_struct("Access")
            .field("has_token", &token.is_some())
            .field("found", found)
            .field("ca", ca)
            .field("allows_clear_text", allows_clear_text)
            .finish()
    }
}

/// A host's API at an address.
pub(crate) struct Address {
    /// As it is told to people: scheme, host and port.
    pub(crate) url: String,
    /// A name, or an IP address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What a request says of whom it is for.
    pub(crate) authority: String,
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(crate) access: Access,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("url", &self.url).field("access", &self.access).finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL such as `https://plugins.example:7077`. Nothing is opened but the file of certificates.
    pub(crate) fn new(url: &str, access: Access) -> Result<Self, ClientError> {
        let wrong = |why: &'static str| ClientError::Url { url: url.chars().take(200).collect(), why };
        let Ok(uri) = url.parse::<Uri>() else { return Err(wrong("it cannot be read")) };
        let Some(authority) = uri.authority() else { return Err(wrong("it names no host")) };
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong("it does not begin with http:// or https://")),
        };
        if authority.as_str().contains('@') {
            return Err(ClientError::Url {
                url: "(not shown)".to_owned(),
                why: "it holds a user or a password; the host knows clients by tokens",
            });
        }
        if uri.path().len() > 1 || uri.query().is_some() {
            return Err(wrong("it holds a path; the client knows the paths itself"));
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_owned();
        if host.is_empty() {
            return Err(wrong("it names no host"));
        }
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            None if has_port => return Err(wrong("its port is no number up to 65535")),
            port => port.unwrap_or(if is_tls { 443 } else { 80 }),
        };
        let token_fits = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        if access.token.as_ref().is_some_and(|token| !token_fits(token)) {
            return Err(ClientError::Token);
        }
        let scheme = if is_tls { "https" } else { "http" };
        let tls = if is_tls {
            let name = ServerName::try_from(host.clone())
                .map_err(|_| wrong("its host is neither a name nor an IP address"))?;
            Some((Arc::new(trust(url, &access)?), name))
        } else {
            None
        };
        Ok(Self { url: format!("{scheme}://{authority}"), host, port, authority: authority.to_string(), tls, access })
    }
}

/// Whether a URL names this machine, so that the host's first token may be in one of its folders.
pub fn is_loopback(url: &str) -> bool {
    let uri = url.parse::<Uri>().ok();
    uri.as_ref().and_then(Uri::authority).is_some_and(|authority| {
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

/// Who is believed to be the host.
fn trust(url: &str, access: &Access) -> Result<ClientConfig, ClientError> {
    glasshouse_trust::client(access.ca.as_deref(), None).map_err(|error| match error {
        TrustError::File { path, why } => ClientError::Certificates { path, why },
        error => ClientError::Untrusted { url: url.to_owned(), why: error.to_string() },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_port_or_refused_with_the_reason() {
        let of = |url: &str| Address::new(url, Access::default()).map_err(|error| error.to_string());
        let read = |url: &str| of(url).map(|read| (read.host, read.port, read.tls.is_some()));
        assert_eq!(read("http://127.0.0.1:7077"), Ok(("127.0.0.1".into(), 7077, false)));
        assert_eq!(read("https://plugins.example/"), Ok(("plugins.example".into(), 443, true)));
        assert_eq!(read("http://[::1]:80"), Ok(("::1".into(), 80, false)));
        for (url, why) in [
            ("", "cannot be read"),
            ("127.0.0.1:7077", "does not begin with http"),
            ("ftp://a", "does not begin with http"),
            ("http://a/api", "holds a path"),
            ("http://a?x=1", "holds a path"),
            ("http://a:99999", "port"),
            ("http://ada:secret@a", "user or a password"),
            ("/data", "names no host"),
        ] {
            let error = of(url).expect_err(url);
            assert!(error.contains(why) && error.contains("http://HOST:PORT") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in
            ["http://127.0.0.1:1", "https://localhost", "http://LOCALHOST:7", "http://[::1]:1", "http://127.3.2.1"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["http://10.0.0.1", "http://localhost.example", "http://127.0.0.1.example", "nonsense", ""] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_no_token_and_none_is_shown() {
        for token in ["", "a b", "a\r\nHost: b", "ä"] {
            let access = Access { token: Some(token.to_owned()), ..Access::default() };
            assert!(matches!(Address::new("http://127.0.0.1:1", access), Err(ClientError::Token)), "{token:?}");
        }
        let found = vec![FoundToken { path: "file".into(), token: "hidden".to_owned() }];
        let access = Access { token: Some("hidden".to_owned()), found, ..Access::default() };
        let shown = format!("{access:?} {:?}", Address::new("http://127.0.0.1:1", access.clone()));
        assert!(!shown.contains("hidden") && shown.contains("has_token: true"), "{shown}");
    }
}
