//! Which servers an extension may send requests to, and where their names may lead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use glasshouse_model::settings::{HttpAccess, HttpHost, Permissions};
use tokio::sync::Semaphore;

use super::trust::Trust;
use crate::denials::DeniedBy;

/// Connections that an extension has open at once; further requests wait for one to be closed. Each takes a descriptor and up to
/// some 200 KiB of buffers.
const CONNECTIONS: usize = 16;

/// What an extension may reach by HTTP, shared by its instances.
#[derive(Debug)]
pub(crate) struct Door {
    granted: Vec<HttpAccess>,
    /// Where names may lead beside public addresses.
    addresses: Vec<HttpAccess>,
    /// Whether its runs are to be alike, so that nothing is sent.
    is_closed: bool,
    pub(super) connections: Arc<Semaphore>,
    pub(super) trust: Arc<Trust>,
}

impl Door {
    /// A door for what was granted; closed for an extension whose runs are to be alike.
    pub(crate) fn new(permissions: &Permissions, trust: Arc<Trust>, is_closed: bool) -> Self {
        Self {
            granted: permissions.http.clone(),
            addresses: permissions.http_addresses.clone(),
            is_closed,
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            trust,
        }
    }

    /// Whether a request may go to a server; if not, who denies it.
    pub(super) fn lets(&self, server: &HttpAccess) -> Result<(), DeniedBy> {
        if !self.granted.iter().any(|granted| granted.covers(server)) {
            return Err(DeniedBy::Grants);
        }
        if self.is_closed { Err(DeniedBy::Trial) } else { Ok(()) }
    }

    /// Whether a server that was granted may be at an address. One that is named by its address is; a name leads to public
    /// addresses only, so that whoever owns it cannot have requests sent to the host's own machine and network.
    pub(super) fn leads_to(&self, server: &HttpAccess, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let at = HttpAccess { host: HttpHost::Block(address.into()), ..server.clone() };
        let is_local = |name: &str| name == "localhost" || name.ends_with(".localhost");
        is_public(address)
            || self.granted.iter().chain(&self.addresses).any(|granted| granted.covers(&at))
            || (address.is_loopback() && matches!(&server.host, HttpHost::Name(name) if is_local(name)))
    }
}

/// Whether an address is one of the public internet, by IANA's registries of special addresses
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, and the one for IPv6).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // What a translator takes for the IPv4 address at its end.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            is_public_v4(Ipv4Addr::new(a, b, c, d))
        }
        // Protocols of their own and tunnels, documentation, 6to4, documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> HttpAccess {
        text.parse().expect("an origin")
    }

    fn door(granted: &[&str], addresses: &[&str], is_closed: bool) -> Door {
        let [http, http_addresses] = [granted, addresses].map(|texts| texts.iter().map(|text| server(text)).collect());
        Door::new(&Permissions { http, http_addresses, ..Permissions::default() }, Arc::default(), is_closed)
    }

    #[test]
    fn only_granted_servers_are_asked_and_none_where_runs_are_to_be_alike() {
        let open = door(&["https://*.example.com", "http://127.0.0.1:8080"], &["http://10.0.0.1:9"], false);
        assert!(open.lets(&server("https://api.example.com")).is_ok());
        assert!(open.lets(&server("http://127.0.0.1:8080")).is_ok());
        for other in ["https://example.com", "http://127.0.0.1:8081", "http://api.example.com", "http://10.0.0.1:9"] {
            assert!(matches!(open.lets(&server(other)), Err(DeniedBy::Grants)), "{other}");
        }
        let closed = door(&["https://a.example"], &[], true);
        assert!(matches!(closed.lets(&server("https://a.example")), Err(DeniedBy::Trial)));
        assert!(matches!(closed.lets(&server("https://b.example")), Err(DeniedBy::Grants)));
    }

    #[test]
    fn a_name_leads_to_public_addresses_and_to_those_granted_beside_it() {
        let check = |name: &str, addresses: &[&str], address: &str, expect: bool| {
            let door = door(&[name], addresses, false);
            assert_eq!(door.leads_to(&server(name), address.parse().expect("an address")), expect, "{name} {address}");
        };
        let api = "http://api.example:80";
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101", "::ffff:1.1.1.1"]
        {
            check(api, &[], public, true);
        }
        for inner in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a9fe:a9fe",
            "::ffff:169.254.169.254",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "64:ff9b:1::1",
        ] {
            check(api, &[], inner, false);
        }
        check(api, &["http://10.0.0.0/8:80"], "10.1.2.3", true);
        check(api, &["http://10.0.0.0/8:80"], "::ffff:10.1.2.3", true);
        check(api, &["http://10.0.0.0/8:81"], "10.1.2.3", false);
        check(api, &["https://10.0.0.0/8:80"], "10.1.2.3", false);
        check(api, &["http://10.0.0.0/8:80"], "127.0.0.1", false);
        check("http://localhost:80", &[], "127.0.0.1", true);
        check("http://localhost:80", &[], "10.1.2.3", false);
        check("http://127.0.0.1:80", &[], "127.0.0.1", true);
    }
}
