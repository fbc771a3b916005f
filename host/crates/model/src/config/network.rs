//! Addresses, blocks and names that an extension may connect to, as they are written in configuration.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::settings::{NetworkAccess, NetworkHost};
use crate::text::visible;

/// Text that is no place on the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{}\" is not a place on the network: {why}", visible(.text, 80))]
pub struct InvalidNetworkAccess {
    text: String,
    pub(super) why: String,
}

impl FromStr for NetworkAccess {
    type Err = InvalidNetworkAccess;

    /// Reads an address, a block of addresses or a name, each with an optional port after a colon. An IPv6 address
    /// with a port stands in brackets.
    fn from_str(text: &str) -> Result<Self, InvalidNetworkAccess> {
        let invalid = |why: String| InvalidNetworkAccess { text: text.to_owned(), why };
        let (host, port) = split(text).map_err(|why| invalid(why.into()))?;
        let port = port.map(parse_port).transpose().map_err(|why| invalid(why.into()))?;
        Ok(Self { host: parse_host(host).map_err(invalid)?, port })
    }
}

fn split(text: &str) -> Result<(&str, Option<&str>), &'static str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("the bracket is not closed")?;
        return match rest.strip_prefix(':') {
            Some(port) if host.contains(':') => Ok((host, Some(port))),
            None if rest.is_empty() && host.contains(':') => Ok((host, None)),
            _ => Err("brackets are for IPv6 addresses, with :port or nothing after them"),
        };
    }
    let address_end = text.find('/').unwrap_or(0);
    match text[address_end..].split_once(':') {
        Some(_) if address_end == 0 && text.parse::<std::net::Ipv6Addr>().is_ok() => Ok((text, None)),
        Some((end, port)) if !port.contains(':') => Ok((&text[..address_end + end.len()], Some(port))),
        Some(_) => Err("write an IPv6 address with a port as [address]:port"),
        None => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, &'static str> {
    match text.parse() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err("a port is a number from 1 to 65535; leave it and the colon out for all ports"),
    }
}

pub(super) fn parse_host(text: &str) -> Result<NetworkHost, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(NetworkHost::Block(address.into()));
    }
    if text.contains('/') {
        let block: IpNet = text.parse().map_err(|_| "write a block as address/bits, such as 10.0.0.0/8".to_owned())?;
        let whole = block.trunc();
        return if whole == block {
            Ok(NetworkHost::Block(block))
        } else {
            Err(format!("the address has bits set beyond its first {}; did you mean {whole}?", block.prefix_len()))
        };
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(legal) && !label.starts_with('-');
    let numeric = name.rsplit('.').next().is_none_or(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err("it is neither an address, nor a block such as 10.0.0.0/8, nor a host name in ASCII".into());
    }
    Ok(NetworkHost::Name(name))
}

impl fmt::Display for NetworkAccess {
    /// In the form that configuration takes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match &self.host {
            NetworkHost::Block(block) if block.prefix_len() == block.max_prefix_len() => block.addr().to_string(),
            NetworkHost::Block(block) => block.to_string(),
            NetworkHost::Name(name) => visible(name, 253).into_owned(),
        };
        match self.port {
            Some(port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Some(port) => write!(f, "{host}:{port}"),
            None => f.write_str(&host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let found = text.parse::<NetworkAccess>().map(|access| access.to_string()).map_err(|error| error.why);
        assert_eq!(found.as_deref().map_err(String::as_str), expect, "{text}");
    }

    #[test]
    fn addresses_blocks_and_names_are_read_and_written_alike() {
        for text in [
            "10.0.0.0/8:443",
            "192.0.2.1",
            "192.0.2.1:80",
            "[::1]:80",
            "::1",
            "fd00::/8",
            "[fd00::/8]:443",
            "example.com",
            "example.com:443",
            "localhost",
            "0.0.0.0/0",
        ] {
            check(text, Ok(text));
        }
        check("[::1]", Ok("::1"));
        check("Example.COM.:443", Ok("example.com:443"));
        check("192.0.2.1/32", Ok("192.0.2.1"));
        check("fd00::/8:443", Ok("[fd00::/8]:443"));
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason() {
        const NEITHER: &str = "it is neither an address, nor a block such as 10.0.0.0/8, nor a host name in ASCII";
        const PORT: &str = "a port is a number from 1 to 65535; leave it and the colon out for all ports";
        check("10.1.2.3/8", Err("the address has bits set beyond its first 8; did you mean 10.0.0.0/8?"));
        check("10.0.0.0/33", Err("write a block as address/bits, such as 10.0.0.0/8"));
        check("example.com:0", Err(PORT));
        check("example.com:", Err(PORT));
        check("example.com:+1", Err(PORT));
        check("example.com:70000", Err(PORT));
        check("[::1", Err("the bracket is not closed"));
        check("[example.com]:1", Err("brackets are for IPv6 addresses, with :port or nothing after them"));
        check("fe80::1::2:80", Err("write an IPv6 address with a port as [address]:port"));
        check("", Err(NEITHER));
        check("300.1.1.1", Err(NEITHER));
        check("bücher.example", Err(NEITHER));
        check("*.example.com", Err(NEITHER));
    }
}
