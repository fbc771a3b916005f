//! Servers that an extension may send HTTP requests to, as they are written in configuration: as origins.

use std::fmt;
use std::str::FromStr;

use super::network::parse_host;
use crate::settings::{HttpAccess, HttpHost, HttpScheme, NetworkAccess, NetworkHost};
use crate::text::visible;

/// Text that names no servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is no origin: {why}", visible(.text, 80))]
pub struct InvalidHttpAccess {
    text: String,
    why: String,
}

impl HttpScheme {
    /// The scheme as it stands in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port of a URL that names none.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl HttpAccess {
    /// Whether all that another one allows is allowed by this one.
    pub fn covers(&self, other: &Self) -> bool {
        let host = match (&self.host, &other.host) {
            (HttpHost::Block(block), HttpHost::Block(other)) => block.contains(other),
            (HttpHost::Name(name), HttpHost::Name(other)) => name == other,
            (HttpHost::Below(name), HttpHost::Name(other)) => is_below(name, other),
            (HttpHost::Below(name), HttpHost::Below(other)) => name == other || is_below(name, other),
            _ => false,
        };
        host && self.is_at_same_port(other)
    }

    /// Whether another one is spoken to in the same way, at the same port.
    pub fn is_at_same_port(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.port == other.port
    }
}

fn is_below(name: &str, other: &str) -> bool {
    other.strip_suffix(name).is_some_and(|start| start.len() > 1 && start.ends_with('.'))
}

impl FromStr for HttpAccess {
    type Err = InvalidHttpAccess;

    /// Reads `scheme://host` with an optional port. The host is a name, `*.` and a name for all names below it, an address or a
    /// block of addresses; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, InvalidHttpAccess> {
        let invalid = |why: String| InvalidHttpAccess { text: text.to_owned(), why };
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (HttpScheme::Http, rest),
            Some(("https", rest)) => (HttpScheme::Https, rest),
            _ => return Err(invalid("it begins with http:// or https://".into())),
        };
        if rest.contains('@') {
            return Err(invalid("credentials are not part of it".into()));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some((host, _)) = rest.split_once(['/', '?', '#'])
            && host.trim_start_matches('[').parse::<std::net::IpAddr>().is_err()
        {
            return Err(invalid("it ends with the host or the port: a path cannot be granted".into()));
        }
        if rest.contains(':') && rest.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(invalid("write an IPv6 address in brackets, as in http://[::1]:8080".into()));
        }
        let is_below = rest.starts_with("*.");
        let why = |error: super::InvalidNetworkAccess| invalid(error.why);
        let NetworkAccess { host, port } = rest.trim_start_matches("*.").parse().map_err(why)?;
        let host = match host {
            NetworkHost::Block(block) if !is_below => HttpHost::Block(block),
            NetworkHost::Block(_) => return Err(invalid("*. stands before a name".into())),
            NetworkHost::Name(name) if is_below && rest.starts_with("*.*") => {
                return Err(invalid(format!("write *.{name} for all names below it, however deep")));
            }
            NetworkHost::Name(name) if is_below => HttpHost::Below(name),
            NetworkHost::Name(name) => HttpHost::Name(name),
        };
        Ok(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }
}

impl HttpAccess {
    /// The server that a request names by the host and the port of its URL; `None` if that is neither a name nor an address.
    pub fn of_request(scheme: HttpScheme, host: &str, port: Option<u16>) -> Option<Self> {
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match parse_host(bracketed.unwrap_or(host)).ok()? {
            // Only an IPv6 address stands in brackets.
            NetworkHost::Block(block) if bracketed.is_some() && block.addr().is_ipv4() => return None,
            NetworkHost::Name(_) if bracketed.is_some() => return None,
            NetworkHost::Block(block) if block.prefix_len() == block.max_prefix_len() => HttpHost::Block(block),
            NetworkHost::Block(_) => return None,
            NetworkHost::Name(name) => HttpHost::Name(name),
        };
        Some(Self { scheme, host, port: port.unwrap_or(scheme.default_port()) })
    }
}

impl fmt::Display for HttpHost {
    /// As it stands in a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => {
                let is_one = block.prefix_len() == block.max_prefix_len();
                let text = if is_one { block.addr().to_string() } else { block.to_string() };
                if text.contains(':') { write!(f, "[{text}]") } else { f.write_str(&text) }
            }
            Self::Name(name) => f.write_str(&visible(name, 253)),
            Self::Below(name) => write!(f, "*.{}", visible(name, 253)),
        }
    }
}

impl fmt::Display for HttpAccess {
    /// In the form that configuration takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let found = text.parse::<HttpAccess>().map(|access| access.to_string()).map_err(|error| error.why);
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn origins_are_read_and_written_alike() {
        for text in [
            "https://api.example.com",
            "http://127.0.0.1:8080",
            "https://*.example.com:8443",
            "http://[::1]:8080",
            "http://10.0.0.0/8:8080",
            "https://[fd00::/8]",
            "http://localhost",
        ] {
            check(text, Ok(text));
        }
        check("https://API.Example.com.:443/", Ok("https://api.example.com"));
        check("http://10.0.0.0/8", Ok("http://10.0.0.0/8"));
        check("http://192.0.2.1/32:80", Ok("http://192.0.2.1"));
    }

    #[test]
    fn what_is_no_origin_is_refused_with_the_reason() {
        const SCHEME: &str = "it begins with http:// or https://";
        const PATH: &str = "it ends with the host or the port: a path cannot be granted";
        check("api.example.com", Err(SCHEME));
        check("ftp://example.com", Err(SCHEME));
        check("HTTP://example.com", Err(SCHEME));
        check("https://ada:secret@example.com", Err("credentials are not part of it"));
        check("https://example.com/v1", Err(PATH));
        check("https://example.com:443/v1", Err(PATH));
        check("https://example.com?x", Err(PATH));
        check("http://::1", Err("write an IPv6 address in brackets, as in http://[::1]:8080"));
        check("https://*.10.0.0.1", Err("*. stands before a name"));
        check("https://*.*.example.com", Err("write *.example.com for all names below it, however deep"));
        check("http://10.1.2.3/8", Err("the address has bits set beyond its first 8; did you mean 10.0.0.0/8?"));
        for text in ["https://*", "https://", "https://*.", "https://a.*.example.com", "https://exa mple.com"] {
            assert!(text.parse::<HttpAccess>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_covers_itself_and_what_lies_below() {
        let covers = |granted: &str, asked: &str, expect: bool| {
            let [granted, asked] = [granted, asked].map(|text| text.parse::<HttpAccess>().expect("an origin"));
            assert_eq!(granted.covers(&asked), expect, "{asked} by {granted}");
        };
        covers("https://example.com", "https://example.com:443", true);
        covers("https://example.com", "http://example.com", false);
        covers("https://example.com", "https://example.com:8443", false);
        covers("https://example.com", "https://api.example.com", false);
        covers("https://*.example.com", "https://api.example.com", true);
        covers("https://*.example.com", "https://a.b.example.com", true);
        covers("https://*.example.com", "https://*.b.example.com", true);
        covers("https://*.example.com", "https://example.com", false);
        covers("https://*.example.com", "https://badexample.com", false);
        covers("https://api.example.com", "https://*.example.com", false);
        covers("http://10.0.0.0/8:80", "http://10.1.2.3", true);
        covers("http://10.1.2.3", "http://10.0.0.0/8", false);
        covers("https://*.example.com", "https://10.1.2.3", false);
    }

    #[test]
    fn a_request_names_one_server() {
        let check = |host: &str, expect: Option<&str>| {
            let found = HttpAccess::of_request(HttpScheme::Http, host, Some(8080));
            assert_eq!(found.map(|access| access.to_string()).as_deref(), expect, "{host}");
        };
        check("Example.com.", Some("http://example.com:8080"));
        check("[::1]", Some("http://[::1]:8080"));
        check("127.0.0.1", Some("http://127.0.0.1:8080"));
        for host in ["10.0.0.0/8", "127.1", "2130706433", "0x7f.1", "*.example.com", "", "a b", "[::1"] {
            check(host, None);
        }
    }
}
